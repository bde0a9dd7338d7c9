"""Hugging Face config.json <-> LMConfig."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from maxent_lm.lm.config import DTYPES, FAMILIES, LMConfig

ARCHITECTURES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file; raises FileNotFoundError or ValueError that name the path."""
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise FileNotFoundError(
      f'{path} does not exist; give the folder of a Hugging Face model saved with safetensors.'
    ) from None
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be read as JSON ({error}); fetch it again.') from error
  if not isinstance(content, dict):
    raise ValueError(f'{path} does not hold a JSON object; fetch it again.')
  return content


def _rope_theta(raw: Mapping[str, Any], path: pathlib.Path) -> float:
  """Of both dialects: `rope_parameters` (from 2025 on), or `rope_theta` and `rope_scaling`."""
  rope = raw.get('rope_parameters') or raw.get('rope_scaling') or {}
  kind = rope.get('rope_type', rope.get('type', 'default'))
  partial = rope.get('partial_rotary_factor', raw.get('partial_rotary_factor', 1.0))
  nested = any(isinstance(value, dict) for value in rope.values())
  if kind != 'default' or partial != 1.0 or nested:
    raise ValueError(
      f'{path} asks for rotary embeddings of type {kind!r} with partial_rotary_factor {partial}; '
      "only the type 'default' over the whole head, the same in all layers, is implemented."
    )
  return float(rope.get('rope_theta', raw.get('rope_theta', 10_000.0)))


def _refuse_unsupported(raw: Mapping[str, Any], path: pathlib.Path) -> None:
  """Raises ValueError for what would load but compute something else."""
  family = raw.get('model_type')
  if family not in FAMILIES:
    raise ValueError(
      f'{path} has model_type {family!r}, which is not known; use one of {", ".join(FAMILIES)}.'
    )
  if raw.get('hidden_act', 'silu') != 'silu':
    raise ValueError(
      f'{path} has hidden_act {raw["hidden_act"]!r}; only the activation silu is implemented.'
    )
  for key in ('attention_bias', 'mlp_bias'):
    if raw.get(key, False):
      raise ValueError(
        f'{path} has {key} true; the only biases implemented are those of qwen2 on query, key and '
        'value.'
      )
  layer_types = set(raw.get('layer_types') or ['full_attention'])
  if raw.get('use_sliding_window', False) or layer_types != {'full_attention'}:
    raise ValueError(f'{path} uses sliding-window attention; only full attention is implemented.')


def load_config(folder: str | os.PathLike[str]) -> LMConfig:
  """The LMConfig of a Hugging Face folder, both dialects of config.json.

  `dtype` is bfloat16 if the folder says so and float32 otherwise; change it, `remat` and
  `scan_layers` with `dataclasses.replace`. Raises FileNotFoundError or ValueError, in one sentence,
  for what cannot be read or would be computed differently.
  """
  path = pathlib.Path(folder) / 'config.json'
  raw = read_json(path)
  _refuse_unsupported(raw, path)

  def need(key: str) -> int:
    if not isinstance(raw.get(key), int):
      raise ValueError(f'{path} must give {key} as a whole number, but has {raw.get(key)!r}.')
    return raw[key]

  heads = need('num_attention_heads')
  dtype = raw.get('dtype') or raw.get('torch_dtype') or 'float32'
  has_head_dim = raw['model_type'] == 'qwen3' or raw.get('head_dim') is not None
  return LMConfig(
    vocab_size=need('vocab_size'),
    d_model=need('hidden_size'),
    num_layers=need('num_hidden_layers'),
    num_heads=heads,
    num_kv_heads=heads if raw.get('num_key_value_heads') is None else need('num_key_value_heads'),
    head_dim=need('head_dim') if has_head_dim else need('hidden_size') // heads,
    d_ff=need('intermediate_size'),
    family=raw['model_type'],
    tied=bool(raw.get('tie_word_embeddings', False)),
    rope_theta=_rope_theta(raw, path),
    norm_eps=float(raw.get('rms_norm_eps', 1e-6)),
    max_length=need('max_position_embeddings'),
    dtype=dtype if dtype in DTYPES else 'float32',
  )


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
