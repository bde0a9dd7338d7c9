"""Trees of answers, and what joining them means.

A node is a tuple that starts with its kind; trees compare by structure and hold plain data only.

  scalars     ('num', Fraction) ('var', name) ('const', 'pi' | 'e' | 'i') ('add', nodes)
              ('mul', nodes) ('div', a, b) ('pow', a, b) ('root', a, k) ('call', name, nodes)
  structures  ('tuple', brackets, items) ('set', items) ('list', items) ('union', parts)
              ('matrix', rows) ('ratio', items) ('inf', sign) ('based', digits, base)
              ('word', text) ('named', name, node) ('unit', unit, node) ('equation', left, right)
              ('relation', operator, left, right)

Every function raises ValueError where its parts make no answer.
"""

from fractions import Fraction
from typing import Any

Node = tuple[Any, ...]

STRUCTURES = frozenset(
  'tuple set list union matrix ratio inf based word named unit equation relation'.split()
)
REALS: Node = ('tuple', '()', (('inf', -1), ('inf', 1)))
_FLIPPED = {'<': '>', '>': '<', '<=': '>=', '>=': '<='}


def number(value: Fraction | int | str) -> Node:
  """The node of a number."""
  return 'num', Fraction(value)


def scalar(node: Node) -> Node:
  """The node; ValueError if it is a structure, with which one cannot calculate."""
  if node[0] in STRUCTURES:
    raise ValueError(f'a {node[0]} inside an expression')
  return node


def negative(node: Node) -> Node:
  """Minus a scalar or infinity."""
  if node[0] == 'num':
    return 'num', -node[1]
  if node[0] == 'inf':
    return 'inf', -node[1]
  return 'mul', (number(-1), scalar(node))


def join(kind: str, nodes: list[Node]) -> Node:
  """The sum or product of scalars; a single node is itself."""
  return nodes[0] if len(nodes) == 1 else (kind, tuple(map(scalar, nodes)))


def _count_signs(node: Any) -> int:
  if not isinstance(node, tuple):
    return 0
  return (node[:1] == ('sign',)) + sum(map(_count_signs, node))


def _choose(node: Any, sign: int) -> Any:
  """The tree with every plus-minus decided one way."""
  if not isinstance(node, tuple):
    return node
  if node[:1] == ('sign',):
    inner = _choose(node[2], sign)
    return inner if node[1] * sign > 0 else negative(inner)
  return tuple(_choose(part, sign) for part in node)


def expand(items: list[Node]) -> tuple[Node, ...]:
  """The items with x \\pm y as two."""
  found: list[Node] = []
  for item in items:
    signs = _count_signs(item)
    if signs > 1 and item[0] == 'tuple':
      raise ValueError('several plus-minus signs in a tuple')
    found += [_choose(item, 1), _choose(item, -1)] if signs else [item]
  return tuple(found)


def _name_of(node: Node) -> str | None:
  if node[0] == 'tuple' and all(item[0] == 'var' for item in node[2]):
    return f'({", ".join(item[1] for item in node[2])})'
  return str(node[1]) if node[0] in ('var', 'word') else None


def _mentions(node: Any, name: str) -> bool:
  if node == ('var', name):
    return True
  return isinstance(node, tuple) and any(_mentions(part, name) for part in node)


def _interval(name: str, low: tuple[str, Node], high: tuple[str, Node]) -> Node:
  brackets = ('[' if low[0] == '>=' else '(') + (']' if high[0] == '<=' else ')')
  return 'named', name, ('tuple', brackets, (_bound(low[1]), _bound(high[1])))


def _bound(node: Node) -> Node:
  return node if node[0] == 'inf' else scalar(node)


def relate(operators: list[str], sides: list[Node]) -> Node:
  """What `sides` joined by `operators` mean."""
  if not operators:
    return sides[0]
  if len(operators) == 2:
    return _between(operators, sides)
  if len(operators) > 2:
    raise ValueError('a chain of relations')
  (operator,), (left, right) = operators, sides
  name = _name_of(left)
  if operator in ('=', 'in') and name and not _mentions(right, name):
    return 'named', name, right
  if operator == 'in':
    raise ValueError('a membership without a name')
  other = _name_of(right)
  if operator == '=':
    if other and not _mentions(left, other):
      return 'named', other, left
    return 'equation', scalar(left), scalar(right)
  if left[0] != 'var' and right[0] == 'var' and operator in _FLIPPED:
    operator, left, right = _FLIPPED[operator], right, left
  if left[0] == 'var' and operator in _FLIPPED and not _mentions(right, left[1]):
    none = ('<', ('inf', 1)), ('>', ('inf', -1))
    side = operator, right
    return _interval(left[1], *((none[1], side) if '<' in operator else (side, none[0])))
  return 'relation', operator, scalar(left), scalar(right)


def _between(operators: list[str], sides: list[Node]) -> Node:
  """a < x <= b, either way round."""
  low, middle, high = sides
  if operators[0][0] != operators[1][0] or operators[0] not in _FLIPPED or middle[0] != 'var':
    raise ValueError('a chain of relations')
  if operators[0][0] == '>':
    low, high = high, low
    operators = [_FLIPPED[operator] for operator in reversed(operators)]
  if _mentions(low, middle[1]) or _mentions(high, middle[1]):
    raise ValueError('a bound that moves')
  return _interval(middle[1], (_FLIPPED[operators[0]], low), (operators[1], high))


def signed(sign: str, node: Node) -> Node:
  """`node` after one of + - pm mp; the last two wait for `expand`."""
  if sign in ('pm', 'mp'):
    return 'sign', 1 if sign == 'pm' else -1, scalar(node)
  return negative(node) if sign == '-' else node


def call(name: str, argument: Node, base: Node | None) -> Node:
  """A function of a scalar; `base` is that of a logarithm."""
  if name == 'exp':
    return 'pow', ('const', 'e'), scalar(argument)
  node = 'call', 'ln' if name == 'log' else name, (scalar(argument),)
  return node if base is None else ('div', node, ('call', 'ln', (scalar(base),)))
