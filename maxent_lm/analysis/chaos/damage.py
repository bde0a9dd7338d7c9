"""What is done to the newest checkpoint of a run while nothing runs."""

import pathlib
from collections.abc import Callable, Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp

from maxent_lm.analysis.chaos import digest
from maxent_lm.train import manifest


def flip(checkpoint: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
  """One bit of a file is another one."""
  path = _any(checkpoint, rng)
  content = bytearray(path.read_bytes())
  content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
  path.write_bytes(content)
  return path


def cut(checkpoint: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
  """A file ends early, perhaps before it begins."""
  path = _any(checkpoint, rng)
  content = path.read_bytes()
  path.write_bytes(content[: int(rng.integers(len(content)))])
  return path


def remove(checkpoint: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
  """A file is gone."""
  path = _any(checkpoint, rng)
  path.unlink()
  return path


def poison(checkpoint: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
  """A parameter is NaN, and the manifest says that it was saved like that."""
  leaves, structure = jax.tree.flatten(jax.tree.map(np.array, digest.items(checkpoint)['params']))
  leaf = leaves[int(rng.integers(len(leaves)))]
  leaf.flat[int(rng.integers(leaf.size))] = np.nan
  with ocp.StandardCheckpointer() as writer:
    writer.save(checkpoint / 'params', structure.unflatten(leaves), force=True)
  manifest.write(checkpoint)
  return checkpoint / 'params'


WAYS: Mapping[str, Callable[[pathlib.Path, np.random.Generator], pathlib.Path]] = {
  'flip': flip,
  'cut': cut,
  'remove': remove,
  'poison': poison,
}


def harm(folder: pathlib.Path, way: str, rng: np.random.Generator) -> str:
  """Damages the newest checkpoint of a run; returns what of it, '' if there is none."""
  checkpoint = digest.newest(folder)
  if checkpoint is None:
    return ''
  return WAYS[way](checkpoint, rng).relative_to(folder).as_posix()


def _any(checkpoint: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
  """A file that is not empty."""
  files = sorted(path for path in checkpoint.rglob('*') if path.is_file() and path.stat().st_size)
  return files[int(rng.integers(len(files)))]
