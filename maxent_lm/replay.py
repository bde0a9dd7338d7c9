"""Replay: the last groups of responses, kept to be learned from again.

The unit is the group, all rows that answer one prompt in one step, so that baselines over a group
stay those of one policy. Pure functions on plain numpy arrays of fixed shape: `init`, `add`,
`draw`, `take`; a checkpoint saves the arrays like any others.

Why not flashbax: its buffers hold items of one shape on the device, made for transitions by the
million; groups are few and ragged, and are built and sharded on the host with the fresh ones. A
draw is a function of (contents, seed, step), so that a run is resumed bit for bit.

Shapes: C groups of capacity, G rows a group, W columns (prompt and response).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Group(NamedTuple):
  """Responses to one prompt: token lists, and per row what is known (see `types.Batch`)."""

  prompt: Sequence[int]
  responses: Sequence[Sequence[int]]
  logp: Sequence[np.ndarray]
  reward: np.ndarray
  cluster: np.ndarray
  bootstrap: np.ndarray
  demonstration: bool = False


class Replay(NamedTuple):
  """A ring of C groups; slot i is empty while i >= `added`.

  Attributes:
    tokens: [C, G, W] int32, prompt and response of each row.
    logp: [C, G, W] float32, behaviour log-probabilities in the response's columns.
    start: [C] int32, length of the prompt.
    end: [C, G] int32, length of prompt and response.
    reward: [C, G] float32, of the whole response.
    cluster: [C, G] int32.
    bootstrap: [C, G] bool.
    demonstration: [C] bool.
    priority: [C] float32, positive.
    made: [C] int32, the step in which the group was sampled.
    added: int32, groups ever added; the next one goes to slot added mod C.
  """

  tokens: np.ndarray
  logp: np.ndarray
  start: np.ndarray
  end: np.ndarray
  reward: np.ndarray
  cluster: np.ndarray
  bootstrap: np.ndarray
  demonstration: np.ndarray
  priority: np.ndarray
  made: np.ndarray
  added: np.ndarray


def init(*, capacity: int, group_size: int, width: int) -> Replay:
  """An empty ring. Raises ValueError for a capacity below one group."""
  if capacity < 1:
    raise ValueError(f'replay: capacity is {capacity}; it must be at least 1 group')
  rows = (capacity, group_size)
  return Replay(
    tokens=np.zeros((*rows, width), np.int32),
    logp=np.zeros((*rows, width), np.float32),
    start=np.zeros(capacity, np.int32),
    end=np.zeros(rows, np.int32),
    reward=np.zeros(rows, np.float32),
    cluster=np.zeros(rows, np.int32),
    bootstrap=np.zeros(rows, bool),
    demonstration=np.zeros(capacity, bool),
    priority=np.ones(capacity, np.float32),
    made=np.zeros(capacity, np.int32),
    added=np.zeros((), np.int32),
  )


def size(replay: Replay) -> int:
  """Groups that can be drawn."""
  return int(min(replay.added, len(replay.made)))


def add(replay: Replay, groups: Sequence[Group], *, step: int, priority: Sequence[float]) -> Replay:
  """The ring with these groups in it, the oldest ones gone (first in, first out).

  Raises:
    ValueError: a group has another number of rows, a row is too long, or a priority not positive.
  """
  new = Replay(*(np.array(values) for values in replay))
  for group, weight in zip(groups, priority, strict=True):
    _check(new, group, weight)
    slot = int(new.added) % len(new.made)
    new.tokens[slot] = 0
    new.logp[slot] = 0
    start = len(group.prompt)
    for row, (response, logp) in enumerate(zip(group.responses, group.logp, strict=True)):
      end = start + len(response)
      new.tokens[slot, row, :end] = [*group.prompt, *response]
      new.logp[slot, row, start:end] = logp
      new.end[slot, row] = end
    new.start[slot], new.made[slot], new.priority[slot] = start, step, weight
    new.reward[slot], new.cluster[slot] = group.reward, group.cluster
    new.bootstrap[slot], new.demonstration[slot] = group.bootstrap, group.demonstration
    new = new._replace(added=np.asarray(new.added + 1, np.int32))
  return new


def without_poison(group: Group) -> Group:
  """The group with its rows left empty whose reward or log-probabilities are not finite.

  As it is with rows of unknown reward: they are not there.
  """
  fine = np.array(
    [
      np.isfinite([value, *logp]).all()
      for value, logp in zip(group.reward, group.logp, strict=True)
    ]
  )
  if fine.all():
    return group
  return group._replace(
    responses=[ids if ok else [] for ids, ok in zip(group.responses, fine, strict=True)],
    logp=[logp if ok else logp[:0] for logp, ok in zip(group.logp, fine, strict=True)],
    reward=np.where(fine, group.reward, 0).astype(np.float32),
    cluster=np.where(fine, group.cluster, -1).astype(np.int32),
    bootstrap=np.asarray(group.bootstrap) & fine,
  )


def draw(replay: Replay, count: int, *, exponent: float, seed: int, step: int) -> np.ndarray:
  """[count] slots, with replacement, with probability ~ priority^exponent (0: uniform).

  A pure function of its arguments. With priority exp(mean reward) this is the replay of
  [Nachum et al. 2017, PCL]; with |error| that of [Schaul et al. 2016].

  Raises:
    ValueError: the ring is empty.
  """
  filled = size(replay)
  if not filled:
    raise ValueError('replay: nothing to draw from; add groups first')
  log_weight = exponent * np.log(replay.priority[:filled].astype(np.float64))
  weight = np.exp(log_weight - log_weight.max())
  rng = np.random.default_rng([seed, step])
  return rng.choice(filled, size=count, p=weight / weight.sum())


def take(replay: Replay, slots: Sequence[int] | np.ndarray) -> list[Group]:
  """The groups in these slots."""
  groups = []
  for slot in slots:
    start, ends = int(replay.start[slot]), replay.end[slot].tolist()
    rows = list(enumerate(ends))
    groups.append(
      Group(
        prompt=replay.tokens[slot, 0, :start].tolist(),
        responses=[replay.tokens[slot, row, start:end].tolist() for row, end in rows],
        logp=[replay.logp[slot, row, start:end] for row, end in rows],
        reward=replay.reward[slot],
        cluster=replay.cluster[slot],
        bootstrap=replay.bootstrap[slot],
        demonstration=bool(replay.demonstration[slot]),
      )
    )
  return groups


def staleness(replay: Replay, slots: np.ndarray, *, step: int) -> dict[str, float]:
  """Mean and largest age of the drawn groups, in steps, and how full the ring is."""
  age = step - replay.made[slots]
  return {
    'replay_age': float(age.mean()) if len(age) else 0.0,
    'replay_age_max': float(age.max()) if len(age) else 0.0,
    'replay_filled': size(replay) / len(replay.made),
  }


def alike(group: Group) -> float:
  """Every group the same priority."""
  del group
  return 1.0


def by_reward(group: Group) -> float:
  """exp(mean reward), so that a draw's probability is ~ exp(exponent x mean reward).

  Rows without a response do not count.
  """
  there = [bool(response) for response in group.responses]
  return float(np.exp(np.sum(group.reward[there]) / max(sum(there), 1)))


PRIORITIES: dict[str, Callable[[Group], float]] = {'fifo': alike, 'prioritised': by_reward}


def _check(replay: Replay, group: Group, priority: float) -> None:
  _, rows, width = replay.tokens.shape
  longest = len(group.prompt) + max(map(len, group.responses), default=0)
  if len(group.responses) != rows:
    raise ValueError(f'replay: a group of {len(group.responses)} rows does not fit one of {rows}')
  if longest > width:
    raise ValueError(f'replay: a row of {longest} tokens does not fit a width of {width}')
  if not priority > 0:
    raise ValueError(f'replay: a priority must be positive, got {priority}')
