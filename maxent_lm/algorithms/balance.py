"""Balance within a group: residuals of whole responses, V(s_0) = kappa log Z taken from the group.

Nothing is learned but the policy; a shift of the logits gets no gradient.

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

  V(s_0) is the detached mean over the rows that share `batch.group` [Richter et al. 2020, VarGrad;
  Bartoldson et al. 2025, TBA]. A group of one row has zero loss: it says nothing about log Z. Rows
  without an action are left out of the means. A bootstrapped row adds the value at the cut to S,
  of the target view if there is one and stopped in any case: this loss does not train values.
  """
  log_ratio, returns = _returns(views, batch, temperature)
  mean, _ = _group_mean(jax.lax.stop_gradient(returns), batch)
  return _squared(mean - returns, mean, log_ratio, batch)


def pairwise(
  views: Views, batch: Batch, temperature: Temperature
) -> tuple[Array, dict[str, Array]]:
  """mean over j != i of 0.5 (S_i - S_j)^2, j in i's group, on the last action of row i, [B, T].

  S as in `vargrad`: V(s_0) cancels in every pair [Flet-Berliac et al. 2024, CoPG; Gao et al. 2024,
  REBEL; Azar et al. 2024, IPO, where S_i - S_j is regressed on a preference]. Gradients flow
  through both rows of a pair: in a group of n they are 2 n / (n - 1) times those of `vargrad`.
  """
  log_ratio, returns = _returns(views, batch, temperature)
  mean, count = _group_mean(returns, batch)
  spread = (returns - mean) ** 2
  average, _ = _group_mean(spread, batch)
  square = count / jnp.maximum(count - 1, 1) * (spread + average)
  values = jnp.where(masked.last_action(batch.mask), 0.5 * square[:, None], 0)
  _, metrics = _squared(mean - returns, mean, log_ratio, batch)
  return values, metrics


def mirror_descent(
  views: Views, batch: Batch, temperature: Temperature
) -> tuple[Array, dict[str, Array]]:
  """0.5 (V(s_0) - S)^2 as in `vargrad`, with V(s_0) the log-mean-exp of the rewards, detached.

      V(s_0) = kappa log mean_j exp(w_j),   w = sum_t [r_t / kappa_t + log rho - log mu](a_t|s_t)

  over the rows j of the group, mu the behaviour: E_mu[exp w] = Z, so the mean estimates Z for any
  behaviour of full support; with rho = mu it is the log-mean-exp of R / kappa [Team Kimi 2025;
  Tomar et al. 2020]. The logarithm makes it biased in small groups, unlike `vargrad`, whose
  baseline does not move the gradient; kappa is that of the first action, so one temperature a
  response is meant. At a bootstrapped cut V(cut) / kappa joins w, as in `vargrad`.
  """
  log_ratio, returns = _returns(views, batch, temperature)
  steps = residual.read(views.policy, views.reference, batch, temperature)
  kappa = jnp.sum(jnp.where(_first_action(batch.mask), steps.kappa, 0), axis=1)
  kappa = jnp.where(kappa > 0, kappa, 1)
  # S + sum kappa log(pi / mu) is reward, prior and cut without the policy.
  logp = masked.clean(views.policy.logp, batch.mask) - masked.clean(batch.logp, batch.mask)
  gain = returns + masked.masked_sum(steps.kappa * logp, batch.mask, axis=1)
  weight = jax.lax.stop_gradient(gain / kappa)
  top = jax.ops.segment_max(
    jnp.where(batch.mask.any(axis=1), weight, -jnp.inf), batch.group, num_segments=len(weight)
  )[batch.group]
  top = jnp.where(jnp.isfinite(top), top, 0)
  mean, _ = _group_mean(jnp.exp(weight - top), batch)
  value = kappa * (top + jnp.log(jnp.where(mean > 0, mean, 1)))
  return _squared(value - returns, value, log_ratio, batch)


def _returns(views: Views, batch: Batch, temperature: Temperature) -> tuple[Array, Array]:
  """([B, T] log pi - log rho, [B] S of each row), with the stopped value at a bootstrapped cut."""
  steps = residual.read(views.policy, views.reference, batch, temperature)
  ahead = steps.value
  if views.target is not None:
    ahead = residual.read(views.target, views.reference, batch, temperature).value
  cut = jnp.where(batch.mask, 0, jax.lax.stop_gradient(ahead))
  return steps.log_ratio, -residual.path(steps._replace(value=cut))


def _squared(
  error: Array, value: Array, log_ratio: Array, batch: Batch
) -> tuple[Array, dict[str, Array]]:
  """0.5 error^2 of the rows on their last actions, and what to watch."""
  last = masked.last_action(batch.mask)
  error = jnp.where(last, error[:, None], 0)
  metrics = {
    'residual_abs': masked.masked_mean(jnp.abs(error), last),
    'value': masked.masked_mean(jnp.broadcast_to(value[:, None], last.shape), last),
    'log_ratio': masked.masked_mean(log_ratio, batch.mask),
  }
  return 0.5 * error**2, jax.lax.stop_gradient(metrics)


def _first_action(mask: Array) -> Array:
  """[B, T] one-hot (bool) of each row's first True."""
  return mask & (jnp.cumsum(mask, axis=1) == 1)


def _group_mean(values: Array, batch: Batch) -> tuple[Array, Array]:
  """[B] mean of `values` and number of rows, over the rows of the same group that have actions."""
  rows = values.shape[0]
  present = batch.mask.any(axis=1)
  total = jax.ops.segment_sum(jnp.where(present, values, 0), batch.group, num_segments=rows)
  count = jax.ops.segment_sum(present.astype(values.dtype), batch.group, num_segments=rows)
  return (total / jnp.maximum(count, 1))[batch.group], count[batch.group]
