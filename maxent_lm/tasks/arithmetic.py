"""Arithmetic: two whole numbers of several digits, worked out digit by digit.

Worked example:

  prompt         '374+58='
  demonstration  '4+8+0=12;7+5+1=13;3+0+1=4#432'    digit + digit + carry, from the right
  response       '#432', '4+8=2#1#432'              reward 1: only what follows the last # counts
  response       '4+8+0=12#431'                     reward 0, cluster '431'
  response       '432', '#0432', '#432 ', '#4e2'    no answer: reward 0, cluster None

The other operations, the larger number first where one is subtracted:

  '62-37='       '2-7-0=-5;6-3-1=2#25'              digit - digit - borrow
  '34*26='       '4*6+0=24;3*6+2=20:204|4*2+0=8;3*2+0=6:680;4+0+0=4;0+8+0=8;2+6+0=8:884#884'
                 digit * digit + carry gives the product with each digit, written out with its
                 zeros; from the second on it is added to the sum of those before

The chain is not graded, nor need there be one: whether a policy keeps its chain, and how diverse
its chains are, is left to training. A number is written without leading zeros and in one way, so
the class of an answer is the answer, and every problem has one mode.

There is no list of problems: problem i is drawn when it is asked for (base.draw_in_split), with
min_digits to max_digits digits in each number, each length as likely, and each number of a length.
Known limits: with one digit there are few problems and the test split has some 10 of them; '2+3'
and '3+2' may be in different splits, and so may a sum be part of a longer sum's chain.
"""

import functools
import re
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks.base import Problem, draw_in_split

ALPHABET = '0123456789+-*=;:|#'
OPERATIONS = '+-*'
CHAINS = ('columns', 'none')
MARK = '#'
NUMBER = re.compile(r'0|-?[1-9][0-9]{0,39}')


class Question(NamedTuple):
  """left operation right."""

  left: int
  operation: str
  right: int

  @property
  def text(self) -> str:
    """As in the prompt."""
    return f'{self.left}{self.operation}{self.right}'

  @property
  def value(self) -> int:
    """The right answer."""
    if self.operation == '*':
      return self.left * self.right
    return self.left + (self.right if self.operation == '+' else -self.right)


# --- chains of thought -------------------------------------------------------------------------


def _columns(left: int, operation: str, right: int) -> str:
  """Sum or difference, digit by digit from the right; left >= right where one is subtracted."""
  a, b = str(left)[::-1], str(right)[::-1]
  width = max(len(a), len(b))
  carry, steps = 0, []
  for x, y in zip(a.ljust(width, '0'), b.ljust(width, '0'), strict=True):
    if operation == '+':
      value = int(x) + int(y) + carry
      steps.append(f'{x}+{y}+{carry}={value}')
      carry = value // 10
    else:
      value = int(x) - int(y) - carry
      steps.append(f'{x}-{y}-{carry}={value}')
      carry = int(value < 0)
  return ';'.join(steps)


def _times(left: int, digit: int) -> str:
  """Product with one digit, digit by digit from the right."""
  carry, steps = 0, []
  for x in str(left)[::-1]:
    value = int(x) * digit + carry
    steps.append(f'{x}*{digit}+{carry}={value}')
    carry = value // 10
  return ';'.join(steps)


def _long_multiplication(left: int, right: int) -> str:
  """A row for every digit of `right`, from the right; each is added to the sum so far."""
  total, rows = 0, []
  for power, digit in enumerate(map(int, str(right)[::-1])):
    part = left * digit * 10**power
    row = f'{_times(left, digit)}:{part}'
    if power:
      row += f';{_columns(total, "+", part)}:{total + part}'
    total += part
    rows.append(row)
  return '|'.join(rows)


def columns(question: Question) -> str:
  """The chain of thought as in the worked example, without the answer."""
  if question.operation == '*':
    return _long_multiplication(question.left, question.right)
  return _columns(*question)


# --- the task ----------------------------------------------------------------------------------


def draw(
  rng: np.random.Generator, *, operations: str, min_digits: int, max_digits: int
) -> Question:
  """Operation, the two lengths, then the numbers: uniformly each."""
  operation = operations[int(rng.integers(len(operations)))]
  lengths = rng.integers(min_digits, max_digits + 1, 2).tolist()
  left, right = (int(rng.integers(10 ** (n - 1) if n > 1 else 0, 10**n)) for n in lengths)
  if operation == '-':
    left, right = max(left, right), min(left, right)
  return Question(left, operation, right)


class Arithmetic:
  """`size` problems with the given operations, some of '+-*'.

  `chain` says what demonstrations show before the answer: 'columns', or 'none' for the answer
  alone.

  Raises:
    ValueError: an unknown split, operation or chain, or impossible lengths.
  """

  def __init__(
    self,
    *,
    split: str,
    operations: str = '+',
    min_digits: int = 1,
    max_digits: int = 3,
    chain: str = 'columns',
    test_fraction: float = 0.1,
    size: int = 20_000,
    seed: int = 0,
  ) -> None:
    if not operations or not set(operations) <= set(OPERATIONS):
      raise ValueError(f'Arithmetic: operations={operations!r} must be some of {OPERATIONS!r}.')
    if not 1 <= min_digits <= max_digits <= 18:
      raise ValueError(f'Arithmetic: 1 <= {min_digits=} <= {max_digits=} <= 18 does not hold.')
    if chain not in CHAINS:
      raise ValueError(f'Arithmetic: chain={chain!r} must be one of {CHAINS}.')
    if size < 1:
      raise ValueError(f'Arithmetic: size={size} must be at least 1.')
    self._draw = functools.partial(
      draw, operations=operations, min_digits=min_digits, max_digits=max_digits
    )
    self._chain = chain
    self._split, self._test_fraction, self._size, self._seed = split, test_fraction, size, seed
    self[0]  # refuses now what it would refuse later

  def __len__(self) -> int:
    """Number of problems."""
    return self._size

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data is the `Question`."""
    if not 0 <= index < self._size:
      raise IndexError(f'Arithmetic has problems 0 to {self._size - 1}, not {index}.')
    question = draw_in_split(
      self._draw,
      lambda drawn: drawn.text,
      split=self._split,
      test_fraction=self._test_fraction,
      seed=self._seed,
      index=index,
    )
    return Problem(question.text, f'{question.text}=', str(question.value), question)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the answer of the response is the right one, else 0."""
    return float(finished and self.cluster(problem, response) == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The answer, right or wrong: what follows the last mark, if it is a number as written here."""
    _, mark, answer = response.rpartition(MARK)
    return answer if mark and NUMBER.fullmatch(answer) else None

  def modes(self, problem: Problem) -> int:
    """One: every correct response has the same answer."""
    return 1

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The chain and the answer."""
    chain = columns(problem.data) if self._chain == 'columns' else ''
    return f'{chain}{MARK}{problem.answer}'
