"""The oracle, wider: what temperatures can reach, and how a policy spreads over classes of strings.

Everything is numpy float64 on an `exact.Language`.

Shapes: S states, A actions, N strings, C classes, K temperatures or sample sizes. Temperatures and
rewards are in reward units, KL and entropies in nats.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from maxent_lm.soft import exact
from maxent_lm.soft.exact import Language


class Frontier(NamedTuple):
  """Soft-optimal policies along a grid of temperatures, [K] each.

  `reward` E[R], `kl` KL(pi* || ref) and `entropy` H(pi*) of whole strings, `value` V*(s_0).
  """

  kappa: np.ndarray
  reward: np.ndarray
  kl: np.ndarray
  entropy: np.ndarray
  value: np.ndarray


def frontier(language: Language, kappas: ArrayLike, *, alpha_share: float) -> Frontier:
  """E[R](kappa), KL(kappa) and H(kappa) with alpha = alpha_share kappa and beta the rest.

  Raises:
    ValueError: `alpha_share` is not in [0, 1], or a temperature is not positive.
  """
  if not 0 <= alpha_share <= 1:
    raise ValueError(f'frontier: alpha_share is {alpha_share}; it must be in [0, 1]')
  rows = [
    _point(language, alpha_share * kappa, (1 - alpha_share) * kappa)
    for kappa in np.asarray(kappas, np.float64)
  ]
  return Frontier(np.asarray(kappas, np.float64), *np.array(rows).T)


def largest_kl(language: Language) -> float:
  """-log ref(argmax R): what KL(pi* || ref) tends to as beta does to 0 (alpha = 0), nats.

  No KL above it can be a target. For a reward of 0 or 1 with success p it is log(1 / p).
  """
  reward = np.sum(exact.strings(language).reward, axis=1)
  logp = exact.string_logp(language, language.log_ref)
  return -_logsumexp(logp[reward >= reward.max() - 1e-12])


def entropy_limits(language: Language) -> tuple[float, float]:
  """Range of H(pi*) for beta = 0: log of the number of best strings, and of all strings, nats."""
  reward = np.sum(exact.strings(language).reward, axis=1)
  best = np.count_nonzero(reward >= reward.max() - 1e-12)
  return float(np.log(best)), float(np.log(len(reward)))


def beta_for_kl(language: Language, target: float) -> float:
  """The only beta (alpha = 0) with KL(pi* || ref) = `target` nats, by bisection.

  It is unique since dKL/dbeta = -Var_{pi*}(R) / beta^3.

  Raises:
    ValueError: no beta gives this KL; the sentence names the range.
  """
  return _bisect(
    lambda beta: -_point(language, 0.0, beta)[1], -target, 'KL', (0.0, largest_kl(language))
  )


def alpha_for_entropy(language: Language, target: float) -> float:
  """The only alpha (beta = 0) with H(pi*) = `target` nats a string, by bisection.

  It is unique since dH/dalpha = Var_{pi*}(R) / alpha^3.

  Raises:
    ValueError: no alpha gives this entropy; the sentence names the range.
  """
  return _bisect(
    lambda alpha: _point(language, alpha, 0.0)[2], target, 'entropy', entropy_limits(language)
  )


def class_masses(language: Language, log_pi: np.ndarray, classes: ArrayLike) -> np.ndarray:
  """[C] probability of each semantic class; `classes` [N] numbers the strings, < 0 for no class."""
  numbers = np.asarray(classes)
  inside = numbers >= 0
  mass = np.exp(exact.string_logp(language, log_pi))
  return np.bincount(numbers[inside], weights=mass[inside])


def class_entropy(masses: np.ndarray) -> float:
  """Semantic entropy -sum_c p log p of the classes, renormalised, nats. [Kuhn et al. 2023]"""
  share = masses / np.sum(masses)
  some = share > 0
  return float(-np.sum(share[some] * np.log(share[some])))


def coverage_curve(masses: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
  """[K] expected share of the C classes that k samples find, mean_c 1 - (1 - p_c)^k."""
  miss = np.log1p(-np.minimum(np.asarray(masses), 1 - 1e-16))
  return np.array([float(np.mean(-np.expm1(k * miss))) for k in sizes])


def _point(language: Language, alpha: float, beta: float) -> tuple[float, float, float, float]:
  """(E[R], KL to ref, entropy, V*(s_0)) of the soft-optimal policy."""
  solution = exact.solve(language, alpha, beta)
  return (
    exact.expected_reward(language, solution.log_pi),
    exact.kl(language, solution.log_pi, language.log_ref),
    exact.sequence_entropy(language, solution.log_pi),
    float(solution.value[0]),
  )


def _bisect(
  rising: Callable[[float], float], target: float, name: str, limits: tuple[float, float]
) -> float:
  """The temperature at which `rising` is `target`, in log space."""
  low, high = 1e-4, 1e4
  if not rising(low) < target < rising(high):
    raise ValueError(
      f'no temperature gives a target {name} of {abs(target):g} nats; choose one between '
      f'{limits[0]:.4g} and {limits[1]:.4g}'
    )
  while high / low > 1 + 1e-14:
    middle = float(np.sqrt(low * high))
    if middle in (low, high):
      break
    low, high = (middle, high) if rising(middle) < target else (low, middle)
  return low


def _logsumexp(values: np.ndarray) -> float:
  top = np.max(values)
  return float(top + np.log(np.sum(np.exp(values - top))))
