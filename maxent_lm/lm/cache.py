"""Keys and values of the tokens so far, one slot per token.

Shapes: L layers, B rows, S slots, K key heads, H head dimension.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm.config import LMConfig
from maxent_lm.types import Array


class Cache(NamedTuple):
  """A loop carry: every row writes the same slot, so prompts are left-padded.

  Attributes:
    keys: [L, B, S, K, H], rotated, in the compute dtype.
    values: [L, B, S, K, H].
    valid: [B, S] bool, slots that hold a real token.
    position: [B] int32, rotary position of each row's next token.
    length: scalar int32, the slot the next token goes to; the caller keeps it below S (writing
      past the end would overwrite the last slot).
  """

  keys: Array
  values: Array
  valid: Array
  position: Array
  length: Array


def empty(config: LMConfig, *, batch: int, slots: int) -> Cache:
  """A cache of `batch` rows and `slots` slots with nothing in it."""
  shape = (config.num_layers, batch, slots, config.num_kv_heads, config.head_dim)
  return Cache(
    keys=jnp.zeros(shape, config.dtype),
    values=jnp.zeros(shape, config.dtype),
    valid=jnp.zeros((batch, slots), bool),
    position=jnp.zeros((batch,), jnp.int32),
    length=jnp.zeros((), jnp.int32),
  )


def extend(cache: Cache, slots: int) -> Cache:
  """The same cache with room for `slots` slots in all; raises ValueError if it has more."""
  more = slots - cache.valid.shape[1]
  if more < 0:
    raise ValueError(
      f'A cache of {cache.valid.shape[1]} slots cannot be cut to {slots}; ask for at least as many.'
    )
  pad = ((0, 0), (0, 0), (0, more), (0, 0), (0, 0))
  return cache._replace(
    keys=jnp.pad(cache.keys, pad),
    values=jnp.pad(cache.values, pad),
    valid=jnp.pad(cache.valid, ((0, 0), (0, more))),
  )


def repeat(cache: Cache, n: int) -> Cache:
  """Each row n times in a row, [B, ...] -> [B n, ...]: a group shares one prefill."""
  return cache._replace(
    keys=jnp.repeat(cache.keys, n, axis=1),
    values=jnp.repeat(cache.values, n, axis=1),
    valid=jnp.repeat(cache.valid, n, axis=0),
    position=jnp.repeat(cache.position, n, axis=0),
  )


def take(cache: Cache, rows: Array) -> Cache:
  """The rows [C] of the cache in that order, some of them more than once or not at all."""
  return cache._replace(
    keys=cache.keys[:, rows],
    values=cache.values[:, rows],
    valid=cache.valid[rows],
    position=cache.position[rows],
  )


def hold(live: Array, new: Cache, old: Cache) -> Cache:
  """`new`, one token later than `old`, but where `live` [B] is False the token was not read."""
  return new._replace(
    valid=jnp.where(live[:, None], new.valid, old.valid),
    position=jnp.where(live, new.position, old.position),
  )


def begin(begins: Array, new: Cache, old: Cache, columns: int) -> Cache:
  """Rows of `new` where `begins` [B], else of `old`; `new` has filled its first `columns` slots.

  They go on at the slot where `old` is: what lies between is not theirs.
  """

  def write(new: Array, old: Array) -> Array:
    here = begins[None, :, None, None, None]
    part = jnp.where(here, new[:, :, :columns], old[:, :, :columns])
    return jax.lax.dynamic_update_slice(old, part, (0,) * old.ndim)

  return old._replace(
    keys=write(new.keys, old.keys),
    values=write(new.values, old.values),
    valid=jnp.where(begins[:, None], new.valid, old.valid),
    position=jnp.where(begins, new.position, old.position),
  )


def rewind(cache: Cache, columns: int) -> Cache:
  """A full cache goes on at the first of its last `columns` slots, which are then a ring.

  Right for rows that have read at most `columns` tokens since they began: what is overwritten is
  none of theirs.
  """
  slots = cache.valid.shape[1]
  return cache._replace(length=jnp.where(cache.length == slots, slots - columns, cache.length))
