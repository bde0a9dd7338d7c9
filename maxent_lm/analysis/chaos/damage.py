"""What is done to the newest checkpoint of a run while nothing runs."""

import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from maxent_lm.analysis.chaos.digest import newest


def flip(path: pathlib.Path, rng: np.random.Generator) -> None:
  """One bit is another one."""
  content = bytearray(path.read_bytes())
  content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
  path.write_bytes(content)


def cut(path: pathlib.Path, rng: np.random.Generator) -> None:
  """The file ends early, perhaps before it begins."""
  content = path.read_bytes()
  path.write_bytes(content[: int(rng.integers(len(content)))])


def remove(path: pathlib.Path, rng: np.random.Generator) -> None:
  """The file is gone."""
  del rng
  path.unlink()


WAYS: Mapping[str, Callable[[pathlib.Path, np.random.Generator], None]] = {
  'flip': flip,
  'cut': cut,
  'remove': remove,
}


def harm(folder: pathlib.Path, way: str, rng: np.random.Generator) -> str:
  """Damages a file of the newest checkpoint of a run; returns which one, '' if there is none."""
  checkpoint = newest(folder)
  if checkpoint is None:
    return ''
  files = sorted(path for path in checkpoint.rglob('*') if path.is_file() and path.stat().st_size)
  path = files[int(rng.integers(len(files)))]
  WAYS[way](path, rng)
  return path.relative_to(folder).as_posix()
