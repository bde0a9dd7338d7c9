"""Counts of answers across steps, and the bonus of what is seldom."""

import numpy as np
import pytest

from maxent_lm.replay import Group
from maxent_lm.train import counts
from maxent_lm.train.collect import Counted, Named, Sampled

ANSWERS = ['6*4', None, '12+12', '6*4', '']


def look(memory, problem='p', answers=ANSWERS):
  return counts.look(memory, problem, answers).tolist()


def test_counts_add_up_over_the_run_and_by_problem():
  memory = counts.init(size=1 << 16)
  assert look(memory) == [0] * 5
  once = counts.see(memory, 'p', ANSWERS)
  assert look(once) == [2, 0, 1, 2, 1]
  assert look(counts.see(once, 'p', ['6*4'])) == [3, 0, 1, 3, 1]
  assert look(once, 'q') == [0] * 5
  assert look(once, 'p6', ['*4']) == [0]  # where the problem ends is part of the pair
  assert look(memory) == [0] * 5  # the old table is as it was


def test_the_order_of_the_answers_does_not_matter():
  left = counts.see(counts.init(size=64), 'p', ANSWERS)
  right = counts.see(counts.init(size=64), 'p', ANSWERS[::-1])
  np.testing.assert_array_equal(left.table, right.table)


def test_a_small_table_can_only_overestimate():
  small = counts.init(size=3)
  for number in range(20):
    small = counts.see(small, str(number % 10), ['a'])
  seen = [look(small, str(number), ['a'])[0] for number in range(10)]
  assert min(seen) >= 2 and max(seen) > 2
  assert small.table.sum() == 20


def test_the_entry_is_the_same_in_every_process():
  """The last two of the first eight bytes of SHA-256 of `13:countdown:9,66*4`, by sha256sum."""
  assert counts.entry(counts.init(size=65536), 'countdown:9,6', '6*4') == 0x6CD7


def test_the_bonus_falls_with_the_root_of_the_count():
  found = counts.bonus(np.array([0, 1, 4, 100]), coefficient=0.3)
  np.testing.assert_allclose(found, [0, 0.3, 0.15, 0.03], rtol=1e-6)
  with pytest.raises(ValueError, match='size=0 must be at least 1'):
    counts.init(size=0)


class Source:
  """Two groups in every step: the same answers, rewards 1 and 0."""

  def sample(self, step, state):
    none = np.zeros(2, np.int32)
    group = Group([1], [[2], [3]], [np.zeros(1)] * 2, np.array([1, 0], np.float32), none, none > 0)
    names = [Named('a', ['x', None]), Named('b', ['x', 'x'])]
    return Sampled([group, group], names, {'reward': 0.5, 'success': 0.5}, [])


def test_rewards_get_the_bonus_and_metrics_stay_those_of_the_task():
  counted = Counted(Source(), Source().sample, 0.2, counts.init(size=1 << 16))
  first = counted.sample(0, None)
  np.testing.assert_allclose(first.groups[0].reward, [1.2, 0], rtol=1e-6)
  np.testing.assert_allclose(first.groups[1].reward, [1 + 0.2 / 2**0.5, 0.2 / 2**0.5], rtol=1e-6)
  second = counted.sample(1, None)
  np.testing.assert_allclose(second.groups[0].reward, [1 + 0.2 / 2**0.5, 0], rtol=1e-6)
  np.testing.assert_allclose(second.groups[1].reward, [1.1, 0.1], rtol=1e-6)
  assert (first.metrics['reward'], first.metrics['success']) == (0.5, 0.5)
  np.testing.assert_allclose(second.metrics['count_novelty'], (0.2 / 2**0.5 + 0.2) / 4, rtol=1e-6)
