"""Laws of the stream of problems and of the splits; what importing the tasks brings in."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm.tasks.base import Subset, batch_indices, stable_hash, take_split
from maxent_lm.tasks.countdown import Countdown

SIZES = dict(
  length=st.integers(1, 12), batch_size=st.integers(1, 30), seed=st.integers(0, 2**32 - 1)
)


def stream(batch_size, length, seed, count):
  steps = -(-count // batch_size)
  return np.concatenate([batch_indices(s, batch_size, length, seed) for s in range(steps)])[:count]


@settings(max_examples=60, deadline=None)
@given(**SIZES)
def test_every_problem_comes_once_an_epoch(length, batch_size, seed):
  epochs = stream(batch_size, length, seed, 4 * length).reshape(4, length)
  np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(length), (4, 1)))


@settings(max_examples=60, deadline=None)
@given(**SIZES, other=st.integers(1, 30))
def test_the_stream_does_not_depend_on_the_batch_size(length, batch_size, seed, other):
  np.testing.assert_array_equal(
    stream(batch_size, length, seed, 50), stream(other, length, seed, 50)
  )


def test_a_step_is_the_same_whatever_was_asked_before():
  alone = batch_indices(37, 8, 100, 5)
  assert alone.dtype == np.int64 and alone.shape == (8,)
  for step in range(40):
    batch_indices(step, 8, 100, 6)
  np.testing.assert_array_equal(batch_indices(37, 8, 100, 5), alone)


def test_epochs_and_seeds_have_their_own_order():
  first, second = batch_indices(0, 50, 50, 0), batch_indices(1, 50, 50, 0)
  assert (first != second).any() and (first != batch_indices(0, 50, 50, 1)).any()


def test_changing_a_batch_changes_no_other():
  batch_indices(0, 4, 4, 0)[:] = -1
  assert set(batch_indices(0, 4, 4, 0)) == {0, 1, 2, 3}


@pytest.mark.parametrize('bad', [(0, 1, 0, 0), (0, 0, 1, 0), (-1, 1, 1, 0), (0, 1, 1, -1)])
def test_impossible_batches_are_refused(bad):
  with pytest.raises(ValueError, match='batch_indices needs'):
    batch_indices(*bad)


def test_splits_partition_the_ids_and_do_not_move():
  ids = [f'problem {i}' for i in range(1000)]
  keys = dict(test_fraction=0.2, size=None)
  train = take_split(ids, split='train', seed=0, **keys)
  test = take_split(ids[::-1], split='test', seed=1, **keys)
  assert set(train).isdisjoint(test) and set(train) | set(test) == set(ids)
  assert 150 < len(test) < 250
  assert take_split(ids, split='test', seed=1, **keys) == test  # the order of the ids is no matter
  reordered = take_split(ids, split='test', seed=2, **keys)
  assert reordered != test and sorted(reordered) == sorted(test)
  smaller = take_split(ids, split='test', seed=1, test_fraction=0.2, size=7)
  assert smaller == test[:7]
  assert set(take_split(ids, split='test', test_fraction=0.1, size=None, seed=0)) < set(test)


def test_the_hash_is_sha256():
  # printf abc | sha256sum: ba7816bf8f01cfea... (FIPS 180-2, appendix B.1)
  assert stable_hash('abc') == 0xBA7816BF8F01CFEA


def test_errors_say_what_is_known():
  with pytest.raises(ValueError, match="unknown split 'dev': choose 'train' or 'test'"):
    take_split(['a'], split='dev', test_fraction=0.1, size=None, seed=0)
  with pytest.raises(ValueError, match="'test' has no problems"):
    take_split(['a'], split='test', test_fraction=0.0, size=None, seed=0)


def test_a_subset_is_the_task_at_its_indices():
  task = Countdown(split='test', num_numbers=(3,), min_modes=1)
  subset = Subset(task, [5, 2])
  assert len(subset) == 2 and [subset[0], subset[1]] == [task[5], task[2]]
  assert subset.reward(subset[0], subset[0].answer, True) == 1


def test_tasks_import_neither_jax_nor_tensorflow_datasets():
  code = (
    'import sys, maxent_lm.tasks as t\n'
    'print([m for m in ("jax", "flax", "tensorflow_datasets", "tensorflow") if m in sys.modules])'
  )
  out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert out.stdout.strip() == '[]'
