"""One run: hand out the descriptors, wait within limits, and decide what the ending means."""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from maxent_lm.tasks.sandbox import candidate, supervisor
from maxent_lm.tasks.sandbox.examiner import BOARD_BYTES, HEARD, TURN, WAITING
from maxent_lm.tasks.sandbox.programs import Program, Verdict
from maxent_lm.tasks.sandbox.supervisor import Children, End, Zygote, is_dead

MAX_OUTPUT = 4 * 2**20
MAX_REPORT = 2**16
# CPU seconds are the limit that does not depend on the load. The clock on the wall is for those who
# sleep: whoever still computes when it runs out, or waits for a CPU, gets more, up to a bound.
WALL_FACTOR, WALL_EXTRA_S, PATIENCE = 2.0, 1.0, 5.0
# Shares of the time since the last look below which a run counts as asleep: of computing and of
# waiting for a CPU; of computing alone, where the system does not tell who waits.
AWAKE, AWAKE_UNTOLD = 0.5, 0.05
LETTING_DIE_S = 1.0
# A process may come to these by what it computes; other signals are somebody else's.
OWN_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class InfraError(Exception):
  """The run says nothing about the program."""


class _Ends(contextlib.ExitStack):
  """Our file descriptors and those for the children, all closed in the end."""

  def __init__(self) -> None:
    super().__init__()
    self.open: set[int] = set()

  def keep(self, fd: int) -> int:
    """Closes `fd` at the end, unless `drop` did."""
    self.callback(lambda: self.drop([fd]))
    self.open.add(fd)
    return fd

  def drop(self, fds: Sequence[int]) -> None:
    """Closes those that are open; the other side sees our end closed."""
    for fd in fds:
      if fd in self.open:
        self.open.remove(fd)
        os.close(fd)

  def file(self, content: bytes) -> int:
    """A file in memory with that content, to be read from its start."""
    fd = self.keep(os.memfd_create('payload'))
    os.truncate(fd, len(content))
    os.pwrite(fd, content, 0)
    return fd

  def pipe(self) -> tuple[int, int]:
    """(read, write)."""
    read, write = os.pipe()
    return self.keep(read), self.keep(write)


class _Clock:
  """The wall limit of a run."""

  def __init__(self, program: Program, children: Children) -> None:
    self._children = children
    self._start = time.monotonic()
    self._soft = WALL_FACTOR * program.timeout_s + WALL_EXTRA_S
    self._hard = PATIENCE * self._soft
    self._looked = self._busy = 0.0  # when, and the busy seconds by then

  def left(self) -> float:
    """Seconds until the limit; 0 if it is reached, more if the processes are still computing."""
    elapsed = time.monotonic() - self._start
    if elapsed < self._soft:
      return self._soft - elapsed
    if elapsed >= self._hard or self._is_asleep(elapsed):
      return 0.0
    self._soft = elapsed + min(1.0, self._hard - elapsed)
    return self._soft - elapsed

  def _is_asleep(self, elapsed: float) -> bool:
    """Whether the processes could have run for too little of the time since the last look."""
    pidfds = self._children.pidfds
    used = sum(map(supervisor.cpu_seconds, pidfds))
    waited = [supervisor.waited_seconds(pidfd) for pidfd in pidfds]
    told = [seconds for seconds in waited if seconds is not None]
    share = AWAKE if len(told) == len(waited) else AWAKE_UNTOLD
    busy, since = used + sum(told) - self._busy, elapsed - self._looked
    self._busy, self._looked = self._busy + busy, elapsed
    # A long wait is told only when it is over.
    return busy < share * since and not any(map(supervisor.is_runnable, pidfds))


class _Output(NamedTuple):
  data: bytes
  whole: bool  # the writers closed it


def _read(fd: int, limit: int, clock: _Clock) -> _Output:
  """What is written to a pipe until it closes, the limit is passed or time is over."""
  data = bytearray()
  poll = select.poll()
  poll.register(fd, select.POLLIN)
  while len(data) <= limit:
    left = clock.left()
    if not poll.poll(left * 1000):
      if left == 0:
        return _Output(bytes(data), False)
      continue
    part = os.read(fd, 2**16)
    if not part:
      return _Output(bytes(data), True)
    data += part
  return _Output(bytes(data), False)


def _request(kind: str, program: Program) -> dict[str, Any]:
  return {'run': kind, 'timeout_s': program.timeout_s, 'memory_mb': program.memory_mb}


def _is_timeout(end: End, timeout_s: float) -> bool:
  by_timer = end.code in (-signal.SIGPROF, -signal.SIGXCPU)
  return by_timer or (end.code == -signal.SIGKILL and end.cpu_s >= timeout_s)


def _was_cut_off(end: End, timeout_s: float, whose: str) -> bool:
  """Whether the limit of CPU seconds ended the process; InfraError if somebody else did."""
  if _is_timeout(end, timeout_s):
    return True
  if end.code == -signal.SIGKILL:  # it has no way to do that to itself
    raise InfraError(f'the process of the {whose} was killed by something else.')
  return False


def run_tests(zygote: Zygote, program: Program) -> Verdict:
  """Runs a program with tests in Python.

  Raises:
    InfraError, ZygoteGone: nothing is known about the program.
  """
  with _Ends() as ends:
    source = ends.file(program.code.encode('utf-8', 'surrogatepass'))
    asked = json.dumps({'tests': program.tests, 'names': program.names}).encode()
    payload, board = ends.file(asked), ends.file(bytes(BOARD_BYTES))
    first, second = socket.socketpair()
    theirs, ours = ends.keep(first.detach()), ends.keep(second.detach())
    read, write = ends.pipe()
    given = [source, theirs, payload, ours, write, board]
    children = zygote.start(_request('examine', program), given)
    try:
      ends.drop([source, theirs, payload, ours, write])
      report = _read(read, MAX_REPORT, _Clock(program, children))
      noted = os.pread(board, BOARD_BYTES, 0)  # before the end of the one wakes the other
      # A candidate that merely closed its connection is alive, and killing it must not look as if
      # somebody else had done so.
      patience = LETTING_DIE_S if b'"crashed"' in report.data else 0
      died = report.whole and is_dead(children.pidfds[0], patience)
      stopped = not report.whole and any(map(supervisor.is_stopped, children.pidfds))
    finally:
      first_end, second_end = zygote.stop(children)
  if stopped:
    raise InfraError('a process was stopped by something else.')
  if not report.whole:
    if noted[TURN] == WAITING:
      return Verdict('timeout', 'the program did not answer in time')
    raise InfraError('the tests hang.')
  if not report.data:
    if _was_cut_off(second_end, program.timeout_s, 'tests'):
      return Verdict('timeout', 'in the tests')
    ended = f'the process of the tests ended with {second_end.code}'
    if noted[HEARD] and (second_end.code >= 0 or -second_end.code in OWN_SIGNALS):
      return Verdict('failed', f'{ended}, from what the program sent')
    raise InfraError(f'{ended}.')
  return _explain(Verdict(**json.loads(report.data)), first_end if died else None, program)


def _explain(verdict: Verdict, end: End | None, program: Program) -> Verdict:
  """The verdict of the examiner, with what it cannot see: how the candidate's process ended."""
  if verdict.status != 'crashed' or end is None:
    return verdict
  if _was_cut_off(end, program.timeout_s, 'program'):
    return Verdict('timeout', 'CPU seconds')
  return verdict._replace(detail=f'its process ended with {end.code}')


def run_case(zygote: Zygote, program: Program, stdin: str, expected: str) -> Verdict:
  """Runs a program as a script on one input, and compares its output here.

  Raises:
    InfraError, ZygoteGone: nothing is known about the program.
  """
  with _Ends() as ends:
    source = ends.file(program.code.encode('utf-8', 'surrogatepass'))
    given = ends.file(stdin.encode('utf-8', 'surrogatepass'))
    read, write = ends.pipe()
    children = zygote.start(_request('program', program), [source, given, write])
    try:
      ends.drop([source, given, write])
      clock = _Clock(program, children)
      output = _read(read, MAX_OUTPUT, clock)
      ended = output.whole and _wait(children.pidfds[0], clock)
      stopped = not ended and supervisor.is_stopped(children.pidfds[0])
    finally:
      (end,) = zygote.stop(children)
  if len(output.data) > MAX_OUTPUT:
    return Verdict('output_limit', f'more than {MAX_OUTPUT} bytes')
  if stopped:
    raise InfraError('the process of the program was stopped by something else.')
  if not ended or _was_cut_off(end, program.timeout_s, 'program'):
    return Verdict('timeout')
  return _judge_output(end, output.data, expected)


def _wait(pidfd: int, clock: _Clock) -> bool:
  while not is_dead(pidfd, left := clock.left()):
    if left == 0:
      return False
  return True


def _judge_output(end: End, output: bytes, expected: str) -> Verdict:
  reasons = {candidate.SYNTAX: 'syntax', candidate.OUT_OF_MEMORY: 'oom', candidate.RAISED: 'failed'}
  if end.code:
    return Verdict(reasons.get(end.code, 'crashed'), f'its process ended with {end.code}')
  if lines(output) != lines(expected.encode('utf-8', 'surrogatepass')):
    return Verdict('failed', 'the output differs')
  return Verdict('passed')


def lines(text: bytes) -> list[bytes]:
  """The lines without blanks at their ends and without empty ones at the end of the text."""
  rows = [row.rstrip() for row in text.split(b'\n')]
  while rows and not rows[-1]:
    rows.pop()
  return rows


def run(zygote: Zygote, program: Program) -> Verdict:
  """Runs a program; with cases, one after the other until one is not passed."""
  if program.tests:
    return run_tests(zygote, program)
  for stdin, expected in program.cases:
    verdict = run_case(zygote, program, stdin, expected)
    if not verdict.passed:
      return verdict
  return Verdict('passed')
