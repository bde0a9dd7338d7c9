"""All problems of an evaluation, or of several runs, as one row of a table with intervals.

Shapes: S runs (seeds), P problems, K samples asked for.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from maxent_lm.evaluation import at_k, detection, intervals
from maxent_lm.evaluation.problem import Row

BINS = 10  # of the calibration error
RESAMPLES, SEED = 1000, 0  # of the bootstrap


class Figure(NamedTuple):
  """sum totals / sum weights, [P] each."""

  totals: np.ndarray
  weights: np.ndarray


def summary(rows: Sequence[Row]) -> dict[str, float]:
  """The table row of `problem_row`s.

  For k = 1, 2, 4, ..., K: pass@k, distinct@k, coverage@k (where the modes are known), maj@k,
  best_logp@k, best_score@k, means over the problems with at least k samples. adaptive@K with
  adaptive_samples, confident@K, vote_logp@K, vote_confidence@K. Then reward, entropy (nats per
  token), kl, length, finished, logp, confidence, semantic_entropy and
  semantic_entropy_miller_madow, distinct_1, distinct_2, self_bleu, brier. What was not measured is
  left out.

  Each of these also has its 95% bootstrap interval over problems in `_low` and `_high`. It has no
  width, and is no certainty, where a figure is the same for every problem, as pass@k of a policy
  that solves none, or where there is one problem. Without an interval: `ece`, like `brier` of the
  majority's share as the confidence that it is right; problems; samples (K); faults, samples of
  unknown reward. Problems of which no sample is known are left out. `detection_scores` is added.

  Raises:
    ValueError: nothing is known of any problem.
  """
  return pooled([rows])


def pooled(runs: Sequence[Sequence[Row]]) -> dict[str, float]:
  """`summary` of several runs on the same problems, `seeds` of them; intervals are over both.

  Raises:
    ValueError: no problems; other problems, or another K; or nothing is known of any problem.
  """
  if not runs or not all(runs):
    raise ValueError('a run has no problems at all: evaluate it, on a file that is not empty')
  asked = {max(row['samples'] + row['faults'] for row in rows) for rows in runs}
  if len(asked) > 1 or len({tuple(row['id'] for row in rows) for rows in runs}) > 1:
    raise ValueError('the runs were evaluated on other problems, or with other numbers of samples')
  known = [row for rows in runs for row in rows if row['samples']]
  if not known:
    raise ValueError('no sample of any problem has a reward that is known')
  (k,) = asked
  table = {**_figures(runs, k), **calibration(known), **detection_scores(runs)}
  counts = {
    'problems': sum(any(row['samples'] for row in each) for each in zip(*runs, strict=True))
  }
  counts |= {'samples': k, 'faults': sum(row['faults'] for rows in runs for row in rows)}
  return table | counts | ({'seeds': len(runs)} if len(runs) > 1 else {})


# --- means and ratios ------------------------------------------------------------------------


def _figures(runs: Sequence[Sequence[Row]], k: int) -> dict[str, float]:
  """Every figure that all runs have, with its interval."""
  each = [figures(rows, k) for rows in runs]
  names = [name for name in each[0] if all(name in found for found in each)]
  stacked = (
    np.stack([np.stack([found[name][part] for name in names], axis=1) for found in each])
    for part in range(2)
  )
  estimates = intervals.ratios(*stacked, resamples=RESAMPLES, seed=SEED)
  return {
    f'{name}{suffix}': number
    for name, estimate in zip(names, estimates, strict=True)
    for suffix, number in zip(('', '_low', '_high'), estimate, strict=True)
  }


def figures(rows: Sequence[Row], k: int) -> dict[str, Figure]:
  """By name, those that have a value for some problem."""
  ks = at_k.sizes(k)
  found = {f'pass@{size}': _mean([_pass_at(row, size) for row in rows]) for size in ks}
  if all(row['modes'] is not None for row in rows):
    found |= {f'coverage@{size}': _mean([_coverage_at(row, size) for row in rows]) for size in ks}
  for name, key in CURVES.items():
    found |= {f'{name}@{size}': _mean([_at(row, key, size) for row in rows]) for size in ks}
  for name, key in VOTES.items():
    found[f'{name}@{k}'] = _mean([row.get(key) for row in rows])
  for name in MEANS:
    found[name] = _mean([row.get(name) for row in rows])
  tokens = np.array([row.get('tokens', 0) for row in rows], np.float64)
  entropy = np.array([row.get('entropy', 0.0) for row in rows])
  measured = np.array(['entropy' in row for row in rows])
  found['entropy'] = Figure(entropy * tokens, tokens * measured)
  found['length'] = Figure(tokens, np.array([row['samples'] for row in rows], np.float64))
  found['brier'] = _mean([_brier(row) for row in rows])
  return {name: figure for name, figure in found.items() if figure.weights.any()}


CURVES = {
  **{'distinct': 'distinct_at', 'maj': 'majority_at'},
  **{'best_logp': 'best_logp_at', 'best_score': 'best_score_at'},
}
VOTES = {
  **{'adaptive': 'adaptive_right', 'confident': 'confident_right'},
  **{'vote_logp': 'vote_logp_right', 'vote_confidence': 'vote_confidence_right'},
}
MEANS = (
  *('reward', 'kl', 'finished', 'logp', 'confidence', 'score', 'adaptive_samples'),
  *('semantic_entropy', 'semantic_entropy_miller_madow', 'distinct_1', 'distinct_2', 'self_bleu'),
)


def _mean(values: Sequence[float | None]) -> Figure:
  """Over the problems that have a value."""
  return Figure(
    np.array([0.0 if value is None else value for value in values], np.float64),
    np.array([value is not None for value in values], np.float64),
  )


def _pass_at(row: Row, k: int) -> float | None:
  if row['samples'] < k:
    return None
  return float(at_k.pass_at_k(np.array([row['correct']]), samples=row['samples'], k=k)[0])


def _at(row: Row, key: str, k: int) -> float | None:
  if k not in row.get('ks', ()) or key not in row:
    return None
  return row[key][row['ks'].index(k)]


def _coverage_at(row: Row, k: int) -> float | None:
  found = _at(row, 'distinct_at', k)
  return (
    None
    if found is None or not row['modes']
    else float(at_k.coverage(found, row['modes'], samples=k))
  )


def _brier(row: Row) -> float | None:
  if not row['samples']:
    return None
  return detection.brier(row['majority_share'], row['majority_right'])


# --- what tells wrong from right -------------------------------------------------------------


def shares(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
  """Share of the majority and whether it is right, [P] each, of problems with known samples."""
  rows = [row for row in rows if row['samples']]
  return (
    np.array([row['majority_share'] for row in rows]),
    np.array([row['majority_right'] for row in rows]),
  )


def calibration(rows: Sequence[Row]) -> dict[str, float]:
  """`ece` of the share of the majority as the probability that the majority is right."""
  return {'ece': detection.ece(*shares(rows), bins=BINS)}


def detection_scores(runs: Sequence[Sequence[Row]]) -> dict[str, float]:
  """How well the uncertainty of a problem tells that its answer is wrong: AUROC, 95% intervals.

  `auroc_semantic`, `auroc_token`, `auroc_logp`: semantic entropy, entropy per token, minus the mean
  log-probability of a response. `auroc_gain`: semantic - token, paired. Each also with `_low` and
  `_high`. The answer is the majority's; keys that begin with `sample_` are about a single sample,
  any of the K, and their intervals about new problems. A key is left out where all answers are
  right or all are wrong: it is undefined.
  """
  numbered = [(at, row) for rows in runs for at, row in enumerate(rows) if row['samples']]
  rows, problem = [row for _, row in numbered], np.array([at for at, _ in numbered])
  scores = {
    name: np.array([sign * row[key] for row in rows])
    for name, (key, sign) in SCORES.items()
    if all(key in row for row in rows)
  }
  sizes = [row['samples'] for row in rows]
  return {
    **_detect('', scores, ~np.array([row['majority_right'] for row in rows]), problem),
    **_detect(
      'sample_',
      {name: np.repeat(score, sizes) for name, score in scores.items()},
      ~np.concatenate([row['right'] for row in rows]),
      np.repeat(problem, sizes),
    ),
  }


SCORES = {'semantic': ('semantic_entropy', 1), 'token': ('entropy', 1), 'logp': ('logp', -1)}


def _detect(
  prefix: str, scores: Mapping[str, np.ndarray], wrong: np.ndarray, problem: np.ndarray
) -> dict[str, float]:
  if wrong.all() or not wrong.any():
    return {}
  found = {name: detection.auroc(score, wrong, problem=problem) for name, score in scores.items()}
  if 'token' in scores:
    found['gain'] = detection.auroc_difference(
      scores['semantic'], scores['token'], wrong, problem=problem
    )
  return {
    f'{prefix}auroc_{name}{suffix}': number
    for name, estimate in found.items()
    for suffix, number in zip(('', '_low', '_high'), estimate, strict=True)
  }
