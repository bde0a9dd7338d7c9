"""Rows of unknown reward: they are as if they were not there, and are not wrong answers."""

import json
import types

import jax
import numpy as np
import pytest

from maxent_lm import replay
from maxent_lm.data import Graded
from maxent_lm.sampling.generate import Rollout
from maxent_lm.shaping.advantages import group_normalised, leave_one_out
from maxent_lm.tasks.base import Problem, Undecided
from maxent_lm.train.collect import SHOWN, Mixed, Rollouts, informative

G, N, T = 4, 3, 2
UNKNOWN = np.nan
STATE = types.SimpleNamespace(
  params=None, key=jax.random.key(0), sampler=types.SimpleNamespace(value=1.0)
)


class Reader:
  """Gives out the rewards it is told; every row is the response (7, 1) of class `c`."""

  def __init__(self, rewards):
    self.rewards = np.array(rewards, np.float32)
    self.task = [Problem(str(i), str(i), '', i) for i in range(N)]

  def prompts(self, problems):
    return [[3] for _ in problems]

  def padded(self, prompts):
    return np.array(prompts, np.int32), np.ones((len(prompts), 1), bool)

  def columns(self, prompts, max_new_tokens):
    return 1 + max_new_tokens + 1

  def grade(self, problems, tokens, length, finished):
    classes = [None if np.isnan(each) else 'c' for each in self.rewards]
    return Graded(['c'] * len(classes), tokens.tolist(), finished, self.rewards, classes)


def sample(rewards):
  rows = N * G
  finished = np.arange(rows) % 2 == 0
  numbers = np.full((rows, T), -0.5, np.float32)

  def generate(*_):
    tokens = np.tile(np.array([7, 1]), (rows, 1))
    return Rollout(tokens, np.full(rows, T), finished, numbers, numbers)

  made = Rollouts(
    reader=Reader(rewards),
    generate=generate,
    prompts_per_step=N,
    group_size=G,
    max_new_tokens=T,
    bootstrap=True,
    seed=0,
    sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
  )
  return made, made.sample(0, STATE)


REWARDS = [1, UNKNOWN, 0, 0, UNKNOWN, 1, 1, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


class Unsure(list, Undecided):
  """Problems; the first one is never decided."""

  def undecided(self, problem, response, finished):
    return response == 'c' and problem.data == 0


def test_undecided_answers_are_counted():
  made, sampled = sample([0] * (N * G))
  assert 'undecided' not in sampled.metrics
  made.reader.task = Unsure(made.reader.task)
  np.testing.assert_allclose(made.sample(0, STATE).metrics['undecided'], 1 / N)


def test_a_row_of_unknown_reward_is_empty():
  made, sampled = sample(REWARDS)
  batch = made.batch(sampled.groups)
  known = ~np.isnan(REWARDS)
  np.testing.assert_array_equal(np.asarray(batch.mask).any(axis=1), known)
  np.testing.assert_array_equal(np.asarray(batch.reward).sum(axis=1), np.nan_to_num(REWARDS))
  np.testing.assert_array_equal(np.asarray(batch.cluster) >= 0, known)
  np.testing.assert_array_equal(np.asarray(batch.bootstrap), known & (np.arange(N * G) % 2 == 1))
  assert not np.asarray(batch.logp)[~known].any()


@pytest.mark.parametrize('estimate', [leave_one_out, lambda b: group_normalised(b, eps=0, ddof=1)])
def test_the_others_are_compared_as_if_it_were_not_there(estimate):
  made, sampled = sample(REWARDS)
  batch = made.batch(sampled.groups)
  rows = np.flatnonzero(~np.isnan(REWARDS))
  sliced = jax.tree.map(lambda x: None if x is None else x[rows], batch)
  ours = np.asarray(estimate(batch).advantage)
  np.testing.assert_allclose(ours[rows], np.asarray(estimate(sliced).advantage), rtol=1e-6)
  assert ours[rows].any() and not np.delete(ours, rows, axis=0).any()


def test_it_is_neither_right_nor_wrong():
  _, sampled = sample(REWARDS)
  # The second group has three right ones and one of which nothing is known: it says nothing.
  assert [informative(group) for group in sampled.groups] == [True, False, False]
  np.testing.assert_allclose(sampled.metrics['success'], 4 / 6)
  np.testing.assert_allclose(sampled.metrics['reward'], 4 / 6)
  np.testing.assert_allclose(sampled.metrics['faults'], 6 / 12)
  priority = [replay.by_reward(group) for group in sampled.groups]
  np.testing.assert_allclose(priority, np.exp([1 / 3, 1, 0]))


def test_a_group_of_which_nothing_is_known_is_not_an_unsolved_one():
  _, sampled = sample(REWARDS)
  rows = {0: REWARDS[:G], 1: REWARDS[G : 2 * G], 2: REWARDS[2 * G :]}
  known = [group for group in rows.values() if not np.isnan(group).all()]
  assert len(known) == 2
  np.testing.assert_allclose(sampled.metrics['solved'], np.mean([1 in group for group in known]))
  np.testing.assert_allclose(sampled.metrics['distinct'], 1)


def test_shown_samples_are_json():
  _, sampled = sample(REWARDS)
  text = json.dumps(sampled.samples, allow_nan=False)
  assert [shown['reward'] for shown in json.loads(text)] == [
    None if np.isnan(reward) else reward for reward in REWARDS
  ][:: max(1, len(REWARDS) // SHOWN)]


def test_nothing_known_at_all_is_finite():
  _, sampled = sample([UNKNOWN] * (N * G))
  assert all(np.isfinite(value) for value in sampled.metrics.values())
  assert sampled.metrics['faults'] == 1 and sampled.metrics['success'] == 0


@pytest.mark.parametrize('poison', [np.inf, -np.inf])
def test_an_infinite_reward_meets_one_update_and_no_later_one(poison):
  """It is a grader's error, which is not to be hidden; the ring would bring it back for ever."""
  made, sampled = sample([poison, 1, 0, 0] * N)
  mixed = Mixed(
    rollouts=made,
    sample=made.sample,
    memory=replay.init(capacity=N, group_size=G, width=8),
    priority=replay.by_reward,
    exponent=1.0,
    drawn=2,
    demonstrations=0,
    every=1,
  )
  collected = mixed(0, STATE)
  rewards = np.asarray(collected.batch.reward).sum(axis=1).reshape(-1, G)
  assert np.isinf(rewards[:N, 0]).all() and np.isfinite(rewards[N:]).all()
  assert all(np.isfinite(leaf).all() for leaf in mixed.memory)
  json.dumps(sampled.samples, allow_nan=False)
