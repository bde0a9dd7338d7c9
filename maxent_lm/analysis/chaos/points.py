"""Runs a script that is struck where it is told to be: by itself, and exactly there.

  python -m maxent_lm.analysis.chaos.points STRIKE experiments/train.py --config=... --workdir=...

STRIKE is a `Strike` as JSON, or '' for none. A kill that waits for the clock hits mostly what takes
long, start-up and compilation; here it is tied to what the run does. Nothing of the run is changed:
functions are wrapped, and files are seen in Python's audit events.
"""

import contextlib
import ctypes
import functools
import json
import os
import pathlib
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple
from unittest import mock

from maxent_lm.train import steps

PR_SET_PDEATHSIG = 1
WRITTEN = {  # the first part of a path in the run folder: the point
  'checkpoints': 'save',
  'metrics.jsonl': 'metrics',
  'samples.jsonl': 'metrics',
  'rollouts.jsonl': 'metrics',
  'model': 'export',
  'tensorboard': None,
}


class Strike(NamedTuple):
  """A signal at the n-th time at a point, `delay` seconds later; 0 is no signal, but a note.

  Attributes:
    folder: of the run.
    note: where is written what the process was in, before it is struck.
  """

  point: str
  nth: int
  delay: float
  signal: int
  folder: str
  note: str


class Striker:
  """Counts how often its point is reached, and strikes."""

  def __init__(self, strike: Strike) -> None:
    self._strike = strike
    self._left = strike.nth
    self._lock = threading.Lock()
    self._inside: list[str] = []  # of all threads

  @contextlib.contextmanager
  def inside(self, point: str) -> Generator[None, None, None]:
    """Marks what the process is in."""
    self.enter(point)
    try:
      yield
    finally:
      self.leave(point)

  def enter(self, point: str) -> None:
    """As `inside`, until `leave`."""
    self._inside.append(point)
    self.reach(point)

  def leave(self, point: str) -> None:
    """Does nothing if it was not entered."""
    if point in self._inside:
      self._inside.remove(point)

  def reach(self, point: str) -> None:
    """Strikes if it is time, or begins to wait for it."""
    if point != self._strike.point:
      return
    with self._lock:
      self._left -= 1
      if self._left:
        return
    if self._strike.delay:
      threading.Thread(target=self._later, daemon=True).start()
    else:
      self._hit({point})

  def _later(self) -> None:
    time.sleep(self._strike.delay)
    self._hit(set(self._inside) | unfinished(pathlib.Path(self._strike.folder, 'checkpoints')))

  def _hit(self, inside: set[str]) -> None:
    note = pathlib.Path(self._strike.note)
    note.with_suffix('.new').write_text(json.dumps(sorted(inside)))
    note.with_suffix('.new').replace(note)
    os.kill(os.getpid(), self._strike.signal)

  def wrap(self, point: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its time marked."""

    @functools.wraps(function)
    def marked(*arguments: Any, **options: Any) -> Any:
      with self.inside(point):
        return function(*arguments, **options)

    return marked

  def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
    """Sees what is done to files, before it is done, in every thread."""
    point = point_of(event, arguments, self._strike.folder)
    if point is not None:
      self.reach(point)


def point_of(event: str, arguments: tuple[Any, ...], folder: str) -> str | None:
  """The point of the run at which this happens to a file; None for what is no part of one."""
  if event in ('os.remove', 'os.rmdir') and arguments[-1] != -1:
    return 'delete'  # of a whole folder, whose parts are named from within
  if event == 'open':
    writes = isinstance(arguments[1], str) and arguments[1][0] in 'wax'
  else:
    writes = event in ('os.mkdir', 'os.rename', 'os.remove', 'shutil.rmtree')
  if not writes or not isinstance(arguments[0], str | os.PathLike):
    return None
  path = os.path.relpath(arguments[0], folder)
  first = path.split('/')[0].split('.partial')[0].removesuffix('.tmp')
  if first in ('..', '.'):
    return None
  if event == 'shutil.rmtree':
    return 'delete' if first == 'checkpoints' else None
  return WRITTEN.get(first, 'folder')


def unfinished(checkpoints: pathlib.Path) -> set[str]:
  """'save' if a checkpoint is being written, 'delete' if one is being removed."""
  names = [path.name for path in steps.leftovers(checkpoints)]
  return {'delete' if name.endswith(steps.DELETED) else 'save' for name in names}


def mark(striker: Striker) -> None:
  """Wraps what a run consists of."""
  import jax

  from maxent_lm.build.run import Run
  from maxent_lm.data import Reader
  from maxent_lm.train import ahead, collect
  from maxent_lm.train.checkpoint import Checkpointer
  from maxent_lm.train.metrics import MetricsWriter

  for room, name, point in (
    (collect.Rollouts, 'ask', 'rollout'),
    (collect, 'fetch', 'rollout'),
    (ahead, 'fetch', 'rollout'),
    (Reader, 'grade', 'grading'),
    (MetricsWriter, 'write', 'metrics'),
    (Checkpointer, 'restore', 'restore'),
  ):
    mock.patch.object(room, name, striker.wrap(point, getattr(room, name))).start()
  train = Run.train

  def marked(run: Run) -> Any:
    striker.leave('start')
    run.update = striker.wrap('update', run.update)
    return train(run)

  mock.patch.object(Run, 'train', marked).start()

  def begins(event: str, **_: Any) -> None:
    if event.endswith('/compile_requests_use_cache'):
      striker.enter('compile')

  def ends(event: str, duration_secs: float, **_: Any) -> None:
    del duration_secs
    if event.endswith('/backend_compile_duration'):
      striker.leave('compile')

  jax.monitoring.register_event_listener(begins)
  jax.monitoring.register_event_duration_secs_listener(ends)


def main() -> None:
  """Marks, and becomes the script; it does not outlive the process that started it."""
  strike, script, *flags = sys.argv[1:]
  ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
  if strike:
    striker = Striker(Strike(**json.loads(strike)))
    striker.enter('start')
    sys.addaudithook(striker.audit)
    mark(striker)
  sys.argv = [script, *flags]
  runpy.run_path(script, run_name='__main__')


if __name__ == '__main__':
  main()
