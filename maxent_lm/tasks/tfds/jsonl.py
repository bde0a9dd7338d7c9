"""Local JSON-lines files as random-access rows, prepared once as a tensorflow-datasets data set.

Worked example:

  rows = open_rows('data/train.jsonl.gz', {'question': 'text', 'answer': 'text'}, cache_dir='')
  len(rows), rows[0]['question']

A field is 'text', 'integer', 'number', 'boolean', 'texts' (a list of strings) or 'optional': text
or an integer, read as text, '' where it is missing or null. Other keys of a row are left out. The
prepared data lives in `<cache>/<file name>-<digest>`, with the digest taken over the bytes of the
file and the fields: a changed file is a new data set, an unchanged one is prepared once.
Preparation happens in a folder of its own that is renamed when it is whole, so processes may race
for it, and a killed one leaves nothing that would be read.
"""

import contextlib
import hashlib
import importlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from maxent_lm import reading

Row = dict[str, Any]

FORMAT = 1  # part of the digest: raise it when the same file would be stored differently


def _is_integer(value: Any) -> bool:
  return type(value) is int and abs(value) < 2**63


KINDS: dict[str, Callable[[Any], bool]] = {
  'text': lambda value: isinstance(value, str),
  'integer': _is_integer,
  'number': lambda value: isinstance(value, float) or _is_integer(value),
  'boolean': lambda value: isinstance(value, bool),
  'texts': lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
  'optional': lambda value: value is None or isinstance(value, str) or _is_integer(value),
}


def find_file(data_dir: str, stem: str) -> str:
  """Path of `<stem>.jsonl` or `<stem>.jsonl.gz` in `data_dir`; FileNotFoundError if neither is."""
  if not os.path.isdir(data_dir):
    raise FileNotFoundError(
      f"folder '{data_dir}' does not exist: set data_dir to the folder that holds {stem}.jsonl.gz."
    )
  for name in (f'{stem}.jsonl', f'{stem}.jsonl.gz'):
    if os.path.isfile(os.path.join(data_dir, name)):
      return os.path.join(data_dir, name)
  raise FileNotFoundError(
    f"folder '{data_dir}' has neither {stem}.jsonl nor {stem}.jsonl.gz: copy the file there or "
    'correct data_dir.'
  )


def _check(row: Any, fields: Mapping[str, str]) -> str:
  """What is wrong with a row; '' if nothing."""
  for name, kind in fields.items():
    if name not in row and kind != 'optional':
      return f"has no field '{name}'"
    if not KINDS[kind](row.get(name)):
      return f"has a field '{name}' that is not of kind {kind}"
  return ''


def read_objects(path: str) -> Iterator[tuple[int, Row]]:
  """(line number, JSON object) of every line that is not empty, whatever its fields.

  Raises:
    ValueError: a damaged file, or a line that is no JSON object; with the number of the line.
  """
  for number, line in reading.lines(path):
    if not line.strip():
      continue
    try:
      row = reading.parse(line)
    except ValueError as error:
      raise ValueError(f"line {number} of '{path}' {error}: correct or remove it.") from None
    if not isinstance(row, dict):
      raise ValueError(f"line {number} of '{path}' is not a JSON object: correct or remove it.")
    yield number, row


def read_rows(path: str, fields: Mapping[str, str]) -> Iterator[Row]:
  """The rows of a .jsonl or .jsonl.gz file, with the given fields only; empty lines are skipped.

  Raises:
    ValueError: a damaged file, or a line that is no row; with the number of the line.
  """
  for number, row in read_objects(path):
    problem = _check(row, fields)
    if problem:
      raise ValueError(f"line {number} of '{path}' {problem}: correct or remove it.")
    yield {name: _given(row, name, kind) for name, kind in fields.items()}


def _given(row: Row, name: str, kind: str) -> Any:
  if kind != 'optional':
    return row[name]
  return '' if row.get(name) is None else str(row[name])


def fingerprint(path: str) -> str:
  """SHA-256 of the bytes of a file, in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _digest(path: str, fields: Mapping[str, str]) -> str:
  digest = hashlib.sha256(json.dumps([FORMAT, sorted(fields.items())]).encode())
  with open(path, 'rb') as file:
    hashlib.file_digest(file, lambda: digest)  # goes on from the fields
  return digest.hexdigest()[:16]


def _load(module: str) -> Any:
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    raise ValueError(
      f"reading data sets needs the package '{error.name}', which is not installed: run "
      "'pip install tensorflow-datasets array_record'."
    ) from error


def _prepare(path: str, fields: Mapping[str, str], folder: pathlib.Path) -> None:
  if next(read_rows(path, fields), None) is None:
    raise ValueError(f"'{path}' has no rows: get the file again.")
  for _ in read_rows(path, fields):  # tfds would bury the message about a bad line
    pass
  builder = _load('maxent_lm.tasks.tfds.builder')
  _load('tensorflow_datasets').disable_progress_bar()
  with contextlib.suppress(OSError):
    folder.parent.mkdir(parents=True, exist_ok=True)
  if not os.access(folder.parent, os.W_OK | os.X_OK):
    raise ValueError(f"cannot write to '{folder.parent}': set cache_dir to another folder.")
  with tempfile.TemporaryDirectory(
    prefix='.incomplete-', dir=folder.parent, ignore_cleanup_errors=True
  ) as staging:
    dataset = builder.Jsonl(source=path, fields=fields, data_dir=staging)
    with contextlib.redirect_stdout(None):  # it says 'Downloading', and nothing is
      dataset.download_and_prepare()
    # Whoever renames first wins: renaming onto a folder that is not empty fails.
    with contextlib.suppress(OSError):
      os.rename(dataset.data_dir, folder)
  if not folder.is_dir():
    raise ValueError(f"could not make '{folder}': set cache_dir to another folder.")


class Rows:
  """Rows by number; text comes back as str."""

  def __init__(self, source: Any, fields: Mapping[str, str]) -> None:
    self._source, self._fields = source, dict(fields)

  def __len__(self) -> int:
    """Number of rows."""
    return len(self._source)

  def __getitem__(self, index: int) -> Row:
    """Row `index` of the file."""
    row = self._source[index]
    return {name: _plain(row[name], kind) for name, kind in self._fields.items()}


def _plain(value: Any, kind: str) -> Any:
  if kind == 'texts':
    return [text.decode() for text in value]
  if kind in ('text', 'optional'):
    return value.decode()
  return {'integer': int, 'number': float, 'boolean': bool}[kind](value)


def cache_folder(cache_dir: str) -> pathlib.Path:
  """`cache_dir`, else $MAXENT_LM_CACHE/tfds, else ~/.cache/maxent_lm/tfds."""
  if cache_dir:
    return pathlib.Path(cache_dir)
  return (
    pathlib.Path(os.environ.get('MAXENT_LM_CACHE') or '~/.cache/maxent_lm').expanduser() / 'tfds'
  )


def open_rows(path: str, fields: Mapping[str, str], *, cache_dir: str) -> Rows:
  """The rows of `path`, prepared on first use.

  Raises:
    ValueError: no rows, a bad line, an unknown kind of field, or tensorflow_datasets is missing.
  """
  unknown = sorted(set(fields.values()) - set(KINDS))
  if unknown:
    raise ValueError(f"unknown field kind '{unknown[0]}': choose one of {', '.join(KINDS)}.")
  stem = os.path.basename(path).removesuffix('.gz').removesuffix('.jsonl')
  folder = cache_folder(cache_dir) / f'{stem}-{_digest(path, fields)}'
  if not folder.is_dir():
    _prepare(path, fields, folder)
  tfds = _load('tensorflow_datasets')
  return Rows(tfds.builder_from_directory(folder).as_data_source('rows'), fields)
