"""Which faults there are, and when they strike: pure functions of a seed."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Fault(NamedTuple):
  """What happens to a run.

  Attributes:
    kind: kill | term | pause | second | full, or a way to damage a checkpoint (`damage.WAYS`),
      which is done after a kill.
    point: where the run is then, of `POINTS`.
    nth: the fault is at the n-th time since its start that the process comes there, from 1.
    delay: seconds from there.
  """

  kind: str
  point: str
  nth: int
  delay: float


class Point(NamedTuple):
  """A part of a run: how often a process may come there, and how long after it may be struck.

  Half of the faults strike at once, the others up to `delay` seconds later. `resumed`: only a
  process that goes on from a checkpoint comes there. `cold`: it has to compile everything.
  """

  nth: int
  delay: float
  resumed: bool = False
  cold: bool = False


POINTS = {
  'start': Point(1, 5.0),  # until training begins
  'folder': Point(8, 0.0),  # each file that tells what was run
  'compile': Point(22, 0.3, cold=True),  # each program
  'restore': Point(1, 0.02, resumed=True),
  'rollout': Point(24, 0.02),
  'grading': Point(12, 0.001),
  'update': Point(12, 0.02),
  'metrics': Point(16, 0.0005),  # each line, and each file that holds some
  'save': Point(200, 0.02),  # each file or folder of a checkpoint
  'delete': Point(60, 0.0),  # each file or folder of an old one
  'export': Point(6, 0.0),  # each file of the finished policy
}


def kills(seed: int, count: int) -> list[Fault]:
  """So many kills, each of the points as often as the others or once more, in random order."""
  return list(itertools.islice(_drawn(np.random.default_rng((seed, 0)), ['kill']), count))


def soak(seed: int, kinds: Sequence[str]) -> Iterator[Fault]:
  """Faults without end; of each round of so many as there are kinds, one is of each kind."""
  return _drawn(np.random.default_rng((seed, 1)), kinds)


def _drawn(rng: np.random.Generator, kinds: Sequence[str]) -> Iterator[Fault]:
  rounds = _shuffled(rng, kinds)
  points = {kind: _shuffled(rng, [name for name in POINTS if _fits(kind, name)]) for kind in kinds}
  while True:
    kind = next(rounds)
    name = next(points[kind])
    point = POINTS[name]
    delay = round(float(rng.uniform(0, point.delay)), 6) if rng.random() < 0.5 else 0.0
    yield Fault(kind, name, int(rng.integers(1, point.nth + 1)), delay)


def _shuffled(rng: np.random.Generator, names: Sequence[str]) -> Iterator[str]:
  while True:
    yield from rng.permutation(names).tolist()


def _fits(kind: str, point: str) -> bool:
  """What needs a run that is under way strikes where there surely is one."""
  return kind in ('kill', 'term', 'pause') or point in ('rollout', 'grading', 'update', 'save')


def choose(faults: Sequence[tuple[int, Fault]], *, resumed: bool) -> tuple[int, Fault] | None:
  """The first of the numbered faults that can strike a process that begins, or goes on."""
  able = (each for each in faults if resumed or not POINTS[each[1].point].resumed)
  return next(able, None)
