"""From many responses to one answer: votes and best-of-n, on the host.

An answer is a short string (`task.cluster`), or None for a response that has none: it abstains.
Answers are taken in the order in which they were sampled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Vote(NamedTuple):
  """The outcome.

  Attributes:
    answer: the one with the largest weight; of several, the one that was sampled first, which for
      exchangeable samples is a random one. None if nobody voted.
    share: its weight / the weight of all responses, those that abstain included; in [0, 1].
    tied: another answer has the same weight.
    voters: how many responses did not abstain.
  """

  answer: str | None
  share: float
  tied: bool
  voters: int


def majority_vote(answers: Sequence[str | None]) -> Vote:
  """Every response has one vote: self-consistency [Wang et al. 2023]."""
  return weighted_vote(answers, np.ones(len(answers)))


def weighted_vote(answers: Sequence[str | None], weights: ArrayLike) -> Vote:
  """Every response votes with its weight, for instance its confidence.

  Raises:
    ValueError: not one weight for every answer, or a weight is negative or not finite.
  """
  weights = np.asarray(weights, np.float64)
  if weights.shape != (len(answers),):
    raise ValueError(f'a vote of {len(answers)} answers needs as many weights, got {weights.shape}')
  if not (np.isfinite(weights) & (weights >= 0)).all():
    raise ValueError('the weights of a vote must be finite and at least 0')
  totals: dict[str, float] = {}
  for answer, weight in zip(answers, weights.tolist(), strict=True):
    if answer is not None:
      totals[answer] = totals.get(answer, 0.0) + weight
  if not totals:
    return Vote(None, 0.0, False, 0)
  winner = max(totals, key=lambda answer: totals[answer])  # the first of the largest
  everything = weights.sum()
  return Vote(
    answer=winner,
    share=float(totals[winner] / everything) if everything else 0.0,
    tied=sum(total == totals[winner] for total in totals.values()) > 1,
    voters=sum(answer is not None for answer in answers),
  )


def best_of_n(scores: ArrayLike) -> np.ndarray:
  """[...] index of the largest of [..., N] scores, the first of equals; NaN is no score.

  Raises:
    ValueError: a row has no score at all.
  """
  scores = np.asarray(scores, np.float64)
  if scores.shape[-1] == 0 or np.isnan(scores).all(axis=-1).any():
    raise ValueError('best of n: a prompt has no response with a score')
  return np.nanargmax(scores, axis=-1)
