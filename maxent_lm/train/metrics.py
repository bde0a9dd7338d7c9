"""Where numbers go: `metrics.jsonl` is the truth; TensorBoard files and a progress bar show it."""

import json
import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from maxent_lm import reading
from maxent_lm.train.board import Board
from maxent_lm.train.folder import write_text


class MetricsWriter:
  """One JSON object a step, `{"step": ..., name: number}`; non-finite numbers become null.

  Opening a folder that already holds metrics drops the lines from `start` on (and a torn last
  line), so that a resumed run has each step once.
  """

  def __init__(self, folder: pathlib.Path, *, start: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'metrics.jsonl'
    keep_before(path, start)
    self._file = path.open('a')
    self._board = Board(folder / 'tensorboard', start=start)

  def write(self, step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Appends one line; returns the numbers as floats (this waits for the device)."""
    row = {name: float(np.asarray(value)) for name, value in metrics.items()}
    known = {name: value if math.isfinite(value) else None for name, value in row.items()}
    self._file.write(json.dumps({'step': step, **known}) + '\n')
    self._file.flush()
    self._board.write(step, row)
    return row

  def close(self) -> None:
    """Flushes both files."""
    self._file.close()
    self._board.close()


def read_metrics(path: pathlib.Path | str) -> list[dict[str, Any]]:
  """The rows of a `metrics.jsonl`, in order; a torn last line (a killed run) is left out.

  Raises:
    ValueError: another line is damaged or has no step.
  """
  rows = reading.appended(path)
  for number, row in enumerate(rows, 1):
    if type(row.get('step')) is not int:
      raise ValueError(f"row {number} of {path} has no 'step': restore or remove the file")
  return rows


def keep_before(path: pathlib.Path, start: int) -> None:
  """Drops the rows of step `start` and later, and a torn last line; a resumed run writes them."""
  if path.exists():
    kept = [
      json.dumps(row, ensure_ascii=False) for row in read_metrics(path) if row['step'] < start
    ]
    write_text(path, ''.join(row + '\n' for row in kept))


class Progress:
  """A bar with rate, remaining time and the numbers of the newest finished step."""

  SHOWN = ('reward', 'success', 'loss', 'entropy', 'kl', 'alpha', 'beta')

  def __init__(self, name: str, *, start: int, steps: int) -> None:
    self._bar = tqdm.tqdm(
      desc=name,
      initial=start,
      total=steps,
      unit='step',
      dynamic_ncols=True,
      mininterval=0.5 if sys.stderr.isatty() else 30.0,  # a log file wants few lines
    )

  def update(self, row: Mapping[str, float]) -> None:
    """One step further."""
    shown = {name: f'{row[name]:.3g}' for name in self.SHOWN if name in row}
    self._bar.set_postfix(shown, refresh=False)
    self._bar.update()

  def say(self, line: str) -> None:
    """A line above the bar."""
    self._bar.write(line, file=sys.stderr)

  def close(self) -> None:
    """Leaves the finished bar on the screen."""
    self._bar.close()
