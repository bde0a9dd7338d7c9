"""Questions to sympy, asked of another process that is killed when its time is over.

Worked example:

  decide(parse(r'\\sin^2 x+\\cos^2 x'), parse('1'))   (Verdict.EQUAL, 0.3), if sympy is there

The process (worker.py) is started by exec with an environment of nothing but the seed of its hashes
and no file but its pipes; only trees cross, as JSON. It imports sympy once and forks for every
question: 1 s and 1 GiB each, behind the seccomp filter of the code sandbox where the kernel has one
(`locked`). It is started when it is first needed, serves all threads one after another (a thread
that waits does not lose its own second), is replaced when it dies or falls silent, and is then
asked once more, and ends when this process does. Nothing here sets a timer or a signal handler, so
that it works in every thread; a forked copy of this process starts a worker of its own. The
worker's hashes are not random: the same question takes the same way through sympy.

Without sympy, an optional extra (`pip install maxent_lm[maths]`), every answer is UNDECIDED.
"""

import atexit
import contextlib
import enum
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from maxent_lm.tasks.maths.nodes import Node
from maxent_lm.tasks.maths.numeric import is_count

SECONDS = 0.95  # of one question, at most
START_SECONDS = 60.0  # for importing sympy, on a busy machine and without compiled files
ANSWER_SECONDS = 1.1  # after which a worker that should have stopped is killed

GRACE_SECONDS = 1.0  # for a process that closed its pipe to end
MAX_SLOW_STARTS = 3  # after which sympy counts as missing

_WORKER = pathlib.Path(__file__).with_name('worker.py')
_PYTHON = (sys.executable, '-s', '-P')  # no user's packages, and not the folder of the script
_ENVIRONMENT = {'PYTHONHASHSEED': '0'}


class Verdict(enum.Enum):
  """What sympy says; TIMEOUT is chance, and also stands for a lost worker and a slow start."""

  EQUAL = 'equal'
  DIFFERENT = 'different'
  UNDECIDED = 'undecided'
  TIMEOUT = 'timeout'


class _Worker:
  """One worker process; `None` as an answer says that it is of no use any more."""

  def __init__(self) -> None:
    self._process = subprocess.Popen(
      [*_PYTHON, str(_WORKER)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      cwd='/',
      env=_ENVIRONMENT,
      bufsize=0,
      start_new_session=True,
    )
    greeting = self._read(START_SECONDS)
    self.works, self.locked = greeting in ('ready', 'ready locked'), greeting == 'ready locked'
    self.slow = not self.works and not self._gave_up()
    if not self.works:
      self.stop()

  def _gave_up(self) -> bool:
    """Whether the process ended itself with an error, as it does without sympy."""
    with contextlib.suppress(subprocess.TimeoutExpired):
      return self._process.wait(GRACE_SECONDS) > 0
    return False

  def ask(self, question: str) -> str | None:
    try:
      assert self._process.stdin is not None
      self._process.stdin.write(question.encode() + b'\n')
      self._process.stdin.flush()
    except OSError:
      return None
    return self._read(ANSWER_SECONDS)

  def _read(self, seconds: float) -> str | None:
    assert self._process.stdout is not None
    ready, _, _ = select.select([self._process.stdout], [], [], seconds)
    line = os.read(self._process.stdout.fileno(), 64).decode() if ready else ''
    return line.strip() or None

  def stop(self) -> None:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signal.SIGKILL)  # with the fork that is at work
    self._process.wait()
    for stream in (self._process.stdin, self._process.stdout):
      assert stream is not None
      stream.close()


class _Service:
  """The worker of this process, behind a lock."""

  def __init__(self) -> None:
    self._lock, self._worker = threading.Lock(), None
    self._missing, self._slow_starts = False, 0

  def ask(self, question: str) -> tuple[Verdict, float]:
    with self._lock:
      for _ in range(2):  # again, if the worker died or fell silent
        if not self._ready():
          return (Verdict.UNDECIDED if self._missing else Verdict.TIMEOUT), 0.0
        assert self._worker is not None
        start = time.monotonic()
        answer = self._worker.ask(question)
        if answer is not None:
          return Verdict(answer), time.monotonic() - start
        self._worker.stop()
        self._worker = None
      return Verdict.TIMEOUT, SECONDS

  def _ready(self) -> bool:
    if self._worker is None and not self._missing:
      worker = _Worker()
      self._worker = worker if worker.works else None
      self._slow_starts += worker.slow
      gave_up = not worker.works and not worker.slow
      self._missing = gave_up or self._slow_starts >= MAX_SLOW_STARTS
    return self._worker is not None

  def warm(self) -> bool:
    with self._lock:
      return self._ready()

  def locked(self) -> bool:
    with self._lock:
      return self._ready() and self._worker is not None and self._worker.locked

  def stop(self) -> None:
    with self._lock:
      if self._worker is not None:
        self._worker.stop()
      self._worker = None


_service = _Service()


def _renew() -> None:
  global _service
  _service = _Service()


os.register_at_fork(after_in_child=_renew)  # two processes must not share one pipe


def warm() -> bool:
  """Starts the worker now rather than at the first question; False if there is no sympy."""
  return _service.warm()


def locked() -> bool:
  """Whether questions are answered behind a seccomp filter; where not, under limits alone."""
  return _service.locked()


def stop() -> None:
  """Ends the worker; the next question starts another."""
  _service.stop()


atexit.register(stop)


def _plain(node: Node) -> Any:
  kind = node[0]
  if kind == 'num':
    return [kind, [node[1].numerator, node[1].denominator]]
  if kind == 'var':
    return [kind, node[1], is_count(node[1])]
  return [
    [_plain(each) for each in part]
    if isinstance(part, tuple) and part and isinstance(part[0], tuple)
    else _plain(part)
    if isinstance(part, tuple)
    else part
    for part in node
  ]


def decide(left: Node, right: Node, *, seconds: float = SECONDS) -> tuple[Verdict, float]:
  """Whether two scalar trees have the same value for all values of their variables.

  Returns the verdict and how many seconds were spent on it, those of starting the worker and of
  waiting for other threads excluded.
  """
  question = {'left': _plain(left), 'right': _plain(right), 'seconds': min(seconds, SECONDS)}
  return _service.ask(json.dumps(question))
