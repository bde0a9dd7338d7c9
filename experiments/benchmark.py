"""Measures one step of training on a fixed amount of work: rollout, update, memory, utilisation.

  python experiments/benchmark.py --preset=S --rounds=5 --least_s=10
  python experiments/benchmark.py --preset=M --lengths=geometric --slots=64

Random weights, prompts of 32 tokens, 64 new ones, GRPO's loss, one AdamW update. With
--lengths=geometric a response ends with probability 1/64 at every token, and after 256; otherwise
none ends. The preset gpu, 82 M parameters in bfloat16 with 2048 responses of 256 tokens, wants a
GPU of 80 GB. --prompts, --group_size, --response, --vocab_size, --dtype, --attention, --scan_layers
and --widths change a preset; --scorer=naive updates from whole rows and all of their logits at
once, and --decoder=plain decodes all rows for as long as the longest response may be and cuts them
where they have ended, to compare with. --devices=8 cuts a CPU into so many devices, which share the
rows.

For rollout and update a sentence says what the model's arithmetic is of the machine's rate of
products in this dtype, measured in the same process, and what bounds it
(maxent_lm/analysis/utilisation.py). Then one line of JSON: medians of seconds and of CPU seconds,
tokens a second of the step that is the median, the first step with its compilation, the seconds
before it, the peak of the process's memory in the first step and in the others, and of the device's
own, if it has any.

Other libraries do the same work in experiments/peers/; experiments/tables/peers.py compares.
"""

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jax.sharding import Mesh

from maxent_lm import data, process, temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import utilisation
from maxent_lm.analysis.sizes import ENDS, EOS, PRESETS, PROMPT, RESPONSE, Work
from maxent_lm.analysis.utilisation import Peaks
from maxent_lm.analysis.utilisation import Work as Needed
from maxent_lm.lm import partition
from maxent_lm.lm.config import ATTENTIONS, DTYPES
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.scores import score_logits
from maxent_lm.masked import REDUCTIONS
from maxent_lm.sampling.generate import Generate, Rollout, make_generate
from maxent_lm.sampling.policies import Sampling
from maxent_lm.shaping import chain
from maxent_lm.shaping.advantages import group_normalised
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import Parts, Update, make_update
from maxent_lm.types import Array, Batch, Params, Pull, Scorer, Scores

_PRESET = flags.DEFINE_enum('preset', 'S', list(PRESETS), 'Model and work.')
_LENGTHS = flags.DEFINE_enum('lengths', 'fixed', list(RESPONSE), 'How responses end.')
_SLOTS = flags.DEFINE_integer('slots', 0, 'Rows decoded at a time; 0 for all.', lower_bound=0)
_MICROBATCH = flags.DEFINE_integer('microbatch', None, 'Tokens at a time in the update; 0: all.')
_SCORER = flags.DEFINE_enum('scorer', 'groups', ['groups', 'naive'], 'How an update scores.')
_DECODER = flags.DEFINE_enum('decoder', 'slots', ['slots', 'plain'], 'How a rollout decodes.')
_PROMPTS = flags.DEFINE_integer('prompts', None, "Instead of the preset's.", lower_bound=1)
_GROUP_SIZE = flags.DEFINE_integer('group_size', None, "Instead of the preset's.", lower_bound=1)
_VOCAB_SIZE = flags.DEFINE_integer('vocab_size', None, "Instead of the preset's.", lower_bound=3)
_RESPONSE = flags.DEFINE_integer('response', None, 'Most tokens of a response.', lower_bound=1)
_DTYPE = flags.DEFINE_enum('dtype', None, DTYPES, "Of activations, instead of the preset's.")
_SCAN = flags.DEFINE_bool('scan_layers', None, "A loop over layers, instead of the preset's.")
_WIDTHS = flags.DEFINE_integer('widths', None, "Of an update's pieces.", lower_bound=1)
_ATTENTION = flags.DEFINE_enum('attention', 'xla', ATTENTIONS, 'Of whole rows.')
_DEVICES = flags.DEFINE_integer('devices', 1, 'Of a CPU, that share the rows.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Steps that are timed, at least.', lower_bound=1)
_LEAST_S = flags.DEFINE_float('least_s', 0, 'Seconds that steps are timed for, at least.')


class Ending:
  """The policy, but for the end, which has a probability of its own."""

  def log_probs(self, logits: Array) -> Array:
    """[B, V] log-probabilities of the behaviour."""
    others = jax.nn.log_softmax(logits.at[:, EOS].set(-jnp.inf))
    return (others + np.log1p(-ENDS)).at[:, EOS].set(np.log(ENDS))


def make_rollout(
  lm: LM, work: Work, lengths: str, slots: int, cells: int = 1, decoder: str = 'slots'
) -> Generate:
  """Rollouts whose responses end as asked, decoded as in training, or as a textbook does."""
  ends = lengths == 'geometric'
  generate = make_generate(
    lm,
    sampling=Ending() if ends else Sampling(),
    group_size=work.group_size,
    max_new_tokens=work.response,
    eos_id=EOS if ends and decoder == 'slots' else -1,
    slots=slots,
    cells=cells,
  )
  if not ends or decoder == 'slots':
    return generate
  return jax.jit(lambda *asked: cut(generate(*asked)))


def cut(rollout: Rollout) -> Rollout:
  """Responses to their first end, as if nothing had been decoded after it."""
  columns = rollout.tokens.shape[1]
  is_end = rollout.tokens == EOS
  finished = jnp.any(is_end, axis=1)
  length = jnp.where(finished, jnp.argmax(is_end, axis=1) + 1, columns)
  there = jnp.arange(columns)[None, :] < length[:, None]
  return Rollout(
    tokens=jnp.where(there, rollout.tokens, EOS),
    length=length.astype(jnp.int32),
    finished=finished,
    logp=jnp.where(there, rollout.logp, 0),
    entropy=jnp.where(there, rollout.entropy, 0),
  )


def make_scorer(
  lm: LM, work: Work, name: str, microbatch: int, cells: int = 1
) -> tuple[Scorer, Pull | None]:
  """How training scores and takes gradients, or how a textbook does."""
  if name == 'naive':
    return functools.partial(naive_scores, lm), None
  scorer = GroupScorer(
    lm,
    chunk=max(1, work.logits // lm.config.vocab_size),
    group_size=work.group_size,
    max_new_tokens=work.response,
    cells=cells,
    microbatch=microbatch,
    widths=work.widths,
  )
  return scorer, scorer.pull if microbatch else None


def naive_scores(lm: LM, params: Params, tokens: Array, mask: Array) -> Scores:
  """Scores [B, T] from the logits [B, R + 1, V] after all prompts and response tokens, at once."""
  del mask
  hidden = lm.hidden(params, tokens)[:, PROMPT - 1 : -1]
  logits = jnp.einsum('brd,dv->brv', hidden, lm.head(params))
  scores = jax.vmap(score_logits)(logits, tokens[:, PROMPT:])
  return jax.tree.map(lambda values: jnp.pad(values, ((0, 0), (PROMPT, 0))), scores)


def make_mesh(devices: int) -> Mesh:
  """So many devices that share the rows; a CPU is cut into as many."""
  if devices > 1:
    jax.config.update('jax_num_cpu_devices', devices)  # others do not ask for it
  return partition.make_mesh(data=devices)


def make_training(
  lm: LM, scorer: Scorer, pull: Pull | None, mesh: Mesh
) -> tuple[Update, TrainState]:
  """GRPO with AdamW, from random weights."""
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
  parts = Parts(
    scorer=scorer,
    loss=functools.partial(LOSSES['grpo'], clip_low=0.2, clip_high=0.2, clip_dual=10.0, kl='none'),
    transform=chain(lambda batch, views: group_normalised(batch, eps=1e-4, ddof=1)),
    reduction=REDUCTIONS['token_mean'],
    optimizer=optimizer,
    alpha=temperature.fixed(0.0),
    beta=temperature.fixed(0.0),
    pull=pull,
  )
  state = init_state(
    lm.init(0),
    optimizer=optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=False,
    seed=0,
  )
  return make_update(parts), partition.place_all(state, mesh)


def make_batch(prompts: np.ndarray, rollout: Rollout, work: Work) -> Batch:
  """The rollout with a reward that means nothing: whether the sum of its tokens is even."""
  rows = [row[:end] for row, end in zip(rollout.tokens, rollout.length, strict=True)]
  sequences = data.Sequences.unweighted(np.repeat(prompts, work.group_size, axis=0).tolist(), rows)
  sequences = sequences._replace(
    logp=[logp[: len(row)] for logp, row in zip(rollout.logp, rows, strict=True)],
    reward=np.array([row.sum() % 2 for row in rows], np.float32),
    group=np.repeat(np.arange(len(prompts)), work.group_size),
  )
  return data.make_batch(sequences, columns=PROMPT + work.response + 1)


class Timed(NamedTuple):
  """Seconds, and CPU seconds of all threads."""

  wall: float
  cpu: float


class Measured(NamedTuple):
  """One step, with the lengths of its responses; `seconds` are also those between the two parts."""

  rollout: Timed
  update: Timed
  seconds: float
  lengths: np.ndarray


def timed(function: Callable[[], Any]) -> tuple[Any, Timed]:
  """(result, how long it took)."""
  began, used = time.perf_counter(), time.process_time()
  result = jax.block_until_ready(function())
  return result, Timed(time.perf_counter() - began, time.process_time() - used)


def measure(
  work: Work, generate: Generate, update: Update, state: TrainState, mesh: Mesh
) -> tuple[list[Measured], int]:
  """Steps one after the other, and the peak memory (MB) of the first one, which compiles."""
  first_mb, rows = 0, partition.batch_sharding(mesh)
  rng = np.random.default_rng(0)
  prompts = rng.integers(2, work.config.vocab_size, (work.prompts, PROMPT), np.int32)
  asked = jax.device_put((prompts, np.ones_like(prompts, bool)), rows)
  measured: list[Measured] = []
  while not enough(measured):
    number = len(measured)
    key, began = jax.random.key(number), time.perf_counter()
    rollout, asking = timed(functools.partial(generate, state.params, *asked, key))
    if number == 0:
      process.release_memory()  # as train/loop.py does after compiling
    host = jax.device_get(rollout)
    batch = jax.device_put(make_batch(prompts, host, work), rows)
    (state, _), learning = timed(functools.partial(update, state, None, batch))
    measured.append(Measured(asking, learning, time.perf_counter() - began, host.length))
    if number == 0:
      process.release_memory()
      first_mb = process.peak_mb()
      process.forget_peak()
  return measured, first_mb


def enough(measured: Sequence[Measured]) -> bool:
  """Whether so many steps, for so many seconds, were timed after the first."""
  seconds = sum(each.seconds for each in measured[1:])
  return len(measured) > _ROUNDS.value and seconds >= _LEAST_S.value


def pieces_of(scorer: Scorer, lengths: np.ndarray, devices: int) -> int:
  """In how many pieces a device updates from responses of these lengths, if all are full."""
  if not isinstance(scorer, GroupScorer):
    return 1
  return scorer.least_pieces(len(lengths) // devices, -(-int(lengths.sum()) // devices))


def needed(work: Work, measured: Measured, slots: int, pieces: int) -> dict[str, Needed]:
  """The model's work in a step."""
  asked = {'prompts': work.prompts, 'prompt': PROMPT, 'lengths': measured.lengths}
  count = slots or len(measured.lengths)
  return {
    'rollout': utilisation.rollout_work(work.config, **asked, slots=count),
    'update': utilisation.update_work(work.config, **asked, pieces=pieces),
  }


def summary(
  measured: Sequence[Measured], works: Sequence[Mapping[str, Needed]], peaks: Peaks
) -> tuple[dict[str, Any], list[str]]:
  """Medians over the steps but the first, and what bounds the step that is the median in time."""
  first, *rest = measured
  tokens = statistics.median(int(each.lengths.sum()) for each in rest)
  row: dict[str, Any] = {}
  told = []
  for name in ('rollout', 'update'):
    times = [getattr(each, name) for each in rest]
    walls = [each.wall for each in times]
    wall = statistics.median_low(walls)
    at = walls.index(wall)
    work = works[1 + at][name]
    told.append(utilisation.sentence(name, wall, work, peaks))
    floor = utilisation.least(work, peaks)
    row |= {
      f'{name}_s': round(wall, 3),
      f'{name}_cpu_s': round(statistics.median(each.cpu for each in times), 3),
      f'{name}_gflop': round(work.flops / 1e9, 3),
      f'{name}_gflops': round(work.flops / wall / 1e9, 1),
      f'{name}_share': round(work.flops / wall / peaks.flops, 3),
      f'{name}_products_s': round(floor.compute, 4),
      f'{name}_bytes_s': round(floor.memory, 4),
      f'{name}_tokens_per_s': round(int(rest[at].lengths.sum()) / wall),
    }
  return row | {
    'step_s': round(statistics.median(each.seconds for each in rest), 3),
    'first_step_s': round(first.seconds, 1),
    'tokens': int(tokens),
    'tokens_per_s': row['rollout_tokens_per_s'],
  }, told


def device_peak_mb() -> int | None:
  """The most that was in use on the device since the start; None where it is the host's memory."""
  stats = jax.local_devices()[0].memory_stats() or {}
  peak = stats.get('peak_bytes_in_use')
  return None if peak is None else peak >> 20


def asked_for() -> Work:
  """The preset's work with what flags change of it."""
  work = PRESETS[_PRESET.value]
  config = dataclasses.replace(
    work.config,
    vocab_size=_VOCAB_SIZE.value or work.config.vocab_size,
    dtype=_DTYPE.value or work.config.dtype,
    attention=_ATTENTION.value,
    scan_layers=work.config.scan_layers if _SCAN.value is None else _SCAN.value,
  )
  return work._replace(
    config=config,
    prompts=_PROMPTS.value or work.prompts,
    group_size=_GROUP_SIZE.value or work.group_size,
    response=_RESPONSE.value or work.response or RESPONSE[_LENGTHS.value],
    widths=_WIDTHS.value or work.widths,
  )


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  work, lengths = asked_for(), _LENGTHS.value
  lm, devices = LM(work.config), _DEVICES.value
  mesh = make_mesh(devices)
  generate = make_rollout(lm, work, lengths, _SLOTS.value, devices, _DECODER.value)
  microbatch = work.microbatch if _MICROBATCH.value is None else _MICROBATCH.value
  scorer, pull = make_scorer(lm, work, _SCORER.value, microbatch, devices)
  update, state = make_training(lm, scorer, pull, mesh)
  start_s = process.since_start()
  with jax.set_mesh(mesh):
    measured, first_mb = measure(work, generate, update, state, mesh)
  peak_mb = process.peak_mb()
  on_device = device_peak_mb()
  peaks = utilisation.measure_peaks(lm.config.dtype)  # after the peak, which it would raise
  works = [
    needed(work, each, _SLOTS.value, pieces_of(scorer, each.lengths, devices)) for each in measured
  ]
  numbers, told = summary(measured, works, peaks)
  row = {
    'preset': _PRESET.value,
    'lengths': lengths,
    'prompts': work.prompts,
    'group_size': work.group_size,
    'response': work.response,
    'vocab_size': work.config.vocab_size,
    'dtype': work.config.dtype,
    'attention': work.config.attention,
    'scan_layers': work.config.scan_layers,
    'widths': work.widths,
    'slots': _SLOTS.value,
    'devices': devices,
    'microbatch': microbatch,
    'scorer': _SCORER.value,
    'decoder': _DECODER.value,
    'steps': len(measured) - 1,
    **numbers,
    'start_s': round(start_s, 1),
    'device': jax.devices()[0].device_kind,
    'matmul_gflops': round(peaks.flops / 1e9),
    'copy_gbs': round(peaks.bandwidth / 1e9, 1),
    'peak_mb': peak_mb,
    'first_peak_mb': first_mb,
    'device_peak_mb': on_device,
  }
  print('\n'.join([*told, json.dumps(row)]))


if __name__ == '__main__':
  app.run(main)
