"""Every arithmetic expression over n numbers, once, and its value for many number sets at a time.

Worked example:

  book = catalogue(3)                          # 68 forms that use three numbers
  for targets, forms in book.reach(np.array([[2, 3, 4], [2, 3, 5]]), 100):
    targets[0], book.key(forms[0]), book.texts(forms[0], '+-*/')

Forms are the canonical forms of expressions.py over the ranks 0 .. n-1 of the numbers, each rank
used once: 1, 6, 68, 1170, 27142, 793002 of them for n = 1 ... 6 (OEIS A140606). For such
expressions two forms are the same iff they are the same rational function, so a form is known by
its value at one random point of two finite fields. Two different forms that had the same value
would make the numbers above too small; the points are fixed, and the tests count.

Forms are numbered by the order in which building them one from another meets them: the numbers
themselves are 0 .. n-1, those over all ranks are the last. Texts are templates: '{1}*({2}+{0})'.

Shapes: F forms, S steps, M number sets of n numbers, ascending.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import expressions
from maxent_lm.tasks.expressions import NUMBER, PRODUCT, SUM, Form

OPERATORS = '+-*/'
ADD, SUBTRACT, MULTIPLY, DIVIDE = range(4)
SIZES = (1, 2, 3, 4, 5, 6)
PRIMES = (2**31 - 1, 2**31 - 19)  # products of two residues fit into 63 bits
CELLS = 1 << 21  # values computed at a time


class Steps(NamedTuple):
  """[S] ways to build a form, `operator` (its number in OPERATORS) on the forms left and right."""

  operator: np.ndarray
  left: np.ndarray
  right: np.ndarray

  def take(self, which: np.ndarray | slice) -> 'Steps':
    """Some of them."""
    return Steps(self.operator[which], self.left[which], self.right[which])


# --- residues: what identifies a form ----------------------------------------------------------


def _inverse(residues: np.ndarray) -> np.ndarray:
  """[2, N] inverses modulo PRIMES, by Fermat's little theorem."""
  inverses = np.ones_like(residues)
  for row, prime in enumerate(PRIMES):
    power, exponent = residues[row], prime - 2
    while exponent:
      if exponent % 2:
        inverses[row] = inverses[row] * power % prime
      power, exponent = power * power % prime, exponent // 2
  return inverses


def _combine(steps: Steps, residues: np.ndarray, inverses: np.ndarray) -> np.ndarray:
  """[2, S] residues of what the steps build."""
  built = np.empty((2, len(steps.operator)), np.int64)
  for operator in range(4):
    here = steps.operator == operator
    left, right = residues[:, steps.left[here]], residues[:, steps.right[here]]
    if operator == DIVIDE:
      right = inverses[:, steps.right[here]]
    value = {ADD: left + right, SUBTRACT: left - right}.get(operator, left * right)
    built[:, here] = value % np.array(PRIMES)[:, None]
  return built


# --- building ----------------------------------------------------------------------------------


class _Builder:
  """Dynamic programming over subsets of the ranks."""

  def __init__(self, size: int) -> None:
    self.residues = np.random.default_rng(7).integers(1, min(PRIMES), (2, size))
    self.inverses = _inverse(self.residues)
    self.kind = np.full(size, NUMBER, np.int8)
    self.divides = np.zeros(size, bool)  # products with something below the bar
    self.steps: list[Steps] = []
    self.forms: list[np.ndarray] = []  # what each of the steps builds
    self._members: dict[tuple[int, ...], np.ndarray] = {
      (rank,): np.array([rank]) for rank in range(size)
    }

  def _steps(self, ranks: tuple[int, ...]) -> Steps:
    """Every operator on every two forms that share the ranks between them."""
    parts = []
    for count in range(1, len(ranks)):
      for left in itertools.combinations(ranks, count):
        right = tuple(rank for rank in ranks if rank not in left)
        grid = np.meshgrid(self._members[left], self._members[right], np.arange(4), indexing='ij')
        parts.append([axis.ravel() for axis in grid])
    left, right, operator = map(np.concatenate, zip(*parts, strict=True))
    return Steps(operator, left, right)

  def add(self, ranks: tuple[int, ...]) -> None:
    """The forms over these ranks; those over fewer must be there."""
    steps = self._steps(ranks)
    residues = _combine(steps, self.residues, self.inverses)
    _, first, inverse = np.unique(
      (residues[0] << 31) | residues[1], return_index=True, return_inverse=True
    )
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(self.kind), len(self.kind) + len(first))
    first = np.sort(first)
    self._members[ranks] = np.arange(len(self.kind), len(self.kind) + len(first))
    self._keep(steps, number[inverse])
    found = steps.take(first)
    product = found.operator >= MULTIPLY
    below = self.divides[found.left] | self.divides[found.right]
    self.kind = np.concatenate([self.kind, np.where(product, PRODUCT, SUM).astype(np.int8)])
    self.divides = np.concatenate([self.divides, product & below | (found.operator == DIVIDE)])
    self.residues = np.concatenate([self.residues, residues[:, first]], axis=1)
    self.inverses = np.concatenate([self.inverses, _inverse(residues[:, first])], axis=1)

  def _keep(self, steps: Steps, forms: np.ndarray) -> None:
    """The steps that a text can end with, those first that divide by nothing that divides.

    a+(b+c) is written a+b+c, which ends with +c: so every text has one last step, and the texts of
    a form are counted and listed without repetition. And a*c/b exists wherever a/(b/c) does, but
    not the other way round: the first step gives a form the value it has in its canonical text.
    """
    kind = self.kind[steps.right]
    regrouped = (steps.operator == ADD) & (kind == SUM)
    regrouped |= (steps.operator == MULTIPLY) & (kind == PRODUCT)
    kept = np.flatnonzero(~regrouped)
    late = (steps.operator == DIVIDE) & (kind == PRODUCT) & self.divides[steps.right]
    order = kept[np.lexsort((late[kept], forms[kept]))]
    self.steps.append(steps.take(order))
    self.forms.append(forms[order])


class Catalogue:
  """The forms over `size` ranks.

  Attributes:
    size: number of ranks.
    whole: the forms that use every rank, a range of numbers.
  """

  def __init__(self, size: int) -> None:
    builder, blocks = _Builder(size), [0, size]
    for count in range(2, size + 1):
      for ranks in itertools.combinations(range(size), count):
        builder.add(ranks)
      blocks.append(len(builder.kind))
    self.size = size
    self.whole = range(blocks[-2], blocks[-1])
    self._blocks = list(itertools.pairwise(blocks[1:]))
    self._kind = builder.kind
    parts = builder.steps or [Steps(*np.zeros((3, 0), np.int64))]
    self._steps = Steps(*map(np.concatenate, zip(*parts, strict=True)))
    forms = np.concatenate([np.zeros(0, np.int64), *builder.forms])
    self._start = np.searchsorted(forms, np.arange(blocks[-1] + 1))
    self._form = functools.lru_cache(maxsize=1 << 16)(self._make_form)
    self._written = functools.lru_cache(maxsize=1 << 14)(self._make_texts)
    self._counted = functools.lru_cache(maxsize=16)(self._count_texts)

  def _make_form(self, form: int) -> Form:
    if form < self.size:
      return expressions.number(form)
    operator, left, right = (int(part[self._start[form]]) for part in self._steps)
    return expressions.combine(OPERATORS[operator], self._form(left), self._form(right))

  def key(self, form: int) -> str:
    """The canonical text of a form."""
    return _template(expressions.write(self._form(int(form))))

  def _make_texts(self, form: int, operators: str) -> tuple[str, ...]:
    if form < self.size:
      return (str(form),)
    found = []
    for step in range(self._start[form], self._start[form + 1]):
      operator, left, right = (int(part[step]) for part in self._steps)
      if OPERATORS[operator] in operators:
        kinds = int(self._kind[left]), int(self._kind[right])
        pairs = itertools.product(self._written(left, operators), self._written(right, operators))
        found += [expressions.join(OPERATORS[operator], a, b, kinds) for a, b in pairs]
    return tuple(sorted(found))

  def texts(self, form: int, operators: str) -> tuple[str, ...]:
    """Every text of a form that uses these operators alone and no superfluous parentheses."""
    return tuple(map(_template, self._written(int(form), operators)))

  def count_texts(self, operators: str) -> np.ndarray:
    """[F] number of `texts` of every form."""
    return self._counted(operators)

  def _count_texts(self, operators: str) -> np.ndarray:
    counts = np.ones(len(self._kind), np.int64)
    allowed = np.isin(self._steps.operator, [OPERATORS.index(each) for each in operators])
    for begin, end in self._blocks:
      start = self._start[begin:end]
      here = slice(start[0], self._start[end])
      ways = counts[self._steps.left[here]] * counts[self._steps.right[here]] * allowed[here]
      counts[begin:end] = np.add.reduceat(ways, start - start[0])
    return counts

  def reach(
    self, sets: np.ndarray, max_target: int | None
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each set: the positive integers up to max_target that forms reach, and the forms, sorted.

    Raises:
      ValueError: numbers so large that values might not fit into 63 bits.
    """
    if sets.size and float(2**self.size) * sets.astype(float).prod(axis=1).max() > 2**62:
      raise ValueError(f'{sets.max()} is too large for {self.size} numbers: choose smaller ones.')
    rows = max(1, CELLS // len(self._kind))
    for at in range(0, len(sets), rows):
      above, below = self._values(sets[at : at + rows])
      above, below = above[self.whole.start :].T, below[self.whole.start :].T
      whole = (below != 0) & (above % np.where(below == 0, 1, below) == 0)
      for here, over, under in zip(whole, above, below, strict=True):
        forms = np.flatnonzero(here)
        values = over[forms] // under[forms]
        kept = np.flatnonzero((values > 0) & (values <= (max_target or np.inf)))
        order = kept[np.argsort(values[kept], kind='stable')]
        yield values[order], forms[order] + self.whole.start

  def _values(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[F, M] numerators and denominators of every form; both are 0 where it divides by zero.

    They are not reduced: each is a sum of at most 2^(n-1) products of different numbers.
    """
    above = np.zeros((len(self._kind), len(sets)), np.int64)
    below = np.ones_like(above)
    above[: self.size] = sets.T
    for begin, end in self._blocks:
      steps = self._steps.take(self._start[begin:end])
      for operator in range(4):
        here = np.flatnonzero(steps.operator == operator)
        i, j = steps.left[here], steps.right[here]
        over, under = (below[j], above[j]) if operator == DIVIDE else (above[j], below[j])
        if operator < MULTIPLY:
          sign = 1 if operator == ADD else -1
          above[begin + here] = above[i] * under + sign * over * below[i]
        else:
          above[begin + here] = above[i] * over
        below[begin + here] = below[i] * under
      above[begin:end][below[begin:end] == 0] = 0
    return above, below


def _template(text: str) -> str:
  """Ranks, single digits, become fields to be filled in by str.format."""
  return text.translate({ord(digit): f'{{{digit}}}' for digit in '0123456789'})


@functools.cache
def catalogue(size: int) -> Catalogue:
  """The catalogue over `size` ranks, made once; 3 s and 0.5 GB for six.

  Raises:
    ValueError: a size that is not in SIZES.
  """
  if size not in SIZES:
    raise ValueError(f'there is no catalogue of {size} numbers: choose one of {SIZES}.')
  return Catalogue(size)
