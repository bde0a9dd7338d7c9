"""Rounds of sampling within a step, with a policy whose accuracy on each problem is given."""

import types

import jax
import numpy as np
import pytest

from maxent_lm.data import Graded
from maxent_lm.sampling.generate import Rollout
from maxent_lm.tasks.base import Problem, batch_indices
from maxent_lm.train.collect import Rollouts, informative

G, N = 4, 3


class Reader:
  """Problem i is answered right `right[i]` times of G."""

  def __init__(self, right):
    self.right = right
    self.task = [Problem(str(i), str(i), '', i) for i in range(len(right))]

  def prompts(self, problems):
    return [[problem.data] for problem in problems]

  def padded(self, prompts):
    return np.array(prompts, np.int32), np.ones((len(prompts), 1), bool)

  def grade(self, problems, tokens, length, finished):
    rewards = [i % G < self.right[problem.data] for i, problem in enumerate(problems)]
    texts = [problem.id for problem in problems]
    return Graded(texts, [[1]] * len(texts), finished, np.array(rewards, np.float32), texts)


def rollouts(right, rounds):
  keys = []

  def generate(params, prompts, valid, key, heat):
    keys.append(jax.random.key_data(key).tolist())
    rows = len(prompts) * G
    zeros = np.zeros((rows, 1), np.float32)
    return Rollout(zeros.astype(int), np.ones(rows, int), np.ones(rows, bool), zeros, zeros)

  made = Rollouts(
    reader=Reader(right),
    generate=generate,
    prompts_per_step=N,
    group_size=G,
    max_new_tokens=1,
    bootstrap=False,
    seed=5,
    sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    rounds=rounds,
  )
  return made, keys


STATE = types.SimpleNamespace(
  params=None, key=jax.random.key(0), sampler=types.SimpleNamespace(value=1.0)
)
RIGHT = [0, 4, 2, 1, 0, 4, 3, 4, 0, 4, 2, 0]


def problems(sampled):
  return [int(name.problem) for name in sampled.names]


def useful(numbers):
  return [i for i in numbers if 0 < RIGHT[i] < G]


@pytest.mark.parametrize('step', range(4))
@pytest.mark.parametrize('rounds', [1, 2, 4])
def test_informative_groups_come_first_and_others_fill_up(step, rounds):
  sampled = rollouts(RIGHT, rounds)[0].sample(step, STATE)
  stream, taken = [], 0
  while taken < rounds and len(useful(stream)) < N:
    stream += batch_indices(step * rounds + taken, N, len(RIGHT), 5).tolist()
    taken += 1
  rest = [i for i in stream if i not in useful(stream)]
  assert problems(sampled) == (useful(stream) + rest)[:N]
  assert [informative(g) for g in sampled.groups] == [
    i in useful(stream) for i in problems(sampled)
  ]
  np.testing.assert_allclose(sampled.metrics['success'], np.mean([RIGHT[i] / G for i in stream]))
  if rounds > 1:
    assert sampled.metrics['sampled'] == len(stream)
    np.testing.assert_allclose(sampled.metrics['informative'], len(useful(stream)) / len(stream))


def test_one_round_is_plain_sampling():
  """All groups are kept, in the order of the stream, with the key of the step."""
  made, keys = rollouts([2, 4, 0] * 4, rounds=1)
  sampled = made.sample(7, STATE)
  assert problems(sampled)[0] in batch_indices(7, N, 12, 5)
  assert sorted(problems(sampled)) == sorted(batch_indices(7, N, 12, 5).tolist())
  assert keys == [jax.random.key_data(jax.random.fold_in(STATE.key, 7)).tolist()]
  assert 'sampled' not in sampled.metrics


def test_no_problem_and_no_key_is_used_twice():
  made, keys = rollouts([0] * 24, rounds=3)
  for step in range(2):
    made.sample(step, STATE)
  assert len(keys) == 6 and len({tuple(key) for key in keys}) == 6
  again, _ = rollouts([0] * 24, rounds=3)
  assert problems(again.sample(1, STATE)) == problems(made.sample(1, STATE))
