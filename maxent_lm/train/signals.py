"""SIGTERM and SIGINT as requests: the step in flight is finished and saved, then the program ends.

A second signal ends it at once, and so does the end of a grace; then the newest checkpoint is what
it was. The status is `hosts.STOPPED` in every case.

Python runs handlers in the main thread, and not while that waits for XLA, which compiles for
minutes. So a thread reads the numbers of the signals from a pipe, which C writes them into as they
come. What was started beside (sandbox, sympy) has sessions of its own, which a terminal's Ctrl-C
does not reach, and ends with the pipes that this process holds, however it ends.
"""

import contextlib
import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Generator

import jax
from jax.experimental import multihost_utils

from maxent_lm import hosts

ASKS = (signal.SIGTERM, signal.SIGINT)
# Seconds in which signals are one request: `timeout` and some launchers send each of them twice.
TOGETHER = 0.5
CLOSE = b'\0'  # no signal's number

_asked = threading.Event()


def stopping(step: int) -> bool:
  """Whether to stop after `step` steps: the same answer in all processes, to be asked every step.

  Several processes stop after the same step, whichever of them was asked; they find out within
  seconds.
  """
  if jax.process_count() == 1:
    return _asked.is_set()
  return multihost_utils.reached_preemption_sync_point(step)


@contextlib.contextmanager
def listening(*, grace: float) -> Generator[None, None, None]:
  """Signals are requests inside; for the main thread, once all processes are connected.

  `grace`: seconds from the first signal after which the process ends at once; 0 is no limit.

  Raises:
    ValueError: grace < 0.
  """
  if grace < 0:
    raise ValueError(f'config.grace={grace} must be at least 0 (seconds; 0: no limit)')
  pass_on = _jax_handler() if jax.process_count() > 1 else None
  before = {number: signal.signal(number, _nothing) for number in ASKS}
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  thread = threading.Thread(target=_listen, args=(reader, grace, pass_on), daemon=True)
  thread.start()
  try:
    yield
  finally:
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
      signal.signal(number, handler)
    os.write(writer, CLOSE)
    thread.join()
    os.close(reader)
    os.close(writer)
    _asked.clear()


def _listen(reader: int, grace: float, pass_on: Callable[[int], None] | None) -> None:
  """Until CLOSE is read, or the process is gone."""
  first = None
  while True:
    left = first + grace - time.monotonic() if first is not None and grace else None
    if left is not None and left <= 0:
      _leave(f'stopped at once, as the step was not finished {grace:g} s after the signal')
    ready, _, _ = select.select([reader], [], [], left)
    for number in os.read(reader, 64) if ready else b'':
      if number == CLOSE[0]:
        return
      if number not in ASKS:
        continue
      if first is None:
        first = time.monotonic()
        _asked.set()
        _say(_promise(signal.Signals(number).name, grace))
        if pass_on is not None:
          pass_on(signal.SIGTERM)
      elif time.monotonic() > first + TOGETHER:
        _leave('stopped at once, by a second signal')


def _promise(name: str, grace: float) -> str:
  """What the first signal is answered with."""
  limit = f', or {grace:g} s,' if grace else ''
  return f'{name}: the step is finished and saved first; a second signal{limit} ends it at once'


def _leave(reason: str) -> None:
  _say(f'{reason}; the same command goes on from the newest checkpoint')
  os._exit(hosts.STOPPED)  # the main thread may be anywhere


def _say(line: str) -> None:
  """Not through sys.stderr, whose lock the main thread may hold."""
  with contextlib.suppress(OSError):
    os.write(2, f'\n{line}\n'.encode())


def _nothing(number: int, frame: object) -> None:
  """Having a handler is what makes Python write the number into the pipe."""


def _jax_handler() -> Callable[[int], None]:
  """What JAX has installed for SIGTERM, in C++, which Python cannot see: it tells all processes."""
  libc = ctypes.CDLL(None)
  libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
  found = libc.signal(signal.SIGTERM, None)  # NULL is SIG_DFL, which is replaced at once
  return ctypes.CFUNCTYPE(None, ctypes.c_int)(found)
