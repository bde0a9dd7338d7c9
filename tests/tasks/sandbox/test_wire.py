"""Values cross unchanged, and no bytes make anything but plain data or a WireError."""

import collections
import math
from decimal import Decimal
from fractions import Fraction

import fuzzing
import hypothesis
import pytest
from hypothesis import strategies as st

from maxent_lm.tasks.sandbox import wire

keys = st.one_of(
  st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
  st.fractions(), st.decimals(allow_nan=False), st.tuples(st.integers(), st.text()),
)  # fmt: skip
values = st.recursive(
  keys | st.complex_numbers(allow_nan=False) | st.characters(categories=['Cs']),
  lambda inner: st.one_of(
    st.lists(inner), st.lists(inner).map(tuple), st.sets(keys), st.frozensets(keys),
    st.dictionaries(keys, inner), st.lists(inner).map(collections.deque),
  ),
  max_leaves=20,
)  # fmt: skip


def types(value):
  if isinstance(value, dict):
    return [dict, *((types(k), types(v)) for k, v in value.items())]
  if isinstance(value, list | tuple | collections.deque):
    return [type(value), *map(types, value)]
  return type(value)


@hypothesis.given(values)
def test_values_cross_unchanged(value):
  back = wire.decode(wire.encode(value))
  assert back == value and types(back) == types(value)


@fuzzing.fuzzed(100)
@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error(data):
  for tag in (b'', *wire.DECODERS):
    try:
      wire.decode(tag + data)
    except wire.WireError:
      pass


@fuzzing.fuzzed(100)
@hypothesis.given(values, st.data())
def test_damaged_bytes_are_a_value_or_an_error(value, data):
  whole = wire.encode(value)
  place = data.draw(st.integers(0, len(whole) - 1))
  for damaged in (whole[:place], whole[:place] + b'\xff' + whole[place + 1 :], whole + b'N'):
    try:
      wire.decode(damaged)
    except wire.WireError:
      pass


def test_special_values():
  assert math.isnan(wire.decode(wire.encode(float('nan'))))
  assert wire.decode(wire.encode(range(1, 9, 2))) == range(1, 9, 2)
  assert list(wire.decode(wire.encode(x for x in 'abc'))) == ['a', 'b', 'c']
  assert wire.decode(wire.encode(bytearray(b'x'))) == bytearray(b'x')
  assert wire.decode(wire.encode([int, str])) == [int, str]
  assert wire.decode(wire.encode(10**5000)) == 10**5000
  assert wire.decode(wire.encode(Fraction(2, 6))) == Fraction(1, 3)
  assert str(wire.decode(wire.encode(Decimal('-0.10')))) == '-0.10'


def test_relatives_of_plain_types_arrive_as_plain():
  Point = collections.namedtuple('Point', 'x y')
  for value, plain in [
    (Point(1, 2), (1, 2)),
    (collections.Counter('aab'), {'a': 2, 'b': 1}),
    (collections.OrderedDict(a=1), {'a': 1}),
    (collections.defaultdict(int, a=1), {'a': 1}),
  ]:
    back = wire.decode(wire.encode(value))
    assert back == plain and type(back) is type(plain)


class Liar(int):
  def __eq__(self, other):
    return True

  __hash__ = int.__hash__


@pytest.mark.parametrize('value', [object(), Liar(3), lambda: 0, [Liar(3)], {1: open}, type, wire])
def test_what_is_not_plain_is_refused_or_stood_in_for(value):
  with pytest.raises(wire.WireError):
    wire.encode(value)
  back = wire.decode(wire.encode([value], stand_ins=True)) if value is not type else [True]
  assert all(back) and back != [3] and Liar not in types(back)


def test_limits():
  deep = []
  for _ in range(wire.MAX_DEPTH + 1):
    deep = [deep]
  circle = []
  circle.append(circle)
  for value in (deep, circle):
    with pytest.raises(wire.WireError, match='nested'):
      wire.encode(value)
  endless = (0 for _ in iter(int, 1))
  for value in ([0] * wire.MAX_BYTES, [0] * (wire.MAX_BYTES // 4), endless):
    with pytest.raises(wire.TooLarge):
      wire.encode(value)
  with pytest.raises(wire.WireError, match='nested'):
    wire.decode(b'l\x01\0\0\0' * 100 + b'N')
