"""From a config to the programs of a run, lowered for devices that need not be there."""

import importlib.util
import itertools
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.build.checks import check_rows
from maxent_lm.build.names import Config
from maxent_lm.build.policy import Policy, abstract_policy
from maxent_lm.build.run import make_sampler
from maxent_lm.build.training import make_batch_scorer, make_training
from maxent_lm.data import abstract_batch, bucket
from maxent_lm.lm import partition
from maxent_lm.sampling.loops import rooms
from maxent_lm.sampling.policies import Sampling
from maxent_lm.train.state import TrainState
from maxent_lm.types import Array, Batch


class Plan(NamedTuple):
  """A run before anything is allocated.

  Attributes:
    policy: its parameters are ShapeDtypeStructs.
    state: what the update starts from, likewise.
    has_reference: whether the parameters are kept beside the state, as the reference.
    rollout: the lowered sampler of a training step.
    update: the lowered update.
    decode_steps: the most steps of each of the loops that decode.
    pieces: the most that the rows of a device are cut into in an update.
    logits: B R V, the logits of all response tokens of a batch.
  """

  policy: Policy
  state: TrainState
  has_reference: bool
  rollout: jax.stages.Lowered
  update: jax.stages.Lowered
  decode_steps: tuple[int, ...]
  pieces: int
  logits: int


def simulated_devices(topology: str) -> Sequence[jax.Device]:
  """The devices of a slice of TPUs such as 'v5p:4x4x4': they can be compiled for, not run on.

  The process itself stays on the CPU, so call this before JAX is first used.

  Raises:
    ValueError: libtpu is not installed, or has no such slice.
  """
  if importlib.util.find_spec('libtpu') is None:
    raise ValueError(
      "planning for TPUs needs libtpu, which is not installed: pip install -e '.[plan]'"
    )
  jax.config.update('jax_platforms', 'cpu')
  # libtpu asks the network what machine it is on, and waits, unless it is told.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
  from jax.experimental import topologies

  try:
    return topologies.get_topology_desc(platform='tpu', topology_name=topology).devices
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(f'libtpu does not make topology {topology!r}: {error}') from error


def make_plan(config: Config, devices: Sequence[jax.Device]) -> Plan:
  """Lowers one rollout and one update of `rollout_run`, at the longest prompts it would take.

  Responses are as long as they can be, too.

  Raises:
    ValueError: the config does not say how long prompts are, or the devices cannot share the rows.
  """
  batch = config.batch
  if not batch.max_prompt_tokens:
    raise ValueError(
      'config.batch.max_prompt_tokens=0 leaves the length of prompts to the data, and a plan has '
      'none; set it'
    )
  config = config.copy_and_resolve_references()
  config.compute.widths = 1  # for shorter responses nothing needs to be compiled
  policy = abstract_policy(config, devices)
  check_rows('config.batch.prompts', batch.prompts, policy.mesh)
  training = make_training(config, policy, group_size=batch.group_size)
  prompt = bucket(batch.max_prompt_tokens, batch.prompt_multiple)
  generate = make_sampler(
    config, policy, sampling=Sampling(**config.sampling), group_size=batch.group_size
  )
  with jax.set_mesh(policy.mesh):
    networks = training.networks and jax.eval_shape(training.networks, policy.params)
    shapes = jax.eval_shape(training.init, policy.params, networks)
    state = partition.abstract(shapes, policy.mesh)
    reference = policy.params if training.has_reference else None
    step = jax.jit(training.update, donate_argnums=0)
    update = step.lower(state, reference, _batch(config, policy, prompt))
    rollout = jax.jit(generate).lower(
      policy.params, *_prompts(config, policy, prompt), state.key, 1.0
    )
  rows = batch.prompts * batch.group_size
  waves = math.ceil(rows / min(config.compute.slots or rows, rows))
  return Plan(
    policy=policy,
    state=state,
    has_reference=training.has_reference,
    rollout=rollout,
    update=update,
    decode_steps=_decode_steps(batch.max_new_tokens, waves),
    pieces=make_batch_scorer(config, policy, batch.group_size).most_pieces(
      rows // partition.batch_shards(policy.mesh), batch.max_new_tokens
    ),
    logits=rows * batch.max_new_tokens * policy.lm.config.vocab_size,
  )


def _decode_steps(columns: int, waves: int) -> tuple[int, ...]:
  """Of so many waves of responses of so many tokens, which have caches of `loops.rooms`.

  And none of the loops over fewer slots, which responses that all end last do not reach.
  """
  ends = [0, *rooms(columns)[:-1], waves * columns - 1]
  return (*(last - first for first, last in itertools.pairwise(ends)), 0)


def _batch(config: Config, policy: Policy, prompt: int) -> Batch:
  rows, response = config.batch.prompts * config.batch.group_size, config.batch.max_new_tokens
  return abstract_batch(rows, prompt + response + 1, policy.mesh)


def _prompts(config: Config, policy: Policy, prompt: int) -> tuple[Array, Array]:
  shape = (config.batch.prompts, prompt)
  shapes = tuple(jax.ShapeDtypeStruct(shape, dtype) for dtype in (jnp.int32, bool))
  return partition.abstract_rows(shapes, policy.mesh)
