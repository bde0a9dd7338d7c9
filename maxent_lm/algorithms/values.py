"""Where V(s_t) comes from, the first choice of every member of the soft Bellman family.

lse            V = kappa LSE(q): the shift of the logits, unseen by the policy, is the value.
lse_minus_ref  V = kappa (LSE(q) - LSE(q_ref)): where policy = reference, V = 0.
head           V = the value head of `views.critic`, in reward units; at s_0 it is kappa log Z.

Shapes: B sequences, T tokens.
"""

import jax

from maxent_lm.soft import residual
from maxent_lm.soft.residual import Steps
from maxent_lm.types import Batch, Critic, Scores, Temperature, Views

VALUES = ('lse', 'lse_minus_ref', 'head')


def trained(loss: str, views: Views, batch: Batch, temperature: Temperature, value: str) -> Steps:
  """The policy's steps, with the value that is asked for; gradients flow through both.

  Raises:
    ValueError: `value` is unknown, or the view that it needs is missing; `loss` names who asks.
  """
  check(loss, views, value)
  return _read(views.policy, views.critic, views, batch, temperature, value)


def lagged(views: Views, batch: Batch, temperature: Temperature, value: str) -> Steps:
  """The same of the lagged copies, or of the policy and the critic where there are none."""
  scores = views.policy if views.target is None else views.target
  critic = views.critic if views.critic_target is None else views.critic_target
  return jax.lax.stop_gradient(_read(scores, critic, views, batch, temperature, value))


def of(scores: Scores, views: Views, batch: Batch, temperature: Temperature, value: str) -> Steps:
  """The steps of another energy function (a twin), 'lse' or 'lse_minus_ref'."""
  return _read(scores, None, views, batch, temperature, value)


def check(loss: str, views: Views, value: str) -> None:
  """Raises ValueError in one sentence if `value` is unknown or cannot be read from the views."""
  if value not in VALUES:
    raise ValueError(f'{loss}: unknown value {value!r}; choose one of {", ".join(VALUES)}')
  if value == 'lse_minus_ref' and views.reference is None:
    raise ValueError(
      f"{loss}: value 'lse_minus_ref' needs a reference view; "
      "set a reference model or choose value 'lse'"
    )
  if value == 'head':
    value_head(loss, views.critic)


def value_head(loss: str, critic: Critic | None) -> jax.Array:
  """[B, T] the head's values; ValueError if there is no value head."""
  if critic is None or critic.value is None:
    raise ValueError(f"{loss}: needs a value head; set config.critic.kind='value'")
  return critic.value


def _read(
  scores: Scores,
  critic: Critic | None,
  views: Views,
  batch: Batch,
  temperature: Temperature,
  value: str,
) -> Steps:
  steps = residual.read(scores, views.reference, batch, temperature)
  if value == 'lse':
    return steps
  if value == 'lse_minus_ref' and views.reference is not None:
    start = residual.read(views.reference, None, batch, temperature).value
    return steps._replace(value=steps.value - jax.lax.stop_gradient(start))
  return residual.with_value(steps, value_head('value', critic))
