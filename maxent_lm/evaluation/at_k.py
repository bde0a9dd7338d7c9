"""What k samples of a problem would have given, from n of them: pass@k, maj@k, best of k, and more.

A number at k < n is its exact mean over all choices of k of the n samples, each with all orders
alike: no draws, and unbiased for k fresh samples. Classes are semantic classes (`task.cluster`).

Shapes: P problems, n samples each, C classes of one problem.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

MOST = 1000  # samples whose numbers of subsets a float can hold


def sizes(samples: int) -> list[int]:
  """1, 2, 4, ... and `samples` itself: where curves over k are measured."""
  return [*(1 << power for power in range((samples - 1).bit_length())), samples]


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


def coverage(distinct: ArrayLike, modes: ArrayLike, *, samples: int) -> np.ndarray:
  """[P] distinct correct modes found / the most that `samples` samples can find, min(modes, K)."""
  return np.asarray(distinct) / np.minimum(modes, samples)


def distinct_at_k(counts: ArrayLike, *, samples: int, k: int) -> float:
  """Expected number of classes among k of the samples: sum over classes of their pass@k.

  `counts` [C]: how many of the samples are in each class; for the coverage, right samples only.
  """
  return float(pass_at_k(np.asarray(counts, np.int64), samples=samples, k=k).sum())


def majority_at_k(
  counts: ArrayLike, right: ArrayLike, *, samples: int, ks: Sequence[int]
) -> np.ndarray:
  """[ks] chance that the majority of k of the samples is right.

  `counts` [C] samples a class, `right` [C] the share of them that is right; the others of `samples`
  abstain. Of tied classes the one sampled first wins, each with the same chance; an answer is the
  first sample of its class. If all k abstain the answer is wrong.

  With m the winner's count, subsets are counted by the generating function

      prod_c ( sum_{i < m} C(n_c, i) x^i + y C(n_c, m) x^m ) (1 + x)^abstain

  whose term x^k y^t has t classes tied at m; each of them wins in 1 / t of its subsets.

  Raises:
    ValueError: k is not in 1..n, or n is above `MOST`.
  """
  counts, right = np.asarray(counts, np.int64), np.asarray(right, np.float64)
  if samples > MOST:
    raise ValueError(f'maj@k is counted for up to {MOST} samples a problem, not {samples}')
  if not all(1 <= k <= samples for k in ks):
    raise ValueError(f'maj@k needs k in 1..{samples}, got {list(ks)}')
  limit = max(ks)
  won = np.zeros(limit + 1)
  for most in range(1, min(int(counts.max(initial=0)), limit) + 1):
    contends = counts >= most
    below = samples - int(counts[contends].sum())  # samples that cannot lead, or abstain
    won += _won_with(most, counts[contends], right[contends], below, limit)
  return won[list(ks)] / special.comb(samples, list(ks))


def _won_with(
  most: int, counts: np.ndarray, right: np.ndarray, below: int, limit: int
) -> np.ndarray:
  """[limit + 1] subsets of each size that are won with `most` votes, times `right` of the winner.

  `ways` [2, T + 1, limit + 1] counts subsets by tied classes and size: plain, and each times the
  sum of `right` over its tied classes.
  """
  ties = min(len(counts), limit // most)
  ways = np.zeros((2, ties + 1, limit + 1))
  ways[0, 0] = special.comb(below, np.arange(limit + 1))
  for count, share in zip(counts.tolist(), right.tolist(), strict=True):
    grown = np.zeros_like(ways)
    for i, number in enumerate(special.comb(count, np.arange(most)).tolist()):
      grown[:, :, i:] += number * ways[:, :, : limit + 1 - i]
    leading = special.comb(count, most) * ways[:, :-1, : limit + 1 - most]
    grown[:, 1:, most:] += leading
    grown[1, 1:, most:] += share * leading[0]
    ways = grown
  return np.sum(ways[1, 1:] / np.arange(1, ties + 1)[:, None], axis=0)


def best_at_k(scores: ArrayLike, right: ArrayLike, *, ks: Sequence[int]) -> np.ndarray:
  """[ks] chance that the sample with the highest score among k of the n is right.

  `scores` [n], `right` [n]; of equal scores any one is taken. The sample of rank r = 0, 1, ... is
  the best of C(n - 1 - r, k - 1) of the C(n, k) choices.

  Raises:
    ValueError: k is not in 1..n.
  """
  scores, right = np.asarray(scores, np.float64), np.asarray(right, np.float64)
  size = len(scores)
  if not all(1 <= k <= size for k in ks):
    raise ValueError(f'best of k needs k in 1..{size}, got {list(ks)}')
  _, block = np.unique(-scores, return_inverse=True)
  share = (np.bincount(block, weights=right) / np.bincount(block))[np.sort(block)]
  rank = np.arange(size - 1)
  return np.array(
    [
      k
      / size
      * np.sum(share * np.cumprod([1.0, *np.maximum(size - k - rank, 0) / (size - 1 - rank)]))
      for k in ks
    ]
  )
