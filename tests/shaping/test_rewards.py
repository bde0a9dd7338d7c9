"""Rewards and bonuses: by hand, invariances, and the numbers of the originals."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from maxent_lm.shaping import TRANSFORMS, rewards
from maxent_lm.soft import divergence, semantic
from maxent_lm.types import Batch, Critic, Scores, Views

REFERENCE = pathlib.Path(__file__).parents[1] / 'reference' / 'semantic_entropy.json'
CASES = {case['case']: case for case in json.loads(REFERENCE.read_text())['cases']}

B, T, K = 8, 6, 3
GROUP = [6, 6, 6, 6, 1, 1, 1, 3]
CLUSTER = [0, 0, 1, -1, 2, 2, 2, -1]
SPANS = [(1, 4), (0, 2), (2, 5), (3, 4), (0, 5), (2, 2), (1, 5), (1, 3)]  # row 5 is empty
MASK = np.array([[start <= t < end for t in range(T)] for start, end in SPANS])
LENGTH = MASK.sum(axis=1)

OPTIONS = {
  'answer_frequency': {'missing': 'own', 'low': 0.0, 'high': 1.0},
  'majority_label': {'missing': 'shared', 'ties': 'all'},
  'negative_entropy': {},
  'self_certainty_reward': {},
  'semantic_bonus': {'coefficient': 0.3, 'of': 'row', 'missing': 'dropped'},
  'count_bonus': {'coefficient': 0.3, 'missing': 'own'},
  'perplexity_bonus': {'coefficient': 0.3, 'cap': 0.5},
  'novelty_bonus': {'coefficient': 0.3},
  'disagreement_bonus': {'coefficient': 0.3},
  'kl_in_reward': {'coefficient': 0.3, 'kl': 'k3'},
  'entropy_in_reward': {'coefficient': 0.3},
  'overlong': {'coefficient': 1.0, 'limit': 4, 'buffer': 2},
}
PER_TOKEN = ('novelty_bonus', 'disagreement_bonus', 'kl_in_reward', 'entropy_in_reward')
REPLACES = ('answer_frequency', 'majority_label', 'negative_entropy', 'self_certainty_reward')
each_transform = pytest.mark.parametrize('name', OPTIONS)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def problem(seed=0):
  rng = np.random.default_rng(seed)
  scores = [Scores(*map(jnp.asarray, rng.normal(size=(5, B, T)))) for _ in range(2)]
  critic = Critic(
    ensemble=jnp.asarray(rng.normal(size=(B, T, K))), novelty=jnp.asarray(rng.uniform(size=(B, T)))
  )
  views = Views(scores[0], None, scores[1], critic, kl=jnp.asarray(rng.uniform(size=(B, T))))
  logp, reward = rng.normal(size=(2, B, T)) - 1
  batch = Batch(
    tokens=jnp.zeros((B, T), jnp.int32),
    mask=jnp.asarray(MASK),
    logp=jnp.asarray(logp),
    reward=jnp.asarray(reward),
    weight=jnp.ones((B, T)),
    advantage=jnp.zeros((B, T)),
    group=jnp.asarray(GROUP, jnp.int32),
    cluster=jnp.asarray(CLUSTER, jnp.int32),
    bootstrap=jnp.asarray([True, False] * 4),
  )
  return batch, views


def apply(name, batch, views, **changes):
  return TRANSFORMS[name](batch, views, **{**OPTIONS[name], **changes})


def gained(name, **changes):
  """[B, T] what the transform adds under the mask."""
  batch, views = problem()
  return np.where(MASK, apply(name, batch, views, **changes).reward - batch.reward, 0)


def at_end(amounts):
  reward = np.zeros((B, T))
  for row, (start, end) in enumerate(SPANS):
    if end > start:
      reward[row, end - 1] = amounts[row]
  return reward


def spoil(x, kept):
  """NaN in the columns of floats that are not `kept`."""
  if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
    return x
  return jnp.where(kept.reshape(kept.shape + (1,) * (x.ndim - 2)), x, jnp.nan)


def mean(values):
  return np.where(MASK, values, 0).sum(axis=1) / np.maximum(LENGTH, 1)


@each_transform
def test_only_the_reward_changes_and_nothing_outside_the_mask_counts(name):
  batch, views = problem()
  shaped = jax.jit(functools.partial(apply, name))(batch, views)
  jax.tree.map(np.testing.assert_array_equal, shaped._replace(reward=0), batch._replace(reward=0))
  assert not np.asarray(shaped.reward)[~MASK].any()
  assert shaped.reward.dtype == batch.reward.dtype and shaped.reward.shape == (B, T)
  cut = np.pad(MASK, ((0, 0), (1, 0)))[:, :T]  # the state at a cut is read
  critic = views.critic._replace(ensemble=spoil(views.critic.ensemble, MASK | cut))
  seen = jax.tree.map(lambda x: spoil(x, MASK), views._replace(critic=Critic()))
  critic = critic._replace(novelty=spoil(views.critic.novelty, MASK))
  poisoned = jax.tree.map(lambda x: spoil(x, MASK), batch)
  spoiled = apply(name, poisoned, seen._replace(critic=critic))
  np.testing.assert_allclose(spoiled.reward, shaped.reward, rtol=1e-12)


@each_transform
def test_order_of_rows_and_names_of_groups_and_classes_do_not_matter(name):
  batch, views = problem()
  expected = apply(name, batch, views).reward
  order = np.random.default_rng(1).permutation(B)
  shuffled = apply(name, *jax.tree.map(lambda x: x[order], (batch, views))).reward
  np.testing.assert_allclose(shuffled, expected[order], rtol=1e-12, atol=1e-15)
  renamed = batch._replace(
    group=7 - batch.group, cluster=jnp.where(batch.cluster < 0, -1, 9 - batch.cluster)
  )
  np.testing.assert_allclose(apply(name, renamed, views).reward, expected, rtol=1e-12, atol=1e-15)


@each_transform
def test_what_is_replaced_and_what_is_added(name):
  batch, views = problem()
  more = batch._replace(reward=batch.reward + 1)
  difference = apply(name, more, views).reward - apply(name, batch, views).reward
  if name == 'perplexity_bonus':
    difference = (
      apply(name, more, views, cap=np.inf).reward - apply(name, batch, views, cap=np.inf).reward
    )
  expected = np.zeros((B, T)) if name in REPLACES else MASK
  np.testing.assert_allclose(difference, expected, atol=1e-12)
  if name not in PER_TOKEN:
    ends = at_end(np.ones(B)) > 0
    amounts = apply(name, batch._replace(reward=0 * batch.reward), views).reward
    assert not np.asarray(amounts)[~ends].any()


@each_transform
def test_the_config_has_its_options(name):
  batch, views = problem()
  section = base.get_config()[name]
  assert set(section) == set(OPTIONS[name])
  assert jnp.isfinite(TRANSFORMS[name](batch, views, **section).reward).all()


def reward_of(name, **changes):
  """[B] the return after the transform."""
  batch, views = problem()
  return np.where(MASK, apply(name, batch, views, **changes).reward, 0).sum(axis=1)


def test_answer_frequency():
  """Group 6 holds classes 0 0 1 -; group 1 has two rows of class 2 (one is empty); 3 is alone."""
  own = {'missing': 'own', 'high': 2.0}
  expected = [0.5, 0.5, 0.25, 0.25, 1, 0, 1, 1]
  np.testing.assert_allclose(reward_of('answer_frequency', **own), expected)
  expected = [2 / 3, 2 / 3, 1 / 3, 0, 1, 0, 1, 0]
  dropped = {'missing': 'dropped', 'high': 2.0}
  np.testing.assert_allclose(reward_of('answer_frequency', **dropped), expected)
  expected = [0.5, 0.5, 0.25, 0.25, 1, 0, 1, 0]  # the group of one: all its classes differ
  np.testing.assert_allclose(reward_of('answer_frequency', missing='own'), expected)
  share = semantic.discrete(
    semantic.classes(np.array([0, 0, 1, 2]), np.zeros(4, int), np.ones(4), missing='own')
  )[0] / np.log(4)
  np.testing.assert_allclose(share, 0.75)
  for low, high, kept in ((0.7, 0.8, 1), (0.76, 0.8, 0), (0.7, 0.75, 0), (0.75, 0.8, 1)):
    first = reward_of('answer_frequency', low=low, high=high)[0]
    np.testing.assert_allclose(first, 0.5 * kept)


@pytest.mark.parametrize('x64', [False, True])
def test_a_group_of_all_different_answers_is_left_out_whatever_its_size(x64):
  with jax.enable_x64(x64):
    for rows in (2, 3, 7, 64, 1000):
      for repeated in (0, 1):
        cluster = jnp.arange(rows).at[0].set(repeated)
        batch = small(cluster, rows)
        kept = rewards.answer_frequency(batch, missing='own', low=0.0, high=1.0).reward.any()
        assert bool(kept) == bool(repeated)


def small(cluster, rows):
  """One group, one token a row."""
  zero = jnp.zeros((rows, 1))
  group = jnp.zeros(rows, jnp.int32)
  return Batch(
    zero, zero == 0, zero, zero, zero, zero, group, jnp.asarray(cluster, jnp.int32), group > 0
  )


def test_empo():
  case = CASES['empo_trl_reward_0123']
  batch = small(case['inputs']['semantic_ids'], 4)
  ours = rewards.answer_frequency(batch, missing='own', low=0.0, high=1.0).reward[:, 0]
  np.testing.assert_array_equal(ours, case['outputs']['reward'])
  case = CASES['empo_voting_reward']
  clusters = [0, 0, 1, 2, 3, 0, 4, 1]
  batch = small(clusters, 8)
  frequency = rewards.answer_frequency(batch, missing='own', low=0.0, high=2.0).reward[:, 0]
  np.testing.assert_allclose(frequency, case['inputs']['frequencies'])
  voted = rewards.majority_label(batch, missing='own', ties='all').reward[:, 0]
  np.testing.assert_array_equal(voted, case['outputs']['reward'])


@pytest.mark.parametrize(
  ('cluster', 'missing', 'ties', 'expected'),
  [
    ([0, 1, 1, 0, 2], 'own', 'all', [1, 1, 1, 1, 0]),
    ([0, 1, 1, 0, 2], 'own', 'none', [0, 0, 0, 0, 0]),
    ([1, 0, 0, 1, 2], 'own', 'first', [1, 0, 0, 1, 0]),
    ([1, 0, 0, 0, 2], 'own', 'first', [0, 1, 1, 1, 0]),
    ([1, 0, 0, 0, 2], 'own', 'none', [0, 1, 1, 1, 0]),
    ([-1, -1, -1, 0, 0], 'shared', 'none', [1, 1, 1, 0, 0]),
    ([-1, -1, -1, 0, 0], 'own', 'none', [0, 0, 0, 1, 1]),
    ([-1, -1, -1, 0, 0], 'dropped', 'all', [0, 0, 0, 1, 1]),
    ([-1] * 5, 'dropped', 'first', [0] * 5),
    ([-1] * 5, 'own', 'all', [1] * 5),
  ],
)
def test_majority_label(cluster, missing, ties, expected):
  reward = rewards.majority_label(small(cluster, 5), missing=missing, ties=ties).reward
  np.testing.assert_array_equal(reward[:, 0], expected)


def test_certainty_rewards_are_means_over_tokens():
  _, views = problem()
  assert not reward_of('negative_entropy')[5].any()
  np.testing.assert_allclose(reward_of('negative_entropy'), -mean(views.policy.entropy))
  np.testing.assert_allclose(reward_of('self_certainty_reward'), mean(views.policy.measure))


def test_semantic_bonus_by_row_averages_to_that_by_group():
  batch, _ = problem()
  batch = batch._replace(mask=batch.mask | True)
  for missing in semantic.MISSING:
    bonus = functools.partial(rewards.semantic_bonus, coefficient=0.3, missing=missing)
    gains = [
      np.asarray(bonus(batch, of=of).reward - batch.reward).sum(1) for of in ('row', 'group')
    ]
    for group in (6, 1):
      rows = (np.array(GROUP) == group) & ((np.array(CLUSTER) >= 0) | (missing != 'dropped'))
      np.testing.assert_allclose(gains[0][rows].mean(), gains[1][rows], rtol=1e-12)
  surprise = -0.3 * np.log([0.5, 0.5, 0.25, 0.25, 1, 1, 1, 1])
  np.testing.assert_allclose(gained('semantic_bonus', missing='own'), at_end(surprise), atol=1e-15)
  opposite = gained('semantic_bonus', missing='own', coefficient=-0.3)
  np.testing.assert_allclose(opposite, -at_end(surprise), atol=1e-15)


def test_count_bonus():
  amounts = 0.3 / np.sqrt([2, 2, 1, 1, 2, 1, 2, 1])
  np.testing.assert_allclose(gained('count_bonus'), at_end(amounts), atol=1e-15)
  dropped = amounts * (np.array(CLUSTER) >= 0)
  np.testing.assert_allclose(gained('count_bonus', missing='dropped'), at_end(dropped), atol=1e-15)


def test_perplexity_bonus_is_capped_by_the_return():
  batch, _ = problem()
  free = -0.3 * mean(batch.logp)
  limit = np.abs(np.where(MASK, batch.reward, 0).sum(axis=1))
  np.testing.assert_allclose(gained('perplexity_bonus', cap=np.inf), at_end(free), atol=1e-15)
  capped = np.clip(free, -0.1 * limit, 0.1 * limit)
  assert (capped[LENGTH > 0] != free[LENGTH > 0]).any()
  np.testing.assert_allclose(gained('perplexity_bonus', cap=0.1), at_end(capped), atol=1e-15)
  nothing = batch._replace(reward=0 * batch.reward)
  assert not rewards.perplexity_bonus(nothing, coefficient=0.3, cap=0.5).reward.any()
  assert rewards.perplexity_bonus(nothing, coefficient=0.3, cap=jnp.inf).reward.any()


def test_bonuses_of_networks_are_about_the_state_that_the_token_leads_to():
  batch, views = problem()
  novelty = np.where(MASK, 0.3 * views.critic.novelty, 0)
  np.testing.assert_allclose(gained('novelty_bonus'), novelty, atol=1e-15)
  spread = np.asarray(views.critic.ensemble).std(axis=-1)
  expected = np.zeros((B, T))
  for row, (start, end) in enumerate(SPANS):
    for t in range(start, end):
      if t + 1 < end or bool(batch.bootstrap[row]):
        expected[row, t] = 0.3 * spread[row, t + 1]
  np.testing.assert_allclose(gained('disagreement_bonus'), expected, atol=1e-15)


def test_kl_and_entropy_in_the_reward():
  batch, views = problem()
  ratio = np.asarray(batch.logp - views.reference.logp)
  for kl in ('k1', 'k2', 'k3'):
    expected = np.where(MASK, -0.3 * getattr(divergence, kl)(ratio), 0)
    np.testing.assert_allclose(gained('kl_in_reward', kl=kl), expected, rtol=1e-10, atol=1e-14)
  exact = np.where(MASK, -0.3 * views.kl, 0)
  np.testing.assert_allclose(gained('kl_in_reward', kl='exact'), exact, atol=1e-15)
  entropy = np.where(MASK, 0.3 * views.policy.entropy, 0)
  np.testing.assert_allclose(gained('entropy_in_reward'), entropy, atol=1e-15)
  far = batch._replace(logp=jnp.full((B, T), -1e4))
  assert jnp.isfinite(apply('kl_in_reward', far, views).reward).all()


def test_overlong():
  """limit 4, buffer 2: nothing up to 2 tokens, half at 3, all from 4 on."""
  punishment = {0: 0, 1: 0, 2: 0, 3: -0.5, 4: -1, 5: -1}
  np.testing.assert_allclose(
    gained('overlong'), at_end([punishment[n] for n in LENGTH]), atol=1e-15
  )
  with pytest.raises(ValueError, match='buffer=5 must be between 1 and limit=4'):
    gained('overlong', buffer=5)


@pytest.mark.parametrize(
  ('name', 'changes', 'message'),
  [
    ('majority_label', {'ties': 'some'}, "ties='some' is unknown; choose one of all, none, first"),
    ('semantic_bonus', {'of': 'rows'}, "of='rows' is unknown; choose one of row, group"),
    ('count_bonus', {'missing': 'x'}, "missing='x' is unknown; choose one of own, shared, dropped"),
    ('kl_in_reward', {'kl': 'k4'}, "kl='k4' is unknown; choose one of k1, k2, k3, exact"),
  ],
)
def test_unknown_options_are_told_with_the_known_ones(name, changes, message):
  with pytest.raises(ValueError, match=message):
    gained(name, **changes)


@pytest.mark.parametrize(
  ('name', 'changes', 'message'),
  [
    ('self_certainty_reward', {}, 'config.measure='),
    ('novelty_bonus', {}, 'Critic.novelty'),
    ('disagreement_bonus', {}, 'Critic.ensemble'),
    ('kl_in_reward', {}, 'config.reference='),
    ('kl_in_reward', {'kl': 'exact'}, 'config.reference='),
  ],
)
def test_what_is_not_seen_is_told(name, changes, message):
  batch, views = problem()
  blind = Views(views.policy._replace(measure=None), critic=Critic())
  with pytest.raises(ValueError, match=message):
    apply(name, batch, blind, **changes)
