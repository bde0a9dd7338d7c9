"""Files that may be broken or hostile, read by one rule: a value or one sentence.

No file is read before its size is known, and nothing that a file says is run. What JSON leaves open
is decided here, once:

  a byte order mark          is skipped
  a key that is named twice  is refused; so is text that is not UTF-8
  whole numbers              beyond 128 bits are refused (no float would be infinite)
  nesting                    beyond 64 levels is refused
  NaN, Infinity, 1e999       are null: not known
  half of a surrogate pair   is refused

but the last two are as they are in files that runs wrote. Rows that a run appends may end in the
middle of a line, if the run was killed: such a last line is left out. A damaged line before it is
an error, since what follows it would be lost in silence.
"""

import contextlib
import gzip
import itertools
import json
import math
import os
import pathlib
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, cast

Path = str | os.PathLike[str]
Constants = Mapping[str, float | None]

MIB = 2**20
OBJECT = 64 * MIB  # bytes of a file with one object; the largest tokenizers have half of it
LINE = 64 * MIB  # bytes of a line
ROWS = 2**34  # bytes of all lines, unpacked
DEPTH = 64
SHOWN = 80  # characters of a value in a sentence
WHOLE = range(-(2**127), 2**127)
DIGITS = 40  # of the largest whole number, with its sign

# What numbers that JSON does not have are read as.
UNKNOWN: Constants = dict.fromkeys(('NaN', 'Infinity', '-Infinity'))
WRITTEN: Constants = {name: float(name) for name in UNKNOWN}

_SURROGATE = re.compile(r'\\u[dD][89a-fA-F]')


def parse(data: bytes | str) -> Any:
  """The JSON value of a text. Raises ValueError with what is wrong, as in 'this line ...'."""
  text, value = _decoded(data, UNKNOWN)
  if _SURROGATE.search(text):
    try:
      json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
      raise ValueError('has half of a surrogate pair, which is no character') from None
  return value


def parse_own(data: bytes | str) -> Any:
  """Likewise, of a file that a run has written: all that Python writes is as it was."""
  return _decoded(data, WRITTEN)[1]


def _decoded(data: bytes | str, constants: Constants) -> tuple[str, Any]:
  """(the text, its value)."""
  try:
    text = data.decode('utf-8-sig') if isinstance(data, bytes) else data.removeprefix('\ufeff')
    value = _decoder(constants).decode(text)
  except UnicodeDecodeError:
    raise ValueError('is not UTF-8 text') from None
  except json.JSONDecodeError as error:
    raise ValueError(f'is not JSON ({error.msg} at character {error.pos + 1})') from None
  except RecursionError:
    raise ValueError(f'is nested more than {DEPTH} levels deep') from None
  _check_depth(value)
  return text, value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'names the key {twice[:60]!r} twice')
  return found


def _whole(text: str) -> int:
  if len(text) > DIGITS or int(text) not in WHOLE:
    raise ValueError('has a whole number beyond 128 bits')
  return int(text)


def _decoder(constants: Constants) -> json.JSONDecoder:
  def number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else constants[f'{"-" * (value < 0)}Infinity']

  return json.JSONDecoder(
    object_pairs_hook=_once,
    parse_int=_whole,
    parse_float=cast(Any, number),
    parse_constant=constants.__getitem__,
  )


def _check_depth(value: Any) -> None:
  level = [value]
  for _ in range(DEPTH + 1):
    level = [each for each in level if isinstance(each, dict | list)]
    if not level:
      return
    inner = [each.values() if isinstance(each, dict) else each for each in level]
    level = list(itertools.chain.from_iterable(inner))
  raise ValueError(f'is nested more than {DEPTH} levels deep')


def shown(value: Any) -> str:
  """A value of a file for a sentence about it: on one line, and not long."""
  text = repr(value)
  return text if len(text) <= SHOWN else f'{text[:SHOWN]}...'


def size(path: Path) -> int:
  """Bytes of a regular file. Raises FileNotFoundError, or ValueError for a pipe or a folder."""
  status = os.stat(path)
  if not stat.S_ISREG(status.st_mode):
    raise ValueError(f'{path} is not a file')
  return status.st_size


def check_size(path: Path, *, limit: int = OBJECT) -> int:
  """The file's bytes; raises ValueError if there are more than `limit`."""
  found = size(path)
  if found > limit:
    raise ValueError(
      f'{path} has {found:,} bytes and is not read: a file of its kind has at most {limit:,}'
    )
  return found


def read_object(
  path: Path, *, cure: str, limit: int = OBJECT, read: Callable[[bytes], Any] = parse
) -> dict[str, Any]:
  """The JSON object in a file, by `parse` or `parse_own`; `cure` ends the sentences that refuse it.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is too large, damaged or no object.
  """
  check_size(path, limit=limit)
  try:
    value = read(pathlib.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(f'{path} is damaged, it {error}: {cure}') from None
  if not isinstance(value, dict):
    raise ValueError(f'{path} holds no JSON object: {cure}')
  return value


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
  """(number, bytes) of the lines of a file, unpacked if its name ends in .gz, one at a time.

  Raises:
    ValueError: a damaged packed file, a line beyond `LINE` or a file beyond `ROWS` bytes.
  """
  number, total = 0, 0
  size(path)
  try:
    with contextlib.closing(_open(path)) as file:
      while line := file.readline(LINE + 1):
        number, total = number + 1, total + len(line)
        if len(line) > LINE:
          raise ValueError(f"line {number} of '{path}' is longer than {LINE:,} bytes: split it.")
        if total > ROWS:
          raise ValueError(f"'{path}' has more than {ROWS:,} bytes of rows: split it.")
        yield number, line
  except (gzip.BadGzipFile, zlib.error, EOFError) as error:
    raise ValueError(f"'{path}' is damaged ({error}): get the file again.") from error


def _open(path: Path) -> BinaryIO:
  packed = os.fspath(path).endswith('.gz')
  return cast(BinaryIO, gzip.open(path, 'rb') if packed else open(path, 'rb'))


def appended(path: Path) -> list[dict[str, Any]]:
  """The rows that a run has appended to a file, none without the file.

  A last line that the run did not finish is left out.

  Raises:
    ValueError: another line is damaged or holds no object; names it.
  """
  rows = []
  for number, line in lines(path) if os.path.exists(path) else ():
    if not line.strip():
      continue
    try:
      row = parse_own(line)
    except ValueError as error:
      if not line.endswith(b'\n'):
        break
      raise ValueError(
        f'line {number} of {path} is damaged, it {error}: restore or remove the file'
      ) from None
    if not isinstance(row, dict):
      raise ValueError(f'line {number} of {path} holds no JSON object: restore or remove the file')
    rows.append(row)
  return rows


def confined(folder: Path, name: str) -> pathlib.Path:
  """The path of a file of a downloaded folder; links must not lead out of the folder.

  The folder of one version in the hub's cache (`snapshots/VERSION`) may link to the `blobs` that
  its versions share.

  Raises:
    ValueError: it leads elsewhere.
  """
  path = pathlib.Path(folder) / name
  home = pathlib.Path(folder).resolve()
  homes = [home, *([home.parent.parent / 'blobs'] if home.parent.name == 'snapshots' else [])]
  try:
    end = path.resolve()
  except (OSError, RuntimeError) as error:
    raise ValueError(f'{path} cannot be followed ({error}); fetch it again.') from None
  if not any(end.is_relative_to(each) for each in homes):
    raise ValueError(
      f'{path} leads to {end}, outside its folder; put the file itself there if you trust it.'
    )
  return path
