"""Path consistency: squared residuals of whole responses, of sub-paths and of suffixes.

Gradients flow through both ends of every path, so no target network is needed, and data may come
from any policy with full support, without importance weights.

Shapes: B sequences, T tokens. Loss values are in squared reward units.
"""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.algorithms import values
from maxent_lm.soft import residual
from maxent_lm.soft.residual import Steps
from maxent_lm.types import Array, Batch, Temperature, Views


def path(
  views: Views, batch: Batch, temperature: Temperature, *, value: str
) -> tuple[Array, dict[str, Array]]:
  """0.5 delta(0:L)^2 on the last action of each row, [B, T], 0 in every other column.

  One residual a response, with V(s_0) from `value` (see `values`): 'lse' is trajectory Bellman
  residual minimisation [Yuan et al. 2025, TBRM]; 'lse_minus_ref' is [Wang et al. 2026, ReVal];
  'head' is trajectory balance with a learned log Z = V(s_0) / kappa [Malkin et al. 2022]. The three
  differ only in what is trained to become V(s_0).

  Raises:
    ValueError: unknown `value`, or the view that it needs is missing.
  """
  steps = values.trained('path', views, batch, temperature, value)
  last = masked.last_action(batch.mask)
  error = jnp.where(last, residual.path(steps)[:, None], 0)
  return 0.5 * error**2, _metrics(steps, error, last)


def pcl(
  views: Views, batch: Batch, temperature: Temperature, *, length: int, value: str
) -> tuple[Array, dict[str, Array]]:
  """sum_n 0.5 delta(t:t+n)^2 over n = 1 ... `length`, [B, T], 0 outside the mask.

  Every sub-path of up to `length` actions, in the column where it begins [Nachum et al. 2017, PCL;
  with value 'lse' unified PCL, where one network is policy and value]. The discount is 1.

  Raises:
    ValueError: `length` < 1, unknown `value`, or the view that it needs is missing.
  """
  if length < 1:
    raise ValueError(f'pcl: length is {length}; a sub-path has at least 1 action')
  steps = values.trained('pcl', views, batch, temperature, value)
  count = min(length, batch.mask.shape[1])
  squares, _ = residual.sub_paths(steps, jnp.ones(count, steps.value.dtype))
  return 0.5 * squares, _metrics(steps, residual.one_step(steps), batch.mask)


def subtb(
  views: Views, batch: Batch, temperature: Temperature, *, lam: float, value: str
) -> tuple[Array, dict[str, Array]]:
  """sum_{i<j} w 0.5 delta(i:j)^2 / sum_{i<j} w with w = lam^(j-i) over all sub-paths of a row.

  [B, T], the paths from i in column i, 0 outside the mask [Madan et al. 2023, SubTB(lambda); for
  language models Hu et al. 2024]. `lam` -> 0 weighs single steps only, 1 all sub-paths alike.

  Raises:
    ValueError: `lam` is not in (0, 1], unknown `value`, or the view that it needs is missing.
  """
  if not 0 < lam <= 1:
    raise ValueError(f'subtb: lam is {lam}; it must be above 0 and at most 1')
  steps = values.trained('subtb', views, batch, temperature, value)
  weights = lam ** jnp.arange(batch.mask.shape[1], dtype=steps.value.dtype)
  squares, weights = residual.sub_paths(steps, weights)
  total = masked.masked_sum(weights, batch.mask, axis=1)[:, None]
  mean = 0.5 * squares / jnp.where(total > 0, total, 1)
  return mean, _metrics(steps, residual.one_step(steps), batch.mask)


def oreo(
  views: Views, batch: Batch, temperature: Temperature, *, value_weight: float
) -> tuple[Array, dict[str, Array]]:
  """Critic and actor on every suffix, [B, T], 0 outside the mask [Wang et al. 2024, OREO].

      0.5 [ value_weight (V_t + sg(D_t) - R_t)^2 + (sg(V_t) + d_t + sg(D_t - d_t) - R_t)^2 ]

  d = kappa (log pi - log rho) of one token, D its sum and R the reward from t to the end, V the
  value head: both terms are delta(t:L), one trains V, the other only the current token's
  log-probability. At value_weight = 1 the gradient is that of soft_q(lam=1, 'semi', 'head').

  Raises:
    ValueError: there is no value head.
  """
  steps = values.trained('oreo', views, batch, temperature, 'head')
  fixed = jax.lax.stop_gradient(steps)
  target = residual.lambda_return(fixed, 1.0)
  critic = residual.soft_q(steps._replace(log_ratio=fixed.log_ratio)) - target
  actor = residual.soft_q(steps._replace(value=fixed.value)) - target
  loss = 0.5 * (value_weight * critic**2 + actor**2)
  return loss, _metrics(steps, critic, batch.mask)


def _metrics(steps: Steps, error: Array, where: Array) -> dict[str, Array]:
  """Means over `where` (errors) and over the responses' tokens."""
  metrics = {
    'residual': masked.masked_mean(error, where),
    'residual_abs': masked.masked_mean(jnp.abs(error), where),
    'value': masked.masked_mean(steps.value, steps.mask),
    'log_ratio': masked.masked_mean(steps.log_ratio, steps.mask),
  }
  return jax.lax.stop_gradient(metrics)
