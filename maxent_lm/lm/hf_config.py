"""Hugging Face config.json <-> LMConfig."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from maxent_lm import reading
from maxent_lm.lm.config import DTYPES, FAMILIES, LMConfig
from maxent_lm.reading import shown

ARCHITECTURES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}
# No model comes near; what is larger would take memory before its weights are looked at.
LARGEST = {
  'vocab_size': 2**24,
  'hidden_size': 2**18,
  'intermediate_size': 2**20,
  'num_hidden_layers': 2**12,
  'num_attention_heads': 2**12,
  'num_key_value_heads': 2**12,
  'head_dim': 2**14,
  'max_position_embeddings': 2**30,
}
LARGEST_FLOAT = 1e30
FLAGS = ('attention_bias', 'mlp_bias', 'use_sliding_window', 'tie_word_embeddings')


def read_json(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
  """The JSON object in a file of the folder; FileNotFoundError or ValueError name the path."""
  path = reading.confined(folder, name)
  if not path.exists():
    raise FileNotFoundError(
      f'{path} does not exist; give the folder of a Hugging Face model saved with safetensors.'
    )
  return reading.read_object(path, cure='fetch it again.')


def _rope_theta(raw: Mapping[str, Any], path: pathlib.Path) -> float:
  """Of both dialects: `rope_parameters` (from 2025 on), or `rope_theta` and `rope_scaling`."""
  rope = raw.get('rope_parameters') or raw.get('rope_scaling') or {}
  if not isinstance(rope, dict):
    raise ValueError(f'{path} has rotary parameters that are no JSON object; fetch it again.')
  kind = rope.get('rope_type', rope.get('type', 'default'))
  partial = rope.get('partial_rotary_factor', raw.get('partial_rotary_factor', 1.0))
  nested = any(isinstance(value, dict) for value in rope.values())
  if kind != 'default' or partial != 1.0 or nested:
    raise ValueError(
      f'{path} asks for rotary embeddings of type {shown(kind)} with partial_rotary_factor '
      f'{shown(partial)}; '
      "only the type 'default' over the whole head, the same in all layers, is implemented."
    )
  return _positive({**raw, **rope}, 'rope_theta', path, default=10_000.0)


def _positive(raw: Mapping[str, Any], key: str, path: pathlib.Path, *, default: float) -> float:
  value = raw.get(key, default)
  if type(value) not in (int, float) or not 0 < value <= LARGEST_FLOAT:
    raise ValueError(f'{path} must give {key} as a positive number, but has {shown(value)}.')
  return float(value)


def _size(raw: Mapping[str, Any], key: str, path: pathlib.Path) -> int:
  value = raw.get(key)
  if type(value) is not int:
    raise ValueError(f'{path} must give {key} as a whole number, but has {shown(value)}.')
  if not 0 < value <= LARGEST[key]:
    raise ValueError(f'{path} has {key} {value}; it must be 1 to {LARGEST[key]:,}.')
  return value


def _refuse_unsupported(raw: Mapping[str, Any], path: pathlib.Path) -> None:
  """Raises ValueError for what would load but compute something else."""
  if raw.get('auto_map'):
    raise ValueError(
      f'{path} asks for code of its own (auto_map), which is never run; if the model is one of '
      f'{", ".join(FAMILIES)} without it, remove the key.'
    )
  family = raw.get('model_type')
  if family not in FAMILIES:
    raise ValueError(
      f'{path} has model_type {shown(family)}, which is not known; use one of '
      f'{", ".join(FAMILIES)}.'
    )
  if raw.get('hidden_act', 'silu') != 'silu':
    raise ValueError(
      f'{path} has hidden_act {shown(raw["hidden_act"])}; only the activation silu is implemented.'
    )
  for key in FLAGS:
    if not isinstance(raw.get(key, False), bool | None):
      raise ValueError(f'{path} must give {key} as true or false, but has {shown(raw[key])}.')
  for key in ('attention_bias', 'mlp_bias'):
    if raw.get(key, False):
      raise ValueError(
        f'{path} has {key} true; the only biases implemented are those of qwen2 on query, key and '
        'value.'
      )
  layer_types = raw.get('layer_types') or ['full_attention']
  full = isinstance(layer_types, list) and all(each == 'full_attention' for each in layer_types)
  if raw.get('use_sliding_window', False) or not full:
    raise ValueError(f'{path} uses sliding-window attention; only full attention is implemented.')


def load_config(folder: str | os.PathLike[str]) -> LMConfig:
  """The LMConfig of a Hugging Face folder, both dialects of config.json.

  `dtype` is bfloat16 if the folder says so and float32 otherwise; change it, `remat` and
  `scan_layers` with `dataclasses.replace`. Raises FileNotFoundError or ValueError, in one sentence,
  for what cannot be read or would be computed differently.
  """
  path = pathlib.Path(folder) / 'config.json'
  raw = read_json(folder, 'config.json')
  _refuse_unsupported(raw, path)
  heads = _size(raw, 'num_attention_heads', path)
  shared = raw.get('num_key_value_heads') is not None
  dtype = raw.get('dtype') or raw.get('torch_dtype') or 'float32'
  has_head_dim = raw['model_type'] == 'qwen3' or raw.get('head_dim') is not None
  width = _size(raw, 'hidden_size', path)
  try:
    return LMConfig(
      vocab_size=_size(raw, 'vocab_size', path),
      d_model=width,
      num_layers=_size(raw, 'num_hidden_layers', path),
      num_heads=heads,
      num_kv_heads=_size(raw, 'num_key_value_heads', path) if shared else heads,
      head_dim=_size(raw, 'head_dim', path) if has_head_dim else width // heads,
      d_ff=_size(raw, 'intermediate_size', path),
      family=raw['model_type'],
      tied=bool(raw.get('tie_word_embeddings', False)),
      rope_theta=_rope_theta(raw, path),
      norm_eps=_positive(raw, 'rms_norm_eps', path, default=1e-6),
      max_length=_size(raw, 'max_position_embeddings', path),
      dtype=dtype if dtype in DTYPES else 'float32',
    )
  except ValueError as error:
    raise error if str(path) in str(error) else ValueError(f'{path} is no model: {error}') from None


def as_json(config: LMConfig, *, eos_token_id: int | None) -> dict[str, Any]:
  """The config.json of today's dialect that `load_config` and `AutoConfig` read."""
  return {
    'architectures': [ARCHITECTURES[config.family]],
    'model_type': config.family,
    'vocab_size': config.vocab_size,
    'hidden_size': config.d_model,
    'num_hidden_layers': config.num_layers,
    'num_attention_heads': config.num_heads,
    'num_key_value_heads': config.num_kv_heads,
    'head_dim': config.head_dim,
    'intermediate_size': config.d_ff,
    'hidden_act': 'silu',
    'max_position_embeddings': config.max_length,
    'rms_norm_eps': config.norm_eps,
    'rope_parameters': {'rope_type': 'default', 'rope_theta': config.rope_theta},
    'tie_word_embeddings': config.tied,
    'dtype': config.dtype,
    'bos_token_id': None,
    'eos_token_id': eos_token_id,
  }
