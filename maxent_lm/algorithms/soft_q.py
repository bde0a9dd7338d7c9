"""Soft Q-learning on sequences: one-step, lambda-return and whole-suffix soft Bellman errors.

Shapes: B sequences, T tokens. Loss values are in squared reward units.
"""

import functools

import jax
import jax.numpy as jnp

from maxent_lm.algorithms import values
from maxent_lm.masked import masked_mean
from maxent_lm.soft import residual
from maxent_lm.soft.residual import Steps
from maxent_lm.types import Array, Batch, Temperature, Views

GRADIENTS = ('semi', 'residual')


def soft_q(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  lam: float,
  gradient: str,
  value: str,
) -> tuple[Array, dict[str, Array]]:
  """0.5 (Q(s_t, a_t) - G_t)^2 = 0.5 e_t^2 per token, [B, T], 0 outside the mask.

  Q = V + kappa (log pi - log rho) and G the soft lambda-return; `lam` = 0 is the one-step soft
  Bellman error [Haarnoja et al. 2017; Guo et al. 2022, v1], `lam` = 1 the error of every suffix
  [Nachum et al. 2017]. The optimum is the soft-optimal policy for any `lam` and any data with full
  support.

  `gradient`: 'semi' stops G. The whole of G, later values and later log-probabilities, then comes
  from one view, the target where it is given and else the policy itself, so that G is a fixed
  regression target. Only Q(s_t, a_t), un-normalised, is trained, and that moves V too. 'residual'
  differentiates both ends of e_t [Baird 1995; Yuan et al. 2025]; it takes no target.

  `value`: see `values`. With 'head' it is DQO [Liu et al. 2025]: Q = V_head + kappa log(pi / rho).

  With energy functions beside the policy's (`views.critic.q`, the twin network) each of them is
  trained on the same target, the smallest of their lambda-returns [Fujimoto et al. 2018], and the
  loss is the sum of the squares.

  Held fixed in each step: kappa (the temperature gets no gradient), so that a learned temperature
  moves the targets only between steps.

  Raises:
    ValueError: unknown `gradient` or `value`, a view that they need or cannot use.
  """
  _check(views, gradient, value)
  policy = values.trained('soft_q', views, batch, temperature, value)
  if gradient == 'residual':
    errors = [residual.suffix(residual.one_step(policy), batch.mask, lam)]
  else:
    read = functools.partial(
      values.of, views=views, batch=batch, temperature=temperature, value=value
    )
    twins = () if views.critic is None else views.critic.q
    behind = twins if views.critic_target is None else views.critic_target.q
    later = [values.lagged(views, batch, temperature, value), *map(read, behind)]
    target = _smallest_return(later, lam)
    errors = [residual.soft_q(steps) - target for steps in (policy, *map(read, twins))]
  metrics = {
    'residual': masked_mean(errors[0], batch.mask),
    'residual_abs': masked_mean(jnp.abs(errors[0]), batch.mask),
    'value': masked_mean(policy.value, batch.mask),
    'log_ratio': masked_mean(policy.log_ratio, batch.mask),
  }
  loss = 0.5 * functools.reduce(jnp.add, [error**2 for error in errors])
  return loss, jax.lax.stop_gradient(metrics)


def _smallest_return(networks: list[Steps], lam: float) -> Array:
  """[B, T] min over the networks of the lambda-return, without gradient."""
  returns = [residual.lambda_return(steps, lam) for steps in networks]
  return jax.lax.stop_gradient(functools.reduce(jnp.minimum, returns))


def _check(views: Views, gradient: str, value: str) -> None:
  """Says what is wrong with the choices before any arithmetic."""
  if gradient not in GRADIENTS:
    raise ValueError(f'soft_q: unknown gradient {gradient!r}; choose one of {", ".join(GRADIENTS)}')
  values.check('soft_q', views, value)
  twins = views.critic is not None and bool(views.critic.q)
  if gradient == 'residual' and (views.target is not None or twins):
    raise ValueError(
      "soft_q: gradient 'residual' differentiates both ends and takes no target view and no twin; "
      "remove the target network or choose gradient 'semi'"
    )
  if value == 'head' and twins:
    raise ValueError("soft_q: a twin has no value head; choose value 'lse' or 'lse_minus_ref'")
