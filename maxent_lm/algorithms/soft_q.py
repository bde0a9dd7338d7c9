"""Soft Q-learning on sequences: one-step, lambda-return and whole-suffix soft Bellman errors.

Shapes: B sequences, T tokens. Loss values are in squared reward units.
"""

import jax
import jax.numpy as jnp

from maxent_lm.masked import masked_mean
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Scores, Temperature, Views

GRADIENTS = ('semi', 'residual')
VALUES = ('lse', 'lse_minus_ref')


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
  [Nachum et al. 2017; Liu et al. 2025, DQO]. The optimum is the soft-optimal policy for any `lam`
  and any data with full support.

  `gradient`: 'semi' stops G. The whole of G, later values and later log-probabilities, then comes
  from one view, `views.target` where it is given and else the policy itself, so that G is a fixed
  regression target. Only Q(s_t, a_t), un-normalised, is trained, and that moves V too. 'residual'
  differentiates both ends of e_t [Baird 1995; Yuan et al. 2025]; it takes no target.

  `value`: 'lse' reads V = kappa LSE(q); 'lse_minus_ref' reads V = kappa (LSE(q) - LSE(q_ref)) at
  every state, cuts included (terminal states keep V = 0) [Wang et al. 2026, ReVal]. The fixed point
  is the same policy, since only what the free shift of the logits means has changed; but a policy
  that starts at the reference starts, for r = 0 and alpha = 0, with zero residual and gradient.

  Raises:
    ValueError: unknown `gradient` or `value`, a target with 'residual', no reference with
      'lse_minus_ref'.
  """
  _check(views, gradient, value)
  policy = _read(views.policy, views, batch, temperature, value)
  if gradient == 'residual':
    error = residual.suffix(residual.one_step(policy), batch.mask, lam)
  else:
    behind = policy
    if views.target is not None:
      behind = _read(views.target, views, batch, temperature, value)
    error = residual.soft_q(policy) - residual.lambda_return(jax.lax.stop_gradient(behind), lam)
  metrics = {
    'residual': masked_mean(error, batch.mask),
    'residual_abs': masked_mean(jnp.abs(error), batch.mask),
    'value': masked_mean(policy.value, batch.mask),
    'log_ratio': masked_mean(policy.log_ratio, batch.mask),
  }
  return 0.5 * error**2, jax.lax.stop_gradient(metrics)


def _read(
  scores: Scores, views: Views, batch: Batch, temperature: Temperature, value: str
) -> residual.Steps:
  """The steps of `scores`, with the value that is asked for."""
  steps = residual.read(scores, views.reference, batch, temperature)
  if value == 'lse' or views.reference is None:
    return steps
  start = residual.read(views.reference, None, batch, temperature).value
  return steps._replace(value=steps.value - jax.lax.stop_gradient(start))


def _check(views: Views, gradient: str, value: str) -> None:
  """Says what is wrong with the choices before any arithmetic."""
  if gradient not in GRADIENTS:
    raise ValueError(f'soft_q: unknown gradient {gradient!r}; choose one of {", ".join(GRADIENTS)}')
  if value not in VALUES:
    raise ValueError(f'soft_q: unknown value {value!r}; choose one of {", ".join(VALUES)}')
  if gradient == 'residual' and views.target is not None:
    raise ValueError(
      "soft_q: gradient 'residual' differentiates both ends and takes no target view; "
      "remove the target network or choose gradient 'semi'"
    )
  if value == 'lse_minus_ref' and views.reference is None:
    raise ValueError(
      "soft_q: value 'lse_minus_ref' needs a reference view; "
      "set a reference model or choose value 'lse'"
    )
