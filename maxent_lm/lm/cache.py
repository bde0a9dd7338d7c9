"""Keys and values of the tokens so far, one slot per token.

They lie as attention's products read them, a head's slots one after the other: otherwise all of
them would be copied at every token, and a token's would be written in as many places as a head is
wide. Each layer has arrays of its own, which a loop over tokens changes in place, but where
`scan_layers` loops over the layers there is one array of all of them.

Rows of a group have their prompt once, beside what is their own, and read it together.

Shapes: L layers, B rows, S slots, K key heads, H head dimension, N prompts of B / N adjacent rows
each, P slots of a prompt; ... is L where layers are scanned.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm.config import LMConfig
from maxent_lm.types import Array

Arrays = tuple[Array, ...]  # one a layer, or one


class Shared(NamedTuple):
  """What the rows of a group have read in common; `keys`, `values` and `valid` as in a cache.

  Attributes:
    keys: each [..., N, K, P, H].
    values: each [..., N, K, P, H].
    valid: [N, P] bool.
  """

  keys: Arrays
  values: Arrays
  valid: Array


class Cache(NamedTuple):
  """A loop carry: every row writes the same slot, so prompts are left-padded.

  Attributes:
    keys: each [..., B, K, S, H], rotated, in `LMConfig.cache_dtype`.
    values: each [..., B, K, S, H].
    valid: [B, S] bool, slots that hold a real token.
    position: [B] int32, rotary position of each row's next token.
    length: scalar int32, the slot the next token goes to; the caller keeps it below S (writing
      past the end would overwrite the last slot).
    shared: what comes before, of groups of rows; None where every row has all of its own.
  """

  keys: Arrays
  values: Arrays
  valid: Array
  position: Array
  length: Array
  shared: Shared | None = None


def filled(config: LMConfig, keys: Array, values: Array, valid: Array) -> Cache:
  """A cache without room: keys and values [L, B, S, K, H] of left-padded rows, `valid` [B, S]."""

  def split(stacked: Array) -> Arrays:
    stacked = stacked.astype(config.cache_dtype or config.dtype)
    return (stacked,) if config.scan_layers else tuple(stacked)

  return Cache(
    keys=split(keys.swapaxes(2, 3)),
    values=split(values.swapaxes(2, 3)),
    valid=valid,
    position=jnp.sum(valid, axis=1, dtype=jnp.int32),
    length=jnp.asarray(valid.shape[1], jnp.int32),
  )


def empty(config: LMConfig, *, batch: int, slots: int) -> Cache:
  """A cache of `batch` rows and `slots` slots with nothing in it."""
  shape = (config.num_layers, batch, 0, config.num_kv_heads, config.head_dim)
  nothing = jnp.zeros(shape, config.dtype)
  return extend(filled(config, nothing, nothing, jnp.zeros((batch, 0), bool)), slots)


def extend(cache: Cache, slots: int) -> Cache:
  """The same cache with room for `slots` slots in all; raises ValueError if it has more."""
  more = slots - cache.valid.shape[1]
  if more < 0:
    raise ValueError(
      f'A cache of {cache.valid.shape[1]} slots cannot be cut to {slots}; ask for at least as many.'
    )

  def pad(arrays: Arrays) -> Arrays:
    return tuple(jnp.pad(each, [(0, 0)] * (each.ndim - 2) + [(0, more), (0, 0)]) for each in arrays)

  valid = jnp.pad(cache.valid, ((0, 0), (0, more)))
  return cache._replace(keys=pad(cache.keys), values=pad(cache.values), valid=valid)


def ahead(cache: Cache) -> Cache:
  """The cache with one slot more, the last, to which the next token goes wherever it would have.

  For a token that is read to see what it leads to, and forgotten: nothing is overwritten, whether
  the cache is full or a ring.
  """
  slots = cache.valid.shape[1]
  return extend(cache, slots + 1)._replace(length=jnp.full_like(cache.length, slots))


def cut(cache: Cache, columns: int) -> Cache:
  """The cache without its last `columns` slots, which are empty."""
  slots = cache.valid.shape[1] - columns

  def of(arrays: Arrays) -> Arrays:
    return tuple(each[..., :slots, :] for each in arrays)

  return cache._replace(keys=of(cache.keys), values=of(cache.values), valid=cache.valid[:, :slots])


def append(
  arrays: tuple[Arrays, Arrays], key: Array, value: Array, *, layer: Array | int, slot: Array
) -> tuple[tuple[Arrays, Arrays], Array, Array]:
  """(keys, values) with one token's [B, 1, K, H], and of these the layer's own [B, K, ...].

  `layer` is a number where layers have their own arrays, and traced where they are scanned.
  """
  keys, own_keys = _write(arrays[0], key, layer, slot)
  values, own_values = _write(arrays[1], value, layer, slot)
  return (keys, values), own_keys, own_values


def _write(arrays: Arrays, new: Array, layer: Array | int, slot: Array) -> tuple[Arrays, Array]:
  new, at = new.swapaxes(1, 2).astype(arrays[0].dtype), (0, 0, slot, 0)
  if isinstance(layer, int):
    own = jax.lax.dynamic_update_slice(arrays[layer], new, at)
    return (*arrays[:layer], own, *arrays[layer + 1 :]), own
  stacked = jax.lax.dynamic_update_slice(arrays[0], new[None], (layer, *at))
  return (stacked,), stacked[layer]


def of_layer(arrays: Arrays, layer: Array | int) -> Array:
  """A layer's own array."""
  return arrays[layer] if isinstance(layer, int) else arrays[0][layer]


def share(cache: Cache, n: int) -> Cache:
  """Each row n times in a row, [N, ...] -> [N n, ...], with no slots but those that they share.

  `cache` is full, and nothing is copied.
  """
  rows = cache.valid.shape[0] * n

  def none(arrays: Arrays) -> Arrays:
    *layers, _, heads, _, width = arrays[0].shape
    return tuple(jnp.zeros((*layers, rows, heads, 0, width), each.dtype) for each in arrays)

  return Cache(
    keys=none(cache.keys),
    values=none(cache.values),
    valid=jnp.zeros((rows, 0), bool),
    position=jnp.repeat(cache.position, n, axis=0),
    length=jnp.zeros_like(cache.length),
    shared=Shared(cache.keys, cache.values, cache.valid),
  )


def repeat(cache: Cache, n: int) -> Cache:
  """Each row n times in a row, [B, ...] -> [B n, ...]; what groups share they go on to share."""
  return cache._replace(
    keys=tuple(jnp.repeat(each, n, axis=-4) for each in cache.keys),
    values=tuple(jnp.repeat(each, n, axis=-4) for each in cache.values),
    valid=jnp.repeat(cache.valid, n, axis=0),
    position=jnp.repeat(cache.position, n, axis=0),
  )


def take(cache: Cache, rows: Array) -> Cache:
  """The rows [C] of the cache in that order, some of them more than once or not at all."""
  shared = cache.shared
  if shared is not None:  # rows that were neighbours need not be: to each its own
    owner = rows // (cache.valid.shape[0] // shared.valid.shape[0])
    shared = Shared(*_rows(shared.keys, shared.values, owner), shared.valid[owner])
  keys, values = _rows(cache.keys, cache.values, rows)
  valid, position = cache.valid[rows], cache.position[rows]
  return Cache(keys, values, valid, position, cache.length, shared)


def _rows(keys: Arrays, values: Arrays, rows: Array) -> tuple[Arrays, Arrays]:
  def pick(arrays: Arrays) -> Arrays:
    return tuple(each[..., rows, :, :, :] for each in arrays)

  return pick(keys), pick(values)


def hold(live: Array, new: Cache, old: Cache) -> Cache:
  """`new`, one token later than `old`, but where `live` [B] is False the token was not read."""
  return new._replace(
    valid=jnp.where(live[:, None], new.valid, old.valid),
    position=jnp.where(live, new.position, old.position),
  )


def begin(begins: Array, new: Cache, old: Cache) -> Cache:
  """Rows of `new` where `begins` [B], else of `old`; `new` is full, and not longer than `old`.

  They go on at the slot where `old` is: what lies between is not theirs.
  """

  def write(new: Array, old: Array) -> Array:
    here = old[tuple(map(slice, new.shape))]
    part = jnp.where(begins[:, None, None, None], new, here)
    return jax.lax.dynamic_update_slice(old, part, (0,) * old.ndim)

  room = old.valid.shape[1] - new.valid.shape[1]
  valid = jnp.pad(new.valid, ((0, 0), (0, room)))
  return old._replace(
    keys=tuple(map(write, new.keys, old.keys)),
    values=tuple(map(write, new.values, old.values)),
    valid=jnp.where(begins[:, None], valid, old.valid),
    position=jnp.where(begins, new.position, old.position),
  )


def rewind(cache: Cache, columns: int) -> Cache:
  """A full cache goes on at the first of its last `columns` slots, which are then a ring.

  Right for rows that have read at most `columns` tokens since they began: what is overwritten is
  none of theirs.
  """
  slots = cache.valid.shape[1]
  return cache._replace(length=jnp.where(cache.length == slots, slots - columns, cache.length))
