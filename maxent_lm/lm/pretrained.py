"""Hugging Face folder <-> parameters: config.json and safetensors, without torch.

A folder holds `config.json` and either `model.safetensors` or several files named by
`model.safetensors.index.json`. Only safetensors are read: they cannot run code. No file outside the
folder is, whatever the index or a link says.
"""

import contextlib
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from maxent_lm import reading
from maxent_lm.lm import partition
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.hf_config import as_json, load_config, read_json
from maxent_lm.lm.safe_tensors import Tensor, read_header
from maxent_lm.types import Array, Params

Folder = str | os.PathLike[str]

__all__ = ['load_config', 'load_params', 'save']

WEIGHTS = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
FLOATS = ('F32', 'F16', 'BF16')
PICKLED = ('.bin', '.pt', '.pth', '.ckpt', '.pkl')
# Parameter path -> (name of the stored tensor, how it is stored). 'linear': [out, in], both
# flattened, so ours is its transpose reshaped; 'flat': our axes flattened; 'same': as ours.
TENSORS: Mapping[tuple[str, ...], tuple[str, str]] = {
  ('embedding',): ('model.embed_tokens.weight', 'same'),
  ('head',): ('lm_head.weight', 'linear'),
  ('norm', 'scale'): ('model.norm.weight', 'same'),
  ('layers', 'attention_norm', 'scale'): ('input_layernorm.weight', 'same'),
  ('layers', 'attention', 'query'): ('self_attn.q_proj.weight', 'linear'),
  ('layers', 'attention', 'key'): ('self_attn.k_proj.weight', 'linear'),
  ('layers', 'attention', 'value'): ('self_attn.v_proj.weight', 'linear'),
  ('layers', 'attention', 'output'): ('self_attn.o_proj.weight', 'linear'),
  ('layers', 'attention', 'query_bias'): ('self_attn.q_proj.bias', 'flat'),
  ('layers', 'attention', 'key_bias'): ('self_attn.k_proj.bias', 'flat'),
  ('layers', 'attention', 'value_bias'): ('self_attn.v_proj.bias', 'flat'),
  ('layers', 'attention', 'query_norm', 'scale'): ('self_attn.q_norm.weight', 'same'),
  ('layers', 'attention', 'key_norm', 'scale'): ('self_attn.k_norm.weight', 'same'),
  ('layers', 'mlp_norm', 'scale'): ('post_attention_layernorm.weight', 'same'),
  ('layers', 'mlp', 'gate'): ('mlp.gate_proj.weight', 'linear'),
  ('layers', 'mlp', 'up'): ('mlp.up_proj.weight', 'linear'),
  ('layers', 'mlp', 'down'): ('mlp.down_proj.weight', 'linear'),
}


class Stored(NamedTuple):
  """One tensor of a file: its name, shape there, kind (see `TENSORS`) and our (per-layer) shape."""

  name: str
  shape: tuple[int, ...]
  kind: str
  ours: tuple[int, ...]

  def read(self, values: np.ndarray) -> np.ndarray:
    """Stored -> ours."""
    return (values.T if self.kind == 'linear' else values).reshape(self.ours)

  def write(self, values: np.ndarray) -> np.ndarray:
    """Ours -> stored."""
    if self.kind == 'linear':
      values = values.reshape(self.shape[::-1]).T
    return np.ascontiguousarray(values).reshape(self.shape)


def _stored(path: tuple, leaf: Array) -> list[Stored]:
  """The tensors that make up one parameter: one, or one per layer."""
  names = partition.path_names(path)
  name, kind = TENSORS[names]
  stacked = names[0] == 'layers'
  ours = tuple(leaf.shape[1:] if stacked else leaf.shape)
  shape = ours
  if kind == 'flat':
    shape = (math.prod(ours),)
  elif kind == 'linear':
    inputs = 2 if names[-1] == 'output' else 1  # [N, H, D] against [D, N, H]
    shape = (math.prod(ours[inputs:]), math.prod(ours[:inputs]))
  if not stacked:
    return [Stored(name, shape, kind, ours)]
  return [Stored(f'model.layers.{i}.{name}', shape, kind, ours) for i in range(leaf.shape[0])]


def _weight_files(folder: pathlib.Path) -> dict[pathlib.Path, set[str]]:
  """The safetensors files of a folder, with the tensors that the index promises of each."""
  if (folder / WEIGHTS).exists():
    return {reading.confined(folder, WEIGHTS): set()}
  if not (folder / INDEX).exists():
    pickled = sorted(path.name for path in folder.glob('*') if path.suffix in PICKLED)
    raise FileNotFoundError(
      f'{folder} holds neither {WEIGHTS} nor {INDEX}; save the model there as safetensors.'
      + (f' ({pickled[0]} is a pickle, which can run code and is never opened.)' if pickled else '')
    )
  names = read_json(folder, INDEX).get('weight_map')
  if not isinstance(names, dict) or not names:
    raise ValueError(f'{folder / INDEX} has no weight_map; fetch it again.')
  files: dict[pathlib.Path, set[str]] = {}
  for tensor, name in names.items():
    if not isinstance(name, str) or name != os.path.basename(name) or name in ('', '.', '..'):
      raise ValueError(
        f'{folder / INDEX} points outside its folder, at {name!r}; file names must be plain.'
      )
    files.setdefault(folder / name, set()).add(tensor)
  for path in files:
    if path.suffix != '.safetensors':
      raise ValueError(f'{path} is named by {INDEX} but is no .safetensors file; convert it first.')
    if not reading.confined(folder, path.name).is_file():
      raise FileNotFoundError(f'{path} is named by {INDEX} but missing; fetch it.')
  return files


def read_headers(folder: pathlib.Path) -> dict[str, tuple[pathlib.Path, Tensor]]:
  """Every tensor name of a folder -> the file that holds it, and what its header says.

  Raises FileNotFoundError or ValueError, see safe_tensors.py.
  """
  found: dict[str, tuple[pathlib.Path, Tensor]] = {}
  for path, promised in _weight_files(folder).items():
    tensors = read_header(path)
    if lacking := sorted(promised - tensors.keys()):
      raise ValueError(f'{path} lacks {lacking[0][:60]!r}, which {INDEX} says is there; fetch it.')
    if twice := sorted(tensors.keys() & found.keys()):
      raise ValueError(f'{path} holds {twice[0][:60]!r} once more; a name must be in one file.')
    found |= {name: (path, tensor) for name, tensor in tensors.items()}
  return found


def _ignored(name: str, config: LMConfig) -> bool:
  """Tensors that older exporters wrote although they follow from the rest."""
  return name.endswith('.rotary_emb.inv_freq') or (config.tied and name == 'lm_head.weight')


def _check_tensors(
  folder: pathlib.Path, tensors: Mapping[str, Tensor], wanted: list[Stored], config: LMConfig
) -> None:
  """Raises ValueError if the names, shapes or types in the files are not those of `config`."""
  names = {tensor.name for tensor in wanted}
  wrong = [
    f'{t.name} is {list(tensors[t.name].shape)} and not {list(t.shape)}'
    for t in wanted
    if t.name in tensors and tensors[t.name].shape != t.shape
  ]
  types = {name: tensors[name].dtype for name in names & tensors.keys()}
  wrong += [f'{name} is {dtype}' for name, dtype in types.items() if dtype not in FLOATS]
  faults = {
    'missing': sorted(names - tensors.keys()),
    'unexpected': sorted(n[:90] for n in tensors.keys() - names if not _ignored(n, config)),
    'of another shape or type': sorted(wrong),
  }
  found = '; '.join(
    f'{", ".join(items[:3])}{f" and {len(items) - 3} more" if len(items) > 3 else ""} {fault}'
    for fault, items in faults.items()
    if items
  )
  if found:
    raise ValueError(f'The tensors in {folder} are not those of its configuration: {found}.')


@contextlib.contextmanager
def _open_all(paths: Iterable[pathlib.Path]) -> Generator[dict[pathlib.Path, Any]]:
  """The open files."""
  import safetensors

  with contextlib.ExitStack() as stack:
    files = {}
    for path in paths:
      try:
        files[path] = stack.enter_context(safetensors.safe_open(path, framework='numpy'))
      except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f'{path} is not a readable safetensors file ({error}).') from error
    yield files


def load_params(folder: Folder, config: LMConfig, shardings: Params | None = None) -> Params:
  """The parameters in a Hugging Face folder, in `config.param_dtype`.

  The headers of the files are checked (safe_tensors.py) and names, shapes and types are compared
  with `config` before anything is read, so a folder of another model is refused at once.
  `shardings` (see `partition.param_shardings`) places each parameter as soon as it is read; the
  host never holds more than one stacked parameter. Raises FileNotFoundError or ValueError.
  """
  folder = pathlib.Path(folder)
  abstract = LM(config).abstract_params()
  flat = jax.tree_util.tree_flatten_with_path(abstract)[0]
  stored = read_headers(folder)
  tensors = {name: tensor for name, (_, tensor) in stored.items()}
  _check_tensors(folder, tensors, [t for path, leaf in flat for t in _stored(path, leaf)], config)
  with _open_all({path for path, _ in stored.values()}) as files:

    def read(path: tuple, leaf: Array, sharding: jax.sharding.NamedSharding | None = None) -> Array:
      tensors = _stored(path, leaf)
      values = np.empty((len(tensors), *tensors[0].ours), leaf.dtype)
      for i, tensor in enumerate(tensors):
        values[i] = tensor.read(files[stored[tensor.name][0]].get_tensor(tensor.name))
      return partition.place(values.reshape(leaf.shape), sharding)

    trees = (abstract,) if shardings is None else (abstract, shardings)
    return jax.tree_util.tree_map_with_path(read, *trees)


def _replace(path: pathlib.Path, content: bytes) -> None:
  """Writes a file beside `path` and renames it, so that a reader sees the old or the new one."""
  with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
    try:
      file.write(content)
      file.flush()
      os.chmod(file.name, 0o644)
      os.replace(file.name, path)
    except OSError:
      os.unlink(file.name)
      raise


def save(
  folder: Folder, config: LMConfig, params: Params, *, eos_token_id: int | None = None
) -> None:
  """Writes model.safetensors and config.json, as `AutoModelForCausalLM` and `load_params` read.

  Each file is replaced at once, the configuration last; a tokenizer may be saved to the same
  folder. `eos_token_id` is where `transformers` stops generating. Raises ValueError if `params`
  are not those of `config`.
  """
  import safetensors.numpy

  abstract = LM(config).abstract_params()
  if jax.tree.map(np.shape, params) != jax.tree.map(lambda leaf: leaf.shape, abstract):
    raise ValueError(f'The parameters to save in {folder} do not have the shapes of the LMConfig.')
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  content = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    tensors = _stored(path, leaf)
    values = np.asarray(jax.device_get(leaf)).reshape(len(tensors), *tensors[0].ours)
    content |= {t.name: t.write(values[i]) for i, t in enumerate(tensors)}
  _replace(folder / WEIGHTS, safetensors.numpy.save(content, metadata={'format': 'pt'}))
  configuration = json.dumps(as_json(config, eos_token_id=eos_token_id), indent=2) + '\n'
  _replace(folder / 'config.json', configuration.encode())
