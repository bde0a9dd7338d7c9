"""What a run needs of a device's memory, reckoned before anything is allocated or compiled.

What stays is known exactly: parameters, optimiser and their copies. What an update or a rollout
adds is counted from shapes, and is about what XLA takes (`experiments/plan.py` compiles and asks).

Shapes: N prompts of P tokens, B rows of R response tokens, T = P + R columns, L layers, D width, N
query heads, K key heads, H head dimension, F hidden width, V vocabulary.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm import process
from maxent_lm.build.names import Config
from maxent_lm.build.policy import Policy, abstract_policy, score_chunk
from maxent_lm.build.training import make_training
from maxent_lm.data import bucket
from maxent_lm.lm import partition
from maxent_lm.lm.config import LMConfig

GIB = 2**30
LOGITS_HELD = 3  # arrays of a chunk: logits, probabilities, gradient
KEPT = 2  # times what a layer makes: what it keeps, and what the backward pass makes of that
SCORES_HELD = 24  # arrays [B, T] of an update: the batch, scores of three views, their gradients
Bytes = Mapping[str, int]


class Memory(NamedTuple):
  """Bytes of one device: there, staying, and while an update or a rollout runs."""

  there: int
  stays: Bytes
  update: Bytes
  rollout: Bytes

  @property
  def state(self) -> int:
    """What stays."""
    return sum(self.stays.values())

  @property
  def needed(self) -> int:
    """At the most."""
    return self.state + max(sum(self.update.values()), sum(self.rollout.values()))


def memory_plan(config: Config, workdir: pathlib.Path) -> Memory:
  """Of `rollout_run`, with responses as long as they can be, and prompts of max_prompt_tokens.

  Raises:
    ValueError: what stays is more than a device has, or the config is wrong.
  """
  policy = abstract_policy(config, jax.devices(), workdir)
  memory = Memory(
    there=device_memory(policy.mesh),
    stays=_stays(config, policy),
    update=_update(config, policy),
    rollout=_rollout(config, policy),
  )
  if memory.state > memory.there:
    raise ValueError(
      f'this run does not fit: {_sum(memory.stays)} stay on each of {policy.mesh.size} devices, '
      f'which have {memory.there / GIB:.3g} GiB; take a smaller model, or split it over more '
      'devices with config.mesh.fsdp'
    )
  return memory


def device_memory(mesh: jax.sharding.Mesh) -> int:
  """Bytes of a device; on CPUs all of them share the host's."""
  device = mesh.local_devices[0]
  stats = device.memory_stats() or {}
  return stats.get('bytes_limit') or process.host_memory() // len(mesh.local_devices)


def memory_lines(memory: Memory) -> list[str]:
  """The plan as people read it; the last line is the verdict."""
  parts = {'stays': memory.stays, 'update, about': memory.update, 'rollout, about': memory.rollout}
  told = [f'memory of a device, {name}: {_sum(part)}' for name, part in parts.items()]
  fits = memory.needed <= memory.there
  return [
    *told,
    f'{"fits" if fits else "may not fit"}, because {memory.needed / GIB:.3g} GiB '
    f'{"<=" if fits else ">"} {memory.there / GIB:.3g} GiB of a device',
  ]


def _sum(parts: Bytes) -> str:
  """'1.2 GiB (parameters 0.4, optimiser 0.8)'."""
  each = ', '.join(f'{name} {size / GIB:.3g}' for name, size in parts.items())
  return f'{sum(parts.values()) / GIB:.3g} GiB ({each})'


def _stays(config: Config, policy: Policy) -> Bytes:
  training = make_training(config, policy, group_size=config.batch.group_size)
  networks = training.networks and jax.eval_shape(training.networks, policy.params)
  shapes = jax.eval_shape(training.init, policy.params, networks)
  state = partition.abstract(shapes, policy.mesh)
  params, optimizer, all_of_it = map(partition.device_bytes, (state.params, state.opt_state, state))
  return {
    'parameters': params,
    'optimiser': optimizer,
    'weights of the start': partition.device_bytes(policy.params),
    'other networks': all_of_it - params - optimizer,
  }


def _update(config: Config, policy: Policy) -> Bytes:
  """A gradient is a sum and the part of some tokens; activations are of these tokens."""
  rows, columns = _rows(config, policy), sum(_columns(config))
  tokens = rows * columns
  at_a_time = min(config.compute.microbatch or tokens, tokens)
  shards = partition.batch_shards(policy.mesh)
  scored = min(score_chunk(config, policy.lm) // shards, tokens)
  return {
    'gradients': 2 * partition.device_bytes(policy.params),
    'activations': KEPT * at_a_time * _activations(policy.lm.config, columns),
    'logits': 4 * LOGITS_HELD * scored * _split(policy, policy.lm.config.vocab_size),
    'scores': 4 * SCORES_HELD * tokens,
  }


def _activations(model: LMConfig, columns: int) -> int:
  """Bytes a token that layers make and, without remat, keep for the backward pass."""
  size = jnp.dtype(model.dtype).itemsize
  heads = (3 * model.num_heads + 3 * model.num_kv_heads) * model.head_dim
  weights = 0 if model.attention == 'cudnn' else model.num_heads * columns * (4 + size)
  layer = size * (4 * model.d_model + heads + 3 * model.d_ff) + weights
  if model.remat:
    return layer + model.num_layers * size * model.d_model
  return model.num_layers * layer


def _rollout(config: Config, policy: Policy) -> Bytes:
  """Caches of prompts stay; with slots, each slot has its prompt's beside its response's."""
  model, rows = policy.lm.config, _rows(config, policy)
  shards = partition.batch_shards(policy.mesh)
  slots = min(-(-config.compute.slots // shards) or rows, rows)
  prompt, response = _columns(config)
  size = jnp.dtype(model.cache_dtype or model.dtype).itemsize
  column = 2 * model.num_layers * _split(policy, model.num_kv_heads) * model.head_dim * size
  prompts = rows // config.batch.group_size
  copies = slots if slots < rows else 0
  cells = slots * response + (prompts + copies) * prompt
  layers = partition.device_bytes(policy.params['layers'])
  scale = jnp.dtype(model.dtype).itemsize / jnp.dtype(model.param_dtype).itemsize
  return {
    'cache': column * cells,
    'logits': 4 * LOGITS_HELD * slots * _split(policy, model.vocab_size),
    'weights as they are read': 0 if model.scan_layers and scale == 1 else int(layers * scale),
  }


def _rows(config: Config, policy: Policy) -> int:
  """Responses of a device."""
  return config.batch.prompts * config.batch.group_size // partition.batch_shards(policy.mesh)


def _columns(config: Config) -> tuple[int, int]:
  """P, or the least there is where only the data knows it, and R."""
  batch = config.batch
  return bucket(batch.max_prompt_tokens, batch.prompt_multiple), batch.max_new_tokens


def _split(policy: Policy, size: int) -> int:
  """What a device has of an axis over `tensor`."""
  shards = math.prod(policy.mesh.shape[name] for name in partition.RULES['vocab'])
  return size // shards if size % shards == 0 else size
