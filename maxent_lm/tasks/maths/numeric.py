"""Floating-point values of expressions at a few fixed points: what shows two to be different.

Worked example:

  agree(parse(r'\\sin 1'), parse(r'\\cos 1'))   False: they differ
  agree(parse('0'), parse(r'\\sin\\pi'))        True, which shows nothing

Variables i to n, p and q, large or small, take integers from 2 to 12, as counts do, others numbers
between 0.4 and 2.9: who reads them as integers, or as positive, reads these points right.
"""

import cmath
import hashlib
import math
from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.maths.nodes import Node

POINTS = 3
TOLERANCE = 1e-6  # relative; expressions of a few hundred signs lose less
_COUNTS = frozenset('ijklmnpqIJKLMNPQ')
_CONSTANTS = {'pi': math.pi, 'e': math.e, 'i': 1j}


def is_count(name: str) -> bool:
  """Whether a variable of this name is taken to be an integer."""
  return name[:1] in _COUNTS and (len(name) == 1 or name[1] == '_')


def _at(name: str, point: int) -> float:
  digest = int.from_bytes(hashlib.sha256(f'{name}:{point}'.encode()).digest()[:4])
  return 2 + digest % 11 if is_count(name) else 0.4 + 2.5 * digest / 2**32


def _real(value: complex) -> float:
  if abs(value.imag) > TOLERANCE * max(1, abs(value.real)):
    raise ValueError('not real')
  return value.real


def _rounded(function: Callable[[float], int]) -> Callable[[complex], float]:
  def inner(value: complex) -> float:
    real = _real(value)
    if abs(real - round(real)) < TOLERANCE:
      raise ValueError('too near to an integer')
    return function(real)

  return inner


def _binom(n: complex, k: complex) -> float:
  top, bottom = round(_real(n)), round(_real(k))
  if not 0 <= bottom <= top <= 500 or abs(n - top) + abs(k - bottom) > TOLERANCE:
    raise ValueError('not counts')
  return float(math.comb(top, bottom))


_FUNCTIONS: dict[str, Callable[..., complex]] = {
  **{name: getattr(cmath, name) for name in ('sin', 'cos', 'tan', 'sinh', 'cosh', 'tanh')},
  **{f'arc{name}': getattr(cmath, f'a{name}') for name in ('sin', 'cos', 'tan')},
  'cot': lambda x: 1 / cmath.tan(x),
  'sec': lambda x: 1 / cmath.cos(x),
  'csc': lambda x: 1 / cmath.sin(x),
  'ln': cmath.log,
  'abs': abs,
  'floor': _rounded(math.floor),
  'ceil': _rounded(math.ceil),
  'factorial': lambda x: math.gamma(_real(x) + 1),
  'binom': _binom,
}


def _root(value: complex, index: int) -> complex:
  if index % 2 and value.imag == 0 and value.real < 0:
    return -((-value.real) ** (1 / index))
  return value ** (1 / index)


def value(node: Node, point: int) -> complex:
  """The value at one of the points.

  Raises:
    ArithmeticError: an overflow, a division by zero.
    ValueError: outside the domain of a function, or too near to a jump of it.
    KeyError: a function that is not known.
  """
  kind = node[0]
  if kind == 'num':
    return complex(float(node[1]))
  if kind == 'var':
    return complex(_at(node[1], point))
  if kind == 'const':
    return complex(_CONSTANTS[node[1]])
  if kind == 'root':
    return _root(value(node[1], point), node[2])
  if kind == 'call':
    return complex(_FUNCTIONS[node[1]](*(value(part, point) for part in node[2])))
  if kind == 'div':
    return value(node[1], point) / value(node[2], point)
  if kind == 'pow':
    return value(node[1], point) ** value(node[2], point)
  parts = [value(part, point) for part in node[1]]
  return sum(parts) if kind == 'add' else math.prod(parts, start=complex(1))


def _try(node: Node, point: int) -> Any:
  try:
    found = value(node, point)
  except (ArithmeticError, ValueError, KeyError, RecursionError):
    return None
  return found if cmath.isfinite(found) else None


def agree(left: Node, right: Node) -> bool | None:
  """Whether two scalars have nearly the same value wherever both have one; None if nowhere."""
  seen = None
  for point in range(POINTS):
    a, b = _try(left, point), _try(right, point)
    if a is not None and b is not None:
      seen = True
      if abs(a - b) > TOLERANCE * max(abs(a), abs(b), 1e-2):
        return False
  return seen
