"""Reductions under a mask, and the ways to turn [B, T] loss values into one number.

Shapes: B sequences, T tokens. Masked entries never reach a sum, so NaN under the mask is harmless
and its gradient is exactly zero.
"""

from collections.abc import Callable

import jax.numpy as jnp

from maxent_lm.types import Array


def clean(values: Array, mask: Array) -> Array:
  """`values` where `mask` and 0 elsewhere, at least float32: what arithmetic may begin with."""
  return jnp.where(mask, values, 0).astype(jnp.promote_types(values.dtype, jnp.float32))


def masked_sum(values: Array, mask: Array, axis: int | None = None) -> Array:
  """Sum of `values` where `mask`, in at least float32; `axis=None` sums over everything."""
  values = jnp.where(mask, values, 0)
  return jnp.sum(values, axis=axis, dtype=jnp.promote_types(values.dtype, jnp.float32))


def masked_mean(values: Array, mask: Array, axis: int | None = None) -> Array:
  """Mean of `values` where `mask`; 0 where nothing is selected."""
  return masked_sum(values, mask, axis) / jnp.maximum(masked_sum(mask, mask, axis), 1)


def quotient(values: Array, scale: Array) -> Array:
  """values / scale, and 0 where the scale is 0: of what does not differ."""
  return jnp.where(scale > 0, values / jnp.where(scale > 0, scale, 1), 0)


def last_action(mask: Array) -> Array:
  """[B, T] one-hot (bool) of each row's last True; all False for an empty row."""
  later = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
  return mask & (later == 1)


def token_mean(values: Array, mask: Array) -> Array:
  """Every token of the batch weighs the same: sum over tokens / number of tokens (DAPO)."""
  return masked_mean(values, mask)


def sequence_sum(values: Array, mask: Array) -> Array:
  """Sum over each sequence's tokens, mean over sequences: the scope of path objectives."""
  return jnp.mean(masked_sum(values, mask, axis=1))


def sequence_mean(values: Array, mask: Array) -> Array:
  """Mean over each sequence's tokens, mean over sequences (GRPO as published)."""
  return jnp.mean(masked_mean(values, mask, axis=1))


def constant_length(values: Array, mask: Array) -> Array:
  """Sum over tokens / (B T), T the row length: no length normalisation (Dr. GRPO)."""
  return masked_sum(values, mask) / values.size


def present_sum(values: Array, mask: Array) -> Array:
  """`sequence_sum` over the rows that have a token: as if the empty ones were not there (verl)."""
  return masked_mean(masked_sum(values, mask, axis=1), mask.any(axis=1))


def present_mean(values: Array, mask: Array) -> Array:
  """`sequence_mean` over the rows that have a token: as if the empty ones were not there (verl)."""
  return masked_mean(masked_mean(values, mask, axis=1), mask.any(axis=1))


REDUCTIONS: dict[str, Callable[[Array, Array], Array]] = {
  'token_mean': token_mean,
  'sequence_sum': sequence_sum,
  'sequence_mean': sequence_mean,
  'constant_length': constant_length,
  'present_sum': present_sum,
  'present_mean': present_mean,
}
