"""Measures one step of training on a fixed amount of work: rollout, update, memory, utilisation.

  python experiments/benchmark.py --preset=S --rounds=5
  python experiments/benchmark.py --preset=M --lengths=geometric --slots=32

Random weights, prompts of 32 tokens, 64 new ones, GRPO's loss, one AdamW update. With
--lengths=geometric a response ends with probability 1/16 at every token; otherwise none ends. One
line of JSON: medians of seconds and of CPU seconds, tokens a second, the first step with its
compilation, the peak of the process's memory, and the share of the machine's matrix-product rate,
measured in the same process, that the model's arithmetic is.
"""

import functools
import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from maxent_lm import data, temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import make_group_scorer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.sampling.generate import Generate, Rollout, make_generate
from maxent_lm.sampling.policies import Sampling
from maxent_lm.shaping import chain
from maxent_lm.shaping.advantages import group_normalised
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import Parts, Update, make_update
from maxent_lm.types import Array, Batch

PROMPT, RESPONSE, EOS, ENDS = 32, 64, 1, 1 / 16


class Work(NamedTuple):
  """A model and how much is asked of it."""

  config: LMConfig
  prompts: int
  group_size: int
  microbatch: int


PRESETS = {
  'smoke': Work(
    LMConfig(
      vocab_size=32,
      d_model=16,
      num_layers=2,
      num_heads=2,
      num_kv_heads=1,
      head_dim=8,
      d_ff=32,
    ),
    2,
    4,
    400,
  ),
  'S': Work(
    LMConfig(
      vocab_size=512,
      d_model=128,
      num_layers=4,
      num_heads=4,
      num_kv_heads=2,
      head_dim=32,
      d_ff=512,
    ),
    64,
    8,
    1100,
  ),
  'M': Work(
    LMConfig(
      vocab_size=4096,
      d_model=512,
      num_layers=8,
      num_heads=8,
      num_kv_heads=4,
      head_dim=64,
      d_ff=1536,
    ),
    16,
    8,
    600,
  ),
}

_PRESET = flags.DEFINE_enum('preset', 'S', list(PRESETS), 'Model and work.')
_LENGTHS = flags.DEFINE_enum('lengths', 'fixed', ['fixed', 'geometric'], 'How responses end.')
_SLOTS = flags.DEFINE_integer('slots', 0, 'Rows decoded at a time; 0 for all.', lower_bound=0)
_MICROBATCH = flags.DEFINE_integer('microbatch', None, 'Tokens at a time in the update; 0: all.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Steps that are timed.', lower_bound=1)


class Ending:
  """The policy, but for the end, which has a probability of its own."""

  def log_probs(self, logits: Array) -> Array:
    """[B, V] log-probabilities of the behaviour."""
    others = jax.nn.log_softmax(logits.at[:, EOS].set(-jnp.inf))
    return (others + np.log1p(-ENDS)).at[:, EOS].set(np.log(ENDS))


def make_rollout(lm: LM, work: Work, lengths: str, slots: int) -> Generate:
  """Rollouts whose responses end as asked."""
  return make_generate(
    lm,
    sampling=Ending() if lengths == 'geometric' else Sampling(),
    group_size=work.group_size,
    max_new_tokens=RESPONSE,
    eos_id=EOS if lengths == 'geometric' else -1,
    slots=slots,
  )


def make_training(lm: LM, work: Work, microbatch: int) -> tuple[Update, TrainState]:
  """GRPO with AdamW, from random weights."""
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
  parts = Parts(
    scorer=make_group_scorer(
      lm,
      chunk=4096,
      group_size=work.group_size,
      max_new_tokens=RESPONSE,
      microbatch=microbatch,
    ),
    loss=functools.partial(LOSSES['grpo'], clip_low=0.2, clip_high=0.2, clip_dual=10.0, kl='none'),
    transform=chain(lambda batch, views: group_normalised(batch, eps=1e-4, ddof=1)),
    reduction=REDUCTIONS['token_mean'],
    optimizer=optimizer,
    alpha=temperature.fixed(0.0),
    beta=temperature.fixed(0.0),
  )
  state = init_state(
    lm.init(0),
    optimizer=optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=False,
    seed=0,
  )
  return make_update(parts), state


def make_batch(prompts: np.ndarray, rollout: Rollout, group_size: int) -> Batch:
  """The rollout with a reward that means nothing: whether the sum of its tokens is even."""
  rows = [row[:end] for row, end in zip(rollout.tokens, rollout.length, strict=True)]
  sequences = data.Sequences.unweighted(np.repeat(prompts, group_size, axis=0).tolist(), rows)
  sequences = sequences._replace(
    logp=[logp[: len(row)] for logp, row in zip(rollout.logp, rows, strict=True)],
    reward=np.array([row.sum() % 2 for row in rows], np.float32),
    group=np.repeat(np.arange(len(prompts)), group_size),
  )
  return data.make_batch(sequences, columns=PROMPT + RESPONSE + 1)


def matmul_rate(size: int = 2048) -> float:
  """FLOP/s of square float32 products, the best of ten."""
  product = jax.jit(jnp.matmul)
  a = jnp.ones((size, size))
  product(a, a).block_until_ready()
  times = []
  for _ in range(10):
    began = time.perf_counter()
    product(a, a).block_until_ready()
    times.append(time.perf_counter() - began)
  return 2 * size**3 / min(times)


def flops(lm: LM, work: Work, lengths: np.ndarray) -> tuple[float, float]:
  """Of rollout and update, of the work that has to be done: no padding, prompts once, no remat.

  A product of [a, b] and [b, c] is 2 a b c; a backward pass is two forward ones.
  """
  config = lm.config
  heads = (config.num_heads + config.num_kv_heads) * config.head_dim * 2
  layer = config.d_model * (heads + 3 * config.d_ff)
  prompt, tokens = work.prompts * PROMPT, float(lengths.sum())
  read = tokens - len(lengths)  # nothing follows a last token
  attended = float(sum(PROMPT * n + n * (n - 1) / 2 for n in lengths))
  scores = 4 * config.num_heads * config.head_dim
  attention = config.num_layers * scores * (attended + work.prompts * PROMPT**2 / 2)
  dense = 2 * config.num_layers * layer * (prompt + read)
  head = 2 * config.d_model * config.vocab_size * tokens
  return dense + attention + head, 3 * (dense + attention + head)


class Timed(NamedTuple):
  """Seconds, and CPU seconds of all threads."""

  wall: float
  cpu: float


class Measured(NamedTuple):
  """One step; `tokens` are of all responses, `work` the FLOP that they need (see `flops`)."""

  rollout: Timed
  update: Timed
  tokens: int
  work: tuple[float, float]


def timed(function: Callable[[], Any]) -> tuple[Any, Timed]:
  """(result, how long it took)."""
  began, used = time.perf_counter(), time.process_time()
  result = jax.block_until_ready(function())
  return result, Timed(time.perf_counter() - began, time.process_time() - used)


def measure(
  lm: LM, work: Work, generate: Generate, update: Update, state: TrainState, steps: int
) -> list[Measured]:
  """Steps one after the other; the first one compiles."""
  rng = np.random.default_rng(0)
  prompts = rng.integers(2, work.config.vocab_size, (work.prompts, PROMPT), np.int32)
  asked = jnp.asarray(prompts), jnp.ones_like(prompts, bool)
  measured = []
  for number in range(steps):
    key = jax.random.key(number)
    rollout, asking = timed(functools.partial(generate, state.params, *asked, key))
    host = jax.device_get(rollout)
    batch = make_batch(prompts, host, work.group_size)
    (state, _), learning = timed(functools.partial(update, state, None, batch))
    needed = flops(lm, work, host.length)
    measured.append(Measured(asking, learning, int(host.length.sum()), needed))
  return measured


def summary(measured: Sequence[Measured], rate: float) -> dict[str, Any]:
  """Medians over the steps but the first; shares of `rate`, in FLOP/s."""
  first, *rest = measured
  tokens = statistics.median(each.tokens for each in rest)
  row: dict[str, Any] = {}
  parts = {'rollout': [each.rollout for each in rest], 'update': [each.update for each in rest]}
  for at, (name, times) in enumerate(parts.items()):
    wall = statistics.median(each.wall for each in times)
    needed = statistics.median(each.work[at] for each in rest)
    row |= {
      f'{name}_s': round(wall, 3),
      f'{name}_cpu_s': round(statistics.median(each.cpu for each in times), 3),
      f'{name}_share': round(needed / wall / rate, 3),
    }
  steps = [each.rollout.wall + each.update.wall for each in rest]
  return row | {
    'step_s': round(statistics.median(steps), 3),
    'first_step_s': round(first.rollout.wall + first.update.wall, 1),
    'tokens': int(tokens),
    'tokens_per_s': round(tokens / row['rollout_s']),
  }


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  work, lengths = PRESETS[_PRESET.value], _LENGTHS.value
  lm = LM(work.config)
  generate = make_rollout(lm, work, lengths, _SLOTS.value)
  microbatch = work.microbatch if _MICROBATCH.value is None else _MICROBATCH.value
  update, state = make_training(lm, work, microbatch)
  rate = matmul_rate()
  row = {
    'preset': _PRESET.value,
    'lengths': lengths,
    'slots': _SLOTS.value,
    'microbatch': microbatch,
    **summary(measure(lm, work, generate, update, state, _ROUNDS.value + 1), rate),
    'matmul_gflops': round(rate / 1e9),
    'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
  }
  print(json.dumps(row))


if __name__ == '__main__':
  app.run(main)
