"""Losses of the networks of curiosity: laws, and which rows a head learns from."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.algorithms.curiosity import AUXILIARY, bootstrap_weight
from maxent_lm.types import Batch, Critic, Scores, Temperature, Views

B, T, K = 5, 7, 3
MASK = np.zeros((B, T), bool)
for _row, _columns in enumerate([range(1, 5), range(0, 3), [2, 3, 5], [4], []]):
  MASK[_row, list(_columns)] = True
BOOTSTRAP = np.array([True, False, False, False, True])
LOSSES = {
  'distillation': AUXILIARY['distillation'],
  'ensemble_regression': functools.partial(AUXILIARY['ensemble_regression'], keep=0.6, seed=1),
}
KNOBS = Temperature(jnp.ones(()), jnp.ones(()))
each = pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def problem():
  rng = np.random.default_rng(0)
  zeros = jnp.zeros((B, T))
  critic = Critic(
    ensemble=jnp.asarray(rng.normal(size=(B, T, K))), novelty=jnp.asarray(rng.uniform(size=(B, T)))
  )
  batch = Batch(
    tokens=jnp.asarray(rng.integers(0, 9, size=(B, T)), jnp.int32),
    mask=jnp.asarray(MASK),
    logp=zeros,
    reward=jnp.asarray(rng.normal(size=(B, T))),
    weight=zeros,
    advantage=zeros,
    group=jnp.arange(B),
    cluster=jnp.zeros(B, jnp.int32),
    bootstrap=jnp.asarray(BOOTSTRAP),
  )
  return Views(Scores(zeros, zeros, zeros, zeros), critic=critic), batch


def outcome(loss, views, batch):
  def total(critic):
    values, metrics = loss(views._replace(critic=critic), batch, KNOBS)
    return jnp.sum(values), (values, metrics)

  gradient, (values, metrics) = jax.jit(jax.grad(total, has_aux=True))(views.critic)
  return values, metrics, gradient


def close(left, right):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), left, right)


@each
def test_order_of_the_rows_does_not_matter(loss):
  order = np.random.default_rng(1).permutation(B)
  values, metrics, gradient = outcome(loss, *problem())
  other = outcome(loss, *jax.tree.map(lambda x: x[order], problem()))
  close(jax.tree.map(lambda x: x[order], (values, gradient)), (other[0], other[2]))
  close(metrics, other[1])
  assert np.asarray(values)[MASK].any()


@each
def test_what_lies_outside_the_mask_is_never_read(loss):
  views, batch = problem()
  cut = np.zeros((B, T), bool)
  cut[0, 5] = True  # the value at the bootstrapped cut of row 0

  def spoil(x):
    here = (MASK | cut).reshape(MASK.shape + (1,) * (x.ndim - 2))
    return jnp.where(here, x, jnp.nan)

  critic = jax.tree.map(spoil, views.critic)
  tokens = jnp.where(MASK, batch.tokens, 99)
  spoilt = batch._replace(reward=jnp.where(MASK, batch.reward, jnp.nan), tokens=tokens)
  found = outcome(loss, views._replace(critic=critic), spoilt)
  close(found, outcome(loss, views, batch))
  assert not any(np.asarray(leaf)[~MASK].any() for leaf in (found[0], *jax.tree.leaves(found[2])))


@each
def test_place_in_the_row_and_gaps_do_not_matter(loss):
  """Row 2 has a gap: without its columns, and after padding, the numbers are the same."""
  whole = jax.tree.map(lambda x: x[2:3], problem())
  columns = np.array([2, 3, 5])

  def packed(x):
    sides = ((0, 0), (3, 1)) + ((0, 0),) * (x.ndim - 2)
    return jnp.pad(x[:, columns], sides) if x.ndim > 1 else x

  values, metrics, gradient = outcome(loss, *whole)
  other = outcome(loss, *jax.tree.map(packed, whole))
  close(jax.tree.map(packed, (values, gradient)), (other[0], other[2]))
  close(metrics, other[1])


def test_distillation_is_the_novelty():
  views, batch = problem()
  values, metrics, _ = outcome(LOSSES['distillation'], views, batch)
  np.testing.assert_array_equal(values, np.where(MASK, views.critic.novelty, 0))
  np.testing.assert_allclose(metrics['novelty'], np.asarray(views.critic.novelty)[MASK].mean())


def test_every_head_is_pulled_to_the_return_to_go():
  views, batch = problem()
  loss = functools.partial(AUXILIARY['ensemble_regression'], keep=1.0, seed=1)
  gradient = outcome(loss, views, batch)[2].ensemble
  ensemble, reward = np.asarray(views.critic.ensemble), np.asarray(batch.reward)
  for row in range(B):
    for column in np.flatnonzero(MASK[row]):
      later = MASK[row] & (np.arange(T) >= column)
      target = reward[row, later].sum() + (ensemble[0, 5] if row == 0 else 0)
      np.testing.assert_allclose(gradient[row, column], (ensemble[row, column] - target) / K)


def weights(tokens, mask, **options):
  _, batch = problem()
  settings = {'heads': 4, 'keep': 0.3, 'seed': 0, **options}
  return bootstrap_weight(batch._replace(tokens=tokens, mask=mask), **settings)


def test_the_bootstrap_is_fair_and_independent():
  rng = np.random.default_rng(0)
  tokens = jnp.asarray(rng.integers(0, 12, size=(4000, 5)), jnp.int32)
  mask = jnp.ones((4000, 5), bool)
  drawn = np.asarray(weights(tokens, mask)) > 0
  np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=0.03)
  pairs = np.corrcoef(drawn.T) - np.eye(4)
  assert np.abs(pairs).max() < 0.06
  other = np.asarray(weights(tokens, mask, seed=1)) > 0
  assert np.abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.04
  assert set(np.unique(weights(tokens, mask))) == {0, 1 / 0.3}
  swapped = np.asarray(weights(tokens[:, ::-1], mask)) > 0  # the order of the tokens counts
  assert (swapped != drawn).mean() > 0.3


def test_what_is_missing_is_told():
  views, batch = problem()
  for name, sentence in (('distillation', "kind='rnd'"), ('ensemble_regression', "='ensemble'")):
    with pytest.raises(ValueError, match=sentence):
      LOSSES[name](views._replace(critic=Critic()), batch, KNOBS)
  with pytest.raises(ValueError, match='keep=0.0 must be above 0'):
    bootstrap_weight(batch, heads=2, keep=0.0, seed=0)
