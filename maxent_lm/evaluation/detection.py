"""How well a score tells wrong answers from right ones, and confidences from frequencies.

Shapes: N answers, M of them wrong. A `score` is higher where an answer is more likely wrong (an
entropy, minus a log-probability); a `confidence` in [0, 1] claims a probability of being right.
Intervals are for 95% unless said. Answers to one problem are not independent: give `problem`, [N]
of anything that can be compared, and the interval is about new problems.
"""

from typing import NamedTuple

import numpy as np
import scipy  # whose modules are loaded when they are used: stats takes a second
from numpy.typing import ArrayLike

from maxent_lm.evaluation.intervals import Estimate


class Reliability(NamedTuple):
  """One entry a bin, in order of confidence: mean confidence, share of right answers, answers."""

  confidence: np.ndarray
  accuracy: np.ndarray
  count: np.ndarray


class _Placements(NamedTuple):
  """AUROC with, for every wrong answer, the share of right ones below it, and the reverse."""

  area: float
  wrong: np.ndarray
  right: np.ndarray


# --- telling wrong from right ----------------------------------------------------------------


def auroc(
  score: ArrayLike, wrong: ArrayLike, *, problem: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
  """P(score of a wrong answer > score of a right one) + P(equal) / 2.

  The variance is that of [DeLong et al. 1988], or with `problem` its generalisation to clusters
  [Obuchowski 1997]; the interval is symmetric in log(A / (1 - A)), with Student's t at the degrees
  of freedom of [Brunner and Munzel 2000], which matters where few answers are wrong, or right. At
  A = 0 or 1, where that variance is 0, it is the score interval of [Newcombe 2006, method 5] over
  as many answers as there are problems; with a single wrong or right problem it is [0, 1].

  Raises:
    ValueError: all answers are right, or all are wrong: there is no AUROC.
  """
  wrong = _labels(wrong)
  places = _placements(np.asarray(score, np.float64), wrong)
  area, reach = places.area, _reach(places.wrong, places.right, wrong, problem, level)
  if not np.isfinite(reach):
    return Estimate(area, 0.0, 1.0)
  if area in (0, 1):
    edge = _newcombe(*_problems(wrong, problem), scipy.stats.norm.ppf((1 + level) / 2))
    return Estimate(area, edge if area else 0.0, 1.0 if area else 1 - edge)
  reach = reach / (area * (1 - area))
  low, high = scipy.special.expit(scipy.special.logit(area) + np.array([-reach, reach]))
  return Estimate(area, float(low), float(high))


def auroc_difference(
  first: ArrayLike,
  second: ArrayLike,
  wrong: ArrayLike,
  *,
  problem: ArrayLike | None = None,
  level: float = 0.95,
) -> Estimate:
  """AUROC of `first` - AUROC of `second` on the same answers, paired; sigma and t as in `auroc`.

  The interval is value +- t sigma, cut to [-1, 1]. Two detectors that agree on every pair of a
  wrong and a right answer differ by 0 with no uncertainty, two perfect ones among them.

  Raises:
    ValueError: all answers are right, or all are wrong.
  """
  wrong = _labels(wrong)
  a, b = (_placements(np.asarray(score, np.float64), wrong) for score in (first, second))
  reach = _reach(a.wrong - b.wrong, a.right - b.right, wrong, problem, level)
  value = a.area - b.area
  return Estimate(value, float(max(value - reach, -1)), float(min(value + reach, 1)))


def risk_coverage(score: ArrayLike, wrong: ArrayLike) -> np.ndarray:
  """[N] share of wrong answers among the k with the lowest scores, k = 1..N.

  Equal scores are in random order, of which this is the expectation.
  """
  score, wrong = np.asarray(score, np.float64), np.asarray(wrong, np.float64)
  values, block = np.unique(score, return_inverse=True)
  count = np.bincount(block, minlength=len(values))
  share = np.bincount(block, weights=wrong) / count
  return np.cumsum(np.repeat(share, count)) / np.arange(1, len(score) + 1)


def aurc(score: ArrayLike, wrong: ArrayLike) -> float:
  """Area under the risk-coverage curve, the mean of `risk_coverage`; low is good.

  1 - this is the area under the rejection-accuracy curve (AURAC). A random order gives the share of
  wrong answers.
  """
  return float(risk_coverage(score, wrong).mean())


# --- calibration -----------------------------------------------------------------------------


def reliability(confidence: ArrayLike, right: ArrayLike, *, bins: int) -> Reliability:
  """Bins of equal mass by the rank of the confidence; equal confidences share a bin.

  So some bins may be larger than others, and empty ones are left out.
  """
  confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
  rank = (scipy.stats.rankdata(confidence) - 0.5) / len(confidence)
  _, number = np.unique(np.floor(rank * bins), return_inverse=True)
  count = np.bincount(number)
  return Reliability(
    confidence=np.bincount(number, weights=confidence) / count,
    accuracy=np.bincount(number, weights=right) / count,
    count=count,
  )


def ece(confidence: ArrayLike, right: ArrayLike, *, bins: int) -> float:
  """Expected calibration error: mean over answers of |accuracy - confidence| of their bin."""
  table = reliability(confidence, right, bins=bins)
  return float(np.average(np.abs(table.accuracy - table.confidence), weights=table.count))


def brier(confidence: ArrayLike, right: ArrayLike) -> float:
  """Mean of (confidence - right)^2."""
  return float(np.mean((np.asarray(confidence, np.float64) - np.asarray(right, np.float64)) ** 2))


# --- variances -------------------------------------------------------------------------------


def _labels(wrong: ArrayLike) -> np.ndarray:
  wrong = np.asarray(wrong, bool)
  if wrong.all() or not wrong.any():
    raise ValueError('AUROC needs right and wrong answers: here all are the same')
  return wrong


def _placements(score: np.ndarray, wrong: np.ndarray) -> _Placements:
  """By ranks, ties counted half [Sun and Xu 2014]."""
  ranks = scipy.stats.rankdata(score)
  bad, good = score[wrong], score[~wrong]
  above = (ranks[wrong] - scipy.stats.rankdata(bad)) / len(good)
  below = 1 - (ranks[~wrong] - scipy.stats.rankdata(good)) / len(bad)
  return _Placements(float(above.mean()), above, below)


def _reach(
  above: np.ndarray, below: np.ndarray, wrong: np.ndarray, problem: ArrayLike | None, level: float
) -> float:
  """t sigma of the mean of `above` (and of `below`); infinite for one wrong or right problem.

  With a problem an answer the covariance is 0 and sigma is DeLong's.
  """
  number = np.arange(len(wrong)) if problem is None else np.unique(problem, return_inverse=True)[1]
  problems = number.max() + 1
  clusters = _problems(wrong, problem)
  if min(clusters) < 2:
    return np.inf
  bad, good = (
    np.bincount(number[chosen], weights=values - values.mean(), minlength=problems) / len(values)
    for chosen, values in ((wrong, above), (~wrong, below))
  )
  within = np.array(
    [k / (k - 1) * np.sum(part**2) for k, part in zip(clusters, (bad, good), strict=True)]
  )
  covariance = problems / (problems - 1) * np.sum(bad * good)
  if not within.any():
    return 0.0
  freedom = within.sum() ** 2 / np.sum(within**2 / (np.array(clusters) - 1))
  variance = max(within.sum() + 2 * covariance, 0)
  return float(scipy.stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))


def _problems(wrong: np.ndarray, problem: ArrayLike | None) -> tuple[int, int]:
  """How many problems have a wrong answer, and how many a right one."""
  if problem is None:
    return int(wrong.sum()), int((~wrong).sum())
  problem = np.asarray(problem)
  return len(np.unique(problem[wrong])), len(np.unique(problem[~wrong]))


def _newcombe(wrong: int, right: int, z: float) -> float:
  """The area t < 1 that a perfect separation is z standard errors above: 1 - t = z sigma(t)."""
  extra = (wrong + right) / 2 - 1

  def excess(area: float) -> float:
    spread = 1 + extra * (1 - area) / (2 - area) + extra * area / (1 + area)
    return (1 - area) - z**2 * area * spread / (wrong * right)  # both sides squared, / (1 - t)

  return float(scipy.optimize.brentq(excess, 0, 1))
