"""What a saved step is made of: `manifest.json` in its folder has size and SHA-256 of every file.

The manifest is written when everything else is, before the folder gets its final name, so there is
no moment at which a step that was saved has none: a step without one is not to be trusted. Two
files, which Orbax writes still later, are not in it; they hold no numbers and are not read again.
"""

import hashlib
import json
import os
import pathlib

NAME = 'manifest.json'
LEVELS = ('full', 'sizes')
LATER = ('_CHECKPOINT_METADATA', 'commit_success.txt')  # in the step's own folder


def write(folder: pathlib.Path) -> None:
  """Brings every file to the disk, and then the manifest, whole or not at all."""
  files = {}
  for name, path in sorted(_files(folder).items()):
    with path.open('rb') as file:
      digest = hashlib.file_digest(file, 'sha256').hexdigest()
      os.fsync(file.fileno())
      files[name] = {'bytes': file.tell(), 'sha256': digest}
  for below, _, _ in os.walk(folder):
    sync(pathlib.Path(below))
  temporary = folder / f'{NAME}.tmp'
  with temporary.open('w', encoding='utf-8') as file:
    json.dump({'sha256': _digest(files), 'files': files}, file, indent=1)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(folder / NAME)
  sync(folder)


def verify(folder: pathlib.Path, level: str) -> list[str]:
  """What is wrong with a step's folder, a clause each; nothing if it is as it was saved.

  `level`: 'full' reads and hashes every file; 'sizes' only looks at their sizes, and does not see
  what has changed inside a file.

  Raises:
    ValueError: an unknown level.
  """
  if level not in LEVELS:
    raise ValueError(
      f'config.checkpoint.verify={level!r} is unknown; choose one of {", ".join(LEVELS)}'
    )
  try:
    known = _read(folder)
  except FileNotFoundError:
    return [f'{NAME} is missing']
  except Exception as error:  # the bytes may be any
    return [f'{NAME} cannot be read ({type(error).__name__})']
  found = _files(folder)
  both = sorted(known.keys() & found.keys())
  return [
    *(f'{name} is missing' for name in sorted(known.keys() - found.keys())),
    *(f'{name} is unexpected' for name in sorted(found.keys() - known.keys())),
    *filter(None, (_wrong(name, found[name], *known[name], level) for name in both)),
  ]


def size(folder: pathlib.Path) -> int:
  """Bytes of a step whose manifest can be read."""
  return sum(count for count, _ in _read(folder).values())


def sync(folder: pathlib.Path) -> None:
  """Brings the names in a folder to the disk."""
  number = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(number)
  finally:
    os.close(number)


def _read(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
  """Bytes and SHA-256 by name; raises of any kind if the manifest is not as it was written."""
  manifest = json.loads((folder / NAME).read_text(encoding='utf-8'))
  files = manifest['files']
  if manifest['sha256'] != _digest(files):
    raise ValueError('its own SHA-256 differs')
  return {name: (int(entry['bytes']), str(entry['sha256'])) for name, entry in files.items()}


def _digest(files: dict[str, dict[str, int | str]]) -> str:
  return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """By their names from the folder on, with '/'; without those that a manifest does not have."""
  paths = (path for path in folder.rglob('*') if not path.is_dir())
  named = {path.relative_to(folder).as_posix(): path for path in paths}
  return {name: path for name, path in named.items() if name not in (NAME, *LATER)}


def _wrong(name: str, path: pathlib.Path, count: int, digest: str, level: str) -> str:
  """What is wrong with one file; '' if nothing."""
  try:
    there = path.stat().st_size
    if there < count:
      return f'{name} is truncated ({there} of {count} bytes)'
    if there > count:
      return f'{name} has grown ({there} instead of {count} bytes)'
    if level == 'full':
      with path.open('rb') as file:
        if hashlib.file_digest(file, 'sha256').hexdigest() != digest:
          return f'{name} has changed (its SHA-256 differs)'
  except OSError as error:
    return f'{name} cannot be read ({error.strerror})'
  return ''
