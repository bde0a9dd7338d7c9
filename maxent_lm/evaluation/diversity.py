"""How different the responses to one problem are, as texts: distinct-n and self-BLEU.

A response is a sequence of tokens or words; K responses. Both depend on K and on how long responses
are: compare only what has the same K.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

Tokens = Sequence[Hashable]
SMALL = 0.1  # n-grams that count as found where none is [Chen and Cherry 2014, method 1]


def distinct_n(responses: Sequence[Tokens], *, n: int) -> float | None:
  """Different n-grams / all n-grams of the K responses [Li et al. 2016]; None if there are none."""
  grams = [gram for response in responses for gram in _grams(response, n)]
  return len(set(grams)) / len(grams) if grams else None


def self_bleu(responses: Sequence[Tokens], *, order: int = 4) -> float | None:
  """Mean BLEU of each response against all others [Zhu et al. 2018]: 1 for equal ones, low is good.

  BLEU [Papineni et al. 2002] with n-grams up to `order`, alike, an n-gram being found as often as
  in the other response that has most of it; a precision of 0 is `SMALL` / n-grams, but of single
  tokens it makes the BLEU 0. The length penalty is that of the other response closest in length, of
  two the shorter. None if there is no other response.
  """
  if len(responses) < 2:
    return None
  found = np.array([_matches(responses, n) for n in range(1, order + 1)])  # [order, K, 2]
  matched, total = found[..., 0], np.maximum(found[..., 1], 1)
  precision = np.where(matched > 0, matched, SMALL) / total
  bleu = _brevity(np.array([len(response) for response in responses])) * np.exp(
    np.log(precision).mean(axis=0)
  )
  return float(np.where(matched[0] > 0, bleu, 0).mean())


def _grams(response: Tokens, n: int) -> Iterator[tuple[Hashable, ...]]:
  return zip(*(response[start:] for start in range(n)), strict=False)


def _matches(responses: Sequence[Tokens], n: int) -> list[tuple[int, int]]:
  """n-grams of each response found in another one, and all of them.

  Of every n-gram the two largest counts over the responses are enough: whoever has the largest is
  compared with the second.
  """
  counts = [Counter(_grams(response, n)) for response in responses]
  first: dict[tuple[Hashable, ...], tuple[int, int]] = {}
  second: Counter[tuple[Hashable, ...]] = Counter()
  for row, count in enumerate(counts):
    for gram, number in count.items():
      largest, owner = first.get(gram, (0, row))
      if number > largest:
        second[gram], first[gram] = largest, (number, row)
      elif owner != row:
        second[gram] = max(second[gram], number)
  return [
    (
      sum(
        min(number, second[gram] if first[gram][1] == row else first[gram][0])
        for gram, number in count.items()
      ),
      count.total(),
    )
    for row, count in enumerate(counts)
  ]


def _brevity(length: np.ndarray) -> np.ndarray:
  """[K] exp(1 - closest / length) where the response is shorter than the closest other one."""
  penalty = np.ones(len(length))
  for row, own in enumerate(length.tolist()):
    others = np.delete(length, row)
    closest = min(others.tolist(), key=lambda other: (abs(other - own), other))
    if own < closest:
      penalty[row] = np.exp(1 - closest / own) if own else 0.0
  return penalty
