"""Trajectory balance: the residual of the whole response against an estimate of log Z.

Shapes: B sequences, T tokens. Loss values are in squared reward units.
"""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Temperature, Views


def vargrad(views: Views, batch: Batch, temperature: Temperature) -> tuple[Array, dict[str, Array]]:
  """0.5 (V(s_0) - S)^2 on the last action of each row, [B, T], 0 in every other column.

      S = sum_t [r_t - kappa_t (log pi - log rho)(a_t|s_t)],   V(s_0) = mean of S over the group

  V(s_0) = kappa log Z is the detached mean over the rows that share `batch.group`, so nothing is
  learned but the policy and a shift of the logits gets no gradient [Richter et al. 2020, VarGrad;
  Bartoldson et al. 2025, TBA]. A group of one row has zero loss: it says nothing about log Z. Rows
  without an action are left out of the means. A bootstrapped row adds the value at the cut to S,
  of the target view if there is one and stopped in any case: this loss does not train values.
  """
  steps = residual.read(views.policy, views.reference, batch, temperature)
  ahead = steps.value
  if views.target is not None:
    ahead = residual.read(views.target, views.reference, batch, temperature).value
  cut = jnp.where(batch.mask, 0, jax.lax.stop_gradient(ahead))
  returns = -residual.path(steps._replace(value=cut))
  start = _group_mean(jax.lax.stop_gradient(returns), batch.group, batch.mask.any(axis=1))
  last = masked.last_action(batch.mask)
  error = jnp.where(last, (start - returns)[:, None], 0)
  metrics = {
    'residual_abs': masked.masked_mean(jnp.abs(error), last),
    'value': masked.masked_mean(jnp.broadcast_to(start[:, None], last.shape), last),
    'log_ratio': masked.masked_mean(steps.log_ratio, batch.mask),
  }
  return 0.5 * error**2, jax.lax.stop_gradient(metrics)


def _group_mean(values: Array, group: Array, present: Array) -> Array:
  """[B] mean of `values` over the present rows of the same group, 0 in a group of none."""
  rows = values.shape[0]
  total = jax.ops.segment_sum(jnp.where(present, values, 0), group, num_segments=rows)
  count = jax.ops.segment_sum(present.astype(values.dtype), group, num_segments=rows)
  return (total / jnp.maximum(count, 1))[group]
