"""What a task is: a list of problems, a verifier, and what is known about the correct answers.

Worked example, for any task:

  task = TASKS['countdown'](split='train')
  problem = task[2]                                # Problem(prompt='9,6,8,12=60:', ...)
  task.reward(problem, '9*(6+8/12)', True)         # 0.0 or 1.0: the verifier
  task.cluster(problem, '(2+5)*7-11')              # the class of the response, a short string

Everything here runs on the host and knows nothing of tokens, models or arrays on a device.
"""

import abc
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

T = TypeVar('T')
MAX_DRAWS = 10_000  # of one problem, until one belongs to the split


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


def check_split(split: str) -> None:
  """Raises ValueError for anything but 'train' and 'test'."""
  if split not in ('train', 'test'):
    raise ValueError(f"unknown split '{split}': choose 'train' or 'test'.")


def take_split(
  ids: Iterable[str], *, split: str, test_fraction: float, size: int | None, seed: int
) -> list[str]:
  """The ids of one split, in a random order that `seed` sets; at most the first `size` of them.

  An id is in 'test' iff stable_hash(id) / 2^64 < test_fraction, and in 'train' otherwise: for one
  test_fraction the splits are disjoint, whatever the other arguments and the other ids are.

  Raises:
    ValueError: an unknown split, or nothing is left.
  """
  check_split(split)
  mine = [i for i in ids if in_split(i, split=split, test_fraction=test_fraction)]
  taken = sorted(mine, key=lambda i: stable_hash(f'{seed}:{i}'))[:size]
  if not taken:
    raise ValueError(f"the split '{split}' has no problems: widen the limits of the task.")
  return taken


def in_split(name: str, *, split: str, test_fraction: float) -> bool:
  """Whether what has this name belongs to the split, by the rule of `take_split`.

  Raises:
    ValueError: an unknown split.
  """
  check_split(split)
  return (stable_hash(name) < int(test_fraction * 2**64)) == (split == 'test')


def draw_in_split(
  draw: Callable[[np.random.Generator], T],
  name: Callable[[T], str],
  *,
  split: str,
  test_fraction: float,
  seed: int,
  index: int,
) -> T:
  """The problem `index` of an endless supply: what `draw` makes first that is in the split.

  A pure function of its arguments, and so a task of any size needs no list of its problems. By
  `in_split` nothing with the name of a test problem is ever trained on; within a split the same
  problem may come more than once.

  Raises:
    ValueError: an unknown split, or one in which nothing falls.
  """
  rng = np.random.default_rng([seed, index])
  for _ in range(MAX_DRAWS):
    drawn = draw(rng)
    if in_split(name(drawn), split=split, test_fraction=test_fraction):
      return drawn
  raise ValueError(f"the split '{split}' has no problems: widen the limits of the task.")


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


class Scheduled(abc.ABC):
  """A task that does not offer all of its problems at every step, as a curriculum."""

  @abc.abstractmethod
  def pool(self, step: int) -> np.ndarray:
    """Ascending numbers of the problems that step `step` draws from; never empty."""


class Fingerprinted(abc.ABC):
  """A task whose problems come from files."""

  @abc.abstractmethod
  def fingerprint(self) -> str:
    """SHA-256 of what the files hold, in hexadecimal digits; '' if there are none after all."""


def fingerprint(*tasks: Task) -> str:
  """One fingerprint for the files of all of the tasks, in their order; '' if none has any."""
  parts = [task.fingerprint() if isinstance(task, Fingerprinted) else '' for task in tasks]
  if len(parts) == 1 or not any(parts):
    return parts[0] if parts else ''
  return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def draw_indices(
  task: Task, batch: int, batch_size: int, seed: int, *, step: int | None = None
) -> np.ndarray:
  """[batch_size] int64, the problems of batch `batch` of a task, a pure function of its arguments.

  As `batch_indices`, over the problems that the task offers at `step` (None: `batch`, for one batch
  a step).
  """
  if not isinstance(task, Scheduled):
    return batch_indices(batch, batch_size, len(task), seed)
  pool = task.pool(batch if step is None else step)
  return pool[batch_indices(batch, batch_size, len(pool), seed)]


class Sandboxed(abc.ABC):
  """A task that runs what a model writes."""

  @abc.abstractmethod
  def tier(self) -> str:
    """The sandbox that it is run in, one of sandbox/jail.py; '' if nothing is run after all.

    Raises:
      SandboxUnavailable: none that is strong enough works on this machine.
    """


class Batched(abc.ABC):
  """A task that grades many responses together faster than one by one, as one that runs them."""

  @abc.abstractmethod
  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """As `reward` of each; None where nothing was learned of a response, for no fault of its."""


def grade(
  task: Task, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
) -> list[float | None]:
  """The reward of each response to its problem; None is unknown, and is not 0."""
  if isinstance(task, Batched):
    return task.rewards(problems, responses, finished)
  return [task.reward(*each) for each in zip(problems, responses, finished, strict=True)]


class Undecided(abc.ABC):
  """A task whose verifier may be unable to tell if an answer is right; then the reward is 0."""

  @abc.abstractmethod
  def undecided(self, problem: Problem, response: str, finished: bool) -> bool:
    """Whether the response has an answer that is neither shown to be right nor to be wrong."""


def undecided(task: Task, problem: Problem, response: str, finished: bool) -> bool:
  """As the task's method; False for a task that has none and always decides."""
  return isinstance(task, Undecided) and task.undecided(problem, response, finished)


class Subset(Scheduled, Batched, Fingerprinted, Sandboxed, Undecided):
  """The problems of `task` at `indices`, in that order; on its schedule, if it has one."""

  def __init__(self, task: Task, indices: Iterable[int]) -> None:
    self._task, self._indices = task, [int(index) for index in indices]

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._indices)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index` of the subset."""
    return self._task[self._indices[index]]

  def pool(self, step: int) -> np.ndarray:
    """What is left of the task's own pool.

    Raises:
      ValueError: nothing is left.
    """
    if not isinstance(self._task, Scheduled):
      return np.arange(len(self))
    here = np.flatnonzero(np.isin(self._indices, self._task.pool(step)))
    if not here.size:
      raise ValueError(f'no problem of step {step} is in the subset: widen it.')
    return here

  def fingerprint(self) -> str:
    """As the task's."""
    return fingerprint(self._task)

  def tier(self) -> str:
    """As the task's."""
    return self._task.tier() if isinstance(self._task, Sandboxed) else ''

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """As the task's."""
    return self._task.reward(problem, response, finished)

  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """As the task's."""
    return grade(self._task, problems, responses, finished)

  def undecided(self, problem: Problem, response: str, finished: bool) -> bool:
    """As the task's."""
    return undecided(self._task, problem, response, finished)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """As the task's."""
    return self._task.cluster(problem, response)

  def modes(self, problem: Problem) -> int | None:
    """As the task's."""
    return self._task.modes(problem)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """As the task's."""
    return self._task.demonstration(problem, rng)
