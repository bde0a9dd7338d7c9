"""Measuring a policy: sampling, grading and scoring it problem by problem.

`Evaluation.measure` gives a row a problem (problem.py), and the rows make a table (table.py).

Shapes: P problems, K samples each, B = P K rows.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence

import jax
import numpy as np
import tqdm
from numpy.typing import ArrayLike

from maxent_lm import data, hosts
from maxent_lm.data import Graded, Reader
from maxent_lm.evaluation.problem import Row, Samples, problem_row
from maxent_lm.evaluation.table import summary
from maxent_lm.lm import partition
from maxent_lm.sampling.generate import Generate, Rollout
from maxent_lm.tasks.base import Problem
from maxent_lm.types import Params, Scorer


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """How a policy is evaluated; calling it with parameters gives the table row.

  Attributes:
    reader: the task's problems and the tokenizer.
    generate: rollouts with `samples` rows a prompt.
    scorer: scores of a policy, for the log-ratio.
    problems: how many problems, the first of the task.
    samples: K.
    prompts: problems a batch.
    max_new_tokens: longest response.
    temperature: of the sampler; log-ratio and KL are measured only at 1, where samples are the
      policy's.
    seed: of the samples.
    mesh: where to compute.
  """

  reader: Reader
  generate: Generate
  scorer: Scorer
  problems: int
  samples: int
  prompts: int
  max_new_tokens: int
  temperature: float
  seed: int
  mesh: jax.sharding.Mesh
  sharding: jax.sharding.Sharding

  def __call__(self, params: Params, start: Params | None) -> dict[str, float]:
    """Samples, grades and scores. `start`: the reference of the KL, None to leave it out."""
    began = time.perf_counter()
    table = summary(self.measure(params, start))
    return table | {'seconds': round(time.perf_counter() - began, 1)}

  def measure(self, params: Params, start: Params | None) -> list[Row]:
    """One `problem_row` a problem; the same arguments give the same rows."""
    task, key = self.reader.task, jax.random.key(self.seed)
    count = min(self.problems, len(task))
    problems = [task[i] for i in range(count)]
    score = jax.jit(self.scorer)
    rows: list[Row] = []
    with jax.set_mesh(self.mesh):
      quiet = not hosts.is_first()
      for at in tqdm.trange(0, count, self.prompts, desc='evaluate', unit='batch', disable=quiet):
        batch = problems[at : at + self.prompts]
        padded = batch + [batch[-1]] * (self.prompts - len(batch))  # one shape, one compilation
        rollout, graded = self._sample(params, padded, jax.random.fold_in(key, at))
        ratio = None
        if start is not None and self.temperature == 1:
          ratio = self._log_ratio(score, params, start, padded, graded)
        groups = _groups(rollout, graded, ratio, self.samples)
        rows += [
          problem_row(problem, samples, task.modes(problem))
          for problem, samples in zip(batch, groups, strict=False)
        ]
    return rows

  def _sample(
    self, params: Params, problems: Sequence[Problem], key: jax.Array
  ) -> tuple[Rollout, Graded]:
    padded = self.reader.padded(self.reader.prompts(problems))
    prompts = [partition.place(each, self.sharding) for each in padded]
    rollout = hosts.fetch(self.generate(params, *prompts, key, 1.0))  # whatever training does
    rows = [problem for problem in problems for _ in range(self.samples)]
    return rollout, self.reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)

  def _log_ratio(
    self,
    score: Scorer,
    params: Params,
    start: Params,
    problems: Sequence[Problem],
    graded: Graded,
  ) -> np.ndarray:
    """[B] log pi(y) - log start(y) of the samples."""
    prompts = [ids for ids in self.reader.prompts(problems) for _ in range(self.samples)]
    batch = data.make_batch(
      data.Sequences.unweighted(prompts, graded.tokens),
      columns=self.reader.columns(prompts, self.max_new_tokens),
      sharding=self.sharding,
    )
    ours, theirs = (score(each, batch.tokens, batch.mask).logp for each in (params, start))
    ratio, mask = hosts.fetch((ours - theirs, batch.mask))
    return np.where(mask, np.asarray(ratio, np.float64), 0).sum(axis=1)


def _groups(
  rollout: Rollout, graded: Graded, log_ratio: np.ndarray | None, size: int
) -> Iterator[Samples]:
  """The rows of each problem, per-token numbers reduced to the response in float64."""
  length = np.asarray(rollout.length)

  def total(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float64).sum(axis=1)

  confidence = None if rollout.confidence is None else total(rollout.confidence) / length
  entropy, logp = total(rollout.entropy) / length, total(rollout.logp)
  ended = zip(graded.tokens, graded.finished, strict=True)
  bodies = [row[:-1] if finished else row for row, finished in ended]
  for at in range(0, len(length), size):
    rows = slice(at, at + size)
    yield Samples(
      reward=graded.rewards[rows],
      finished=graded.finished[rows],
      classes=graded.classes[rows],
      tokens=bodies[rows],
      length=length[rows],
      logp=logp[rows],
      entropy=entropy[rows],
      log_ratio=None if log_ratio is None else log_ratio[rows],
      confidence=None if confidence is None else confidence[rows],
    )
