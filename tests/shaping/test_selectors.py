"""Selectors: laws that hold for all of them, and each by hand. Everything in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.shaping import selectors
from maxent_lm.shaping.selectors import SCOPES, SELECTORS, make_pool
from maxent_lm.types import Batch

B, T = 6, 8
MASK = np.zeros((B, T), bool)
for _row, _columns in enumerate([range(1, 5), range(0, 3), [2, 3, 6], [4], [], range(3, 7)]):
  MASK[_row, list(_columns)] = True
GROUP = np.array([0, 0, 3, 3, 3, 5])
OPTIONS = {
  'as_is': {},
  'top_share': {'share': 0.4},
  'quantile': {'q': 0.7},
  'above_quantile': {'q': 0.7},
  'band': {'low': 0.2, 'high': 0.9},
  'random_in_band': {'low': 0.1, 'high': 0.95, 'share': 0.4, 'seed': 3},
  'linear': {},
  'exponential': {'floor': 0.8, 'least': 0.02},
  'decay': {'rate': 0.7, 'floor': 0.3},
  'z_score': {'rate': 2.0},
  'inverse': {},
}
CHOICES = ('top_share', 'quantile', 'above_quantile', 'band', 'random_in_band')


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def example(values=None):
  rng = np.random.default_rng(0)
  if values is None:
    values = rng.uniform(size=(B, T))
  zero = jnp.zeros((B, T))
  batch = Batch(
    tokens=jnp.asarray(rng.integers(0, 50, (B, T)), jnp.int32),
    mask=jnp.asarray(MASK),
    logp=jnp.asarray(rng.normal(size=(B, T))),
    reward=zero,
    weight=zero,
    advantage=zero,
    group=jnp.asarray(GROUP, jnp.int32),
    cluster=jnp.zeros(B, jnp.int32),
    bootstrap=jnp.zeros(B, bool),
  )
  return batch, jnp.asarray(values)


@functools.partial(jax.jit, static_argnums=(0, 1))
def compiled(name, scope, batch, values):
  return selected(name, scope, batch, values)


def selected(name, scope, batch, values, **changes):
  weight = SELECTORS[name](values, make_pool(batch, scope), **{**OPTIONS[name], **changes})
  return jnp.where(batch.mask, weight, 0)


each = pytest.mark.parametrize('name', SELECTORS)
each_scope = pytest.mark.parametrize('scope', SCOPES)


def test_every_selector_is_tested():
  assert OPTIONS.keys() == SELECTORS.keys()


@each
@each_scope
def test_weights_lie_between_0_and_1_and_differ(name, scope):
  weight = compiled(name, scope, *example())
  assert (weight >= 0).all() and (weight <= 1).all()
  assert len(np.unique(weight[MASK])) > 1
  if name in CHOICES:
    assert set(np.unique(weight)) == {0, 1}


@each
@each_scope
def test_order_of_rows_names_of_groups_padding_and_jit_do_not_matter(name, scope):
  batch, values = example()
  weight = selected(name, scope, batch, values)
  assert weight.any()
  np.testing.assert_allclose(compiled(name, scope, batch, values), weight, rtol=1e-12)

  order = np.random.default_rng(1).permutation(B)
  shuffled = compiled(name, scope, *jax.tree.map(lambda x: x[order], (batch, values)))
  np.testing.assert_allclose(shuffled, weight[order], rtol=1e-12)

  renamed = batch._replace(group=jnp.asarray([4, 4, 0, 0, 0, 1], jnp.int32))
  np.testing.assert_allclose(compiled(name, scope, renamed, values), weight, rtol=1e-12)

  def moved(x):
    return x if x.ndim < 2 else jnp.pad(x, ((0, 0), (2, 1)), constant_values=x.dtype == int and 7)

  padded = selected(name, scope, *jax.tree.map(moved, (batch, values)))
  np.testing.assert_allclose(padded[:, 2 : 2 + T], weight, rtol=1e-12)


@each
def test_a_row_alone_is_that_row_and_outside_the_mask_nothing_is_read(name):
  batch, values = example()
  weight = selected(name, 'row', batch, values)
  for row in range(B):
    alone = jax.tree.map(lambda x, row=row: x[row : row + 1], (batch, values))
    alone = (alone[0]._replace(group=jnp.zeros(1, jnp.int32)), alone[1])
    np.testing.assert_allclose(selected(name, 'batch', *alone), weight[row : row + 1], rtol=1e-12)
  spoilt = batch._replace(
    logp=jnp.where(batch.mask, batch.logp, jnp.nan), tokens=jnp.where(batch.mask, batch.tokens, 9)
  )
  other = selected(name, 'row', spoilt, jnp.where(batch.mask, values, 1e3))
  np.testing.assert_allclose(other, weight, rtol=1e-12)


@each_scope
def test_a_group_is_a_row_of_its_own(scope):
  """Every scope is the batch scope of the rows that it names."""
  batch, values = example()
  weight = selected('top_share', scope, batch, values)
  part = np.asarray(SCOPES[scope](batch))
  for number in set(part.tolist()):
    rows = np.flatnonzero(part == number)
    some = jax.tree.map(lambda x, rows=rows: x[rows], (batch, values))
    some = (some[0]._replace(group=jnp.zeros(len(rows), jnp.int32)), some[1])
    np.testing.assert_array_equal(selected('top_share', 'batch', *some), weight[rows])


@pytest.mark.parametrize('share', [0.0, 0.2, 0.4, 0.5, 1.0])
def test_top_share_takes_as_many_as_it_says_the_highest_also_among_ties(share):
  batch, values = example()
  count = int(np.ceil(round(share * MASK.sum(), 9)))
  weight = selected('top_share', 'batch', batch, values, share=share)
  assert weight.sum() == count
  weight = np.asarray(weight)
  best = np.sort(np.asarray(values)[MASK])[::-1][:count]
  np.testing.assert_array_equal(np.sort(np.asarray(values)[weight > 0])[::-1], best)
  tied = selected('top_share', 'batch', batch, jnp.round(values * 2), share=share)
  assert tied.sum() == count


def test_ties_are_drawn_by_lot_and_not_by_place():
  batch, _ = example()
  zero = jnp.zeros((B, T))
  weight = selected('top_share', 'batch', batch, zero)
  order = np.arange(B)[::-1]
  turned = selected('top_share', 'batch', jax.tree.map(lambda x: x[order], batch), zero)
  np.testing.assert_array_equal(turned, weight[order])
  first = np.zeros((B, T))
  first[tuple(np.argwhere(MASK)[: int(weight.sum())].T)] = 1
  assert (first != weight).any()


def test_quantile_is_numpys():
  batch, values = example()
  for q in (0.0, 0.3, 0.5, 0.77, 1.0):
    threshold = np.quantile(np.asarray(values)[MASK], q)
    expected = MASK & (np.asarray(values) >= threshold)
    np.testing.assert_array_equal(selected('quantile', 'batch', batch, values, q=q), expected)
    above = MASK & (np.asarray(values) > threshold)
    np.testing.assert_array_equal(selected('above_quantile', 'batch', batch, values, q=q), above)
  equal = jnp.ones((B, T))
  np.testing.assert_array_equal(selected('quantile', 'batch', batch, equal), MASK)
  assert not np.asarray(selected('above_quantile', 'batch', batch, equal)).any()


@pytest.mark.parametrize('tokens', [1, 6, 11])
def test_a_quantile_that_is_a_token_is_not_above_itself(tokens):
  """q (n - 1) is a whole number: >= takes one more token than >."""
  values = jnp.asarray(np.random.default_rng(tokens).normal(size=(1, tokens)))
  pool = selectors.Pool(
    values > -jnp.inf, jnp.zeros(1, jnp.int32), jnp.zeros((1, tokens), 'uint32')
  )
  taken = [
    int(np.sum(select(values, pool, q=0.8)))
    for select in (selectors.quantile, selectors.above_quantile)
  ]
  assert taken == [tokens // 5 + 1, tokens // 5]


def test_random_in_band_is_uniform_and_follows_its_seed():
  batch, values = example()
  inside = MASK & (np.asarray(values) > 0.1) & (np.asarray(values) < 0.95)
  count = int(0.4 * MASK.sum())
  draw = jax.jit(
    lambda logp, seed=3: selectors.random_in_band(
      values,
      make_pool(batch._replace(logp=logp), 'batch'),
      **{**OPTIONS['random_in_band'], 'seed': seed},
    ),
    static_argnums=1,
  )
  logps = np.random.default_rng(5).normal(size=(500, B, T))
  drawn = np.array(jax.lax.map(draw, jnp.asarray(logps)))
  assert (drawn.sum(axis=(1, 2)) == count).all() and not drawn[:, ~inside].any()
  chance = count / inside.sum()
  spread = np.sqrt(chance * (1 - chance) / 500)
  np.testing.assert_allclose(drawn.mean(axis=0)[inside], chance, atol=4 * spread)
  assert (np.array(draw(batch.logp, 4)) != np.array(draw(batch.logp))).any()
  again = selected('random_in_band', 'batch', batch, values)
  np.testing.assert_array_equal(np.array(draw(batch.logp)), again)


def test_random_in_band_takes_one_at_least_and_what_there_is():
  batch, values = example()
  assert selected('random_in_band', 'batch', batch, values, share=1e-6).sum() == 1
  assert selected('random_in_band', 'batch', batch, values, low=5.0, high=6.0).sum() == 0
  everything = selected('random_in_band', 'batch', batch, values, share=1.0)
  np.testing.assert_array_equal(
    everything, selected('band', 'batch', batch, values, low=0.1, high=0.95)
  )


def test_weights_by_hand():
  batch, values = example()
  x, part = np.asarray(values), np.asarray(values)[MASK]
  hand = {
    'as_is': x,
    'linear': (x - part.min()) / (part.max() - part.min()),
    'exponential': 0.8 ** (x / part.max()),
    'decay': np.maximum(np.exp(-0.7 * x), 0.3),
    'z_score': 1 / (1 + np.exp(-2 * (x - part.mean()) / (part.std() + 1e-6))),
    'inverse': part.mean() / (part.mean() + x),
  }
  for name, expected in hand.items():
    weight = selected(name, 'batch', batch, values)
    np.testing.assert_allclose(weight, np.where(MASK, expected, 0), rtol=1e-12)


@pytest.mark.parametrize('name', ['linear', 'z_score', 'inverse'])
def test_where_all_tokens_are_equal_none_stands_out(name):
  for value in (0.0, 0.7):
    weight = selected(name, 'group', example()[0], jnp.full((B, T), value))
    np.testing.assert_allclose(weight, np.where(MASK, 0.5, 0), rtol=1e-6)
