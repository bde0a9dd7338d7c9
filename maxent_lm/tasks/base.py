"""What a task is: a list of problems, a verifier, and what is known about the correct answers.

Worked example, for any task:

  task = TASKS['countdown'](split='train')
  problem = task[2]                                # Problem(prompt='9,6,8,12=60:', ...)
  task.reward(problem, '9*(6+8/12)', True)         # 0.0 or 1.0: the verifier
  task.cluster(problem, '(2+5)*7-11')              # the class of the response, a short string

Everything here runs on the host and knows nothing of tokens, models or arrays on a device.
"""

import functools
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np


class Problem(NamedTuple):
  """One question.

  Attributes:
    id: names the problem within its task, the same in every run.
    prompt: the text the model continues.
    answer: one correct answer, to be shown to people; '' where the task has none.
    data: what the task itself needs to verify a response; plain and hashable.
  """

  id: str
  prompt: str
  answer: str
  data: Any


class Task(Protocol):
  """Problems and their verifier; `task[i]` is the same problem in every run and process."""

  def __len__(self) -> int:
    """Number of problems."""
    ...

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`, 0 <= index < len(self)."""
    ...

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """Reward in [0, 1]; `finished` says that the response ended itself (False: it was cut)."""
    ...

  def cluster(self, problem: Problem, response: str) -> str | None:
    """Canonical semantic class (mode) of the response, right or wrong; None if it has none."""
    ...

  def modes(self, problem: Problem) -> int | None:
    """Number of distinct classes with full reward, if it is known exactly."""
    ...

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A correct response drawn at random; raises ValueError if the task has none."""
    ...


def stable_hash(text: str) -> int:
  """64 bits of SHA-256: the same in every process and run, unlike `hash`."""
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def take_split(
  ids: Iterable[str], *, split: str, test_fraction: float, size: int | None, seed: int
) -> list[str]:
  """The ids of one split, in a random order that `seed` sets; at most the first `size` of them.

  An id is in 'test' iff stable_hash(id) / 2^64 < test_fraction, and in 'train' otherwise: for one
  test_fraction the splits are disjoint, whatever the other arguments and the other ids are.

  Raises:
    ValueError: an unknown split, or nothing is left.
  """
  if split not in ('train', 'test'):
    raise ValueError(f"unknown split '{split}': choose 'train' or 'test'.")
  border = int(test_fraction * 2**64)
  mine = [i for i in ids if (stable_hash(i) < border) == (split == 'test')]
  taken = sorted(mine, key=lambda i: stable_hash(f'{seed}:{i}'))[:size]
  if not taken:
    raise ValueError(f"the split '{split}' has no problems: widen the limits of the task.")
  return taken


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
  return np.random.default_rng([seed, epoch]).permutation(length)


def batch_indices(step: int, batch_size: int, length: int, seed: int) -> np.ndarray:
  """[batch_size] int64, the problems of batch `step`: a pure function of its arguments.

  The stream of problems is perm_0, perm_1, ... with one permutation of range(length) an epoch, and
  batch `step` is its slice [step batch_size, (step + 1) batch_size). So every problem comes once an
  epoch, a batch may span epochs, and no position has to be kept in a checkpoint.
  """
  if length < 1 or batch_size < 1 or step < 0 or seed < 0:
    raise ValueError(
      'batch_indices needs length >= 1, batch_size >= 1, step >= 0 and seed >= 0; got '
      f'length={length}, batch_size={batch_size}, step={step}, seed={seed}.'
    )
  epochs, offsets = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), length)
  indices = np.empty(batch_size, np.int64)
  for epoch in np.unique(epochs).tolist():
    here = epochs == epoch
    indices[here] = _permutation(seed, epoch, length)[offsets[here]]
  return indices


class Subset:
  """The problems of `task` at `indices`, in that order."""

  def __init__(self, task: Task, indices: Iterable[int]) -> None:
    self._task, self._indices = task, [int(index) for index in indices]

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._indices)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index` of the subset."""
    return self._task[self._indices[index]]

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """As the task's."""
    return self._task.reward(problem, response, finished)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """As the task's."""
    return self._task.cluster(problem, response)

  def modes(self, problem: Problem) -> int | None:
    """As the task's."""
    return self._task.modes(problem)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """As the task's."""
    return self._task.demonstration(problem, rng)
