"""Cycles: a run, struck and started again until it ends, and what came of it.

A cycle is right if the run ends as the reference, which nobody disturbed, did; or if it stops and
says why. Everything is written down at once, so that a call that was interrupted goes on.
"""

import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from maxent_lm import reading
from maxent_lm.analysis.chaos import damage, digest
from maxent_lm.analysis.chaos.attempts import ERROR, Ended, Lab, attempt, plain
from maxent_lm.analysis.chaos.schedule import POINTS, Fault, choose
from maxent_lm.train.folder import write_json
from maxent_lm.train.metrics import read_metrics

PER_CYCLE = 6  # faults


class Result(NamedTuple):
  """What came of a cycle; `starts`: processes."""

  verdict: str
  right: bool
  starts: int


class Book:
  """Which faults are to come, and what has been, in strikes.jsonl and cycles.jsonl.

  `told(faults, seconds)` says how far that is.
  """

  def __init__(
    self, workdir: pathlib.Path, faults: Iterator[Fault], told: Callable[[int, float], str]
  ) -> None:
    self._strikes, self._cycles = workdir / 'strikes.jsonl', workdir / 'cycles.jsonl'
    self._numbered, self._told = enumerate(faults), told
    self._waiting: list[tuple[int, Fault]] = []
    self._spent = {row['number'] for row in self.strikes()}
    self._before = sum(row['seconds'] for row in self.cycles())
    self._began = time.perf_counter()

  def strikes(self) -> list[dict[str, Any]]:
    """The faults that have struck."""
    return reading.appended(self._strikes)

  def cycles(self) -> list[dict[str, Any]]:
    """The cycles that are over."""
    return reading.appended(self._cycles)

  def seconds(self) -> float:
    """Of this call and of those before it."""
    return self._before + time.perf_counter() - self._began

  def next(self, *, resumed: bool) -> tuple[int, Fault] | None:
    """The next fault, with its number; None where none is left that could strike."""
    while len(self._waiting) < len(POINTS):
      each = next(self._numbered, None)
      if each is None:
        break
      if each[0] not in self._spent:
        self._waiting.append(each)
    return choose(self._waiting, resumed=resumed)

  def strike(self, number: int, fault: Fault, row: dict[str, Any]) -> None:
    """Writes a fault down and tells it."""
    self._waiting.remove((number, fault))
    self._spent.add(number)
    cycle = {'cycle': len(self.cycles()), 'number': number}
    _append(self._strikes, {**cycle, **fault._asdict(), **row})
    print(f'{_line(fault, row)}; {self._told(len(self._spent), self.seconds())}', flush=True)

  def missed(self, number: int, fault: Fault) -> None:
    """The run never came there: others have their turn first."""
    self._waiting.remove((number, fault))
    self._waiting.append((number, fault))

  def end(self, result: Result) -> None:
    """Writes a cycle down and tells it."""
    number = len(self.cycles())
    faults = sum(row['cycle'] == number for row in self.strikes())
    seconds = self.seconds() - sum(row['seconds'] for row in self.cycles())
    row = {'cycle': number, 'faults': faults, 'seconds': seconds, **result._asdict()}
    _append(self._cycles, row)
    print(f'cycle {number}, {faults} faults: {result.verdict}', flush=True)


def make_reference(lab: Lab) -> dict[str, str]:
  """The digest of the run that nobody disturbs; it is run once, without marks.

  Raises:
    RuntimeError: it does not end well.
  """
  path = lab.workdir / 'reference.json'
  if not path.exists():
    ended = plain(lab, lab.workdir / 'reference')
    if ended.status:
      raise RuntimeError(f'the undisturbed run ended with {ended.status}: {ended.said}')
    write_json(path, digest.of_run(lab.workdir / 'reference'))
  return json.loads(path.read_text())


def cycle(lab: Lab, book: Book, reference: dict[str, str], *, per_cycle: int = PER_CYCLE) -> Result:
  """One run, from its beginning to its end; it is kept if it is not as the reference."""
  number = len(book.cycles())
  folder = lab.scratch / f'cycle_{number}'
  starts = 0
  while True:
    struck = sum(row['cycle'] == number for row in book.strikes())
    resumed = digest.newest(folder) is not None
    chosen = book.next(resumed=resumed) if struck < per_cycle else None
    ended = attempt(lab, folder, chosen[1] if chosen else None)
    starts += 1
    if chosen and ended.inside is not None:
      book.strike(*chosen, _row(folder, chosen[1], ended, chosen[0]))
    elif chosen:
      book.missed(*chosen)
    if ended.status == 0:
      break
    if ended.inside is None:  # nobody did that to it
      told = ended.said.startswith(ERROR)
      return Result(f'{"stopped" if told else "CRASHED"}: {ended.said}', told, starts)
  different = digest.differences(reference, digest.of_run(folder))
  if different:
    return Result(f'DIFFERENT: {", ".join(different)}', False, starts)
  shutil.rmtree(folder)
  return Result('equal', True, starts)


def _row(folder: pathlib.Path, fault: Fault, ended: Ended, number: int) -> dict[str, Any]:
  """What is written down of a fault that struck; where it is about damage, that is done now."""
  rows, checkpoint = read_metrics(folder / 'metrics.jsonl'), digest.newest(folder)
  harmed = ''
  if fault.kind in damage.WAYS:
    harmed = damage.harm(folder, fault.kind, np.random.default_rng((number, 2)))
  return {
    'hit': fault.point in (ended.inside or []),
    'inside': ended.inside,
    'status': ended.status,
    'said': ended.said,
    'harmed': harmed,
    'noticed': ended.noticed,
    'step': rows[-1]['step'] + 1 if rows else 0,
    'saved': int(checkpoint.name) if checkpoint else 0,
  }


def _append(path: pathlib.Path, row: dict[str, Any]) -> None:
  with path.open('a') as file:
    file.write(json.dumps(row) + '\n')


def _line(fault: Fault, row: dict[str, Any]) -> str:
  """What is told of a fault."""
  inside = '/'.join(row['inside']) or 'between'
  where = fault.point if row['hit'] else f'{inside}, not {fault.point}'
  harmed = f' of {row["harmed"]}' if row['harmed'] else ''
  return f'{fault.kind}{harmed} in {where} at step {row["step"]}, saved {row["saved"]}'
