"""Is a policy the soft optimum? Its log-probabilities against rewards, which then lie on a line.

The soft optimum of reward R with entropy weight alpha and KL weight beta, kappa = alpha + beta, is

    pi*(y) = ref(y)^(beta / kappa) exp(R(y) / kappa) / Z
    log pi*(y) - (beta / kappa) log ref(y) = R(y) / kappa - log Z

so that within a problem the left side has slope 1 in R / kappa. A smaller slope says that the
policy follows the reward less than its temperature says, a larger one more: the optimum at another
temperature kappa' has slope kappa / kappa' where beta is 0.

Samples are responses that the policy finds likely. At the optimum that changes nothing, as all lie
on the line; elsewhere the slope is one of those responses, not of all.

R is the reward of the task. Where training saw another one (shaped, or with a bonus), or the
temperature was not the same for all tokens, the optimum is another one.

Shapes: N different responses.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from maxent_lm.evaluation import intervals
from maxent_lm.evaluation.intervals import Estimate
from maxent_lm.evaluation.problem import Row


class Points(NamedTuple):
  """[N] each: `reward` R / kappa and `policy` log pi - log prior, less their means in the problem.

  Nats. `problem` numbers the problems that have responses of different rewards; `left_out` counts
  the others.
  """

  reward: np.ndarray
  policy: np.ndarray
  problem: np.ndarray
  left_out: int


class Calibration(NamedTuple):
  """Slope of log pi - log prior in R / kappa within problems, and the correlation of the two."""

  slope: Estimate
  correlation: float
  problems: int
  left_out: int
  responses: int


def points(
  logp: ArrayLike,
  log_ratio: ArrayLike,
  reward: ArrayLike,
  problem: ArrayLike,
  *,
  alpha: float,
  beta: float,
) -> Points:
  """Of different responses: `logp` log pi(y), `log_ratio` log pi(y) - log ref(y), R(y); all [N].

  `problem` [N] is anything that can be compared. log pi - (beta / kappa) log ref is
  (alpha log pi + beta log_ratio) / kappa.

  Raises:
    ValueError: kappa = alpha + beta is not positive.
  """
  kappa = alpha + beta
  if kappa <= 0:
    raise ValueError(f'alpha + beta = {kappa} has no Boltzmann policy: it must be positive')
  policy = (alpha * np.asarray(logp, np.float64) + beta * np.asarray(log_ratio, np.float64)) / kappa
  reward = np.asarray(reward, np.float64) / kappa
  _, number = np.unique(np.asarray(problem), return_inverse=True)
  count = np.bincount(number)
  means = [np.bincount(number, weights=each) / count for each in (reward, policy)]
  lowest, highest = np.full(len(count), np.inf), np.full(len(count), -np.inf)
  np.minimum.at(lowest, number, reward)
  np.maximum.at(highest, number, reward)
  tells = highest > lowest
  used = tells[number]
  _, renumbered = np.unique(number[used], return_inverse=True)
  return Points(
    reward=(reward - means[0][number])[used],
    policy=(policy - means[1][number])[used],
    problem=renumbered,
    left_out=int(np.sum(~tells)),
  )


def of_rows(rows: Sequence[Row], *, alpha: float, beta: float) -> Points:
  """The points of `problem_row`s: every different response once.

  Raises:
    ValueError: kappa is not positive, or log-probabilities were not measured.
  """
  rows = [row for row in rows if row['samples']]
  if not all('sample_log_ratio' in row for row in rows):
    raise ValueError('the log-probabilities of the samples under the reference were not measured')
  once = [~np.array(row['sample_repeat']) for row in rows]

  def column(name: str) -> np.ndarray:
    return np.concatenate([np.array(row[name])[new] for row, new in zip(rows, once, strict=True)])

  return points(
    column('sample_logp'),
    column('sample_log_ratio'),
    column('sample_reward'),
    np.repeat(np.arange(len(rows)), [int(new.sum()) for new in once]),
    alpha=alpha,
    beta=beta,
  )


def calibrate(found: Points, *, resamples: int, seed: int) -> Calibration | None:
  """Least squares with a constant for every problem; the interval is a bootstrap over problems.

  None if no problem has responses of different rewards.
  """
  if not len(found.reward):
    return None
  x, y = found.reward, found.policy
  square, product = (np.bincount(found.problem, weights=x * each) for each in (x, y))
  (slope,) = intervals.ratios(
    product[None, :, None], square[None, :, None], resamples=resamples, seed=seed
  )
  spread = np.sqrt(np.sum(x**2) * np.sum(y**2))
  return Calibration(
    slope=slope,
    correlation=float(np.sum(x * y) / spread) if spread else 0.0,
    problems=len(square),
    left_out=found.left_out,
    responses=len(x),
  )
