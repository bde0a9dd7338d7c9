"""Countdown: reach the target with every number used once; every correct class is known.

Worked example, the problem '2,5,7,11=24':

  prompt    '5,7,11,2=24:'
  response  '(11+5)*2-7'      25: reward 0, cluster '2*(5+11)-7'
  response  '7+2+5*3'         24, but not with these numbers: reward 0
  response  '(2*11-5)+7=24'   not an expression: reward 0, cluster None
  response  '(2*11-5)+7'      24: reward 1, cluster '7+2*11-5', one of 3 modes

A response is right iff it is one expression over + - * / and parentheses (grammar: expressions.py)
that uses every number of the problem exactly once and equals the target, in exact rational
arithmetic: negatives and fractions may occur on the way. The convention is strict: no spaces,
nothing before or after the expression, and a response that was cut is wrong. Superfluous
parentheses are allowed.

Modes are the canonical forms of expressions.py. With n distinct numbers there are 1, 6, 68, 1170,
27142, 793002 forms for n = 1 ... 6 (OEIS A140606); they are built once (catalogue.py), on the ranks
0..n-1 of the numbers, and every number set only fills in values. A mode is right if its canonical
text is. For up to 5 distinct numbers every other text of it is right, too; with 6 there are a few
that divide by zero where the canonical text does not, as 1+7/(8/(2+3-5)) for 1+7*(2+3-5)/8, and
those get no reward.

Known limits: numbers of a problem are distinct; with six numbers a puzzle has hundreds of modes,
so max_modes must be raised, and `sets` bounds the time: it takes 3 s to build the catalogue and
0.1 s a number set.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import expressions
from maxent_lm.tasks.base import Problem, stable_hash, take_split
from maxent_lm.tasks.catalogue import OPERATORS, catalogue
from maxent_lm.tasks.expressions import canonical, evaluate

__all__ = ['ALPHABET', 'Countdown', 'Puzzle', 'canonical', 'evaluate', 'renderings', 'solve']

ALPHABET = '0123456789+-*/()=,:'
SIZES = (2, 3, 4, 5, 6)

Numbers = tuple[int, ...]


class Puzzle(NamedTuple):
  """The numbers in ascending order, and the target."""

  numbers: Numbers
  target: int


# --- every solution of a number set ----------------------------------------------------------


def _reach(sets: Sequence[Numbers], max_target: int | None) -> Iterator[tuple[Puzzle, np.ndarray]]:
  """Every puzzle that these sets of one size can make, with its forms in ascending order.

  Raises:
    ValueError: not 2 to 6 distinct positive integers.
  """
  for numbers in sets:
    if len(numbers) not in SIZES or len(set(numbers)) < len(numbers) or min(numbers) < 1:
      raise ValueError(
        f'Countdown takes 2 to 6 distinct positive integers, not {numbers}: change the numbers.'
      )
  if not sets:
    return
  reached = catalogue(len(sets[0])).reach(np.array(sets), max_target)
  for numbers, (targets, forms) in zip(sets, reached, strict=True):
    starts = np.flatnonzero(np.diff(targets, prepend=0)).tolist()
    for start, end in itertools.pairwise([*starts, len(forms)]):
      yield Puzzle(numbers, int(targets[start])), forms[start:end]


@functools.lru_cache(maxsize=64)
def _solutions(numbers: Numbers) -> dict[int, np.ndarray]:
  """Target -> forms."""
  return {puzzle.target: forms for puzzle, forms in _reach([numbers], None)}


def solve(numbers: Sequence[int]) -> dict[int, tuple[str, ...]]:
  """Every positive integer target -> its modes, sorted; the order of `numbers` does not matter.

  Raises:
    ValueError: not 2 to 6 distinct positive integers.
  """
  ordered = tuple(sorted(numbers))
  return {
    target: tuple(sorted(catalogue(len(ordered)).key(form).format(*ordered) for form in forms))
    for target, forms in _solutions(ordered).items()
  }


def renderings(numbers: Sequence[int], target: int) -> dict[str, tuple[str, ...]]:
  """Mode -> every right text of that mode that has no superfluous parentheses."""
  ordered = tuple(sorted(numbers))
  forms = _solutions(ordered).get(target, ())
  book = catalogue(len(ordered))
  texts = {
    book.key(form).format(*ordered): (t.format(*ordered) for t in book.texts(form, OPERATORS))
    for form in forms
  }
  return {mode: tuple(t for t in found if evaluate(t) == target) for mode, found in texts.items()}


# --- the task --------------------------------------------------------------------------------


def _name(puzzle: Puzzle) -> str:
  return f'{",".join(map(str, puzzle.numbers))}={puzzle.target}'


def _number_sets(count: int, max_number: int, limit: int | None, seed: int) -> list[Numbers]:
  """All sets of `count` numbers from 2..max_number, or `limit` of them drawn at random."""
  pool = range(2, max_number + 1)
  if limit is None or math.comb(len(pool), count) <= limit:
    return list(itertools.combinations(pool, count))
  rng, drawn = np.random.default_rng([seed, count]), set()
  while len(drawn) < limit:
    drawn.add(tuple(sorted(int(n) + 2 for n in rng.choice(len(pool), count, replace=False))))
  return sorted(drawn)


class Countdown:
  """Puzzles of some distinct numbers in 2..max_number and a target in 1..max_target.

  `num_numbers` says how many numbers, e.g. (3, 4). All of their sets are used, or of each size
  `sets` drawn at random. Kept are the puzzles with min_modes <= modes <= max_modes (as in
  ModeBench: 3 or 4 numbers up to 12, 4 to 32 modes). With fewer `operators` the task is easier; a
  response with another one is wrong. The split goes by a hash of the sorted numbers and the target
  (`take_split`), so no test puzzle is met in training. `seed` sets the order of the problems, and
  with it which `size` of them are kept, which sets are drawn, and the order of the numbers in the
  prompts.

  Raises:
    ValueError: an unknown split or operator, numbers of an unknown size, or no puzzle is left.
  """

  def __init__(
    self,
    *,
    split: str,
    num_numbers: Sequence[int] = (3, 4),
    max_number: int = 12,
    max_target: int = 100,
    min_modes: int = 4,
    max_modes: int = 32,
    sets: int | None = None,
    operators: str = OPERATORS,
    test_fraction: float = 0.1,
    size: int | None = None,
    seed: int = 0,
  ) -> None:
    if not set(num_numbers) <= set(SIZES):
      raise ValueError(f'Countdown: num_numbers={tuple(num_numbers)} must be among {SIZES}.')
    if not operators or not set(operators) <= set(OPERATORS):
      raise ValueError(f'Countdown: operators={operators!r} must be some of {OPERATORS!r}.')
    if 6 in num_numbers and '/' in operators and '*' not in operators:
      raise ValueError(
        "Countdown: with six numbers '/' needs '*': a mode might have no right text."
      )
    self._operators, self._seed = operators, seed
    self._forms = {
      puzzle: allowed
      for count in sorted(set(num_numbers))
      for puzzle, forms in _reach(_number_sets(count, max_number, sets, seed), max_target)
      if min_modes <= len(allowed := self._allowed(forms, count)) <= max_modes
    }
    named = {_name(puzzle): puzzle for puzzle in self._forms}
    names = take_split(named, split=split, test_fraction=test_fraction, size=size, seed=seed)
    self._puzzles = [named[name] for name in names]

  def _allowed(self, forms: np.ndarray, count: int) -> np.ndarray:
    return forms[catalogue(count).count_texts(self._operators)[forms] > 0]

  def _texts(self, puzzle: Puzzle, form: int) -> list[str]:
    """Texts of a mode; with six numbers some may divide by zero."""
    texts = catalogue(len(puzzle.numbers)).texts(form, self._operators)
    return [text.format(*puzzle.numbers) for text in texts]

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._puzzles)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its answer is one right text, its data the `Puzzle`."""
    puzzle = self._puzzles[index]
    name = _name(puzzle)
    order = sorted(puzzle.numbers, key=lambda n: stable_hash(f'{self._seed}:{name}:{n}'))
    texts = self._texts(puzzle, self._forms[puzzle][0])
    right = next(text for text in texts if evaluate(text) == puzzle.target)
    return Problem(name, f'{",".join(map(str, order))}={puzzle.target}:', right, puzzle)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response is right, else 0."""
    found = expressions.analyse(response) if finished else None
    if found is None or not (set(OPERATORS) - set(self._operators)).isdisjoint(response):
      return 0.0
    return float((found.numbers, found.value) == problem.data)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """Canonical key of the response, right or wrong."""
    return canonical(response)

  def modes(self, problem: Problem) -> int:
    """Number of canonical classes that reach the target."""
    return len(self._forms[problem.data])

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A mode, uniformly, then one of its right texts (`renderings`), uniformly."""
    forms = self._forms[problem.data]
    texts = self._texts(problem.data, forms[int(rng.integers(len(forms)))])
    text = texts[int(rng.integers(len(texts)))]
    while evaluate(text) != problem.data.target:
      text = texts[int(rng.integers(len(texts)))]
    return text
