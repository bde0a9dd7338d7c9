"""Random numbers: what is valid, what it pays, and where the uniform optimum is."""

import math

import numpy as np
import pytest

from maxent_lm.tasks.random_numbers import RandomNumbers


@pytest.fixture(scope='module')
def task():
  return RandomNumbers(split='train')


@pytest.mark.parametrize(
  ('response', 'finished', 'reward'),
  [
    ('42', True, 1),
    ('0', True, 1),
    ('100', True, 1),
    ('42', False, -16),  # cut: two tokens, no EOS
    ('042', True, -32),
    ('101', True, -32),
    ('', True, -8),
    ('4<pad>', True, -24),  # a special token that is written out is one token
    (':', False, -8),
  ],
)
def test_rewards(task, response, finished, reward):
  assert task.reward(task[0], response, finished) == reward


def test_clusters_are_the_valid_numbers(task):
  assert task.modes(task[0]) == 101
  assert {task.cluster(task[0], str(n)) for n in range(101)} == set(map(str, range(101)))
  assert task.cluster(task[0], '007') is None


def test_the_target_is_uniform_and_the_habit_as_far_away_as_published(task):
  target, habit = task.log_target(task[0]), task.log_habit(task[0])
  assert sum(map(math.exp, target.values())) == pytest.approx(1)
  assert sum(map(math.exp, habit.values())) == pytest.approx(1)
  assert set(target) == set(habit)
  gap = np.mean([target[n] - habit[n] for n in target])
  assert gap == pytest.approx(3.37, abs=0.01)  # [Hu et al. 2024]


def test_the_optimum_holds_next_to_nothing_outside(task):
  """Strings over 12 symbols and EOS, of up to 5 tokens: at most 12^n with n symbols and EOS."""
  valid = 101 * math.e
  others = sum(12**n * math.exp(-8 * (n + 1)) for n in range(5)) + 12**5 * math.exp(-40)
  assert others / (valid + others) < 2.5e-6


def test_demonstrations_follow_the_habit(task):
  rng = np.random.default_rng(0)
  drawn = [task.demonstration(task[0], rng) for _ in range(4000)]
  habit = task.log_habit(task[0])
  for number in ('1', '0', '50', '100'):
    share, p = drawn.count(number) / 4000, math.exp(habit[number])
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 4000)


def test_errors():
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    RandomNumbers(split='dev')
  with pytest.raises(ValueError, match='at least 0'):
    RandomNumbers(split='train', high=-1)
  with pytest.raises(IndexError, match='one problem'):
    RandomNumbers(split='train')[1]
