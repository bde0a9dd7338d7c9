"""Whether two trees say the same: scalars by exact forms, structures part by part.

Worked example:

  compare(parse('(1,2]'), parse('1 < x <= 2'))    Status.EQUAL
  compare(parse('1, 2'), parse('2 or 1'))         Status.EQUAL: a list at the top has no order
  compare(parse('x = 5'), parse('y = 5'))         Status.DIFFERENT: both are named, differently

Scalars go through three sieves: exact forms (forms.py), floating-point values that differ
(numeric.py), and only then sympy in a process of its own (symbolic.py), which so is asked about
nothing but what agrees numerically with the other side. What is too large for an exact form is
UNVERIFIABLE at once.

An answer may leave out a name or a unit that the other one has, but not contradict it: different
names are DIFFERENT, different units UNVERIFIABLE, since nothing is converted. A solved equation,
x = 5, is not the same as an unsolved one, 2x = 10, though they have the same solutions; unsolved
ones, and those that are solved for different variables (y = 2x, x = y/2), are the same iff they are
multiples of each other. Values without names stand for x = 5, y = 6 in that order alone.
"""

import enum
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from maxent_lm.tasks.maths import algebra, forms, numeric, symbolic
from maxent_lm.tasks.maths.algebra import Form, TooLarge
from maxent_lm.tasks.maths.nodes import STRUCTURES, Node


class Status(enum.Enum):
  """The outcomes of a comparison."""

  EQUAL = 'equal'
  DIFFERENT = 'different'
  UNVERIFIABLE = 'unverifiable'


EQUAL, DIFFERENT, UNVERIFIABLE = Status.EQUAL, Status.DIFFERENT, Status.UNVERIFIABLE
_LEAST_SECONDS = 0.02  # that are worth asking sympy for
_UNORDERED = ('list', 'set', 'union')
_VERDICTS = {symbolic.Verdict.EQUAL: EQUAL, symbolic.Verdict.DIFFERENT: DIFFERENT}


def compare(left: Node, right: Node) -> Status:
  """Whether two trees say the same; symmetric in its arguments as far as sympy is.

  The work on exact forms, and the seconds that sympy takes, are bounded for the whole comparison.
  """
  return judge(left, right).status


class Outcome(NamedTuple):
  """A status, and whether another time may give another one: sympy's time was over."""

  status: Status
  passing: bool


def judge(left: Node, right: Node) -> Outcome:
  """As `compare`, telling what depends on how busy the machine is from what does not."""
  effort = _Effort()
  status = _compare(effort, left, right)
  return Outcome(status, effort.cut_short and status is UNVERIFIABLE)


class _Effort:
  """What one comparison may still spend."""

  def __init__(self) -> None:
    self.algebra, self.seconds = algebra.Algebra(), symbolic.SECONDS
    self.cut_short = False  # a question was not answered, for lack of time

  def form(self, node: Node) -> Form:
    return forms.form(self.algebra, node)

  def ask(self, left: Node, right: Node) -> Status:
    """Sympy's verdict."""
    if self.seconds < _LEAST_SECONDS:
      self.cut_short = True
      return UNVERIFIABLE
    verdict, seconds = symbolic.decide(left, right, seconds=self.seconds)
    self.seconds -= seconds
    self.cut_short |= verdict is symbolic.Verdict.TIMEOUT
    return _VERDICTS.get(verdict, UNVERIFIABLE)


def _compare(effort: _Effort, left: Node, right: Node) -> Status:
  left_name, left_unit, left = _strip(left)
  right_name, right_unit, right = _strip(right)
  if left[0] == 'equation' or right[0] == 'equation':
    return _equations(effort, (left_name, left), (right_name, right))
  if left_name and right_name and left_name != right_name:
    solved_otherwise = _has_variable(left) and _has_variable(right)
    return (
      _equations(effort, (left_name, left), (right_name, right)) if solved_otherwise else DIFFERENT
    )
  if left_unit and right_unit and left_unit != right_unit:
    return UNVERIFIABLE
  if left[0] not in STRUCTURES and right[0] not in STRUCTURES:
    return _scalars(effort, left, right)
  return _structures(effort, left, right)


def _strip(node: Node) -> tuple[str, str, Node]:
  """Name, unit and what they belong to."""
  name = unit = ''
  while node[0] in ('named', 'unit'):
    if node[0] == 'named':
      name = name or node[1]
    else:
      unit = unit or node[1]
    node = node[2]
  return name, unit, node


def _has_variable(node: Any) -> bool:
  if not isinstance(node, tuple) or node[:1] == ('var',):
    return isinstance(node, tuple)
  return any(map(_has_variable, node))


def _all(statuses: Sequence[Status]) -> Status:
  for status in (DIFFERENT, UNVERIFIABLE):
    if status in statuses:
      return status
  return EQUAL


# --- scalars -----------------------------------------------------------------------------------


def _scalars(effort: _Effort, left: Node, right: Node) -> Status:
  try:
    status = _exact(effort, effort.form(left), effort.form(right))
  except ZeroDivisionError:
    return UNVERIFIABLE
  except TooLarge:
    return DIFFERENT if numeric.agree(left, right) is False else UNVERIFIABLE
  if status is not None:
    return status
  if not (agreed := numeric.agree(left, right)):
    return UNVERIFIABLE if agreed is None else DIFFERENT
  return effort.ask(left, right)


def _exact(effort: _Effort, left: Form, right: Form) -> Status | None:
  """What the forms decide; None if nothing."""
  if forms.same(effort.algebra, left, right):
    return EQUAL
  return DIFFERENT if algebra.settled(left) and algebra.settled(right) else None


# --- equations ---------------------------------------------------------------------------------


def _equations(effort: _Effort, left: tuple[str, Node], right: tuple[str, Node]) -> Status:
  try:
    one, other = _difference(effort, *left), _difference(effort, *right)
  except (TooLarge, ZeroDivisionError):
    return UNVERIFIABLE
  if one is None or other is None:
    return DIFFERENT
  if not one or not other:  # it holds always and says nothing
    return UNVERIFIABLE
  if _scaled(one) == _scaled(other):
    return EQUAL
  settled = all(
    g[0] in ('var', 'const', 'prime', 'i') for p in (one, other) for m in p for g, _ in m
  )
  return DIFFERENT if settled else UNVERIFIABLE


def _difference(effort: _Effort, name: str, node: Node) -> dict[algebra.Mono, Fraction] | None:
  """Left side minus right side of an equation with variables; None for anything else."""
  if node[0] == 'equation':
    left, right = node[1], node[2]
  elif name and node[0] not in STRUCTURES:
    left, right = ('var', name), node
  else:
    return None
  if node[0] != 'equation' and not algebra.variables(effort.form(right)):
    return None
  form = effort.form(('add', (left, ('mul', (('num', Fraction(-1)), right)))))
  return dict(form.above)


def _scaled(poly: dict[algebra.Mono, Fraction]) -> dict[algebra.Mono, Fraction]:
  first = poly[min(poly, key=repr)]
  return {mono: value / first for mono, value in poly.items()}


# --- structures --------------------------------------------------------------------------------


def _structures(effort: _Effort, left: Node, right: Node) -> Status:
  left, right = _merge(effort, left), _merge(effort, right)
  kinds = left[0], right[0]
  if set(kinds) == {'tuple', 'set'}:  # (1, 1) is a pair, but [1, 1] and (1, 1] are sets
    left, right = (_merge(effort, ('union', (n,))) if _is_interval(n) else n for n in (left, right))
    kinds = left[0], right[0]
  if set(kinds) == {'list', 'set'}:
    left, right = ('list', *left[1:]), ('list', *right[1:])
  elif kinds[0] != kinds[1]:
    return DIFFERENT
  kind = left[0]
  if kind in _UNORDERED:
    return _unordered(effort, left[1], right[1])
  if kind == 'matrix':
    if [len(row) for row in left[1]] != [len(row) for row in right[1]]:
      return DIFFERENT
    return _ordered(effort, sum(left[1], ()), sum(right[1], ()))
  if kind in ('tuple', 'ratio'):
    # with two parts brackets say which ends belong to an interval
    if kind == 'tuple' and left[1] != right[1] and len(left[2]) == 2:
      return DIFFERENT
    place = 2 if kind == 'tuple' else 1
    return _ordered(effort, left[place], right[place])
  if kind == 'relation':
    return _ordered(effort, left[2:], right[2:]) if left[1] == right[1] else UNVERIFIABLE
  return EQUAL if left == right else DIFFERENT  # words, infinities, numbers with a base


def _ordered(effort: _Effort, left: Sequence[Node], right: Sequence[Node]) -> Status:
  if len(left) != len(right):
    return DIFFERENT
  return _all([_compare(effort, a, b) for a, b in zip(left, right, strict=True)])


def _unordered(effort: _Effort, left: Sequence[Node], right: Sequence[Node]) -> Status:
  """EQUAL iff the parts can be paired; DIFFERENT iff some part is unlike every other."""
  if len(left) != len(right):
    return DIFFERENT
  if _names_order(left, right) or _names_order(right, left):
    return _ordered(effort, left, right)
  table = [[_compare(effort, a, b) for b in right] for a in left]
  if _pairs([[status == EQUAL for status in row] for row in table]):
    return EQUAL
  lines = [*table, *map(list, zip(*table, strict=True))]
  if any(all(status == DIFFERENT for status in line) for line in lines):
    return DIFFERENT
  unknown = any(UNVERIFIABLE in line for line in lines)
  return UNVERIFIABLE if unknown else DIFFERENT


def _names_order(named: Sequence[Node], bare: Sequence[Node]) -> bool:
  """Whether values without names are meant for different names, x = 5 and y = 6: in that order."""
  names = {_strip(part)[0] for part in named}
  return len(names) == len(named) > 1 and '' not in names and not any(_strip(p)[0] for p in bare)


def _pairs(fits: Sequence[Sequence[bool]]) -> bool:
  """Whether every row has a column of its own that fits, by augmenting paths [Kuhn 1955]."""
  rows: dict[int, int] = {}  # the row that has a column

  def place(row: int, seen: set[int]) -> bool:
    for column, fit in enumerate(fits[row]):
      if fit and column not in seen:
        seen.add(column)
        if column not in rows or place(rows[column], seen):
          rows[column] = row
          return True
    return False

  return all(place(row, set()) for row in range(len(fits)))


def _merge(effort: _Effort, node: Node) -> Node:
  """Sets without repetitions; unions of rational intervals and points as disjoint intervals."""
  if node[0] == 'set':
    return 'set', tuple({_key(effort, item): item for item in node[1]}.values())
  if node[0] != 'union':
    return node
  spans = [span for part in node[1] for span in _spans(effort, part)]
  if any(span is None for span in spans):
    return node
  merged: list[list[Ends]] = []
  for low, high in sorted(span for span in spans if span is not None and span[0] <= span[1]):
    if merged and (low[0] < merged[-1][1][0] or _touch(merged[-1][1], low)):
      merged[-1][1] = max(merged[-1][1], high)
    else:
      merged.append([low, high])
  parts = tuple(_span_node(low, high) for low, high in merged)
  if all(part[0] == 'set' for part in parts):
    return 'set', tuple(item for part in parts for item in part[1])
  return parts[0] if len(parts) == 1 else ('union', parts)


def _is_interval(node: Node) -> bool:
  return node[0] == 'tuple' and len(node[2]) == 2 and node[1] != '()'


def _key(effort: _Effort, item: Node) -> Form | Node:
  """The exact form of a scalar, else the tree."""
  try:
    return item if item[0] in STRUCTURES else effort.form(item)
  except (TooLarge, ZeroDivisionError):
    return item


Ends = tuple[float | Fraction, int]  # a point, and -1, 0 or 1: just below, at, or just above it


def _touch(high: Ends, low: Ends) -> bool:
  """Whether nothing lies between the end of one interval and the beginning of the next."""
  return high[0] == low[0] and low[1] - high[1] <= 1


def _spans(effort: _Effort, part: Node) -> list[tuple[Ends, Ends] | None]:
  """Beginning and end of every piece of a union; None for one that is not rational."""
  if part[0] == 'set':
    points = [_point(effort, item) for item in part[1]]
    return [None if point is None else ((point, 0), (point, 0)) for point in points]
  ends = [_point(effort, item) for item in part[2]]
  if len(ends) != 2 or ends[0] is None or ends[1] is None:
    return [None]
  low, high = ends[0], ends[1]
  return [((low, int(part[1][0] == '(')), (high, -int(part[1][1] == ')')))]


def _point(effort: _Effort, node: Node) -> float | Fraction | None:
  if node[0] == 'inf':
    return node[1] * float('inf')
  try:
    return algebra.rational(effort.form(node)) if node[0] not in STRUCTURES else None
  except (TooLarge, ZeroDivisionError):
    return None


def _span_node(low: Ends, high: Ends) -> Node:
  nodes = [
    ('inf', 1 if value > 0 else -1) if isinstance(value, float) else ('num', value)
    for value in (low[0], high[0])
  ]
  if low == high:
    return 'set', (nodes[0],)
  return 'tuple', ('(' if low[1] else '[') + (')' if high[1] else ']'), tuple(nodes)
