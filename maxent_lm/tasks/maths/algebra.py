"""Arithmetic on exact forms: quotients of polynomials with rational coefficients.

A polynomial maps monomials to coefficients; a monomial is a sorted tuple of (generator, exponent),
exponents rational. Generators:

  ('prime', p)       exponent in (0, 1), for roots of rationals: these monomials are linearly
                     independent over Q [Besicovitch 1940], so that radicals have one form
  ('var', name)      ('const', 'pi' | 'e')
  ('i',)             exponent 1; i^2 = -1
  ('root', form)     a root of what is no monomial, exponent in (0, 1)
  ('exp', a, mono)   a^mono, as the 2^n in 2^(n + 1) = 2 2^n
  ('call', name, forms)   a function of forms: sin, ln of a prime, floor, factorial, ...

`settled` says whether the generators of a form are independent (the first three kinds): then
different forms are different values. e and pi are taken to be independent, which nobody has proved.
Otherwise equal forms are equal values, and different forms say nothing.

Everything is bounded: the bits of a number, the terms, what lies inside generators, and the
products of terms that one `Algebra` may take (MAX_WORK), where one counts for more the larger its
generators are: hashing, comparing and sorting them takes time in proportion. Beyond that `TooLarge`
is raised; 1/0 raises ZeroDivisionError.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from maxent_lm.tasks.maths.nodes import Node

MAX_BITS = 4096
MAX_TERMS = 256
MAX_PARTS = 2_000  # of all generators of a form, those of the forms inside them counted
MAX_WORK = 8_000  # products of terms of all forms of one comparison; about 50 us each
_PARTS_PER_WORK = 10  # parts of generators that take as long as one product
MAX_EXPONENT = 64  # of a sum; that of a monomial is bounded by MAX_DEGREE
MAX_DEGREE = 10_000
_LARGEST_PRIME = 10_000  # of trial division

Generator = tuple[Any, ...]
Mono = tuple[tuple[Generator, Fraction], ...]
Poly = Mapping[Mono, Fraction]

_SETTLED = frozenset({'prime', 'var', 'const', 'i'})


class TooLarge(ValueError):
  """The form would take more than its bounds allow."""


class Form(NamedTuple):
  """above / below, sorted; `below` is 1 unless it is a sum, whose first coefficient is 1."""

  above: tuple[tuple[Mono, Fraction], ...]
  below: tuple[tuple[Mono, Fraction], ...]


def _freeze(above: Poly, below: Poly | None = None) -> Form:
  """The form of a quotient.

  Raises:
    ZeroDivisionError: `below` is zero.
    TooLarge: too many terms, too large a number, or too large generators.
  """
  below = {(): Fraction(1)} if below is None else below
  if not below:
    raise ZeroDivisionError
  if len(above) > MAX_TERMS or len(below) > MAX_TERMS:
    raise TooLarge('terms')
  if _parts(above) + _parts(below) > MAX_PARTS:
    raise TooLarge('parts')
  for value in itertools.chain(above.values(), below.values()):
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
      raise TooLarge('digits')
  top, bottom = _sorted(above), _sorted(below)
  if len(bottom) > 1 and bottom[0][1] != 1:
    first = bottom[0][1]
    top = tuple((mono, value / first) for mono, value in top)
    bottom = tuple((mono, value / first) for mono, value in bottom)
  return Form(top, bottom)


def _sorted(poly: Poly) -> tuple[tuple[Mono, Fraction], ...]:
  return tuple(sorted(poly.items(), key=lambda term: repr(term[0])))


def _parts(poly: Iterable[Mono]) -> int:
  """How much of a polynomial lies inside its generators."""
  return sum(_inside(generator) for mono in poly for generator, _ in mono)


def _inside(generator: Generator) -> int:
  return 0 if generator[0] in _SETTLED else _size(generator)


def _size(part: Any) -> int:
  return 1 + sum(map(_size, part)) if isinstance(part, tuple) else 0


def _generators(form: Form) -> set[Generator]:
  return {generator for poly in form for mono, _ in poly for generator, _ in mono}


def settled(form: Form) -> bool:
  """Whether a different settled form is another value."""
  return all(generator[0] in _SETTLED for generator in _generators(form))


def variables(form: Form) -> bool:
  """Whether the value depends on a variable, as far as the form shows."""
  return any(generator[0] not in ('prime', 'const', 'i') for generator in _generators(form))


def rational(form: Form) -> Fraction | None:
  """The value if it is a rational number."""
  if form.below != ONE.above:
    return None
  if not form.above:
    return Fraction(0)
  return form.above[0][1] if len(form.above) == 1 and not form.above[0][0] else None


def monomial(form: Form) -> tuple[Mono, Fraction] | None:
  """The form as a monomial and its coefficient, if it is one."""
  return form.above[0] if len(form.above) == 1 and form.below == ONE.above else None


def _factor(number: int) -> dict[int, int]:
  """Prime factorisation of a positive integer by trial division."""
  found: dict[int, int] = {}
  for prime in itertools.chain((2,), range(3, _LARGEST_PRIME, 2)):
    if prime * prime > number:
      break
    while number % prime == 0:
      found[prime] = found.get(prime, 0) + 1
      number //= prime
  if number > _LARGEST_PRIME**2:
    raise TooLarge('no factor found')
  if number > 1:
    found[number] = found.get(number, 0) + 1
  return found


ONE = Form((((), Fraction(1)),), (((), Fraction(1)),))


def constant(value: Fraction | int) -> Form:
  """The form of a rational."""
  return _freeze({(): Fraction(value)} if value else {})


def from_generator(generator: Generator) -> Form:
  """The form of one generator."""
  return _freeze({((generator, Fraction(1)),): Fraction(1)})


class Algebra:
  """Arithmetic on forms within one budget of work."""

  def __init__(self) -> None:
    self._work = MAX_WORK
    self.known: dict[Node, Form] = {}  # forms of trees, for forms.py

  def spend(self, work: int) -> None:
    """Takes `work` products of terms off the budget; TooLarge if there are not as many left."""
    self._work -= work
    if self._work < 0:
      raise TooLarge('work')

  def add(self, left: Form, right: Form) -> Form:
    """left + right."""
    self.spend(sum(_parts(dict(form.above)) for form in (left, right)) // _PARTS_PER_WORK)
    if left.below == right.below:
      return _freeze(_plus(dict(left.above), right.above), dict(left.below))
    above = _plus(
      self._times(left.above, right.below), self._times(right.above, left.below).items()
    )
    return self._quotient(above, self._times(left.below, right.below))

  def multiply(self, left: Form, right: Form) -> Form:
    """left right."""
    above = self._times(left.above, right.above)
    return self._quotient(above, self._times(left.below, right.below))

  def invert(self, form: Form) -> Form:
    """1 / form; ZeroDivisionError if it is zero."""
    return self._quotient(dict(form.below), dict(form.above))

  def _quotient(self, above: Poly, below: Poly) -> Form:
    """above / below, with a monomial below taken into the terms above."""
    if len(below) != 1:
      return _freeze(above, below)
    ((mono, value),) = below.items()
    if any(generator[0] == 'root' for generator, _ in mono):
      return _freeze(above, below)  # the inverse of a root is a quotient
    inverse = self._reduced([(generator, -exponent) for generator, exponent in mono])
    scaled = {m: v / value for m, v in inverse.items()}
    return _freeze(self._times(tuple(above.items()), tuple(scaled.items())))

  def _times(self, left: Any, right: Any) -> dict[Mono, Fraction]:
    self.spend(len(left) * len(right))
    total: dict[Mono, Fraction] = {}
    for (a, x), (b, y) in itertools.product(left, right):
      merged = dict(a)
      for generator, exponent in b:
        merged[generator] = merged.get(generator, Fraction(0)) + exponent
      reduced = self._reduced(list(merged.items()))
      total = _plus(total, ((mono, value * x * y) for mono, value in reduced.items()))
    return total

  def _reduced(self, parts: list[tuple[Generator, Fraction]]) -> dict[Mono, Fraction]:
    """The polynomial of a product of powers of generators, exponents brought into their ranges."""
    self.spend(sum(_inside(generator) for generator, _ in parts) // _PARTS_PER_WORK)
    value, kept, others = Fraction(1), [], []
    for generator, exponent in parts:
      whole = math.floor(exponent)
      if abs(whole) > MAX_DEGREE:
        raise TooLarge('degree')
      if generator[0] == 'prime':
        value *= _bounded_power(Fraction(generator[1]), whole)
        exponent -= whole
      elif generator[0] == 'i':
        value *= -1 if whole % 4 in (2, 3) else 1
        exponent = Fraction(whole % 2)
      elif generator[0] == 'root' and whole:
        others.append(self.power(generator[1], whole))
        exponent -= whole
      if exponent:
        kept.append((generator, exponent))
    product = _freeze({tuple(sorted(kept, key=repr)): value})
    for other in others:
      product = self.multiply(product, other)
    if product.below != ONE.above:
      raise TooLarge('a root of a quotient')
    return dict(product.above)

  def power(self, base: Form, exponent: int) -> Form:
    """base^exponent."""
    if exponent < 0:
      base, exponent = self.invert(base), -exponent
    mono = monomial(base)
    if mono is not None:
      if exponent > MAX_DEGREE:
        raise TooLarge('degree')
      parts = [(generator, e * exponent) for generator, e in mono[0]]
      value = _bounded_power(mono[1], exponent)
      return _freeze({m: v * value for m, v in self._reduced(parts).items()})
    if exponent > MAX_EXPONENT:
      raise TooLarge('exponent')
    result = ONE
    for _ in range(exponent):
      result = self.multiply(result, base)
    return result

  def root(self, base: Form, exponent: Fraction) -> Form:
    """base^exponent, the principal value, for an exponent that is no integer."""
    if exponent < 0:
      return self.invert(self.root(base, -exponent))
    if not base.above:
      return base
    mono = monomial(base)
    if mono is not None and _can_split(mono[0]) and (mono[1] > 0 or not variables(base)):
      if mono[1] < 0 and exponent.denominator != 2:
        raise TooLarge('a root of a negative number')
      merged: dict[Generator, Fraction] = {}
      for generator, e in [*self.factors(mono[1]), *mono[0]]:
        merged[generator] = merged.get(generator, Fraction(0)) + e * exponent
      return _freeze(self._reduced(list(merged.items())))
    content = _content(base)
    inner = self.multiply(base, constant(1 / content))
    whole = math.floor(exponent)
    outer = _freeze(self._reduced([(g, e * exponent) for g, e in self.factors(content)]))
    fraction = _freeze({((('root', inner), exponent - whole),): Fraction(1)})
    return self.multiply(self.multiply(outer, fraction), self.power(inner, whole))

  def factors(self, value: Fraction) -> list[tuple[Generator, Fraction]]:
    """Primes with exponents whose product is `value`; i^2 if it is negative, for square roots."""
    found: list[tuple[Generator, Fraction]] = []
    if value < 0:
      found.append((('i',), Fraction(2)))
    for number, direction in ((abs(value.numerator), 1), (value.denominator, -1)):
      self.spend(2 + number.bit_length())
      for prime, times in _factor(number).items():
        found.append((('prime', prime), Fraction(times * direction)))
    return found

  def exponential(self, base: Form, exponent: Form) -> Form:
    """base^exponent for an exponent that is no rational number."""
    value = rational(base)
    mono = monomial(base)
    positive = mono is not None and mono[1] > 0 and _can_split(mono[0])
    if exponent.below != ONE.above or not positive:
      return from_generator(('exp', base, exponent)) if value != 1 else ONE
    assert mono is not None
    result = ONE
    for generator, times in [*self.factors(mono[1]), *mono[0]]:
      is_prime = generator[0] == 'prime'
      part = constant(generator[1]) if is_prime else from_generator(generator)
      for inner, coefficient in exponent.above:
        scale = coefficient * times
        if inner:
          result = self.multiply(result, _freeze({((('exp', part, inner), scale),): Fraction(1)}))
        else:
          result = self.multiply(result, self.rational_power(part, scale))
    return result

  def rational_power(self, base: Form, exponent: Fraction) -> Form:
    """base^exponent."""
    if exponent.denominator == 1:
      if not base.above and exponent == 0:
        raise ZeroDivisionError
      return self.power(base, exponent.numerator)
    return self.root(base, exponent)


def _plus(total: dict[Mono, Fraction], terms: Any) -> dict[Mono, Fraction]:
  for mono, value in terms:
    total[mono] = total.get(mono, Fraction(0)) + value
    if not total[mono]:
      del total[mono]
  return total


def _bounded_power(base: Fraction, exponent: int) -> Fraction:
  size = max(base.numerator.bit_length(), base.denominator.bit_length())
  if (size - 1) * abs(exponent) > MAX_BITS:
    raise TooLarge('digits')
  return base**exponent


def _can_split(mono: Mono) -> bool:
  """Whether (value mono)^q = value^q mono^q: all factors but one are positive numbers."""
  others = [pair for pair in mono if pair[0][0] not in ('prime', 'const')]
  return not others or (len(others) == 1 and others[0][0][0] == 'var' and others[0][1] == 1)


def _content(form: Form) -> Fraction:
  """The greatest positive rational that divides every coefficient above."""
  values = [value for _, value in form.above]
  above = math.gcd(*(value.numerator for value in values))
  return Fraction(above, math.lcm(*(value.denominator for value in values)))


def write(form: Form) -> str:
  """The form as text, one text for each form: '1/2 2^(1/2)', 'x^2 + -1'."""
  above = _write_poly(form.above)
  return above if form.below == ONE.above else f'({above}) / ({_write_poly(form.below)})'


def _write_poly(poly: tuple[tuple[Mono, Fraction], ...]) -> str:
  terms = []
  for mono, value in poly:
    factors = [_write_generator(g) + (f'^({e})' if e != 1 else '') for g, e in mono]
    terms.append(' '.join([str(value), *factors] if value != 1 or not mono else factors))
  return ' + '.join(terms)


def _write_generator(generator: Generator) -> str:
  return str(generator[-1]) if generator[0] in _SETTLED else repr(generator)
