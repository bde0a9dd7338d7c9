"""Countdown against brute force over every tree, and the laws of its splits and demonstrations."""

import itertools

import numpy as np
import pytest

from maxent_lm.tasks.countdown import (
  ALPHABET,
  Countdown,
  canonical,
  evaluate,
  renderings,
  solve,
)


def every_tree(numbers):
  """Fully parenthesised texts of all trees over all orders of the numbers."""

  def grow(sequence):
    if len(sequence) == 1:
      yield str(sequence[0])
    for cut in range(1, len(sequence)):
      for left, right in itertools.product(grow(sequence[:cut]), grow(sequence[cut:])):
        yield from (f'({left}{operator}{right})' for operator in '+-*/')

  for order in itertools.permutations(numbers):
    yield from grow(order)


def brute_force(numbers):
  found = {}
  for text in every_tree(numbers):
    value = evaluate(text)
    if value is not None and value > 0 and value.denominator == 1:
      found.setdefault(int(value), set()).add(canonical(text))
  return {target: tuple(sorted(keys)) for target, keys in sorted(found.items())}


@pytest.mark.parametrize(
  'numbers', [(3, 8), (2, 3, 4), (5, 7, 12), (1, 2, 100), (2, 5, 7, 11), (1, 3, 4, 6)]
)
def test_all_solutions_are_those_of_brute_force(numbers):
  assert solve(numbers) == brute_force(numbers)
  assert solve(numbers[::-1]) == solve(numbers)


def test_known_solutions():
  assert solve((1, 3, 4, 6))[24] == ('6/(1-3/4)',)  # the classic of the game of 24
  assert solve((2, 3)) == {1: ('3-2',), 5: ('2+3',), 6: ('2*3',)}


def undo_parentheses(text):
  """All texts with one pair of parentheses removed."""
  stack = []
  for i, character in enumerate(text):
    if character == '(':
      stack.append(i)
    elif character == ')':
      start = stack.pop()
      yield text[:start] + text[start + 1 : i] + text[i + 1 :]


@pytest.mark.parametrize(
  'numbers,target', [((2, 3, 4), 10), ((2, 5, 7, 11), 24), ((3, 4, 5, 12), 9)]
)
def test_renderings_are_all_texts_without_superfluous_parentheses(numbers, target):
  expected = {mode: set() for mode in solve(numbers)[target]}
  for text in every_tree(numbers):
    key = canonical(text)
    if key in expected:
      while shorter := next((t for t in undo_parentheses(text) if canonical(t) == key), None):
        text = shorter
      expected[key].add(text)
  found = renderings(numbers, target)
  assert {mode: set(texts) for mode, texts in found.items()} == expected
  assert all(evaluate(text) == target for texts in found.values() for text in texts)


def test_no_rendering_of_a_mode_divides_by_zero():
  for numbers in [(2, 4, 6, 8), (2, 3, 5, 6), (3, 6, 9, 12)]:
    for target in solve(numbers):
      for mode, texts in renderings(numbers, target).items():
        assert {(canonical(t), evaluate(t)) for t in texts} == {(mode, target)}


def random_text(rng, numbers):
  """A random tree over a random order of the numbers, fully parenthesised."""
  parts = [str(n) for n in rng.permutation(numbers)]
  while len(parts) > 1:
    i = int(rng.integers(len(parts) - 1))
    parts[i : i + 2] = [f'({parts[i]}{rng.choice(list("+-*/"))}{parts[i + 1]})']
  return parts[0]


@pytest.mark.parametrize('numbers', [(2, 3, 5, 7, 8), (4, 5, 9, 10, 12)])
def test_five_numbers_miss_no_solution_and_every_text_of_a_mode_is_right(numbers):
  modes, rng, hits = solve(numbers), np.random.default_rng(0), 0
  for text in (random_text(rng, numbers) for _ in range(3000)):
    value = evaluate(text)
    if value is not None and value > 0 and value.denominator == 1:
      hits += 1
      assert canonical(text) in modes[int(value)]
  assert hits > 300
  for target in (24, 60):
    for mode, texts in renderings(numbers, target).items():
      assert {(canonical(t), evaluate(t)) for t in texts} == {(mode, target)}
      assert len(texts) == len(set(texts)) > 0


@pytest.mark.slow
def test_six_numbers():
  task = Countdown(split='train', num_numbers=(6,), sets=2, max_target=300, max_modes=10**6, seed=1)
  rng, found = np.random.default_rng(0), {}
  by_id = {task[i].id: task[i] for i in range(len(task))}
  numbers = task[0].data.numbers
  for text in (random_text(rng, numbers) for _ in range(5000)):
    value = evaluate(text)
    problem = by_id.get(f'{",".join(map(str, numbers))}={value}')
    if problem:
      assert task.reward(problem, text, True) == 1
      found.setdefault(problem.id, set()).add(task.cluster(problem, text))
  assert len(found) > 50
  assert all(len(modes) <= task.modes(by_id[name]) for name, modes in found.items())
  for i in range(0, len(task), 20):
    text = task.demonstration(task[i], rng)
    assert task.reward(task[i], text, True) == task.reward(task[i], task[i].answer, True) == 1


@pytest.mark.slow
def test_six_numbers_have_modes_that_some_texts_miss():
  texts = renderings((1, 2, 3, 5, 7, 8), 1)['1+7*(2+3-5)/8']
  assert '1+7*(2+3-5)/8' in texts and '1+7/(8/(2+3-5))' not in texts


def test_number_sets_may_be_drawn():
  few = dict(num_numbers=(3,), min_modes=1, test_fraction=0.0, split='train')
  sets = {Countdown(**few, sets=5, seed=seed)[0].data.numbers for seed in range(6)}
  assert len(sets) > 2
  task = Countdown(**few, sets=5)
  assert len({task[i].data.numbers for i in range(len(task))}) == 5
  assert ids(**few, sets=5) == ids(**few, sets=5) != ids(**few, sets=5, seed=1)
  assert ids(**few, sets=10**6) == ids(**few)


@pytest.fixture(scope='module')
def task():
  return Countdown(split='test', max_number=9, seed=3)


def test_demonstrations_are_right_and_reach_everything(task):
  rng = np.random.default_rng(0)
  problem = min((task[i] for i in range(len(task))), key=task.modes)
  numbers, target = problem.data
  texts = [task.demonstration(problem, rng) for _ in range(2000)]
  assert set(texts) == {t for ts in renderings(numbers, target).values() for t in ts}
  counts = np.unique([canonical(t) for t in texts], return_counts=True)[1]
  share = 1 / task.modes(problem)
  assert len(counts) == task.modes(problem)
  # Modes are uniform: six standard deviations of a binomial share.
  assert np.abs(counts / 2000 - share).max() < 6 * np.sqrt(share * (1 - share) / 2000)
  for i in range(len(task)):
    text = task.demonstration(task[i], rng)
    assert task.reward(task[i], text, True) == 1
    assert task.cluster(task[i], text) in solve(task[i].data.numbers)[task[i].data.target]
    assert set(text) | set(task[i].prompt) <= set(ALPHABET)


def test_demonstrations_follow_the_generator(task):
  def draw(seed):
    rng = np.random.default_rng(seed)
    return [task.demonstration(task[i], rng) for i in range(20)]

  assert draw(1) == draw(1) != draw(2)


def test_problems_are_what_they_say(task):
  for i in range(len(task)):
    problem = task[i]
    numbers, target = problem.data
    shown, goal = problem.prompt.removesuffix(':').split('=')
    assert sorted(map(int, shown.split(','))) == list(numbers) and int(goal) == target
    assert problem.id == f'{",".join(map(str, numbers))}={target}'
    assert task.modes(problem) == len(solve(numbers)[target]) and 4 <= task.modes(problem) <= 32
    assert task.reward(problem, problem.answer, True) == 1 and hash(problem) == hash(task[i])
  orders = [list(map(int, task[i].prompt.split('=')[0].split(','))) for i in range(len(task))]
  assert any(order != sorted(order) for order in orders)


def test_wrong_responses(task):
  task = Countdown(split='train', num_numbers=(4,), max_number=11, min_modes=1, test_fraction=0.0)
  problem = next(p for p in (task[i] for i in range(len(task))) if p.id == '2,5,7,11=24')
  assert task.modes(problem) == 3
  assert task.reward(problem, '(2*11-5)+7', True) == 1
  assert task.reward(problem, '(2*11-5)+7', False) == 0  # it was cut, it might have gone on
  wrong = ['(11+5)*2-7', '7+2+5*3', '(2*11-5)+7=24', ' 2*11-5+7', '', '24', '2*11-5+7+0', '2*11+2']
  for response in [*wrong, '211-5*7', '(7-5)*(11+2)-2', '2*11-5+7)', '7/(5-5)', '2*11-5+7' * 50]:
    assert task.reward(problem, response, True) == 0
  assert task.cluster(problem, '(11+5)*2-7') == '2*(5+11)-7'
  assert task.cluster(problem, '(2*11-5)+7') == task.cluster(problem, '7-5+11*2') == '7+2*11-5'
  assert task.cluster(problem, 'x') is None


def ids(**arguments):
  task = Countdown(**arguments)
  return [task[i].id for i in range(len(task))]


def test_splits_are_disjoint_whatever_else_differs():
  train = ids(split='train', max_number=9)
  test = ids(split='test', max_number=9, min_modes=1, max_target=200, seed=5)
  assert set(train).isdisjoint(test) and len(set(train)) == len(train) > len(test) * 0.5
  everything = ids(split='train', max_number=9, test_fraction=0.0)
  assert set(everything) == set(train) | set(ids(split='test', max_number=9))


def test_size_and_seed():
  assert ids(split='test', max_number=9, size=5) == ids(split='test', max_number=9)[:5]
  assert ids(split='test', max_number=9, seed=1) != ids(split='test', max_number=9)
  assert sorted(ids(split='test', max_number=9, seed=1)) == sorted(ids(split='test', max_number=9))


def test_the_limits_hold():
  task = Countdown(
    split='train', num_numbers=(3,), max_number=8, max_target=20, min_modes=2, max_modes=3
  )
  for i in range(len(task)):
    numbers, target = task[i].data
    assert (
      len(numbers) == 3 and max(numbers) <= 8 and target <= 20 and 2 <= task.modes(task[i]) <= 3
    )


def test_fewer_operators():
  task = Countdown(split='train', num_numbers=(3,), operators='+-*', min_modes=1, test_fraction=0.0)
  whole = Countdown(split='train', num_numbers=(3,), min_modes=1, test_fraction=0.0)
  full = {whole[i].id: whole[i] for i in range(len(whole))}
  rng = np.random.default_rng(0)
  assert 0 < len(task) < len(whole)
  for problem in (task[i] for i in range(len(task))):
    texts = renderings(*problem.data)
    left = {mode for mode, ts in texts.items() if any('/' not in t for t in ts)}
    assert task.modes(problem) == len(left) <= whole.modes(full[problem.id])
    assert '/' not in task.demonstration(problem, rng)
    assert task.reward(problem, problem.answer, True) == 1
    for text in (t for ts in texts.values() for t in ts):
      assert task.reward(problem, text, True) == ('/' not in text)
      assert whole.reward(full[problem.id], text, True) == 1


def test_errors():
  with pytest.raises(ValueError, match="operators='\\+%' must be some of"):
    Countdown(split='train', operators='+%')
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    Countdown(split='dev', num_numbers=(2,))
  with pytest.raises(ValueError, match=r'num_numbers=\(7,\) must be among \(2, 3, 4, 5, 6\)'):
    Countdown(split='train', num_numbers=(7,))
  with pytest.raises(ValueError, match="with six numbers '/' needs '\\*'"):
    Countdown(split='train', num_numbers=(6,), operators='+-/')
  with pytest.raises(ValueError, match='no problems: widen the limits'):
    Countdown(split='train', num_numbers=(3,), min_modes=60, max_modes=60)
  for numbers in [(2, 2, 3), (1,), (0, 1), (1, 2, 3, 4, 5, 6, 7), ()]:
    with pytest.raises(ValueError, match='2 to 6 distinct positive integers'):
      solve(numbers)
