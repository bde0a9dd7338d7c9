"""Advantages shaped by entropy: numbers of the original implementations, then laws."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.shaping import entropy_advantages as shaped
from maxent_lm.types import Batch, Critic, Scores, Views

CASES = pathlib.Path(__file__).parent.parent / 'reference' / 'advantages.json'
REFERENCE = {case['case']: case for case in json.loads(CASES.read_text())['cases']}
LENGTHS = (3, 4, 1, 0, 2, 4)
GROUP = (0, 0, 0, 0, 4, 4)
CLUSTER = (2, 2, 1, 0, -1, -1)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def batch_of(advantage, mask, group, cluster):
  mask, advantage = jnp.asarray(mask, bool), jnp.asarray(advantage, float)
  zero, group = jnp.zeros(mask.shape), jnp.asarray(group, jnp.int32)
  cluster = jnp.asarray(cluster, jnp.int32)
  return Batch(zero, mask, zero, zero, zero, advantage, group, cluster, group < 0)


def problem():
  """Six rows in two groups; the fourth is empty; NaN outside the mask."""
  rng = np.random.default_rng(0)
  mask = np.arange(4) < np.array(LENGTHS)[:, None]
  logit, entropy, measure = np.where(mask, rng.uniform(0.1, 2, size=(3, 6, 4)), np.nan)
  advantage = np.where(mask, rng.normal(size=(6, 1)), np.nan)
  scores = Scores(*map(jnp.asarray, (-logit, logit, logit, entropy, measure)))
  ensemble = jnp.asarray(np.where(mask[..., None], rng.normal(size=(6, 4, 3)), np.nan))
  views = Views(scores, critic=Critic(ensemble=ensemble))
  return batch_of(advantage, mask, GROUP, CLUSTER), views


UCAS = functools.partial(
  shaped.ucas, positive=0.25, negative=0.35, logit_weight=0.05, pool='sum', eps=1e-6
)
TABLE = {
  'entropy_bonus_advantage': functools.partial(
    shaped.entropy_bonus_advantage, strength=0.4, kappa=2.0
  ),
  'disagreement_advantage': functools.partial(
    shaped.disagreement_advantage, strength=0.5, kappa=3.0
  ),
  'edge': functools.partial(shaped.edge, floor=1e-3),
  'gtpo': functools.partial(shaped.gtpo, highest=1.0, strength=0.1),
  'ucas sum': UCAS,
  'ucas mean': functools.partial(UCAS, pool='mean'),
  **{
    f'seed_grpo {each}': functools.partial(shaped.seed_grpo, discount=each, strength=0.6)
    for each in shaped.DISCOUNTS
  },
}


@pytest.mark.parametrize(
  ('case', 'transform'),
  [
    ('edge_grpo_eda', 'edge'),  # the original has no mask: here every column is a response token
    ('entropy_shaped_adv_alpha0.4_kappa2.0', 'entropy_bonus_advantage'),
  ],
)
def test_the_numbers_of_the_original(case, transform):
  given = REFERENCE[case]
  entropy, before = jnp.asarray(given['entropy']), jnp.asarray(given['before'])
  before = jnp.broadcast_to(before[:, None] if before.ndim == 1 else before, (4, 4))
  batch = batch_of(before, np.ones((4, 4)), range(4), range(4))
  found = TABLE[transform](batch, Views(Scores(entropy, entropy, entropy, entropy))).advantage
  after = np.array(given['advantage'])
  after = np.broadcast_to(after[:, None] if after.ndim == 1 else after, (4, 4))
  np.testing.assert_allclose(found, after, rtol=1e-6)


@pytest.mark.parametrize('name', TABLE)
def test_laws(name):
  """Only the advantage changes, 0 outside the mask; rows in any order, groups of any name."""
  batch, views = problem()
  found = TABLE[name](batch, views)
  assert np.isfinite(found.advantage).all() and not found.advantage[~batch.mask].any()
  assert not np.allclose(found.advantage[batch.mask], batch.advantage[batch.mask])
  assert found._replace(advantage=batch.advantage) == batch
  order = np.random.default_rng(1).permutation(6)
  other = TABLE[name](*jax.tree.map(lambda x: x[order], (batch, views)))
  np.testing.assert_allclose(other.advantage, found.advantage[order], rtol=1e-12)
  renamed = batch._replace(group=jnp.asarray([5, 5, 5, 5, 1, 1], jnp.int32))
  np.testing.assert_allclose(TABLE[name](renamed, views).advantage, found.advantage, rtol=1e-12)
  jitted = jax.jit(TABLE[name])(batch, views).advantage
  np.testing.assert_allclose(jitted, found.advantage, rtol=1e-12)


@pytest.mark.parametrize('name', TABLE)
def test_padding_and_empty_rows_do_not_matter(name):
  batch, views = problem()
  found = TABLE[name](batch, views).advantage

  def padded(x):
    return x if x.ndim == 1 else jnp.pad(x, ((0, 0), (2, 1), (0, 0))[: x.ndim])

  wide = jax.tree.map(padded, (batch, views))
  np.testing.assert_allclose(TABLE[name](*wide).advantage[:, 2:6], found, rtol=1e-12)
  fewer = jax.tree.map(lambda x: jnp.delete(x, 3, axis=0), (batch, views))
  shorter = TABLE[name](*fewer).advantage
  np.testing.assert_allclose(shorter, jnp.delete(found, 3, axis=0), rtol=1e-12)


def test_the_bonus_keeps_the_sign():
  batch, views = problem()
  views = Views(views.policy._replace(entropy=100 * views.policy.entropy))
  found = TABLE['entropy_bonus_advantage'](batch, views).advantage
  np.testing.assert_array_equal(jnp.sign(found[batch.mask]), jnp.sign(batch.advantage[batch.mask]))
  np.testing.assert_allclose(
    found[batch.mask], (batch.advantage + jnp.abs(batch.advantage) / 2)[batch.mask]
  )


def test_gtpo_by_hand():
  batch = batch_of(np.ones((2, 2)), [[1, 1], [1, 0]], [0, 0], [0, 0])
  entropy = jnp.asarray([[0.2, 0.4], [0.8, 0.0]])
  found = shaped.gtpo(batch, Views(Scores(*[entropy] * 4)), highest=0.7, strength=0.1).advantage
  np.testing.assert_allclose(found, [[0.97, 0.97], [0, 0]])


def test_ucas_by_hand():
  """Certainties 1 and 3 are z = -+1 / sqrt 2; logits 0 and 4 are 0 and 1 of their range."""
  batch = batch_of([[1, 1], [-1, -1]], [[1, 1], [1, 1]], [0, 0], [0, 0])
  logit = jnp.asarray([[0.0, 4.0], [4.0, 0.0]])
  certainty = jnp.asarray([[0.5, 0.5], [1.0, 2.0]])
  views = Views(Scores(logit, logit, logit, logit, certainty))
  found = UCAS(batch, views, logit_weight=2.0, eps=0.0).advantage
  right, wrong = np.exp(0.25 / np.sqrt(2)), -np.exp(0.35 / np.sqrt(2))
  np.testing.assert_allclose(found, [[right, 0], [wrong - 2, wrong]], rtol=1e-12)


def test_seed_by_hand():
  """Clusters 2, 2, 1 of three rows; unclustered rows agree with nobody; equal ones keep A."""
  batch, views = problem()
  share = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)) / np.log(3)
  expected = np.array([1 - 0.6 * share] * 4 + [0.4] * 2)
  found = TABLE['seed_grpo linear'](batch, views).advantage
  np.testing.assert_allclose(
    found[batch.mask], (batch.advantage * expected[:, None])[batch.mask], rtol=1e-12
  )
  agreed = batch._replace(cluster=jnp.zeros(6, jnp.int32))
  for name in ('seed_grpo linear', 'seed_grpo exp', 'seed_grpo focal'):
    kept = TABLE[name](agreed, views).advantage
    np.testing.assert_allclose(kept[batch.mask], batch.advantage[batch.mask], rtol=1e-12)


def test_disagreement_is_a_bonus_that_changes_no_sign():
  batch, views = problem()
  advantage = np.nan_to_num(np.asarray(batch.advantage))
  spread = np.nan_to_num(np.std(np.asarray(views.critic.ensemble), axis=-1))
  found = TABLE['disagreement_advantage'](batch, views).advantage
  expected = advantage + np.minimum(0.5 * spread, np.abs(advantage) / 3)
  np.testing.assert_allclose(found, expected, rtol=1e-12)
  assert (np.sign(found) == np.sign(advantage)).all()
  assert (0.5 * spread < np.abs(advantage) / 3).any()  # both sides of the minimum
  assert (0.5 * spread > np.abs(advantage) / 3).any()


def test_refusals():
  batch, views = problem()
  with pytest.raises(ValueError, match="set config.curiosity.kind='ensemble'"):
    TABLE['disagreement_advantage'](batch, views._replace(critic=None))
  with pytest.raises(ValueError, match="unknown pool 'max'; choose one of mean, sum"):
    UCAS(batch, views, pool='max')
  with pytest.raises(ValueError, match='ucas needs a measure of certainty'):
    UCAS(batch, Views(views.policy._replace(measure=None)))
  with pytest.raises(
    ValueError, match="unknown discount 'cosine'; choose one of exp, focal, linear"
  ):
    shaped.seed_grpo(batch, views, discount='cosine', strength=1.0)
