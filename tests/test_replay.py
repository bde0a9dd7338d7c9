"""The ring of groups: what goes in comes out, oldest out first, drawn by priority."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm import replay

G, W = 3, 12


def group(number, demonstration=False):
  """Ragged, and different in every field for every number."""
  rng = np.random.default_rng(number)
  responses = [rng.integers(1, 9, size=n).tolist() for n in rng.integers(0, 7, size=G)]
  return replay.Group(
    prompt=rng.integers(1, 9, size=rng.integers(1, 5)).tolist(),
    responses=responses,
    logp=[rng.normal(size=len(r)).astype(np.float32) for r in responses],
    reward=rng.uniform(size=G).astype(np.float32),
    cluster=rng.integers(-1, 3, size=G).astype(np.int32),
    bootstrap=rng.random(G) < 0.5,
    demonstration=demonstration,
  )


def filled(numbers, capacity=4, priority=None):
  ring = replay.init(capacity=capacity, group_size=G, width=W)
  for step, number in enumerate(numbers):
    weight = 1.0 if priority is None else priority[step]
    ring = replay.add(ring, [group(number, number % 2 == 0)], step=step, priority=[weight])
  return ring


def same(left, right):
  assert list(left.prompt) == list(right.prompt) and left.demonstration == right.demonstration
  assert [list(r) for r in left.responses] == [list(r) for r in right.responses]
  for a, b in zip(left.logp, right.logp, strict=True):
    np.testing.assert_array_equal(a, b)
  for field in ('reward', 'cluster', 'bootstrap'):
    np.testing.assert_array_equal(getattr(left, field), getattr(right, field))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(count=st.integers(0, 11), capacity=st.integers(1, 5))
def test_the_newest_groups_are_there_whole_and_the_older_ones_gone(count, capacity):
  ring = filled(range(count), capacity)
  assert replay.size(ring) == min(count, capacity)
  kept = {int(ring.made[slot]): slot for slot in range(replay.size(ring))}
  assert sorted(kept) == list(range(max(0, count - capacity), count))
  for number, slot in kept.items():
    same(replay.take(ring, [slot])[0], group(number, number % 2 == 0))


def test_adding_leaves_the_old_ring_as_it_was():
  ring = filled(range(3))
  before = [np.array(values) for values in ring]
  replay.add(ring, [group(9)], step=9, priority=[1.0])
  for old, new in zip(before, ring, strict=True):
    np.testing.assert_array_equal(old, new)


def test_together_or_one_by_one():
  ring = replay.init(capacity=4, group_size=G, width=W)
  together = replay.add(ring, [group(n) for n in range(6)], step=0, priority=[1.0] * 6)
  for n in range(6):
    ring = replay.add(ring, [group(n)], step=0, priority=[1.0])
  for left, right in zip(together, ring, strict=True):
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize('exponent', [0.0, 0.5, 1.0])
def test_draws_follow_the_priorities(exponent):
  priority = np.array([1.0, 2.0, 4.0, 0.25])
  ring = filled(range(4), priority=priority)
  slots = np.concatenate(
    [replay.draw(ring, 100, exponent=exponent, seed=3, step=step) for step in range(100)]
  )
  expected = priority**exponent / np.sum(priority**exponent) * len(slots)
  counts = np.bincount(slots, minlength=4)
  chi_square = np.sum((counts - expected) ** 2 / expected)
  assert chi_square < 16.3  # 99.9% of chi-square with 3 degrees of freedom


def test_draws_are_a_function_of_contents_seed_and_step():
  ring = filled(range(4))
  options = {'exponent': 1.0, 'seed': 1, 'step': 5}
  first = replay.draw(ring, 20, **options)
  np.testing.assert_array_equal(first, replay.draw(ring, 20, **options))
  assert (first != replay.draw(ring, 20, **{**options, 'step': 6})).any()
  assert (first != replay.draw(ring, 20, **{**options, 'seed': 2})).any()


def test_empty_slots_are_never_drawn():
  ring = filled(range(2), capacity=50)
  assert set(replay.draw(ring, 200, exponent=0.0, seed=0, step=0)) == {0, 1}
  with pytest.raises(ValueError, match='nothing to draw from'):
    replay.draw(filled([]), 1, exponent=0.0, seed=0, step=0)


def test_staleness_is_the_age_in_steps():
  ring = filled(range(3), capacity=6)
  seen = replay.staleness(ring, np.array([0, 2, 2]), step=5)
  assert seen == {'replay_age': pytest.approx(11 / 3), 'replay_age_max': 5, 'replay_filled': 0.5}


def test_what_does_not_fit_is_told():
  ring = replay.init(capacity=2, group_size=G, width=4)
  long = group(0)._replace(prompt=[1, 2, 3, 4, 5])
  with pytest.raises(ValueError, match='does not fit a width of 4'):
    replay.add(ring, [long], step=0, priority=[1.0])
  with pytest.raises(ValueError, match='a group of 1 rows does not fit one of 3'):
    replay.add(ring, [group(0)._replace(responses=[[1]])], step=0, priority=[1.0])
  with pytest.raises(ValueError, match='a priority must be positive, got 0'):
    replay.add(filled([]), [group(0)], step=0, priority=[0.0])
  with pytest.raises(ValueError, match='capacity is 0'):
    replay.init(capacity=0, group_size=G, width=W)


@pytest.mark.parametrize('poison', [np.nan, np.inf, -np.inf])
def test_the_ring_does_not_keep_what_is_not_finite(poison):
  """Such rows are empty afterwards, like those of unknown reward; the others are as they were."""
  whole = group(3)
  logp = [np.array(each, np.float32) for each in whole.logp]
  logp[0][0] = poison
  reward = np.array(whole.reward, np.float32)
  reward[1] = poison
  cleaned = replay.without_poison(whole._replace(logp=logp, reward=reward))
  assert [len(row) for row in cleaned.responses[:2]] == [0, 0] == [len(x) for x in cleaned.logp[:2]]
  assert cleaned.reward[:2].tolist() == [0, 0] and cleaned.cluster[:2].tolist() == [-1, -1]
  assert cleaned.responses[2:] == whole.responses[2:]
  assert np.isfinite(replay.by_reward(cleaned))
  ring = replay.add(filled([]), [cleaned], step=0, priority=[replay.by_reward(cleaned)])
  assert all(np.isfinite(leaf).all() for leaf in ring)
  assert replay.without_poison(whole) is whole
