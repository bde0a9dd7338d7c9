"""Sweeps: which runs there are, as a tiny algebra over config keys, and what is left to do.

Worked example:

  points = product(
    over('temperature.beta', (0.05, 0.1, 0.2)),
    listed({'one step': {'soft_q.lam': 0.0}, 'suffix': {'soft_q.lam': 0.9}}),
  )                                                  # 6 points, 'beta=0.05, one step' the first

A file with `get_sweep() -> Sweep` is what `experiments/sweep.py` runs. Every seed has
a start (a warm start, say) from which all its points begin.
"""

import collections
import importlib.util
import itertools
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from maxent_lm.analysis import compare

START = 'start'


class Point(NamedTuple):
  """One setting: a name for people, and the config keys that it changes."""

  name: str
  changes: Mapping[str, Any]


Points = tuple[Point, ...]


class Sweep(NamedTuple):
  """What is compared.

  Attributes:
    name: of the table and the figure.
    config: (point, seed, folder of the start's model) -> config; the start is the point START and
      gets ''.
    points: all settings but the start.
    seeds: how many.
    measured: columns of the table.
    plane: the two columns of the figure.
    note: under the table.
  """

  name: str
  config: Callable[[Point, int, str], Any]
  points: Points
  seeds: int
  measured: tuple[str, ...]
  plane: tuple[str, str]
  note: str


class Job(NamedTuple):
  """One run of a sweep, with its folder."""

  point: Point
  seed: int
  workdir: pathlib.Path

  @property
  def title(self) -> str:
    """What people call it, and `--only` takes."""
    return f'{self.point.name}/{self.seed}'


def over(key: str, values: Iterable[Any]) -> Points:
  """One point a value; their names are the last part of the key with the value."""
  return tuple(Point(f'{key.split(".")[-1]}={value}', {key: value}) for value in values)


def listed(changes: Mapping[str, Mapping[str, Any]]) -> Points:
  """Points by name."""
  return tuple(Point(name, keys) for name, keys in changes.items())


def product(*factors: Points) -> Points:
  """Every combination; the last factor changes fastest."""
  return tuple(map(_merged, itertools.product(*factors)))


def zipped(*factors: Points) -> Points:
  """The first of each, the second of each, ...; raises ValueError if they are not equally long."""
  if len(set(map(len, factors))) > 1:
    raise ValueError(f'zipped: the lists have {", ".join(str(len(f)) for f in factors)} points')
  return tuple(map(_merged, zip(*factors, strict=True)))


def _merged(points: Sequence[Point]) -> Point:
  if twice := _repeated([key for point in points for key in point.changes]):
    raise ValueError(f'sweep: {", ".join(twice)} is set twice in one point')
  changes = {key: value for point in points for key, value in point.changes.items()}
  return Point(', '.join(point.name for point in points), changes)


def jobs(sweep: Sweep, workdir: pathlib.Path, seeds: int) -> list[Job]:
  """All runs, the starts first; raises ValueError if two points share a name or a folder."""
  points = (Point(START, {}), *sweep.points)
  if twice := _repeated([_slug(point.name) for point in points]):
    names = dict.fromkeys(point.name for point in points if _slug(point.name) in twice)
    raise ValueError(
      f'sweep {sweep.name}: two points are called {", ".join(names)}, one folder; rename one'
    )
  return [
    Job(point, seed, workdir / f'{_slug(point.name)}_{seed}')
    for point in points
    for seed in range(seeds)
  ]


def load(source: str) -> Sweep:
  """The sweep of FILE, or `get_sweep(ARG)` of FILE:ARG.

  Raises:
    FileNotFoundError: there is no such Python file.
  """
  name, _, arg = source.partition(':')
  path = pathlib.Path(name)
  specification = importlib.util.spec_from_file_location('the_sweep', path)
  if specification is None or specification.loader is None or not path.exists():
    raise FileNotFoundError(f'--sweep={source}: {name} is no Python file')
  module = importlib.util.module_from_spec(specification)
  specification.loader.exec_module(module)
  return module.get_sweep(arg) if arg else module.get_sweep()


def chains(jobs: Sequence[Job]) -> list[list[list[Job]]]:
  """Of every seed the start, then the points that begin from it; what is empty is left out."""
  found = []
  for seed in dict.fromkeys(job.seed for job in jobs):
    mine = [job for job in jobs if job.seed == seed]
    start = [job for job in mine if job.point.name == START]
    points = [job for job in mine if job.point.name != START]
    found.append([stage for stage in (start, points) if stage])
  return found


def command(script: str, source: str, job: Job, *, seeds: int | None) -> list[str]:
  """How `script`, experiments/sweep.py, runs this job of the sweep `source` alone."""
  parts = [sys.executable, script, f'--sweep={source}', f'--workdir={job.workdir.parent}']
  return [*parts, *([f'--seeds={seeds}'] if seeds else []), f'--only={job.title}']


def plan(name: str, rows: Sequence[Mapping[str, Any] | None], *, workers: int) -> str:
  """How many runs there are and how many are left (None), and how long if one has been timed.

  The estimate is the mean training time of the finished runs, `workers` at a time.
  """
  left = sum(row is None for row in rows)
  text = f'{name}: {len(rows)} runs, {len(rows) - left} finished, {left} to do'
  text += f', {workers} at a time'
  seconds = [row['train_seconds'] for row in rows if row is not None]
  known = [number for number in seconds if number]
  if left and known:
    minutes = sum(known) / len(known) * left / workers / 60
    text += f'; about {minutes:.0f} min of training, as the finished ones took'
  return text


def config(sweep: Sweep, job: Job) -> Any:
  """The config of a run."""
  if job.point.name == START:
    return sweep.config(job.point, job.seed, '')
  start = job.workdir.parent / f'{START}_{job.seed}' / 'model'
  return sweep.config(job.point, job.seed, str(start))


def row(sweep: Sweep, job: Job) -> dict[str, Any] | None:
  """The row of a run that is finished with this very config, else None."""
  return compare.stored_row(config(sweep, job), job.workdir)


def _repeated(names: Sequence[str]) -> list[str]:
  """What is there more than once."""
  return sorted(name for name, count in collections.Counter(names).items() if count > 1)


def _slug(name: str) -> str:
  return re.sub(r'[^A-Za-z0-9.=-]+', '_', name).strip('_')
