"""Every tape can be solved for full marks, mistakes are paid as in the original, inputs grow."""

import numpy as np
import pytest

from maxent_lm.tasks.algorithmic import (
  LONGEST,
  TASKS,
  Curriculum,
  Episodes,
  advance,
)

LEFT, RIGHT, UP, DOWN = range(4)


def copying(blank):
  seen = yield
  while True:
    seen = yield RIGHT, True, seen


def every_other(blank):
  yield
  while True:
    seen = yield RIGHT, False, 0
    yield RIGHT, True, seen


def back(blank, seen):
  """Writes what it sees on the way to the left, from the blank at the right end."""
  seen = yield LEFT, False, 0
  while seen != blank:
    seen = yield LEFT, True, seen


def reversing(blank):
  seen = yield
  while seen != blank:
    seen = yield RIGHT, False, 0
  yield from back(blank, seen)


def repeating(blank):
  seen = yield
  while seen != blank:
    seen = yield RIGHT, True, seen
  yield from back(blank, seen)
  seen = yield RIGHT, False, 0
  while True:
    seen = yield RIGHT, True, seen


def adding(blank, base=3):
  """Up and down in turns, so that every column takes two steps."""
  first, carry, other = (yield), 0, DOWN
  while first != blank:
    second = yield other, False, 0
    carry, digit = divmod(first + second + carry, base)
    first = yield RIGHT, True, digit
    other = UP if other == DOWN else DOWN
  yield RIGHT, True, carry


EXPERTS = {
  'Copy': copying,
  'DuplicatedInput': every_other,
  'Reverse': reversing,
  'RepeatCopy': repeating,
  'ReversedAddition': adding,
}


def play(name, world):
  """[B] returns of the expert, one copy of it for every episode."""
  rules = TASKS[name]
  experts = [EXPERTS[name](rules.base) for _ in world.over]
  for expert in experts:
    next(expert)
  total = np.zeros(len(experts))
  for _ in range(world.longest):
    seen, tokens = world.see(), np.zeros(len(experts), np.int32)
    for row in np.flatnonzero(~world.over):
      tokens[row] = rules.action(*experts[row].send(int(seen[row])))
    total += world.step(tokens)
  return total


@pytest.mark.parametrize('length', [1, 2, 7, LONGEST])
@pytest.mark.parametrize('name', TASKS)
def test_a_policy_that_knows_how_earns_the_best_return_in_time(name, length):
  world = Episodes(TASKS[name], length, 40, np.random.default_rng(0))
  total = play(name, world)
  assert world.over.all()
  np.testing.assert_array_equal(total, world.best)


@pytest.mark.parametrize('name', TASKS)
def test_thresholds_are_within_reach_of_the_longest_inputs(name):
  world = Episodes(TASKS[name], LONGEST, 400, np.random.default_rng(1))
  assert world.best.mean() > TASKS[name].threshold


def test_targets_by_hand():
  tape = np.array([[0], [3], [3], [1]])
  assert TASKS['Copy'].target(tape, 5).tolist() == [0, 3, 3, 1]
  assert TASKS['Reverse'].target(tape, 5).tolist() == [1, 3, 3, 0]
  assert TASKS['RepeatCopy'].target(tape, 5).tolist() == [0, 3, 3, 1, 1, 3, 3, 0, 0, 3, 3, 1]
  pairs = TASKS['DuplicatedInput'].draw(np.random.default_rng(0), 7, 5)
  assert len(pairs) == 6 and (pairs[::2] == pairs[1::2]).all()
  assert TASKS['DuplicatedInput'].target(pairs, 5).tolist() == pairs[::2, 0].tolist()


@pytest.mark.parametrize('seed', range(20))
def test_sums_are_those_of_numbers(seed):
  rules = TASKS['ReversedAddition']
  tape = rules.draw(np.random.default_rng(seed), 9, 3)
  powers = 3 ** np.arange(10)
  total = rules.target(tape, 3)
  assert total @ powers[: len(total)] == (tape.T @ powers[:9]).sum()
  assert len(total) == 9 or total[-1] == 1


def one_copy(length=3):
  return Episodes(TASKS['Copy'], length, 1, np.random.default_rng(0))


def test_a_wrong_symbol_costs_a_half_and_ends():
  rules, world = TASKS['Copy'], one_copy()
  seen = int(world.see()[0])
  assert world.step(np.array([rules.action(RIGHT, True, seen)])) == 1
  wrong = (int(world.see()[0]) + 1) % rules.base
  assert world.step(np.array([rules.action(RIGHT, True, wrong)])) == -0.5
  assert world.over.all() and world.see()[0] == rules.base
  assert world.step(np.array([rules.action(RIGHT, True, seen)])) == 0


def test_what_is_no_action_ends_like_a_wrong_symbol():
  rules = TASKS['Copy']
  for token in (0, rules.base, rules.start):
    world = one_copy()
    assert world.step(np.array([token])) == -0.5 and world.over.all()


def test_time_is_up_after_input_and_target_and_four():
  rules, world = TASKS['Copy'], one_copy()
  idle, limit = np.array([rules.action(LEFT, False, 0)]), 2 * world.best[0] + 4
  rewards = [world.step(idle)[0] for _ in range(limit + 1)]
  assert rewards == [0] * limit + [-1] and world.over.all()
  assert world.longest == limit + 1


def test_beyond_the_input_there_is_blank():
  rules, world = TASKS['Copy'], one_copy()
  first = world.see()[0]
  world.step(np.array([rules.action(LEFT, False, 0)]))
  assert world.see()[0] == rules.base
  world.step(np.array([rules.action(RIGHT, False, 0)]))
  assert world.see()[0] == first


def test_every_action_has_a_token_of_its_own():
  for rules in TASKS.values():
    tokens = {
      rules.action(move, write, symbol)
      for move in range(rules.moves)
      for write in (False, True)
      for symbol in range(rules.base)
    }
    assert tokens == set(range(rules.base + 1, rules.start))


def test_inputs_grow_by_one_when_the_last_episodes_were_good():
  rules = TASKS['Copy']
  near, far = np.full(rules.window, -1.0), np.full(rules.window, -1.5)
  assert advance(rules, Curriculum(2), near) == Curriculum(3)
  assert advance(rules, Curriculum(2), np.tile(near, 9)) == Curriculum(3)  # not more, though many
  assert advance(rules, Curriculum(2), far).length == 2
  assert advance(rules, Curriculum(2), near[1:]).length == 2
  half = advance(rules, Curriculum(2), near[: rules.window // 2])
  assert advance(rules, half, near[rules.window // 2 :]) == Curriculum(3)
  assert advance(rules, half, far).length == 2
  assert advance(rules, Curriculum(LONGEST), near).length == LONGEST
  assert advance(TASKS['Reverse'], Curriculum(1), np.full(50, -1.0)).length == 1
