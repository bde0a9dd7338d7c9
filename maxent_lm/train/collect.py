"""Batches: sampled from the policy and graded, or demonstrations; a pure function of (seed, step).

Shapes: N prompts a step, G samples a prompt, B = N G rows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from maxent_lm import data
from maxent_lm.data import Graded, Reader
from maxent_lm.sampling.generate import Generate, Rollout
from maxent_lm.tasks.base import Problem, batch_indices
from maxent_lm.train.state import TrainState
from maxent_lm.types import Batch

SHOWN = 4  # problems a step whose responses are kept for people to read


class Collected(NamedTuple):
  """One step's batch (on the device), the numbers measured on it, and a few samples."""

  batch: Batch
  metrics: dict[str, float]
  samples: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Demonstrations:
  """Correct responses drawn at random by the task: the supervised warm start."""

  reader: Reader
  batch_size: int
  max_new_tokens: int
  seed: int
  sharding: jax.sharding.Sharding

  def __call__(self, step: int, state: TrainState) -> Collected:
    """B demonstrations, each ending in EOS; reward 1, behaviour log-probability 0.

    Longer ones are cut at `max_new_tokens` (the share is reported): a prefix is still a
    demonstration of its own tokens.
    """
    del state
    task = self.reader.task
    rng = np.random.default_rng((self.seed, step))
    problems = [task[i] for i in batch_indices(step, self.batch_size, len(task), self.seed)]
    texts = [task.demonstration(problem, rng) for problem in problems]
    encoded = self.reader.tokenizer(texts, add_special_tokens=False)['input_ids']
    whole = [[*ids, self.reader.eos_id] for ids in encoded]
    responses = [ids[: self.max_new_tokens] for ids in whole]
    prompts = self.reader.prompts(problems)
    sequences = data.Sequences.unweighted(prompts, responses, reward=1.0)
    columns = self.reader.columns(prompts, self.max_new_tokens)
    batch = data.make_batch(sequences, columns=columns, sharding=self.sharding)
    cut = float(np.mean([len(ids) > self.max_new_tokens for ids in whole]))
    shown = zip(problems[:SHOWN], texts, strict=False)
    samples = [{'prompt': problem.prompt, 'response': text} for problem, text in shown]
    return Collected(batch, {'cut': cut}, samples)


@dataclasses.dataclass(frozen=True)
class Rollouts:
  """Samples of the current policy, graded by the task."""

  reader: Reader
  generate: Generate
  prompts_per_step: int
  group_size: int
  max_new_tokens: int
  bootstrap: bool
  seed: int
  sharding: jax.sharding.Sharding

  def __call__(self, step: int, state: TrainState) -> Collected:
    """N problems x G samples, with their rewards, semantic classes and behaviour log-probs."""
    task = self.reader.task
    indices = batch_indices(step, self.prompts_per_step, len(task), self.seed)
    problems = [task[i] for i in indices]
    prompts = self.reader.prompts(problems)
    padded = jax.device_put(self.reader.padded(prompts), self.sharding)
    key = jax.random.fold_in(state.key, step)
    rollout = jax.device_get(self.generate(state.params, *padded, key))
    rows = [problem for problem in problems for _ in range(self.group_size)]
    graded = self.reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)
    batch = self._batch(prompts, rollout, graded)
    return Collected(batch, _measure(graded, rollout, self.group_size), _samples(rows, graded))

  def _batch(self, prompts: list[list[int]], rollout: Rollout, graded: Graded) -> Batch:
    group = np.repeat(np.arange(len(prompts)), self.group_size)
    sequences = data.Sequences(
      prompts=[prompt for prompt in prompts for _ in range(self.group_size)],
      responses=graded.tokens,
      logp=[row[: len(ids)] for row, ids in zip(rollout.logp, graded.tokens, strict=True)],
      reward=graded.rewards,
      group=group,
      cluster=data.number_classes(graded.classes, group),
      bootstrap=~graded.finished & self.bootstrap,
    )
    columns = self.reader.columns(prompts, self.max_new_tokens)
    return data.make_batch(sequences, columns=columns, sharding=self.sharding)


def _measure(graded: Graded, rollout: Rollout, group_size: int) -> dict[str, float]:
  """Means over the batch; `distinct` counts different correct classes in a group."""
  correct = graded.rewards == 1
  classes = np.array([mode or '' for mode in graded.classes], dtype=object)
  groups = zip(correct.reshape(-1, group_size), classes.reshape(-1, group_size), strict=True)
  return {
    'reward': float(graded.rewards.mean()),
    'success': float(correct.mean()),
    'solved': float(correct.reshape(-1, group_size).any(axis=1).mean()),
    'distinct': float(np.mean([len(set(names[right])) for right, names in groups])),
    'finished': float(graded.finished.mean()),
    'length': float(np.mean(rollout.length)),
  }


def _samples(problems: Sequence[Problem], graded: Graded) -> list[dict[str, Any]]:
  stride = max(1, len(problems) // SHOWN)
  return [
    {
      'prompt': problems[row].prompt,
      'response': graded.texts[row],
      'reward': float(graded.rewards[row]),
      'class': graded.classes[row],
      'finished': bool(graded.finished[row]),
    }
    for row in range(0, len(problems), stride)
  ]
