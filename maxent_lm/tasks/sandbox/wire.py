"""Plain data as bytes: the only thing that crosses between a candidate and its tests.

A value is one tag byte and its contents. Only these types exist on the wire, so whatever a hostile
sender writes, the receiver holds exact built-in objects that it built itself, or a WireError:

  None bool int float complex str bytes bytearray list tuple set frozenset dict deque range
  Fraction Decimal, the built-in types themselves, iterators (sent as what they yield), and Opaque

The sender may be lenient, since the receiver does not trust it: a Counter travels as a dict, a
named tuple as a tuple, and with `stand_ins` anything else as an Opaque. A frame is a value with its
length before it.

Worked example:

  encode([1, 'a'])          b'l\\x02\\x00\\x00\\x00i\\x01\\x00\\x00\\x00\\x01s\\x01\\x00\\x00\\x00a'
  decode(encode([1, 'a']))  [1, 'a']
"""

import os
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sized
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 60

COUNT = struct.Struct('<I')


class WireError(Exception):
  """A value that is not plain data, or bytes that are no value."""


class TooLarge(WireError):
  """More than MAX_BYTES."""


class Opaque:
  """Stands for an object that cannot cross: true or false as it was, and equal to nothing."""

  __slots__ = ('_true',)
  received = 0  # in this process

  def __init__(self, true: bool) -> None:
    self._true = true
    Opaque.received += 1

  def __bool__(self) -> bool:
    return self._true


class _Out(bytearray):
  stand_ins = False


def _check_size(size: int) -> None:
  if size > MAX_BYTES:
    raise TooLarge(f'more than {MAX_BYTES} bytes of data')


def _put_text(out: _Out, tag: bytes, content: bytes) -> None:
  out += tag + COUNT.pack(len(content)) + content
  _check_size(len(out))


def _put_int(out: _Out, value: int, depth: int) -> None:
  _put_text(out, b'i', value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True))


def _put_items(out: _Out, tag: bytes, items: Iterable[Any], depth: int) -> None:
  """Iterators do not know their length: the count is filled in afterwards."""
  if isinstance(items, Sized):
    _check_size(len(out) + len(tag) + len(items))  # a byte each at least
  out += tag
  place = len(out)
  out += COUNT.pack(0)
  count = 0
  for item in items:
    _put(out, item, depth + 1)
    count += 1
  COUNT.pack_into(out, place, count)


def _put_dict(out: _Out, value: dict[Any, Any], depth: int) -> None:
  _put_items(out, b'd', (part for pair in dict.items(value) for part in pair), depth)


def _put_sequence(tag: bytes) -> Callable[[_Out, Any, int], None]:
  return lambda out, value, depth: _put_items(out, tag, value, depth)


def _put_bytes(tag: bytes, write: Callable[[Any], bytes]) -> Callable[[_Out, Any, int], None]:
  return lambda out, value, depth: _put_text(out, tag, write(value))


def _constant(tag: bytes) -> Callable[[_Out, Any, int], None]:
  return lambda out, value, depth: out.extend(tag)


def _put_type(out: _Out, value: type, depth: int) -> None:
  if value not in TYPES:
    raise WireError(f'the type {value.__name__} is not plain data')
  _put_text(out, b'n', value.__name__.encode())


TYPES = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
ITERATORS = (
  *(type(iter(kind())) for kind in (list, tuple, set, dict, str, bytes)),
  *(type(reversed([])), type(i for i in ()), map, filter, zip, enumerate, type(iter(range(0)))),
  *(type({}.keys()), type({}.values()), type({}.items())),
)
ENCODERS: dict[type, Callable[[_Out, Any, int], None]] = {
  type(None): _constant(b'N'),
  bool: lambda out, value, depth: out.extend(b'T' if value else b'F'),
  int: _put_int,
  float: lambda out, value, depth: out.extend(b'f' + struct.pack('<d', value)),
  complex: lambda out, value, depth: out.extend(b'c' + struct.pack('<dd', value.real, value.imag)),
  str: _put_bytes(b's', lambda value: value.encode('utf-8', 'surrogatepass')),
  bytes: _put_bytes(b'y', bytes),
  bytearray: _put_bytes(b'Y', bytes),
  list: _put_sequence(b'l'),
  tuple: _put_sequence(b't'),
  set: _put_sequence(b'S'),
  frozenset: _put_sequence(b'Z'),
  deque: _put_sequence(b'k'),
  dict: _put_dict,
  Counter: _put_dict,
  OrderedDict: _put_dict,
  defaultdict: _put_dict,
  range: lambda out, v, depth: _put_items(out, b'r', (v.start, v.stop, v.step), depth),
  Fraction: lambda out, v, depth: _put_items(out, b'q', (v.numerator, v.denominator), depth),
  Decimal: _put_bytes(b'D', lambda value: str(value).encode()),
  type: _put_type,
  **dict.fromkeys(ITERATORS, _put_sequence(b'g')),
}


def _put(out: _Out, value: Any, depth: int) -> None:
  if depth > MAX_DEPTH:
    raise WireError(f'data nested deeper than {MAX_DEPTH}')
  kind = type(value)
  if kind not in ENCODERS and issubclass(kind, tuple) and hasattr(kind, '_fields'):
    kind = tuple
  if kind in ENCODERS:
    ENCODERS[kind](out, value, depth)
  elif out.stand_ins:
    out += b'O' if value else b'o'
  else:
    raise WireError(f'{kind.__name__} is not plain data')
  _check_size(len(out))


def encode(value: Any, *, stand_ins: bool = False) -> bytes:
  """The bytes of a value; with `stand_ins`, an Opaque for what is not plain data.

  Raises:
    WireError: something in it is not plain data, or it is too deep or too large.
  """
  out = _Out()
  out.stand_ins = stand_ins
  _put(out, value, 0)
  return bytes(out)


class _Reader:
  """Walks over bytes that may be hostile."""

  def __init__(self, data: bytes) -> None:
    self.data, self.place = data, 0

  def take(self, size: int) -> bytes:
    """The next `size` bytes."""
    if size > len(self.data) - self.place:
      raise WireError('the data ends early')
    self.place += size
    return self.data[self.place - size : self.place]

  def text(self) -> bytes:
    """Bytes with their length before them."""
    return self.take(COUNT.unpack(self.take(4))[0])

  def items(self, depth: int) -> list[Any]:
    """Values with their count before them."""
    count = COUNT.unpack(self.take(4))[0]
    if count > len(self.data) - self.place:  # an item has at least one byte
      raise WireError('the data ends early')
    return [self.value(depth + 1) for _ in range(count)]

  def value(self, depth: int) -> Any:
    """The next value."""
    if depth > MAX_DEPTH:
      raise WireError(f'data nested deeper than {MAX_DEPTH}')
    tag = self.take(1)
    if tag not in DECODERS:
      raise WireError('unknown tag')
    return DECODERS[tag](self, depth)


def _get_dict(reader: _Reader, depth: int) -> dict[Any, Any]:
  parts = reader.items(depth)
  return dict(zip(parts[::2], parts[1::2], strict=True))


def _get_type(reader: _Reader, depth: int) -> type:
  return {kind.__name__.encode(): kind for kind in TYPES}[reader.text()]


DECODERS: dict[bytes, Callable[[_Reader, int], Any]] = {
  b'N': lambda reader, depth: None,
  b'T': lambda reader, depth: True,
  b'F': lambda reader, depth: False,
  b'i': lambda reader, depth: int.from_bytes(reader.text(), 'little', signed=True),
  b'f': lambda reader, depth: struct.unpack('<d', reader.take(8))[0],
  b'c': lambda reader, depth: complex(*struct.unpack('<dd', reader.take(16))),
  b's': lambda reader, depth: reader.text().decode('utf-8', 'surrogatepass'),
  b'y': lambda reader, depth: reader.text(),
  b'Y': lambda reader, depth: bytearray(reader.text()),
  b'l': lambda reader, depth: reader.items(depth),
  b't': lambda reader, depth: tuple(reader.items(depth)),
  b'S': lambda reader, depth: set(reader.items(depth)),
  b'Z': lambda reader, depth: frozenset(reader.items(depth)),
  b'k': lambda reader, depth: deque(reader.items(depth)),
  b'd': _get_dict,
  b'r': lambda reader, depth: range(*reader.items(depth)),
  b'q': lambda reader, depth: Fraction(*reader.items(depth)),
  b'D': lambda reader, depth: Decimal(reader.text().decode()),
  b'g': lambda reader, depth: iter(reader.items(depth)),
  b'n': _get_type,
  b'O': lambda reader, depth: Opaque(True),
  b'o': lambda reader, depth: Opaque(False),
}


def decode(data: bytes) -> Any:
  """The value of some bytes, whoever wrote them.

  Raises:
    WireError: they are no value.
  """
  reader = _Reader(data)
  try:
    value = reader.value(0)
  except (ValueError, TypeError, LookupError, ArithmeticError) as error:
    raise WireError(f'bytes that are no value: {error}') from None
  if reader.place != len(data):
    raise WireError('bytes after the value')
  return value


def read_exactly(fd: int, size: int) -> bytes:
  """`size` bytes from a file descriptor; EOFError if it ends before."""
  parts = []
  while size:
    part = os.read(fd, min(size, 2**20))
    if not part:
      raise EOFError('the other side is gone')
    parts.append(part)
    size -= len(part)
  return b''.join(parts)


def write_all(fd: int, data: bytes) -> None:
  """All of `data` to a file descriptor."""
  view = memoryview(data)
  while view:
    view = view[os.write(fd, view) :]


def send(fd: int, value: Any) -> None:
  """One frame; what is not plain data goes as an Opaque."""
  data = encode(value, stand_ins=True)
  write_all(fd, COUNT.pack(len(data)) + data)


def receive(fd: int) -> Any:
  """One frame; EOFError if the sender is gone, WireError if it holds no value."""
  size = COUNT.unpack(read_exactly(fd, 4))[0]
  _check_size(size)
  return decode(read_exactly(fd, size))
