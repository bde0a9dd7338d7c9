"""Evaluation: pass@k, mode coverage against exact totals, entropy, KL to the start.

Shapes: P problems, K samples each, B = P K rows. All numbers are means over problems unless said.
"""

import dataclasses
import time
from collections.abc import Sequence

import jax
import numpy as np
import tqdm
from numpy.typing import ArrayLike

from maxent_lm import data
from maxent_lm.data import Graded, Reader
from maxent_lm.sampling.generate import Generate, Rollout
from maxent_lm.tasks.base import Problem
from maxent_lm.types import Params, Scorer


def pass_at_k(correct: np.ndarray, *, samples: int, k: int) -> np.ndarray:
  """[P] 1 - C(n - c, k) / C(n, k): the chance that one of k of the n samples is right, unbiased.

  `correct` [P] counts the right ones (c) among `samples` = n. [Chen et al. 2021]

  Raises:
    ValueError: k is not in 1..n.
  """
  if not 1 <= k <= samples:
    raise ValueError(f'pass@{k} cannot be estimated from {samples} samples a problem')
  wrong = samples - np.asarray(correct)[:, None] - np.arange(k)[None, :]
  return 1 - np.prod(np.maximum(wrong, 0) / (samples - np.arange(k))[None, :], axis=1)


def coverage(distinct: np.ndarray, modes: np.ndarray, *, samples: int) -> np.ndarray:
  """[P] distinct correct modes found / the most that `samples` samples can find, min(modes, K)."""
  return np.asarray(distinct) / np.minimum(modes, samples)


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """How a policy is evaluated; calling it with parameters gives the table row.

  Attributes:
    reader: the task's problems and the tokenizer.
    generate: rollouts with `samples` rows a prompt.
    scorer: scores of a policy, for the KL.
    problems: how many problems, the first of the task.
    samples: K.
    prompts: problems a batch.
    max_new_tokens: longest response.
    temperature: of the sampler; the KL is measured only at 1, where samples are the policy's.
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
    """Samples, grades and scores. `start`: the reference of the KL, or None to leave it out."""
    began = time.perf_counter()
    task, key = self.reader.task, jax.random.key(self.seed)
    count = min(self.problems, len(task))
    problems = [task[i] for i in range(count)]
    score = jax.jit(self.scorer)
    rows: list[dict[str, np.ndarray]] = []
    with jax.set_mesh(self.mesh):
      for at in tqdm.trange(0, count, self.prompts, desc='evaluate', unit='batch'):
        batch = problems[at : at + self.prompts]
        padded = batch + [batch[-1]] * (self.prompts - len(batch))  # one shape, one compilation
        rollout, graded = self._sample(params, padded, jax.random.fold_in(key, at))
        row = self._measure(padded, rollout, graded)
        if start is not None and self.temperature == 1:
          row['kl'] = self._kl(score, params, start, padded, graded)
        rows.append({name: values[: len(batch)] for name, values in row.items()})
    merged = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return self._table(merged, seconds=time.perf_counter() - began)

  def _sample(
    self, params: Params, problems: Sequence[Problem], key: jax.Array
  ) -> tuple[Rollout, Graded]:
    padded = self.reader.padded(self.reader.prompts(problems))
    rollout = jax.device_get(self.generate(params, *jax.device_put(padded, self.sharding), key))
    rows = [problem for problem in problems for _ in range(self.samples)]
    return rollout, self.reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)

  def _measure(
    self, problems: Sequence[Problem], rollout: Rollout, graded: Graded
  ) -> dict[str, np.ndarray]:
    """[P] arrays, one entry a problem."""
    correct = (graded.rewards == 1).reshape(-1, self.samples)
    classes = np.array([mode or '' for mode in graded.classes], object).reshape(-1, self.samples)
    modes = [self.reader.task.modes(problem) for problem in problems]

    def grouped(values: ArrayLike) -> np.ndarray:
      return np.asarray(values, np.float64).reshape(-1, self.samples)

    return {
      'correct': correct.sum(axis=1),
      'distinct': np.array(
        [len(set(names[right])) for names, right in zip(classes, correct, strict=True)]
      ),
      'modes': np.array([np.nan if total is None else total for total in modes]),
      'reward': grouped(graded.rewards).mean(axis=1),
      'entropy_sum': grouped(rollout.entropy.sum(axis=1)).sum(axis=1),
      'tokens': grouped(rollout.length).sum(axis=1),
      'finished': grouped(graded.finished).mean(axis=1),
    }

  def _kl(
    self,
    score: Scorer,
    params: Params,
    start: Params,
    problems: Sequence[Problem],
    graded: Graded,
  ) -> np.ndarray:
    """[P] mean of log pi(y) - log start(y) over the samples: unbiased for the sequence KL."""
    prompts = [ids for ids in self.reader.prompts(problems) for _ in range(self.samples)]
    batch = data.make_batch(
      data.Sequences.unweighted(prompts, graded.tokens),
      columns=self.reader.columns(prompts, self.max_new_tokens),
      sharding=self.sharding,
    )
    ratio = score(params, batch.tokens).logp - score(start, batch.tokens).logp
    ratio = np.where(batch.mask, np.asarray(ratio, np.float64), 0).sum(axis=1)
    return ratio.reshape(-1, self.samples).mean(axis=1)

  def _table(self, rows: dict[str, np.ndarray], *, seconds: float) -> dict[str, float]:
    k = self.samples
    table = {
      'pass@1': pass_at_k(rows['correct'], samples=k, k=1).mean(),
      f'pass@{k}': pass_at_k(rows['correct'], samples=k, k=k).mean(),
      f'distinct@{k}': rows['distinct'].mean(),
      'reward': rows['reward'].mean(),
      'entropy': rows['entropy_sum'].sum() / rows['tokens'].sum(),
      'length': rows['tokens'].sum() / (len(rows['tokens']) * k),
      'finished': rows['finished'].mean(),
    }
    if not np.isnan(rows['modes']).any():
      table[f'coverage@{k}'] = coverage(rows['distinct'], rows['modes'], samples=k).mean()
    if 'kl' in rows:
      table['kl'] = rows['kl'].mean()
    table = {name: float(value) for name, value in table.items()}
    return table | {'problems': len(rows['correct']), 'samples': k, 'seconds': round(seconds, 1)}
