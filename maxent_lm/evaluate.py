"""Evaluation: pass@k, coverage, the majority vote, what is unsure of it, and the KL to the start.

A policy is measured problem by problem (`Evaluation.measure`), and the rows make a table
(`summary`). Numbers of the table are means over problems unless said.

Shapes: P problems, K samples each, B = P K rows.
"""

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from numpy.typing import ArrayLike
from scipy import special

from maxent_lm import data, detection
from maxent_lm.data import Graded, Reader
from maxent_lm.sampling import adaptive_consistency, deepconf
from maxent_lm.sampling.generate import Generate, Rollout
from maxent_lm.sampling.vote import Vote, majority_vote, weighted_vote
from maxent_lm.tasks.base import Problem
from maxent_lm.types import Params, Scorer

Row = dict[str, Any]  # of one problem, plain values that JSON can hold
BINS = 10  # of the calibration error
ENOUGH = 0.95  # chance that the answer in front stays there, for adaptive consistency to stop
CONFIDENT = 0.1  # share of the responses that vote in DeepConf


def pass_at_k(correct: np.ndarray, *, samples: int | np.ndarray, k: int) -> np.ndarray:
  """[P] 1 - C(n - c, k) / C(n, k): the chance that one of k of the n samples is right, unbiased.

  `correct` [P] counts the right ones (c) among `samples` = n, one number or [P]. [Chen et al. 2021]

  Raises:
    ValueError: k is not in 1..n.
  """
  fewest = int(np.min(samples))
  if not 1 <= k <= fewest:
    raise ValueError(f'pass@{k} cannot be estimated from {fewest} samples a problem')
  total = np.broadcast_to(samples, np.shape(correct))[:, None] - np.arange(k)[None, :]
  wrong = total - np.asarray(correct)[:, None]
  return 1 - np.prod(np.maximum(wrong, 0) / total, axis=1)


def coverage(distinct: np.ndarray, modes: np.ndarray, *, samples: int) -> np.ndarray:
  """[P] distinct correct modes found / the most that `samples` samples can find, min(modes, K)."""
  return np.asarray(distinct) / np.minimum(modes, samples)


class Samples(NamedTuple):
  """The K samples of one problem; [K] each.

  `classes`: semantic class, None for none. `entropy` and `confidence`: means over the tokens of a
  response; `confidence` is None where it is not measured. `logp`: of the whole response, under the
  distribution sampled from.
  """

  reward: np.ndarray
  finished: np.ndarray
  classes: list[str | None]
  length: np.ndarray
  entropy: np.ndarray
  logp: np.ndarray
  confidence: np.ndarray | None


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
    table = summary(self.measure(params, start))
    return table | {'seconds': round(time.perf_counter() - began, 1)}

  def measure(self, params: Params, start: Params | None) -> list[Row]:
    """One row a problem: `problem_row`, with its 'kl' where it is measured."""
    task, key = self.reader.task, jax.random.key(self.seed)
    count = min(self.problems, len(task))
    problems = [task[i] for i in range(count)]
    score = jax.jit(self.scorer)
    rows: list[Row] = []
    with jax.set_mesh(self.mesh):
      for at in tqdm.trange(0, count, self.prompts, desc='evaluate', unit='batch'):
        batch = problems[at : at + self.prompts]
        padded = batch + [batch[-1]] * (self.prompts - len(batch))  # one shape, one compilation
        rollout, graded = self._sample(params, padded, jax.random.fold_in(key, at))
        groups = _groups(rollout, graded, self.samples)
        new = [
          problem_row(problem, samples, task.modes(problem))
          for problem, samples in zip(batch, groups, strict=False)
        ]
        if start is not None and self.temperature == 1:
          kl = self._kl(score, params, start, padded, graded)
          new = [row | {'kl': float(value)} for row, value in zip(new, kl, strict=False)]
        rows += new
    return rows

  def _sample(
    self, params: Params, problems: Sequence[Problem], key: jax.Array
  ) -> tuple[Rollout, Graded]:
    padded = self.reader.padded(self.reader.prompts(problems))
    prompts = jax.device_put(padded, self.sharding)
    rollout = jax.device_get(self.generate(params, *prompts, key, 1.0))  # whatever training does
    rows = [problem for problem in problems for _ in range(self.samples)]
    return rollout, self.reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)

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


# --- one problem -----------------------------------------------------------------------------


def _groups(rollout: Rollout, graded: Graded, size: int) -> Iterator[Samples]:
  """The rows of each problem, per-token numbers reduced to the response in float64."""
  length = np.asarray(rollout.length)

  def total(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float64).sum(axis=1)

  confidence = None if rollout.confidence is None else total(rollout.confidence) / length
  entropy, logp = total(rollout.entropy) / length, total(rollout.logp)
  for at in range(0, len(length), size):
    rows = slice(at, at + size)
    yield Samples(
      reward=graded.rewards[rows],
      finished=graded.finished[rows],
      classes=graded.classes[rows],
      length=length[rows],
      entropy=entropy[rows],
      logp=logp[rows],
      confidence=None if confidence is None else confidence[rows],
    )


def problem_row(problem: Problem, samples: Samples, modes: int | None) -> Row:
  """What is known of one problem after K samples; entropies and log-probabilities in nats.

  A response that was cut has not answered: it has no class in `classes`, in the semantic entropies
  and in the vote. The majority is the most frequent class (of several the one sampled first), its
  share is out of all K, and it is right if the first response of that class is. `adaptive` is the
  vote of adaptive consistency over the same responses in turn, with the number that it takes;
  `confident` that of the most confident ones, by their confidence. `entropy` weighs tokens alike,
  `logp` is the mean over the responses; the lists `right`, `sample_entropy` and `sample_logp` have
  an entry a response.
  """
  right = samples.reward == 1
  ended = zip(samples.classes, samples.finished, strict=True)
  answers = [name if finished else None for name, finished in ended]
  vote = majority_vote(answers)
  adaptive = _adaptive(answers)

  def is_right(vote: Vote) -> bool:
    return vote.answer is not None and bool(right[answers.index(vote.answer)])

  counts = Counter(name for name in answers if name is not None)
  rows = zip(samples.classes, right, strict=True)
  found = {name for name, ok in rows if ok and name is not None}
  row = {
    'id': problem.id,
    'prompt': problem.prompt,
    'samples': len(right),
    'correct': int(right.sum()),
    'modes': modes,
    'distinct': len(found),
    'classes': dict(counts.most_common()),
    'majority': vote.answer,
    'majority_share': vote.share,
    'majority_right': is_right(vote),
    'adaptive_right': is_right(adaptive.vote),
    'adaptive_samples': adaptive.samples,
    **semantic_entropies(answers, samples.logp / samples.length),
    'entropy': float(np.average(samples.entropy, weights=samples.length)),
    'logp': float(samples.logp.mean()),
    'reward': float(samples.reward.mean()),
    'tokens': int(samples.length.sum()),
    'finished': float(samples.finished.mean()),
    'right': right.tolist(),
    'sample_entropy': samples.entropy.tolist(),
    'sample_logp': samples.logp.tolist(),
  }
  if samples.confidence is not None:
    row['confidence'] = float(samples.confidence.mean())
    row['sample_confidence'] = samples.confidence.tolist()
    votes = deepconf.most_confident(samples.confidence, share=CONFIDENT)
    row['confident_right'] = is_right(weighted_vote(answers, votes * samples.confidence))
  return row


def _adaptive(answers: Sequence[str | None]) -> adaptive_consistency.Adaptive:
  """The vote over the answers in turn, until the one in front is ahead for good."""
  rule = functools.partial(adaptive_consistency.stops_beta, threshold=ENOUGH)
  return adaptive_consistency.adaptive_vote(iter(answers).__next__, rule, limit=len(answers))


def semantic_entropies(classes: Sequence[str | None], logp: np.ndarray) -> dict[str, float]:
  """Three estimates of the entropy over the classes of K responses, nats [Farquhar et al. 2024].

  A response without a class agrees with no other: it is a class of its own.

      semantic_entropy               - sum_c p_c log p_c, p_c = responses of the class / K
      semantic_entropy_miller_madow  that + (classes seen - 1) / (2 K), for the bias downwards
      semantic_entropy_rao           - sum_c p_c log p_c, p_c prop. to the sum over the responses of
                                     the class of exp(logp), logp [K] per token
  """
  keys = [(name, row if name is None else 0) for row, name in enumerate(classes)]
  numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
  number = [numbers[key] for key in keys]

  def entropy(weights: np.ndarray) -> float:
    share = np.bincount(number, weights=weights) / weights.sum()
    return float(special.entr(np.sort(share)).sum())  # sorted: equal counts, equal to the last bit

  plain = entropy(np.ones(len(keys)))
  return {
    'semantic_entropy': plain,
    'semantic_entropy_miller_madow': plain + (len(numbers) - 1) / (2 * len(keys)),
    'semantic_entropy_rao': entropy(np.exp(logp - np.max(logp))),
  }


# --- all problems ----------------------------------------------------------------------------


def summary(rows: Sequence[Row]) -> dict[str, float]:
  """The table row of `problem_row`s that have the same number of samples K.

  Keys: pass@1, pass@K, distinct@K, coverage@K (where the modes are known), maj@K, adaptive@K with
  adaptive_samples, confident@K (where confidence was measured), reward, entropy
  (nats per token), length, finished, semantic_entropy and semantic_entropy_miller_madow, kl (where
  it was measured), ece and brier of the majority's share as the confidence that it is right, what
  `detection_scores` gives, problems, samples.
  """
  k, columns = rows[0]['samples'], {name: np.array([row[name] for row in rows]) for name in MEANS}
  tokens = np.array([row['tokens'] for row in rows])
  correct = np.array([row['correct'] for row in rows])
  share, right = columns['majority_share'], columns['majority_right']
  table = {
    'pass@1': pass_at_k(correct, samples=k, k=1).mean(),
    f'pass@{k}': pass_at_k(correct, samples=k, k=k).mean(),
    f'distinct@{k}': columns['distinct'].mean(),
    f'maj@{k}': right.mean(),
    f'adaptive@{k}': columns['adaptive_right'].mean(),
    'adaptive_samples': columns['adaptive_samples'].mean(),
    'reward': columns['reward'].mean(),
    'entropy': np.average(columns['entropy'], weights=tokens),
    'semantic_entropy': columns['semantic_entropy'].mean(),
    'semantic_entropy_miller_madow': columns['semantic_entropy_miller_madow'].mean(),
    'length': tokens.sum() / (len(rows) * k),
    'finished': columns['finished'].mean(),
    'ece': detection.ece(share, right, bins=BINS),
    'brier': detection.brier(share, right),
  }
  if all(row['modes'] is not None for row in rows):
    modes = np.array([row['modes'] for row in rows])
    table[f'coverage@{k}'] = coverage(columns['distinct'], modes, samples=k).mean()
  if all('kl' in row for row in rows):
    table['kl'] = np.mean([row['kl'] for row in rows])
  if all('confident_right' in row for row in rows):
    table[f'confident@{k}'] = np.mean([row['confident_right'] for row in rows])
  table = {name: float(value) for name, value in (table | detection_scores(rows)).items()}
  return table | {'problems': len(rows), 'samples': k}


MEANS = (
  *('distinct', 'reward', 'entropy', 'finished', 'majority_share', 'majority_right'),
  *('semantic_entropy', 'semantic_entropy_miller_madow', 'adaptive_right', 'adaptive_samples'),
)


def detection_scores(rows: Sequence[Row]) -> dict[str, float]:
  """How well the uncertainty of a problem tells that its answer is wrong: AUROC, 95% intervals.

  `auroc_semantic`, `auroc_token`, `auroc_logp`: semantic entropy, entropy per token, minus the mean
  log-probability of a response. `auroc_gain`: semantic - token, paired. Each also with `_low` and
  `_high`. The answer is the majority's; keys that begin with `sample_` are about a single sample,
  any of the K, and their intervals about new problems. A key is left out where all answers are
  right or all are wrong: it is undefined.
  """
  scores = {
    'semantic': np.array([row['semantic_entropy'] for row in rows]),
    'token': np.array([row['entropy'] for row in rows]),
    'logp': np.array([-row['logp'] for row in rows]),
  }
  majority = ~np.array([row['majority_right'] for row in rows])
  single = ~np.array([row['right'] for row in rows])  # [P, K]
  problem = np.arange(len(rows))
  return {
    **_detect('', scores, majority, problem),
    **_detect(
      'sample_',
      {name: np.repeat(score, single.shape[1]) for name, score in scores.items()},
      single.ravel(),
      np.repeat(problem, single.shape[1]),
    ),
  }


def _detect(
  prefix: str, scores: Mapping[str, np.ndarray], wrong: np.ndarray, problem: np.ndarray
) -> dict[str, float]:
  if wrong.all() or not wrong.any():
    return {}
  found = {name: detection.auroc(score, wrong, problem=problem) for name, score in scores.items()}
  found['gain'] = detection.auroc_difference(
    scores['semantic'], scores['token'], wrong, problem=problem
  )
  return {
    f'{prefix}auroc_{name}{suffix}': number
    for name, estimate in found.items()
    for suffix, number in zip(('', '_low', '_high'), estimate, strict=True)
  }
