"""Arithmetic: every step of a chain is right, only the last answer counts, splits are disjoint."""

import re

import numpy as np
import pytest

from maxent_lm.tasks.arithmetic import ALPHABET, Arithmetic, Question, columns

RNG = np.random.default_rng(0)
STEP = re.compile(r'([0-9])([-+*])([0-9])([-+])([0-9])=(-?[0-9]+)')


@pytest.mark.parametrize('operations', ['+', '-', '*', '+-*'])
@pytest.mark.parametrize('digits', [(1, 1), (1, 4), (3, 3)])
def test_problems_and_demonstrations_are_right(operations, digits):
  task = Arithmetic(
    split='train', operations=operations, min_digits=digits[0], max_digits=digits[1], size=60
  )
  for problem in (task[i] for i in range(60)):
    left, operation, right = re.fullmatch('([0-9]+)([-+*])([0-9]+)=', problem.prompt).groups()
    a, b = int(left), int(right)
    assert digits[0] <= len(left) <= digits[1] and digits[0] <= len(right) <= digits[1]
    assert str({'+': a + b, '-': a - b, '*': a * b}[operation]) == problem.answer
    assert operation in operations and not problem.answer.startswith('-')
    text = task.demonstration(problem, RNG)
    assert task.reward(problem, text, True) == 1 and task.reward(problem, text, False) == 0
    assert task.cluster(problem, text) == problem.answer and task.modes(problem) == 1
    assert set(problem.prompt + text) <= set(ALPHABET) and hash(problem)


def test_every_step_of_a_chain_is_right_and_carries_on():
  rng = np.random.default_rng(1)
  for _ in range(300):
    a, b = sorted(rng.integers(0, 10**5, 2).tolist(), reverse=True)
    for operation in '+-':
      carry, digits = 0, []
      for step in columns(Question(a, operation, b)).split(';'):
        x, sign, y, second, c, value = STEP.fullmatch(step).groups()
        assert sign == second == operation and int(c) == carry
        total = int(x) + (int(y) + carry) * (1 if operation == '+' else -1)
        assert int(value) == total
        digits.append(total % 10)
        carry = abs(total // 10)
      answer = int(''.join(map(str, digits[::-1])))
      whole = answer + carry * 10 ** len(digits) if operation == '+' else answer
      assert whole == Question(a, operation, b).value


def test_partial_products_and_sums_of_a_multiplication():
  rng = np.random.default_rng(2)
  for _ in range(100):
    a, b = rng.integers(0, 10**4, 2).tolist()
    total = 0
    for power, row in enumerate(columns(Question(a, '*', b)).split('|')):
      stated = [int(text) for text in re.findall(r':([0-9]+)', row)]
      part = a * int(str(b)[::-1][power]) * 10**power
      total += part
      assert stated == ([part, total] if power else [part])
      for x, sign, y, _, c, value in STEP.findall(row):
        assert int(value) == (int(x) * int(y) if sign == '*' else int(x) + int(y)) + int(c)
    assert total == a * b


@pytest.mark.parametrize(
  ('question', 'chain'),
  [
    (Question(374, '+', 58), '4+8+0=12;7+5+1=13;3+0+1=4'),
    (Question(62, '-', 37), '2-7-0=-5;6-3-1=2'),
    (
      Question(34, '*', 26),
      '4*6+0=24;3*6+2=20:204|4*2+0=8;3*2+0=6:680;4+0+0=4;0+8+0=8;2+6+0=8:884',
    ),
    (Question(999, '+', 1), '9+1+0=10;9+0+1=10;9+0+1=10'),
    (Question(0, '-', 0), '0-0-0=0'),
  ],
)
def test_chains(question, chain):
  assert columns(question) == chain


def test_only_the_last_answer_counts():
  task = Arithmetic(split='train', size=200)
  problem = task[0]._replace(answer='432')
  for right in ['#432', '4+8=2#1#432', 'whatever#432']:
    assert task.reward(problem, right, True) == 1 and task.cluster(problem, right) == '432'
  for wrong, cluster in [('#431', '431'), ('#432#1', '1'), ('#-432', '-432'), ('#0', '0')]:
    assert task.reward(problem, wrong, True) == 0 and task.cluster(problem, wrong) == cluster
  for none in ['432', '', '#', '#0432', '#432 ', '#4e2', '#-0', '#+432', '#432\n', '#４３２']:
    assert task.reward(problem, none, True) == 0 and task.cluster(problem, none) is None
  assert task.cluster(problem, '#' + '9' * 10**6) is None


def ids(**arguments):
  task = Arithmetic(**{'size': 400, **arguments})
  return [task[i].id for i in range(len(task))]


def test_splits_are_disjoint_and_problems_follow_the_seed():
  few = dict(max_digits=1, test_fraction=0.2)
  train, test = ids(split='train', **few), ids(split='test', seed=3, operations='+-', **few)
  assert set(train).isdisjoint(test)
  everything = set(train) | set(ids(split='test', **few))
  assert 95 <= len(everything) <= 100  # 0+0 ... 9+9
  assert train == ids(split='train', **few) != ids(split='train', seed=1, **few)
  assert ids(split='train', size=7) == ids(split='train')[:7]


def test_lengths_are_alike_and_chains_may_be_left_out():
  task = Arithmetic(split='train', max_digits=4, chain='none', size=4000)
  lengths = [len(task[i].prompt.split('+')[0]) for i in range(4000)]
  counts = np.bincount(lengths, minlength=5)[1:]
  assert np.abs(counts - 1000).max() < 6 * np.sqrt(4000 * 0.25 * 0.75)
  assert task.demonstration(task[0], RNG) == f'#{task[0].answer}'


def test_errors():
  with pytest.raises(ValueError, match="operations='/' must be some of"):
    Arithmetic(split='train', operations='/')
  with pytest.raises(ValueError, match='min_digits=3 <= max_digits=2'):
    Arithmetic(split='train', min_digits=3, max_digits=2)
  with pytest.raises(ValueError, match="chain='long' must be one of"):
    Arithmetic(split='train', chain='long')
  with pytest.raises(ValueError, match='size=0 must be at least 1'):
    Arithmetic(split='train', size=0)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    Arithmetic(split='dev')
  with pytest.raises(IndexError, match='problems 0 to 1, not -1'):
    Arithmetic(split='train', size=2)[-1]
