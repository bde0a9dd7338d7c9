"""Adaptive consistency: sample answers until one is clearly the majority [Aggarwal et al. 2023].

A rule looks at how often each answer was seen, the [A] counts in descending order, and says whether
to stop. Only answers that were seen are considered. Responses without an answer use up the budget
and are not counted.

    rule = functools.partial(stops_beta, threshold=0.95)
    adaptive_vote(sample_one_answer, rule, limit=40).vote.answer
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from maxent_lm.sampling.vote import Vote, majority_vote

Rule = Callable[[np.ndarray], bool]
NODES = 128  # of the quadrature over quantiles


class Adaptive(NamedTuple):
  """The vote over the responses that were drawn, how many they were, and if the rule was met."""

  vote: Vote
  samples: int
  stopped: bool


def adaptive_vote(draw: Callable[[], str | None], rule: Rule, *, limit: int) -> Adaptive:
  """Draws answers one at a time until `rule` says stop or `limit` are drawn, then votes.

  Raises:
    ValueError: limit < 1.
  """
  if limit < 1:
    raise ValueError(f'adaptive vote: the limit of {limit} samples must be at least 1')
  answers: list[str | None] = []
  counts: Counter[str] = Counter()
  stopped = False
  while not stopped and len(answers) < limit:
    answer = draw()
    answers.append(answer)
    if answer is not None:
      counts[answer] += 1
      stopped = rule(descending(counts))
  return Adaptive(majority_vote(answers), len(answers), stopped)


def descending(counts: Counter[str]) -> np.ndarray:
  """[A] int, what the rules look at."""
  return np.sort(np.array(list(counts.values()), np.int64))[::-1]


def stops_beta(counts: np.ndarray, *, threshold: float) -> bool:
  """`beta_probability` of the two most frequent answers reaches `threshold` (published: 0.95)."""
  return beta_probability(counts) >= threshold


def stops_dirichlet(counts: np.ndarray, *, threshold: float) -> bool:
  """`dirichlet_probability` reaches `threshold` (published: 0.95)."""
  return dirichlet_probability(counts) >= threshold


def stops_entropy(counts: np.ndarray, *, threshold: float) -> bool:
  """`normalised_entropy` is at most `threshold` (published: 0.75)."""
  return normalised_entropy(counts) <= threshold


def stops_majority(counts: np.ndarray, *, threshold: float) -> bool:
  """The share of the most frequent answer reaches `threshold` (published: 0.8), of two or more."""
  return bool(counts.sum() > 1 and counts[0] / counts.sum() >= threshold)


RULES: dict[str, Callable[..., bool]] = {
  'beta': stops_beta,
  'dirichlet': stops_dirichlet,
  'entropy': stops_entropy,
  'majority': stops_majority,
}


def beta_probability(counts: np.ndarray) -> float:
  """P(p > 1/2), p ~ Beta(a + 1, b + 1), a and b the two largest counts (b = 0 for one answer)."""
  first, second = (*counts[:2].tolist(), 0)[:2]
  return float(special.betaincc(first + 1, second + 1, 0.5))


def dirichlet_probability(counts: np.ndarray) -> float:
  """P(p_1 > p_j for all j), p ~ Dirichlet(counts + 1); one answer competes with one unseen.

  A Dirichlet vector is one of Gamma variables divided by their sum, so this is the one integral

      E[ prod_{j > 1} F_{c_j + 1}(G_1) ],   G_1 ~ Gamma(c_1 + 1),   F_a the Gamma(a) distribution,

  taken over the quantiles of G_1, with an error below 1e-5. The published code draws samples,
  fails inside for three or more answers, and then silently never stops.
  """
  counts = counts if len(counts) > 1 else np.append(counts, 0)
  nodes, weights = np.polynomial.legendre.leggauss(NODES)
  largest = special.gammaincinv(counts[0] + 1, (nodes + 1) / 2)
  others = special.gammainc(counts[1:, None] + 1, largest[None, :])
  return float(np.sum(weights * np.prod(others, axis=0)) / 2)


def normalised_entropy(counts: np.ndarray) -> float:
  """Entropy of the counts / log A, in [0, 1]; one answer competes with one that was seen once."""
  counts = counts if len(counts) > 1 else np.append(counts, 1)
  share = counts / counts.sum()
  return float(special.entr(share).sum() / np.log(len(share)))
