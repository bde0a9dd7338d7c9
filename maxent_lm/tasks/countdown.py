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

Modes are the canonical forms of expressions.py. With n distinct numbers there are 1, 6, 68, 1170
forms for n = 1, 2, 3, 4 (OEIS A140606); they are built once, on the ranks 0..n-1 of the numbers,
and every number set only fills in values. No sub-expression of a solution of up to 4 distinct
numbers is zero in one spelling of a mode and divided by in another, so a mode is right as a whole.
"""

import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import expressions
from maxent_lm.tasks.base import Problem, stable_hash, take_split
from maxent_lm.tasks.expressions import Form, canonical, evaluate

__all__ = ['ALPHABET', 'Countdown', 'Puzzle', 'canonical', 'evaluate', 'renderings', 'solve']

ALPHABET = '0123456789+-*/()=,:'
OPERATORS = '+-*/'
SIZES = (2, 3, 4)

Numbers = tuple[int, ...]


class Puzzle(NamedTuple):
  """The numbers in ascending order, and the target."""

  numbers: Numbers
  target: int


class _Catalogue(NamedTuple):
  """Every form over n ranks. Texts are templates: '{1}*({2}+{0})' for 1*(2+0).

  Value i < n is the number of rank i; value n + k is steps[k] = (operator, i, j) applied to the
  values i and j. The last len(keys) values belong to the forms that use every rank.
  """

  steps: tuple[tuple[str, int, int], ...]
  keys: tuple[str, ...]
  texts: tuple[tuple[str, ...], ...]


# --- every expression over n ranks, once -----------------------------------------------------


def _splits(ranks: Numbers) -> list[tuple[Numbers, Numbers]]:
  """Every ordered pair of non-empty disjoint sets whose union is `ranks`."""
  lefts = (left for k in range(1, len(ranks)) for left in itertools.combinations(ranks, k))
  return [(left, tuple(r for r in ranks if r not in left)) for left in lefts]


def _template(text: str) -> str:
  """Ranks, single digits, become fields to be filled in by str.format."""
  return text.translate({ord(digit): f'{{{digit}}}' for digit in '0123456789'})


@functools.cache
def _catalogue(size: int) -> _Catalogue:
  """Dynamic programming over subsets of the ranks: forms, and the texts that have each form."""
  forms: dict[Numbers, dict[Form, int]] = {
    (rank,): {expressions.number(rank): rank} for rank in range(size)
  }
  steps: list[tuple[str, int, int]] = []
  texts: list[set[str]] = [{str(rank)} for rank in range(size)]
  everything = tuple(range(size))
  for ranks in (r for k in range(2, size + 1) for r in itertools.combinations(everything, k)):
    here = forms[ranks] = {}
    for lefts, rights in ((forms[a], forms[b]) for a, b in _splits(ranks)):
      for (left, i), (right, j), operator in itertools.product(
        lefts.items(), rights.items(), '+-*/'
      ):
        form = expressions.combine(operator, left, right)
        if form not in here:
          here[form] = len(texts)
          steps.append((operator, i, j))
          texts.append(set())
        kinds = left[1][0], right[1][0]
        pairs = itertools.product(texts[i], texts[j])
        texts[here[form]].update(expressions.join(operator, a, b, kinds) for a, b in pairs)
  return _Catalogue(
    tuple(steps),
    tuple(_template(expressions.write(form)) for form in forms[everything]),
    tuple(tuple(map(_template, sorted(texts[k]))) for k in forms[everything].values()),
  )


@functools.cache
def _texts(size: int, operators: str) -> tuple[tuple[str, ...], ...]:
  """The catalogue's texts that use no other operators; empty for a form that has no such text."""
  others = set(OPERATORS) - set(operators)
  return tuple(
    tuple(text for text in texts if others.isdisjoint(text)) for texts in _catalogue(size).texts
  )


# --- every solution of a number set ----------------------------------------------------------


@functools.lru_cache(maxsize=1 << 12)
def _solutions(numbers: Numbers) -> dict[int, tuple[int, ...]]:
  """Positive integer target -> indices into the catalogue; `numbers` ascending."""
  if len(numbers) not in SIZES or len(set(numbers)) < len(numbers) or min(numbers) < 1:
    raise ValueError(
      f'Countdown takes 2 to 4 distinct positive integers, not {numbers}: change the numbers.'
    )
  catalogue = _catalogue(len(numbers))
  values: list[Fraction | None] = [Fraction(n) for n in numbers]
  for operator, i, j in catalogue.steps:
    left, right = values[i], values[j]
    values.append(
      None if left is None or right is None else expressions.operate(operator, left, right)
    )
  solutions: dict[int, list[int]] = {}
  for index, value in enumerate(values[-len(catalogue.keys) :]):
    if value is not None and value > 0 and value.denominator == 1:
      solutions.setdefault(value.numerator, []).append(index)
  return {target: tuple(solutions[target]) for target in sorted(solutions)}


def solve(numbers: Sequence[int]) -> dict[int, tuple[str, ...]]:
  """Every positive integer target -> its modes, sorted; the order of `numbers` does not matter.

  Raises:
    ValueError: not 2 to 4 distinct positive integers.
  """
  ordered = tuple(sorted(numbers))
  solutions = _solutions(ordered)
  keys = [key.format(*ordered) for key in _catalogue(len(ordered)).keys]
  return {target: tuple(sorted(keys[i] for i in found)) for target, found in solutions.items()}


def renderings(numbers: Sequence[int], target: int) -> dict[str, tuple[str, ...]]:
  """Mode -> every text of that mode that has no superfluous parentheses."""
  ordered = tuple(sorted(numbers))
  found = _solutions(ordered).get(target, ())
  catalogue = _catalogue(len(ordered))
  return {
    catalogue.keys[i].format(*ordered): tuple(t.format(*ordered) for t in catalogue.texts[i])
    for i in found
  }


# --- the task --------------------------------------------------------------------------------


def _name(puzzle: Puzzle) -> str:
  return f'{",".join(map(str, puzzle.numbers))}={puzzle.target}'


class Countdown:
  """Every puzzle of some distinct numbers in 2..max_number and a target in 1..max_target.

  `num_numbers` says how many numbers, e.g. (3, 4). Kept are the puzzles with min_modes <= modes <=
  max_modes (as in ModeBench: 3 or 4 numbers up to 12, 4 to 32 modes). With fewer `operators` the
  task is easier; a response with another one is wrong. The split goes by a hash of the sorted
  numbers and the target (`take_split`), so no test puzzle is met in training. `seed` sets the order
  of the problems, and with it which `size` of them are kept, and the order of the numbers in the
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
    operators: str = OPERATORS,
    test_fraction: float = 0.1,
    size: int | None = None,
    seed: int = 0,
  ) -> None:
    if not set(num_numbers) <= set(SIZES):
      raise ValueError(f'Countdown: num_numbers={tuple(num_numbers)} must be among {SIZES}.')
    if not operators or not set(operators) <= set(OPERATORS):
      raise ValueError(f'Countdown: operators={operators!r} must be some of {OPERATORS!r}.')
    sets = (
      numbers
      for count in sorted(set(num_numbers))
      for numbers in itertools.combinations(range(2, max_number + 1), count)
    )
    self._operators, self._seed = operators, seed
    self._forms = {
      Puzzle(numbers, target): forms
      for numbers in sets
      for target, found in _solutions(numbers).items()
      if target <= max_target
      if min_modes <= len(forms := self._allowed(found, len(numbers))) <= max_modes
    }
    named = {_name(puzzle): puzzle for puzzle in self._forms}
    names = take_split(named, split=split, test_fraction=test_fraction, size=size, seed=seed)
    self._puzzles = [named[name] for name in names]

  def _allowed(self, forms: Sequence[int], count: int) -> tuple[int, ...]:
    texts = _texts(count, self._operators)
    return tuple(form for form in forms if texts[form])

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._puzzles)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its answer is one right text, its data the `Puzzle`."""
    puzzle = self._puzzles[index]
    name = _name(puzzle)
    order = sorted(puzzle.numbers, key=lambda n: stable_hash(f'{self._seed}:{name}:{n}'))
    texts = _texts(len(order), self._operators)[self._forms[puzzle][0]]
    prompt = f'{",".join(map(str, order))}={puzzle.target}:'
    return Problem(name, prompt, texts[0].format(*puzzle.numbers), puzzle)

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
    """A mode, uniformly, then one of its texts (`renderings`), uniformly."""
    forms = self._forms[problem.data]
    texts = _texts(len(problem.data.numbers), self._operators)
    choices = texts[forms[int(rng.integers(len(forms)))]]
    return choices[int(rng.integers(len(choices)))].format(*problem.data.numbers)
