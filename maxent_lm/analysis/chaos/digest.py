"""What a run has left behind: SHA-256 of its state, leaf by leaf, and of its files."""

import hashlib
import pathlib
import warnings
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from maxent_lm.train import manifest, steps

FILES = ('metrics.jsonl', 'samples.jsonl', 'rollouts.jsonl', 'model/model.safetensors')


def newest(folder: pathlib.Path) -> pathlib.Path | None:
  """The newest checkpoint of a run folder that is as it was saved; None without one."""
  checkpoints = folder / 'checkpoints'
  for step in reversed(steps.saved(checkpoints)):
    if not manifest.verify(checkpoints / str(step), 'full'):
      return checkpoints / str(step)
  return None


def items(checkpoint: pathlib.Path) -> dict[str, Any]:
  """All trees of a checkpoint by name, whatever model or optimiser they are of."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # that no sharding is given
    return {
      path.name: ocp.PyTreeCheckpointer().restore(path)
      for path in sorted(checkpoint.iterdir())
      if path.is_dir()
    }


def of_tree(tree: Any) -> str:
  """Of every leaf's path, dtype, shape and bytes."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = on_host(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape} '.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def on_host(leaf: Any) -> np.ndarray:
  """The numbers of a leaf, also of a key."""
  is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def of_run(folder: pathlib.Path) -> dict[str, str]:
  """By name: each item of the newest checkpoint, and files byte for byte.

  Raises:
    FileNotFoundError: the run has no checkpoint, or has not come to its end.
  """
  checkpoint = newest(folder)
  if checkpoint is None:
    raise FileNotFoundError(f'{folder}/checkpoints holds no checkpoint')
  found = {f'{name} of the state': of_tree(tree) for name, tree in items(checkpoint).items()}
  found['step'] = checkpoint.name
  for name in FILES:
    found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
  return found


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
  """Names of what is not the same in both."""
  return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
