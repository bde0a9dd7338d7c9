r"""Game of 24: reach 24 with four numbers, each used once [Yao et al. 2023, Tree of Thoughts].

Worked example, the puzzle 4 5 6 10:

  prompt         'Use each of the numbers 4 5 6 10 once, with + - * /, to obtain 24.\n'
  response       'Steps:\n10 - 4 = 6 (left: 5 6 6)\n...\nAnswer: (10 - 4) * 5 - 6 = 24'
  reward         1 for this one; 0 if a number is missing, used twice or is none of the four
  cluster        the canonical form of the expression: '5*(10-4)-6'

The answer is the last line that is not empty, without `Answer:` and without `= 24` behind it. It is
an expression over + - * / and parentheses (grammar: expressions.py; spaces do not count), graded in
exact rational arithmetic. Nothing is said about the steps, which may be wrong or left out.

The file is puzzles.jsonl[.gz], rows {"rank": 1, "numbers": [1, 1, 4, 6], ...} in the order of
difficulty for people. The test split are the rows 900 to 999, as in the paper, train all others.

Known limits: a spelling that divides by zero on the way is wrong, also where its canonical form has
another spelling that does not.
"""

import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from maxent_lm.tasks import expressions
from maxent_lm.tasks.base import Fingerprinted, Problem
from maxent_lm.tasks.expressions import Form
from maxent_lm.tasks.tfds import jsonl

TARGET = 24
TEST = range(900, 1000)
MARK = 'answer:'

Numbers = tuple[int, ...]


def expression_of(response: str) -> str:
  """The answer of a response, without spaces; '' if there is none."""
  line = next(filter(None, map(str.strip, reversed(response.split('\n')))), '')
  if line.lower().startswith(MARK):
    line = line[len(MARK) :]
  return line.partition('=')[0].replace(' ', '')


def grade(numbers: Sequence[int], response: str) -> float:
  """1 if the answer uses every number exactly once and equals 24, else 0."""
  found = expressions.analyse(expression_of(response))
  return float(found is not None and found[:2] == (TARGET, tuple(sorted(numbers))))


@functools.lru_cache(maxsize=1 << 12)
def solutions(numbers: Numbers) -> tuple[str, ...]:
  """Every canonical form over these numbers, each used once, that equals 24, sorted."""
  places = tuple(range(len(numbers)))
  values: dict[Numbers, dict[Form, Fraction | None]] = {
    (place,): {expressions.number(numbers[place]): Fraction(numbers[place])} for place in places
  }
  for size in places[1:]:
    for chosen in itertools.combinations(places, size + 1):
      values[chosen] = _combined(values, chosen)
  return tuple(
    sorted(expressions.write(form) for form, value in values[places].items() if value == TARGET)
  )


def _combined(
  values: dict[Numbers, dict[Form, Fraction | None]], chosen: Numbers
) -> dict[Form, Fraction | None]:
  """Forms over the chosen numbers, with the value of a spelling that has one."""
  found: dict[Form, Fraction | None] = {}
  for size in range(1, len(chosen)):
    for left in itertools.combinations(chosen, size):
      right = tuple(place for place in chosen if place not in left)
      pairs = itertools.product(values[left].items(), values[right].items(), '+-*/')
      for (one, x), (other, y), operator in pairs:
        form = expressions.combine(operator, one, other)
        if found.get(form) is None:
          undefined = x is None or y is None
          found[form] = None if undefined else expressions.operate(operator, x, y)
  return found


class Game24(Fingerprinted):
  """The puzzles of `<data_dir>/puzzles.jsonl[.gz]`, in file order.

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split, no rows, or a row without four numbers from 1 to 99.
  """

  def __init__(self, *, data_dir: str, split: str) -> None:
    if split not in ('train', 'test'):
      raise ValueError(f"Game of 24 has no split '{split}': choose 'train' or 'test'.")
    path = jsonl.find_file(data_dir, 'puzzles')
    self._fingerprint = jsonl.fingerprint(path)
    rows = [_numbers(row, number, path) for number, row in jsonl.read_objects(path)]
    self._rows = [(i, row) for i, row in enumerate(rows) if (i in TEST) == (split == 'test')]
    if not self._rows:
      raise ValueError(f"'{path}' has no puzzles of the split '{split}': get the file again.")

  def fingerprint(self) -> str:
    """Of the file as it was when the task was made."""
    return self._fingerprint

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._rows)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its answer is one solution, its data the four numbers, ascending."""
    row, numbers = self._rows[index]
    found = solutions(numbers)
    shown = ' '.join(map(str, numbers))
    prompt = f'Use each of the numbers {shown} once, with + - * /, to obtain {TARGET}.\n'
    return Problem(f'game24/{row}', prompt, found[0] if found else '', numbers)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response is right, else 0; a cut response is wrong."""
    return grade(problem.data, response) if finished else 0.0

  def cluster(self, problem: Problem, response: str) -> str | None:
    """Canonical form of the expression, right or wrong."""
    return expressions.canonical(expression_of(response))

  def modes(self, problem: Problem) -> int:
    """Number of canonical forms that equal 24."""
    return len(solutions(problem.data))

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A solution, uniformly over the modes.

    Raises:
      ValueError: the puzzle has none.
    """
    found = solutions(problem.data)
    if not found:
      raise ValueError(f'{problem.id} has no solution.')
    return f'Answer: {found[int(rng.integers(len(found)))]} = {TARGET}'


def _numbers(row: jsonl.Row, line: int, path: str) -> Numbers:
  numbers = row.get('numbers')
  if not isinstance(numbers, list) or len(numbers) != 4:
    raise ValueError(f"line {line} of '{path}' has no four numbers: correct or remove it.")
  if not all(type(n) is int and 1 <= n <= 99 for n in numbers):
    raise ValueError(f"line {line} of '{path}' has numbers outside 1 to 99: correct or remove it.")
  return tuple(sorted(numbers))
