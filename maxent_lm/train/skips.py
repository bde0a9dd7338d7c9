"""Skipped updates, on the host: when there are too many of them, and what is left to look at.

What is counted is a function of the rows of `metrics.jsonl`, so a resumed run reads it from there.
A dump is a folder of the run, dump-STEP, about the last update that was skipped:

  report.json   why; what was not finite; the step's numbers; rows of the batch with such numbers
  batch.npz     the batch as the update got it: numpy.load(..., allow_pickle=False)
  config.json   the run's
"""

import collections
import dataclasses
import math
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from maxent_lm import hosts
from maxent_lm.train import folder
from maxent_lm.types import Batch

LISTED = 5  # of what is wrong, in a line on the console


class Poisoned(FloatingPointError):
  """Too many updates were skipped; the state is finite, and so is the newest checkpoint."""


@dataclasses.dataclass(frozen=True)
class Skips:
  """A run ends with `in_a_row` skipped updates, or with `in_window` among the last `window`.

  Raises:
    ValueError: limits that no run can keep, or that one of them cannot reach.
  """

  in_a_row: int
  in_window: int
  window: int

  def __post_init__(self) -> None:
    if self.in_a_row < 1 or not 1 <= self.in_window <= self.window:
      raise ValueError(
        'config.skips: needs in_a_row >= 1 and 1 <= in_window <= window, got '
        f'in_a_row={self.in_a_row}, in_window={self.in_window}, window={self.window}'
      )

  def count(self, rows: Iterable[Mapping[str, Any]], about: Sequence[str]) -> 'Count':
    """A count that has seen `rows`, those of a run that is resumed; `about`: `finite.names`."""
    count = Count(self, about)
    for row in rows:
      count.add(bool(row.get('skipped')))
    return count


class Count:
  """Skips as they come: `see` every row once, in order."""

  def __init__(self, limits: Skips, about: Sequence[str]) -> None:
    self._limits, self._about = limits, about
    self._streak = 0
    self._recent: collections.deque[bool] = collections.deque(maxlen=limits.window)

  def add(self, skipped: bool) -> None:
    """One step further."""
    self._streak = self._streak + 1 if skipped else 0
    self._recent.append(skipped)

  def see(self, metrics: Mapping[str, Any], culprits: Any) -> list[str]:
    """What was wrong with this step's update; [] if it was taken. Waits for the device."""
    self.add(bool(np.asarray(metrics['skipped'])))
    wrong = zip(self._about, np.asarray(culprits), strict=True)
    return [name for name, bad in wrong if bad]

  def too_many(self) -> str:
    """Which limit the newest step has broken, in words; '' if none."""
    if self._streak >= self._limits.in_a_row:
      return f'{self._streak} updates in a row were skipped'
    skipped = sum(self._recent)
    if self._streak and skipped >= self._limits.in_window:
      return f'{skipped} of the last {len(self._recent)} updates were skipped'
    return ''


def brief(wrong: Sequence[str]) -> str:
  """What was wrong, for one line."""
  return ', '.join(wrong[:LISTED]) + (', ...' if len(wrong) > LISTED else '')


class Skipped(NamedTuple):
  """An update that was not taken; `wrong`: what of it was not finite."""

  step: int
  wrong: Sequence[str]
  metrics: Mapping[str, Any]
  batch: Batch


def stop(workdir: pathlib.Path, last: Skipped, *, reason: str) -> NoReturn:
  """Leaves a dump of the last skipped update, and raises `Poisoned`."""
  try:
    path = dump(workdir, last, reason=reason)
    left = f'its batch and numbers are in {path}'
  except OSError as error:
    left = f'its batch and numbers could not be written ({error})'
  hosts.meet()  # who leaves earlier ends the others
  raise Poisoned(
    f'stopped at step {last.step}: {reason}, the last one for {brief(last.wrong)}; {left}; nothing '
    'of it is in the parameters, and the same command goes on from the newest checkpoint'
  )


def dump(workdir: pathlib.Path, last: Skipped, *, reason: str) -> pathlib.Path:
  """Writes workdir/dump-STEP, whole or not at all, in place of an older one; gives its path.

  Every process helps to fetch; the first one writes.
  """
  arrays = {name: each for name, each in last.batch._asdict().items() if each is not None}
  fetched: dict[str, Any] = hosts.fetch(arrays)  # of arrays
  report = {
    'step': last.step,
    'reason': reason,
    'wrong': list(last.wrong),
    'rows': {name: _bad_rows(each) for name, each in fetched.items() if _bad_rows(each)},
    'metrics': {name: _written(value) for name, value in last.metrics.items()},
  }

  def write(temporary: pathlib.Path) -> None:
    if not hosts.is_first():
      return
    folder.write_json(temporary / 'report.json', report)
    with (temporary / 'batch.npz').open('wb') as file:
      np.savez(file, **fetched)
    if (workdir / 'config.json').exists():
      shutil.copy(workdir / 'config.json', temporary)

  path = workdir / f'dump-{last.step}'
  if hosts.is_first() and path.exists():
    shutil.rmtree(path)
  folder.make_once(path, write)
  return path


def _bad_rows(values: np.ndarray) -> list[int]:
  """The rows of [B, ...] that hold a number that is not finite."""
  if not np.issubdtype(values.dtype, np.floating):
    return []
  bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
  return np.flatnonzero(bad).tolist()


def _written(value: Any) -> float | str:
  """As JSON has it: 'nan', 'inf' and '-inf' are texts."""
  number = float(np.asarray(value))
  return number if math.isfinite(number) else str(number)
