"""Advantages from groups of responses to one prompt. Shapes: B sequences, T tokens.

The return of a row is the sum of its rewards under the mask; the rows of a group are those that
share `batch.group`, in any order. Rows without a response token are left out of the statistics.
"""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.types import Array, Batch


def group_normalised(batch: Batch, *, eps: float) -> Batch:
  """advantage = (R - mean) / (std + eps) on every response token, 0 elsewhere.

  mean and std over the group, std with n - 1 in the denominator as in TRL and verl; a group of one
  row gets advantage 0. [Shao et al. 2024, GRPO]
  """
  centred, count = _centred(batch)
  square = _group_sum(centred**2, batch.group)
  std = jnp.sqrt(square / jnp.maximum(count - 1, 1))
  return _with_advantage(batch, centred / (std + eps))


def group_centred(batch: Batch) -> Batch:
  """advantage = R - mean over the group on every response token, 0 elsewhere.

  [Liu et al. 2025, Dr. GRPO]
  """
  return _with_advantage(batch, _centred(batch)[0])


def _centred(batch: Batch) -> tuple[Array, Array]:
  """[B] R - mean of the group (0 for an empty row), and [B] the number of rows in the group."""
  present = batch.mask.any(axis=1)
  returns = masked.masked_sum(batch.reward, batch.mask, axis=1)
  count = _group_sum(present.astype(returns.dtype), batch.group)
  mean = _group_sum(jnp.where(present, returns, 0), batch.group) / jnp.maximum(count, 1)
  return jnp.where(present, returns - mean, 0), count


def _group_sum(values: Array, group: Array) -> Array:
  """[B] sum of `values` over the rows of the same group."""
  return jax.ops.segment_sum(values, group, num_segments=values.shape[0])[group]


def _with_advantage(batch: Batch, advantage: Array) -> Batch:
  """`batch` with a [B] advantage on every response token."""
  return batch._replace(advantage=jnp.where(batch.mask, advantage[:, None], 0))
