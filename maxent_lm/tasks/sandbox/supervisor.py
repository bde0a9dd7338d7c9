"""The trainer's end of a zygote: starts it, asks it for processes, kills and reaps them.

The zygote is a fresh interpreter, not a fork of the trainer: it gets an empty environment, one
socket, and a session of its own, and it ends when the socket closes, however the trainer ends.
Processes are killed through pidfds, which cannot come to mean another process.
"""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

PACKAGE = pathlib.Path(__file__).parent
# The packages above are stood in for by empty ones: the zygote must not import NumPy with them.
BOOT = """
import sys, types
fd, tier, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
for name in ('maxent_lm', 'maxent_lm.tasks', 'maxent_lm.tasks.sandbox'):
  sys.modules[name] = types.ModuleType(name)
sys.modules[name].__path__ = [folder]
from maxent_lm.tasks.sandbox import zygote
zygote.main(fd, tier)
"""
# -I would have Python ignore PYTHONHASHSEED; these three and an empty environment isolate as much.
OPTIONS = ('-s', '-S', '-P', '-B', '-X', 'utf8')
ENVIRONMENT = {'PYTHONHASHSEED': '0', 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC'}

START_S, ANSWER_S = 60.0, 20.0


class ZygoteGone(Exception):
  """The zygote died or does not answer; what ran in it says nothing about any program."""


class Refused(Exception):
  """This machine does not allow the tier; the text says which step failed."""


class Children(NamedTuple):
  """Processes of one run."""

  pids: list[int]
  pidfds: list[int]


class End(NamedTuple):
  """How a process ended: exit status or minus the signal, CPU seconds used."""

  code: int
  cpu_s: float


class Zygote:
  """A running zygote. Its methods may be called from many threads.

  Raises:
    Refused: the tier cannot be had here.
    ZygoteGone: it died while starting.
  """

  def __init__(self, tier: str, python: str) -> None:
    self.tier = tier
    self._lock = threading.Lock()
    self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [python, *OPTIONS, '-c', BOOT, str(theirs.fileno()), tier, str(PACKAGE)]
    self._errors = os.memfd_create('zygote-errors')
    try:
      with theirs:
        self._process = subprocess.Popen(
          arguments,
          env=ENVIRONMENT,
          cwd='/',
          pass_fds=(theirs.fileno(),),
          stdin=subprocess.DEVNULL,
          stdout=subprocess.DEVNULL,
          stderr=self._errors,
          start_new_session=True,
        )
    except OSError as error:
      self._socket.close()
      os.close(self._errors)
      raise Refused(f'{python}: {error.strerror}') from error
    self._greet()

  def _greet(self) -> None:
    try:
      greeting, _ = self._receive(START_S)
    except ZygoteGone as gone:
      said = os.pread(self._errors, 2000, 0).decode(errors='replace').strip().splitlines()
      self.close()
      raise ZygoteGone(f'{gone} {said[-1] if said else ""}'.strip()) from None
    if 'refused' in greeting:
      self.close()
      raise Refused(greeting['refused'])

  @property
  def pid(self) -> int:
    """Of the process that was started, for tests."""
    return self._process.pid

  def _receive(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
    self._socket.settimeout(seconds)
    try:
      message, fds, _, _ = socket.recv_fds(self._socket, 2**16, 2)
    except OSError as error:
      raise ZygoteGone(f'the zygote does not answer ({type(error).__name__}).') from None
    if not message:
      raise ZygoteGone('the zygote is gone.')
    return json.loads(message), fds

  def _ask(self, request: dict[str, Any], fds: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
    with self._lock:
      try:
        socket.send_fds(self._socket, [json.dumps(request).encode()], list(fds))
      except OSError:
        raise ZygoteGone('the zygote is gone.') from None
      try:
        return self._receive(ANSWER_S)
      except ZygoteGone:
        self._kill()  # a late answer would be taken for that of the next request
        raise

  def start(self, request: dict[str, Any], fds: Sequence[int]) -> Children:
    """Forks the processes of a run; they get the descriptors."""
    answer, pidfds = self._ask(request, fds)
    return Children(answer['pids'], pidfds)

  def stop(self, children: Children) -> list[End]:
    """Kills what is left of the processes and says how each one ended."""
    try:
      for pidfd in children.pidfds:
        with contextlib.suppress(ProcessLookupError):
          signal.pidfd_send_signal(pidfd, signal.SIGKILL)
      answer, _ = self._ask({'reap': children.pids}, ())
    finally:
      for pidfd in children.pidfds:
        os.close(pidfd)
    return [End(code, cpu) for code, cpu in answer['ends']]

  def _kill(self) -> None:
    self._process.kill()
    self._process.wait()
    self._socket.close()

  def close(self) -> None:
    """Ends the zygote and everything in it."""
    with self._lock:
      self._kill()
      if self._errors >= 0:
        os.close(self._errors)
        self._errors = -1


def is_dead(pidfd: int, seconds: float) -> bool:
  """Whether the process ended by itself; waits for it that long."""
  poll = select.poll()
  poll.register(pidfd, select.POLLIN)
  return bool(poll.poll(max(0, seconds) * 1000))


def _pid(pidfd: int) -> int:
  """The number that the process has here, which stays its own until it is reaped."""
  with open(f'/proc/self/fdinfo/{pidfd}') as file:
    return int(dict(line.split(':', 1) for line in file)['Pid'])


def cpu_seconds(pidfd: int) -> float:
  """CPU seconds of a process that has not been reaped; 0 if it cannot be known."""
  try:
    # The number of a process's CPU clock, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~_pid(pidfd) << 3) | 2)
  except (OSError, KeyError, ValueError):
    return 0.0


def waited_seconds(pidfd: int) -> float | None:
  """Seconds in which the process could have run and got no CPU; None if this is not known here."""
  try:
    with open(f'/proc/{_pid(pidfd)}/schedstat') as file:
      _, waited_ns, turns = map(int, file.read().split())
  except (OSError, KeyError, ValueError):
    return None
  return waited_ns / 1e9 if turns else None


def _state(pidfd: int) -> str:
  """The letter of proc(5); '' if it cannot be known."""
  try:
    with open(f'/proc/{_pid(pidfd)}/stat') as file:
      return file.read().rsplit(')', 1)[1].split()[0]
  except (OSError, KeyError, ValueError):
    return ''


def is_stopped(pidfd: int) -> bool:
  """Whether somebody has stopped the process; what we run has no way to stop itself."""
  return _state(pidfd) in ('T', 't')


def is_runnable(pidfd: int) -> bool:
  """Whether the process runs, or would if it got a CPU or its memory from the disk."""
  return _state(pidfd) in ('R', 'D')


def default_python() -> str:
  """The interpreter we run on."""
  return sys.executable
