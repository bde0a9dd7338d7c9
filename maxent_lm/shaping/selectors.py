"""Which tokens matter: one number a token -> a weight in [0, 1] a token. SELECTORS lists them.

Shapes: B rows, T tokens. A selector is `(values [B, T], Pool, **options) -> [B, T]`; what it says
outside `pool.mask` means nothing. Tokens compete with those of their part of the pool: their row,
their group or the whole batch, always the whole batch of the step and never a micro-batch.

Equal values are told apart by lot, so that a share is a share however many tokens tie. A token's
lot is a hash of its id, its behaviour log-probability and its number in the response: the same
numbers give the same choice on any machine and in any order of the rows, and a token that is drawn
again under the same log-probability draws the same lot.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm import masked
from maxent_lm.types import Array, Batch

ROUNDING = 1e-4  # of share * count, so that .2 * 15 tokens are 3 tokens
TINY = 1e-6  # keeps a spread of rounding errors from being blown up


class Pool(NamedTuple):
  """The tokens that compete.

  Attributes:
    mask: [B, T] bool, the tokens.
    part: [B] int32 in [0, B), rows of one part compete with each other.
    lot: [B, T] uint32, a random number of the token, see the top of this file.
  """

  mask: Array
  part: Array
  lot: Array


Selector = Callable[[Array, Pool], Array]

SCOPES: Mapping[str, Callable[[Batch], Array]] = {
  'row': lambda batch: jnp.arange(len(batch.group), dtype=jnp.int32),
  'group': lambda batch: batch.group,
  'batch': lambda batch: jnp.zeros_like(batch.group),
}


def make_pool(batch: Batch, scope: str) -> Pool:
  """The response tokens of `batch`, competing within 'row', 'group' or 'batch'."""
  number = jnp.cumsum(batch.mask, axis=1, dtype=jnp.uint32)
  logp = masked.clean(batch.logp, batch.mask).astype(jnp.float32)
  bits = jax.lax.bitcast_convert_type(logp, jnp.uint32)
  lot = _hash(0, batch.tokens.astype(jnp.uint32), bits, number)
  return Pool(batch.mask, SCOPES[scope](batch), lot)


def as_is(values: Array, pool: Pool) -> Array:
  """w = the value itself, between 0 and 1: for estimates that are weights already."""
  del pool
  return jnp.clip(values, 0, 1)


def top_share(values: Array, pool: Pool, *, share: float) -> Array:
  """w = 1 on the ceil(share n) highest of the n tokens of the part, else 0.

  [Wang et al. 2025, Beyond the 80/20 rule]
  """
  chosen = jnp.ceil(share * part_size(pool) - ROUNDING)[:, None]
  return _weight(_rank(values, pool) < chosen, values)


def quantile(values: Array, pool: Pool, *, q: float) -> Array:
  """w = 1 where the value is at least the q-quantile of its part, else 0.

  Linear interpolation between order statistics, as in numpy, torch and TRL's
  `top_entropy_quantile` = 1 - q. Ties all count, so that more than a share 1 - q may be chosen.
  """
  return _weight(values >= _quantile(values, pool, q)[:, None], values)


def above_quantile(values: Array, pool: Pool, *, q: float) -> Array:
  """`quantile`, of the values above it only: in a part of one token, of none.

  [Wang et al. 2025, Archer; Jiang et al. 2025, SIREN]
  """
  return _weight(values > _quantile(values, pool, q)[:, None], values)


def band(values: Array, pool: Pool, *, low: float, high: float) -> Array:
  """w = 1 where low < value < high, else 0."""
  del pool
  return _weight((low < values) & (values < high), values)


def random_in_band(
  values: Array, pool: Pool, *, low: float, high: float, share: float, seed: int
) -> Array:
  """w = 1 on some tokens with low < value < high, picked by lot, else 0.

  max(floor(share n), 1) of them, n all tokens of the part, or as many as there are.
  [Cui et al. 2025, Clip-Cov]
  """
  inside = pool.mask & (low < values) & (values < high)
  count = jnp.maximum(jnp.floor(share * part_size(pool) + ROUNDING), 1)[:, None]
  drawn = Pool(inside, pool.part, _hash(seed, pool.lot))
  return _weight(inside & (_rank(jnp.zeros_like(values), drawn) < count), values)


def linear(values: Array, pool: Pool) -> Array:
  """w = (value - min) / (max - min) over the part; 1/2 where all are equal."""
  lowest, highest = -_part_max(-values, pool), _part_max(values, pool)
  spread = highest - lowest
  shifted = (values - lowest[:, None]) / jnp.where(spread > 0, spread, 1)[:, None]
  return jnp.where(spread[:, None] > 0, shifted, 0.5)


def exponential(values: Array, pool: Pool, *, floor: float, least: float) -> Array:
  """w = exp(-k value), within [floor, 1]; k = -ln(floor) / max(largest value of the part, least).

  So the largest value weighs `floor`, unless it is below `least`; floor > 0. [STEER]
  """
  largest = jnp.maximum(_part_max(values, pool), least)[:, None]
  return jnp.clip(floor ** (values / largest), floor, 1)


def decay(values: Array, pool: Pool, *, rate: float, floor: float) -> Array:
  """w = exp(-rate value), within [floor, 1]: for values with a scale of their own, such as nats."""
  del pool
  return jnp.clip(jnp.exp(-rate * values), floor, 1)


def z_score(values: Array, pool: Pool, *, rate: float) -> Array:
  """w = sigmoid(rate (value - mean) / (std + 1e-6)) over the part, n in the std's denominator."""
  count = jnp.maximum(part_size(pool), 1)

  def mean(terms: Array) -> Array:
    return (part_sum(masked.masked_sum(terms, pool.mask, axis=1), pool) / count)[:, None]

  centred = values - mean(values)
  return jax.nn.sigmoid(rate * centred / (jnp.sqrt(mean(centred**2)) + TINY))


def inverse(values: Array, pool: Pool) -> Array:
  """w = mean / (mean + value) over the part, of values >= 0: 1 at 0 and 1/2 at the mean."""
  values = jnp.maximum(values, 0)
  count = jnp.maximum(part_size(pool), 1)
  mean = (part_sum(masked.masked_sum(values, pool.mask, axis=1), pool) / count)[:, None]
  return jnp.where(mean > 0, mean / jnp.where(mean > 0, mean + values, 1), 0.5)


SELECTORS: Mapping[str, Callable[..., Array]] = {
  'as_is': as_is,
  'top_share': top_share,
  'quantile': quantile,
  'above_quantile': above_quantile,
  'band': band,
  'random_in_band': random_in_band,
  'linear': linear,
  'exponential': exponential,
  'decay': decay,
  'z_score': z_score,
  'inverse': inverse,
}


def part_sum(rows: Array, pool: Pool) -> Array:
  """[B] sum of `rows` [B] over the rows of the same part."""
  return jax.ops.segment_sum(rows, pool.part, num_segments=len(rows))[pool.part]


def part_size(pool: Pool) -> Array:
  """[B] int32, tokens in the row's part."""
  return part_sum(jnp.sum(pool.mask, axis=1, dtype=jnp.int32), pool)


def _part_max(values: Array, pool: Pool) -> Array:
  """[B] largest value in the row's part; 0 where it has no token."""
  rows = jnp.max(jnp.where(pool.mask, values, -jnp.inf), axis=1)
  largest = jax.ops.segment_max(rows, pool.part, num_segments=len(rows))[pool.part]
  return jnp.where(part_size(pool) > 0, largest, 0)


def _quantile(values: Array, pool: Pool, q: float) -> Array:
  """[B] the q-quantile of the row's part, linear between order statistics."""
  rank = _rank(values, pool)
  last = jnp.maximum(part_size(pool) - 1, 0)
  at = q * last.astype(values.dtype)
  below = jnp.floor(at).astype(jnp.int32)

  def order_statistic(number: Array) -> Array:
    here = pool.mask & (rank == (last - number)[:, None])
    return part_sum(masked.masked_sum(values, here, axis=1), pool)

  low, high = order_statistic(below), order_statistic(jnp.minimum(below + 1, last))
  # An order statistic itself stays as it is to the last bit, so that > and >= differ at it alone.
  return jnp.where(at == below, low, low + (high - low) * (at - below))


def _rank(values: Array, pool: Pool) -> Array:
  """[B, T] int32, how many tokens of the part come before this one, the highest value first."""
  rows = len(pool.part)
  part = jnp.where(pool.mask, pool.part[:, None], rows)
  order = jnp.lexsort([x.ravel() for x in (pool.lot, -values, part)])
  numbers = jnp.arange(values.size, dtype=jnp.int32)
  place = jnp.zeros_like(numbers).at[order].set(numbers).reshape(values.shape)
  sizes = jnp.sum(pool.mask, axis=1, dtype=jnp.int32)
  sizes = jax.ops.segment_sum(sizes, pool.part, num_segments=rows)
  starts = jnp.cumsum(sizes) - sizes
  return place - starts[pool.part][:, None]


def _hash(seed: int, *facts: Array) -> Array:
  """[B, T] uint32 random bits that depend on `seed` and the uint32 `facts` of the entry alone.

  The finaliser of MurmurHash3 after each fact: `jax.random` would take seconds to compile for the
  same, since its keys would differ from token to token. [Appleby 2011]
  """
  bits = jnp.full(facts[0].shape, seed, jnp.uint32)
  for fact in facts:
    bits = (bits ^ fact) + np.uint32(0x9E3779B9)  # so that 0 does not stay 0
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    bits = bits ^ (bits >> 16)
  return bits


def _weight(chosen: Array, values: Array) -> Array:
  return chosen.astype(values.dtype)
