"""Filters: which rows they keep, and that a filtered row is as good as gone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm import masked
from maxent_lm.shaping import advantages, filters
from maxent_lm.types import Batch, Scores, Views

MASK = np.arange(3) < np.array([3, 2, 1, 3, 2, 3, 0])[:, None]
GROUP = [0, 0, 0, 3, 3, 5, 5]
RETURNS = [1, 0, 1, 1, 1, 0, 9]  # mixed, all right, all wrong; the last row is empty
CLUSTER = [4, 4, 2, 1, 1, 0, 3]
STOP = 7


def problem():
  reward = np.where(MASK, 0, np.nan)
  reward[:, 0] = RETURNS
  tokens = np.full(MASK.shape, 1)
  tokens[[0, 1, 4], [2, 1, 1]] = STOP
  tokens[5, 1] = STOP  # not the last one
  entropy = np.where(MASK, np.array([0.1, 0.5, 0.9, 1.3, 0.5, 0.2, 0])[:, None], np.nan)
  zero, group = jnp.zeros(MASK.shape), jnp.asarray(GROUP, jnp.int32)
  cluster = jnp.asarray(CLUSTER, jnp.int32)
  batch = Batch(
    *[jnp.asarray(tokens), jnp.asarray(MASK), zero, jnp.asarray(reward), zero + 1, zero],
    *[group, cluster, group < 0],
  )
  return batch, Views(Scores(zero, zero, zero, jnp.asarray(entropy)))


def alone(transform):
  return lambda batch, views: transform(batch)


TABLE = {
  'mixed_groups': (
    alone(functools.partial(filters.mixed_groups, threshold=1.0)),
    [0, 1, 2],
  ),
  'drop_truncated': (alone(functools.partial(filters.drop_truncated, stop=STOP)), [0, 1, 4]),
  'positive_rows': (alone(functools.partial(filters.positive_rows, threshold=1.0)), [0, 2, 3, 4]),
  'entropy_band': (functools.partial(filters.entropy_band, low=0.3, high=1.0), [1, 2, 4]),
  'semantic_entropy_band': (
    alone(functools.partial(filters.semantic_entropy_band, low=0.1, high=0.7)),
    [0, 1, 2],
  ),
}


@pytest.mark.parametrize('name', TABLE)
def test_which_rows_are_kept(name):
  """The mask of a kept row is untouched, another row has none, and nothing else changes."""
  transform, kept = TABLE[name]
  batch, views = problem()
  found = transform(batch, views)
  np.testing.assert_array_equal(found.mask, MASK & np.isin(np.arange(7), kept)[:, None])
  assert found._replace(mask=batch.mask) == batch
  jitted = jax.jit(transform)(batch, views)
  np.testing.assert_array_equal(jitted.mask, found.mask)


@pytest.mark.parametrize('name', TABLE)
def test_rows_in_any_order_and_groups_of_any_name(name):
  transform, _ = TABLE[name]
  batch, views = problem()
  found = transform(batch, views).mask
  order = np.random.default_rng(0).permutation(7)
  other = transform(*jax.tree.map(lambda x: x[order], (batch, views))).mask
  np.testing.assert_array_equal(other, found[order])
  renamed = batch._replace(group=jnp.asarray([6, 6, 6, 1, 1, 0, 0], jnp.int32))
  np.testing.assert_array_equal(transform(renamed, views).mask, found)


def test_a_filtered_row_is_as_good_as_gone():
  """The advantages of the rows that are left are those of a batch without the others."""
  batch, views = problem()
  transform, kept = TABLE['drop_truncated']
  shaped = advantages.group_normalised(transform(batch, views), eps=1e-4, ddof=1)
  fewer = jax.tree.map(lambda x: x[np.array(kept)], batch)
  fewer = fewer._replace(group=jnp.asarray([0, 0, 1], jnp.int32))
  expected = advantages.group_normalised(fewer, eps=1e-4, ddof=1).advantage
  np.testing.assert_allclose(shaped.advantage[np.array(kept)], expected, rtol=1e-6)
  values = jnp.ones(MASK.shape)
  sums = {name: float(masked.REDUCTIONS[name](values, shaped.mask)) for name in masked.REDUCTIONS}
  assert sums['present_sum'] == pytest.approx(7 / 3) and sums['sequence_sum'] == pytest.approx(1)
  assert sums['present_mean'] == 1 and sums['sequence_mean'] == pytest.approx(3 / 7)


def test_truncation_needs_the_stop_token():
  with pytest.raises(ValueError, match='set config.drop_truncated.stop'):
    filters.drop_truncated(problem()[0], stop=None)
