"""Exact canonical forms of expressions: what decides equality without any algebra system.

Worked example:

  form(algebra, parse(r'\\frac{1}{\\sqrt{2}}'))    the monomial 1/2 2^(1/2), as that of \\sqrt{2}/2
  form(algebra, parse('(x+1)/(x^2-1)'))         the same as that of 1/(x-1), by cross-multiplying
"""

import math
from fractions import Fraction

from maxent_lm.tasks.maths.algebra import (
  ONE,
  Algebra,
  Form,
  TooLarge,
  constant,
  from_generator,
  monomial,
  rational,
)
from maxent_lm.tasks.maths.nodes import Node

MAX_FACTORIAL = 400


def form(algebra: Algebra, node: Node) -> Form:
  """The canonical form of a scalar tree.

  Raises:
    TooLarge: beyond the bounds, among them what `algebra` may still spend.
    ZeroDivisionError: a division by zero, or 0^0.
  """
  if node not in algebra.known:
    algebra.known[node] = _form(algebra, node)
  return algebra.known[node]


def same(algebra: Algebra, left: Form, right: Form) -> bool:
  """Whether two forms are equal as quotients; TooLarge beyond the bounds."""
  if left == right:
    return True
  if left.below == right.below:
    return False
  return not algebra.add(left, algebra.multiply(constant(-1), right)).above


def _form(algebra: Algebra, node: Node) -> Form:
  algebra.spend(1)
  kind = node[0]
  if kind == 'num':
    return constant(node[1])
  if kind in ('var', 'const'):
    return from_generator(('i',) if node[1] == 'i' and kind == 'const' else (kind, node[1]))
  if kind == 'root':
    return _root(algebra, _form(algebra, node[1]), node[2])
  if kind == 'call':
    return _call(algebra, node[1], [_form(algebra, part) for part in node[2]])
  if kind in ('div', 'pow'):
    left, right = _form(algebra, node[1]), _form(algebra, node[2])
    if kind == 'div':
      return algebra.multiply(left, algebra.invert(right))
    exponent = rational(right)
    if exponent is None:
      return algebra.exponential(left, right)
    return algebra.rational_power(left, exponent)
  parts = [_form(algebra, part) for part in node[1]]
  result = parts[0]
  for part in parts[1:]:
    result = (algebra.add if kind == 'add' else algebra.multiply)(result, part)
  return result


def _root(algebra: Algebra, base: Form, index: int) -> Form:
  """The real root of what the radical sign holds: odd roots of negative numbers are real."""
  value = rational(base)
  if index % 2 and value is not None and value < 0:
    positive = algebra.root(constant(-value), Fraction(1, index))
    return algebra.multiply(constant(-1), positive)
  return algebra.root(base, Fraction(1, index))


def _call(algebra: Algebra, name: str, arguments: list[Form]) -> Form:
  values = [rational(argument) for argument in arguments]
  exact = _exact_call(name, values)
  if exact is not None:
    return constant(exact)
  if name == 'ln':
    return _logarithm(algebra, arguments[0])
  return from_generator(('call', name, tuple(arguments)))


def _exact_call(name: str, values: list[Fraction | None]) -> Fraction | None:
  """The value of a function that maps these rationals to a rational."""
  if any(value is None for value in values):
    return None
  known = [value for value in values if value is not None]
  if name == 'abs':
    return abs(known[0])
  if name in ('floor', 'ceil'):
    return Fraction((math.floor if name == 'floor' else math.ceil)(known[0]))
  if name not in ('factorial', 'binom') or any(value.denominator > 1 for value in known):
    return None
  if max(known) > MAX_FACTORIAL:
    raise TooLarge('factorial')
  if min(known) < 0:
    raise ZeroDivisionError
  return Fraction((math.factorial if name == 'factorial' else math.comb)(*map(int, known)))


def _logarithm(algebra: Algebra, argument: Form) -> Form:
  """ln of a positive rational as a sum over primes; of anything else a generator."""
  value = rational(argument)
  if value is not None and value <= 0:
    raise ZeroDivisionError
  mono = monomial(argument)
  if mono is None or mono[1] <= 0 or any(g[0] not in ('prime', 'const') for g, _ in mono[0]):
    return from_generator(('call', 'ln', (argument,)))
  total = constant(0)
  for generator, times in [*algebra.factors(mono[1]), *mono[0]]:
    of = from_generator(('call', 'ln', (generator,)))
    term = ONE if generator == ('const', 'e') else of
    total = algebra.add(total, algebra.multiply(constant(times), term))
  return total
