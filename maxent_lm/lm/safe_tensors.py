"""The header of a safetensors file, checked before anything of the file is used.

  8 bytes            N, little-endian
  N bytes            JSON {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
  the rest           the tensors, one after another

The offsets must cover the rest of the file exactly, without overlap or gap, so that a file holds
what its header says and nothing else.
"""

import math
import pathlib
from typing import Any, NamedTuple

from maxent_lm import reading

HEADER = 16 * reading.MIB  # bytes; a file of 100,000 tensors has half of it
RANK = 8
BITS = {
  **dict.fromkeys(('BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0'), 8),
  **dict.fromkeys(('U16', 'I16', 'F16', 'BF16'), 16),
  **dict.fromkeys(('U32', 'I32', 'F32'), 32),
  **dict.fromkeys(('U64', 'I64', 'F64', 'C64'), 64),
}
PICKLES = {b'PK': 'a zip archive, as torch.save writes', b'\x80': 'a pickle'}
CURE = 'save the model again as safetensors.'


class Tensor(NamedTuple):
  """What the header says of a tensor; `begin` and `end` count bytes behind the header."""

  dtype: str
  shape: tuple[int, ...]
  begin: int
  end: int


def read_header(path: pathlib.Path) -> dict[str, Tensor]:
  """The tensors of a file by name; reads the header alone.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not a safetensors file, or one that hides something; says what is wrong.
  """
  size = reading.size(path)
  with path.open('rb') as file:
    first = file.read(8)
    length = int.from_bytes(first, 'little')
    for magic, kind in PICKLES.items():
      if first.startswith(magic) and length > HEADER:
        raise _bad(path, f'it is {kind}, which can run code and is never opened')
    if len(first) < 8 or length > size - 8:
      raise _bad(path, f'its header would end after {8 + length:,} bytes and it has {size:,}')
    if length > HEADER:
      raise _bad(path, f'its header has {length:,} bytes, at most {HEADER:,} are read')
    content = file.read(length)
  try:
    header = reading.parse(content)
  except ValueError as error:
    raise _bad(path, f'its header {error}') from None
  if not isinstance(header, dict):
    raise _bad(path, 'its header is no JSON object')
  notes = header.pop('__metadata__', {})
  if not isinstance(notes, dict) or not all(isinstance(each, str) for each in notes.values()):
    raise _bad(path, 'its __metadata__ is not text by name')
  tensors = {name: _tensor(path, name, entry) for name, entry in header.items()}
  _check_cover(path, tensors, size - 8 - length)
  return tensors


def _tensor(path: pathlib.Path, name: str, entry: Any) -> Tensor:
  """One entry of the header; its shape, type and offsets must agree."""
  keys = ('dtype', 'shape', 'data_offsets')
  if not isinstance(entry, dict) or set(entry) != set(keys):
    raise _bad(path, f'the entry of {name[:60]!r} does not have just {", ".join(keys)}')
  dtype, shape, offsets = (entry[key] for key in keys)
  if not isinstance(dtype, str) or dtype not in BITS:
    raise _bad(path, f'{name[:60]!r} has the unknown dtype {str(dtype)[:60]!r}')
  if not _counts(shape) or len(shape) > RANK:
    raise _bad(path, f'the shape of {name[:60]!r} is not a list of up to {RANK} sizes')
  if not _counts(offsets) or len(offsets) != 2:
    raise _bad(path, f'the data_offsets of {name[:60]!r} are not two places')
  begin, end = offsets
  if end - begin != math.prod(shape) * BITS[dtype] // 8:  # Python's integers do not overflow
    raise _bad(path, f'{name[:60]!r} has {end - begin:,} bytes, not those of {dtype} {shape}')
  return Tensor(dtype, tuple(shape), begin, end)


def _counts(values: Any) -> bool:
  return isinstance(values, list) and all(type(each) is int and each >= 0 for each in values)


def _check_cover(path: pathlib.Path, tensors: dict[str, Tensor], size: int) -> None:
  """One tensor after another, from the first byte to the last."""
  place = 0
  for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
    if tensor.begin != place:
      kind = 'overlaps another tensor' if tensor.begin < place else 'leaves a gap before it'
      raise _bad(path, f'{name[:60]!r} {kind}, at byte {tensor.begin:,}')
    place = tensor.end
  if place != size:
    raise _bad(path, f'its tensors have {place:,} bytes and it holds {size:,}')


def _bad(path: pathlib.Path, problem: str) -> ValueError:
  return ValueError(f'{path} is not a readable safetensors file, {problem}; {CURE}')
