"""Mixtures keep their shares in every prefix; curricula change at their steps and nowhere else."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maxent_lm.tasks.arithmetic import Arithmetic
from maxent_lm.tasks.base import (
  Batched,
  Problem,
  Subset,
  batch_indices,
  draw_in_split,
  draw_indices,
  grade,
)
from maxent_lm.tasks.countdown import Countdown
from maxent_lm.tasks.curriculum import Curriculum
from maxent_lm.tasks.mixture import Mixture, take_turns

RNG = np.random.default_rng(0)
PARTS = st.lists(st.tuples(st.integers(1, 40), st.floats(0.05, 5)), min_size=1, max_size=11)


@settings(max_examples=100, deadline=None)
@given(parts=PARTS)
@example(parts=[(9, 10), (4, 1), (9, 1), (8, 1)])
@example(parts=[(40, 10)] + [(4, 1)] * 10)
def test_shares_hold_in_every_prefix_and_every_problem_comes(parts):
  lengths, weights = [length for length, _ in parts], [weight for _, weight in parts]
  owner, turn = take_turns(lengths, weights)
  shares, n = np.array(weights) / sum(weights), np.arange(1, len(owner) + 1)
  for part, length in enumerate(lengths):
    seen = np.cumsum(owner == part)
    # Tijdeman's bound, which cannot be better for all shares.
    assert np.abs(seen - n * shares[part]).max() <= 1 - 1 / max(2 * len(parts) - 2, 1) + 1e-5
    np.testing.assert_array_equal(turn[owner == part], np.arange(seen[-1]) % length)
    assert seen[-1] >= length


def test_the_worked_example():
  owner, turn = take_turns([3, 2], [2, 1])
  assert owner.tolist() == [0, 1, 0, 0, 1, 0] and turn.tolist() == [0, 0, 1, 2, 1, 0]


@pytest.fixture(scope='module')
def parts():
  return {
    'countdown': Countdown(split='train', num_numbers=(3,), min_modes=1, size=30),
    'arithmetic': Arithmetic(split='train', size=10),
  }


def test_verdicts_are_those_of_the_parts(parts):
  task = Mixture(parts, (3, 1))
  names = [task[i].id.split('/')[0] for i in range(len(task))]
  assert names[:8].count('arithmetic') == 2 and len(task) == 40
  for problem in (task[i] for i in range(len(task))):
    name, inner = problem.data
    own = parts[name]
    assert problem.id == f'{name}/{inner.id}' and hash(problem)
    assert problem.prompt == inner.prompt and problem.answer == inner.answer
    text = task.demonstration(problem, RNG)
    assert task.reward(problem, text, True) == own.reward(inner, text, True) == 1
    assert task.reward(problem, text, False) == task.reward(problem, 'x', True) == 0
    assert task.cluster(problem, text) == own.cluster(inner, text) is not None
    assert task.modes(problem) == own.modes(inner)
  assert {task[i].data for i in range(40)} == {
    (name, part[i]) for name, part in parts.items() for i in range(len(part))
  }


def test_mixtures_say_what_is_wrong(parts):
  for wrong in [(1,), (1, 0), (1, -1)]:
    with pytest.raises(ValueError, match='a positive weight for each'):
      Mixture(parts, wrong)
  with pytest.raises(ValueError, match='a mixture of 0 tasks'):
    Mixture({})
  with pytest.raises(ValueError, match="'c' is on a schedule"):
    Mixture({'c': Curriculum([parts['countdown']], starts=(0,))})
  with pytest.raises(IndexError, match='problems 0 to 59, not 60'):
    Mixture(parts)[60]


def curriculum(parts, **arguments):
  return Curriculum(list(parts.values()), **{'starts': (0, 5), **arguments})


def ids(task, step, seed=0):
  return [task[i].id for i in draw_indices(task, step, 8, seed)]


def test_stages_begin_at_their_steps(parts):
  task = curriculum(parts)
  for step in range(10):
    stage = int(step >= 5)
    assert all(name.startswith(f'stage{stage}/') for name in ids(task, step))
  kept = curriculum(parts, keep=True)
  late = [name for step in range(5, 30) for name in ids(kept, step)]
  assert {name[:6] for name in late} == {'stage0', 'stage1'}
  assert ids(kept, 3) == ids(task, 3)


def test_batches_are_functions_of_step_and_seed(parts):
  first, again = curriculum(parts), curriculum(parts)
  for step in (7, 0, 4, 5):
    assert ids(first, step) == ids(again, step) != ids(first, step, seed=1)
  few = list(draw_indices(first, 12, 8, 0, step=4))  # several batches a step
  assert all(first[i].id.startswith('stage0/') for i in few)


def test_an_epoch_of_a_stage_has_all_its_problems(parts):
  task = curriculum(parts, starts=(0, 10))
  drawn = np.concatenate([draw_indices(task, step, 5, 3) for step in range(6)])
  assert sorted(drawn) == list(range(30))
  drawn = np.concatenate([draw_indices(task, step, 5, 3) for step in (10, 11)])
  assert sorted(drawn) == list(range(30, 40))


def test_a_tasks_own_stream_is_not_changed(parts):
  task = parts['countdown']
  np.testing.assert_array_equal(draw_indices(task, 4, 8, 2), batch_indices(4, 8, 30, 2))
  np.testing.assert_array_equal(
    draw_indices(Subset(task, range(30)), 4, 8, 2), batch_indices(4, 8, 30, 2)
  )


def test_verdicts_are_those_of_the_stages(parts):
  task = curriculum(parts)
  assert len(task) == 40
  for number, part in enumerate(parts.values()):
    for i in range(len(part)):
      problem = task[i + 30 * number]
      assert problem.data == (number, part[i]) and problem.id == f'stage{number}/{part[i].id}'
      text = task.demonstration(problem, RNG)
      assert task.reward(problem, text, True) == 1 and task.reward(problem, 'x', True) == 0
      assert task.cluster(problem, text) == part.cluster(part[i], text)
      assert task.modes(problem) == part.modes(part[i])


def test_a_subset_keeps_the_schedule(parts):
  task = curriculum(parts)
  subset = Subset(task, [3, 35, 7, 31])
  assert subset.pool(0).tolist() == [0, 2] and subset.pool(5).tolist() == [1, 3]
  assert all(name.startswith('stage1/') for name in ids(subset, 5))
  with pytest.raises(ValueError, match='no problem of step 5 is in the subset'):
    Subset(task, [0, 1]).pool(5)


def test_a_curriculum_of_mixtures(parts):
  mixtures = [Mixture(parts, (9, 1)), Mixture(parts, (1, 1))]
  task = Curriculum(mixtures, starts=(0, 2))
  problem = task[len(mixtures[0])]
  assert problem.id.startswith('stage1/countdown/')
  assert task.reward(problem, task.demonstration(problem, RNG), True) == 1


def test_curricula_say_what_is_wrong(parts):
  for starts in [(0,), (1, 2), (0, 0), (5, 0), (0, 1, 2)]:
    with pytest.raises(ValueError, match='a start for each, ascending from 0'):
      curriculum(parts, starts=starts)
  with pytest.raises(ValueError, match='a curriculum of 0 stages'):
    Curriculum([], starts=())
  with pytest.raises(IndexError, match='problems 0 to 39, not -1'):
    curriculum(parts)[-1]


def test_problems_drawn_for_a_split_are_a_function_of_their_number():
  def draw(index, split='train', seed=0):
    return draw_in_split(
      lambda rng: int(rng.integers(100)),
      str,
      split=split,
      test_fraction=0.3,
      seed=seed,
      index=index,
    )

  train, test = {draw(i) for i in range(500)}, {draw(i, 'test') for i in range(500)}
  assert train.isdisjoint(test) and len(train | test) > 95
  assert [draw(i) for i in range(20)] == [draw(i) for i in range(20)]
  assert [draw(i) for i in range(20)] != [draw(i, seed=1) for i in range(20)]


class Recorder(Batched):
  """A part that grades together: the reward is in the response, '?' is unknown."""

  def __init__(self, name, size):
    self.name, self.size, self.calls = name, size, []

  def __len__(self):
    return self.size

  def __getitem__(self, index):
    return Problem(str(index), 'p', '', (self.name, index))

  def rewards(self, problems, responses, finished):
    assert all(problem.data[0] == self.name for problem in problems)
    self.calls.append(list(responses))
    return [
      None if text == '?' else float(text) * ended
      for text, ended in zip(responses, finished, strict=True)
    ]


def test_every_part_grades_its_own_responses_together():
  parts = {name: Recorder(name, 4) for name in 'ab'}
  responses, finished = list('01?10?11'), [True] * 7 + [False]
  expected = [0, 1, None, 1, 0, None, 1, 0]
  stages = list(parts.values())
  for task in (Mixture(parts), Curriculum(stages, starts=(0, 1)), Subset(Mixture(parts), range(8))):
    for part in stages:
      part.calls.clear()
    problems = [task[i] for i in range(8)]
    assert grade(task, problems, responses, finished) == expected
    owners = [problem.data[0] in ('a', 0) for problem in problems]
    for part, mine in zip(stages, (True, False), strict=True):
      assert part.calls == [[r for r, own in zip(responses, owners, strict=True) if own == mine]]


def test_parts_that_grade_one_by_one(parts):
  task = Mixture(parts)
  problems = [task[i] for i in range(10)]
  texts = [task.demonstration(problem, RNG) for problem in problems[:9]] + ['x']
  assert grade(task, problems, texts, [True] * 8 + [False, True]) == [1] * 8 + [0, 0]
