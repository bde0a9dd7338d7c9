"""How often each answer was seen in the run: a table of counts that a checkpoint can hold.

An answer is a pair (problem, semantic class of the response). The table has a fixed size and pairs
go to its entries by a hash, so two pairs may share one: their counts then add up, and a new answer
may look known, never the other way round. With n pairs in S entries that happens to a share
1 - exp(-n / S) of new pairs; S = 65536 keeps it below 15% up to 10 000 pairs.

Pure functions on a numpy array. Shapes: S entries.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks.base import stable_hash


class Counts(NamedTuple):
  """`table` [S] int32: how often the pairs of each entry were seen."""

  table: np.ndarray


def init(*, size: int) -> Counts:
  """Nothing seen yet. Raises ValueError for a size below one entry."""
  if size < 1:
    raise ValueError(f'config.count_novelty.size={size} must be at least 1 entry')
  return Counts(np.zeros(size, np.int32))


def entry(counts: Counts, problem: str, answer: str) -> int:
  """Where the pair is counted; the same in every run and process."""
  return stable_hash(f'{len(problem)}:{problem}{answer}') % len(counts.table)


def see(counts: Counts, problem: str, answers: Sequence[str | None]) -> Counts:
  """The table with these answers to the problem; None, a response without a class, is left out."""
  table = counts.table.copy()
  np.add.at(table, [entry(counts, problem, answer) for answer in answers if answer is not None], 1)
  return Counts(table)


def look(counts: Counts, problem: str, answers: Sequence[str | None]) -> np.ndarray:
  """How often each answer to the problem was seen; 0 for None."""
  return np.array(
    [0 if answer is None else counts.table[entry(counts, problem, answer)] for answer in answers]
  )


def bonus(seen: np.ndarray, *, coefficient: float) -> np.ndarray:
  """coefficient / sqrt(count), reward units, float32; 0 where nothing is counted.

  [Bellemare et al. 2016]
  """
  amount = coefficient / np.sqrt(np.maximum(seen, 1))
  return np.where(seen > 0, amount, 0).astype(np.float32)
