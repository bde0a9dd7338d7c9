"""Numbers with their confidence intervals: the bootstrap over problems, or over seeds and problems.

Intervals are percentile intervals, for 95% unless said, and depend on nothing but their arguments.
Samples of one problem are not independent, so problems are drawn with all that belongs to them.

Shapes: S seeds (runs), P problems, M figures, R resamples.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CELLS = 1 << 22  # numbers held at a time while resampling


class Estimate(NamedTuple):
  """A number with its confidence interval."""

  value: float
  low: float
  high: float


def bootstrap(
  statistic: Callable[[np.ndarray], float],
  problem: ArrayLike,
  *,
  resamples: int,
  seed: int,
  level: float = 0.95,
) -> Estimate:
  """Interval of any `statistic(rows)`, problems drawn with replacement with all their rows.

  `rows` are indices of answers. Draws on which the statistic raises ValueError (all right, say) are
  left out, as it has no value there.

  Raises:
    ValueError: it has a value on none of them.
  """
  _, number = np.unique(np.asarray(problem), return_inverse=True)
  order = np.argsort(number, kind='stable')
  members = np.split(order, np.cumsum(np.bincount(number))[:-1])
  rng = np.random.default_rng(seed)
  values = []
  for _ in range(resamples):
    drawn = rng.integers(len(members), size=len(members))
    try:
      values.append(statistic(np.concatenate([members[i] for i in drawn])))
    except ValueError:
      continue
  if not values:
    raise ValueError(f'bootstrap: the statistic has no value on any of {resamples} resamples')
  low, high = _percentiles(np.array(values), level)
  return Estimate(float(statistic(order)), float(low), float(high))


def ratios(
  totals: np.ndarray, weights: np.ndarray, *, resamples: int, seed: int, level: float = 0.95
) -> list[Estimate]:
  """Of M figures, each sum totals / sum weights over [S, P, M]; all on the same resamples.

  A mean over problems has weights of 1 (0 where the problem has no value), a mean over tokens has
  tokens. Problems are drawn with replacement, and with S > 1 seeds too, independently: the drawn
  seeds meet the drawn problems [Owen 2007, the pigeonhole bootstrap], so that the interval is about
  new seeds and new problems, and rather too wide than too narrow. With one seed it is about
  problems. Resamples without weight are left out.

  Raises:
    ValueError: a figure has no weight at all.
  """
  if not (weights.sum(axis=(0, 1)) > 0).all():
    raise ValueError('a figure without weight has no value')
  drawn = [
    _drawn(totals, seeds, problems) / _nan_for_0(_drawn(weights, seeds, problems))
    for seeds, problems in _counts(*totals.shape, resamples=resamples, seed=seed)
  ]
  low, high = _percentiles(np.concatenate(drawn), level)
  values = totals.sum(axis=(0, 1)) / weights.sum(axis=(0, 1))
  return [Estimate(*map(float, each)) for each in zip(values, low, high, strict=True)]


def _counts(
  seeds: int, problems: int, figures: int, *, resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """How often each seed [r, S] and each problem [r, P] is drawn, some resamples at a time."""
  rng = np.random.default_rng(seed)
  chunk = max(1, CELLS // (problems + seeds * figures))
  for at in range(0, resamples, chunk):
    size = min(chunk, resamples - at)
    problem = rng.multinomial(problems, np.full(problems, 1 / problems), size=size)
    yield rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=size), problem


def _drawn(values: np.ndarray, seeds: np.ndarray, problems: np.ndarray) -> np.ndarray:
  """[r, M] sums of [S, P, M] values, each as often as it was drawn."""
  return np.einsum('rs,srm->rm', seeds, np.matmul(problems.astype(np.float64), values))


def _nan_for_0(weights: np.ndarray) -> np.ndarray:
  return np.where(weights == 0, np.nan, weights)


def _percentiles(values: np.ndarray, level: float) -> np.ndarray:
  return np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
