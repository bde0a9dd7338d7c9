"""The watchdog: a run that hangs says where, and ends, so that it can be started again.

A collective that waits for a lost machine, a driver that does not answer and a disk that is gone
have in common that no step ends. What is committed stays, and the same command goes on from it.
"""

import contextlib
import faulthandler
import os
import pathlib
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

HUNG = 75  # exit status; EX_TEMPFAIL in sysexits.h: try again
TIMES = 10  # as long as the median step
REMEMBERED = 101  # steps


class Watchdog:
  """Ends the process if `beat` is not called for max(`seconds`, 10 median times between beats).

  The stacks of all threads go to stderr and to the file `stacks` first. With 0 seconds there is no
  watchdog. The first step compiles: `seconds` is to be longer than that.

  `clock` and `leave` stand in for time.monotonic and os._exit.

  Raises:
    ValueError: seconds < 0.
  """

  def __init__(
    self,
    stacks: pathlib.Path,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    leave: Callable[[int], object] = os._exit,
  ) -> None:
    if seconds < 0:
      raise ValueError(f'config.watchdog={seconds} must be at least 0 (seconds; 0: none)')
    self._stacks, self._seconds, self._clock, self._leave = stacks, seconds, clock, leave
    self._times: deque[float] = deque(maxlen=REMEMBERED)
    self._last = clock()
    self._over = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True, name='watchdog')

  def __enter__(self) -> 'Watchdog':
    self._last = self._clock()
    if self._seconds:
      self._thread.start()
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._over.set()
    if self._seconds:
      self._thread.join()

  def beat(self) -> None:
    """A step has ended."""
    now = self._clock()
    self._times.append(now - self._last)
    self._last = now

  @property
  def limit(self) -> float:
    """Seconds that a step may take."""
    median = statistics.median(self._times) if self._times else 0.0
    return max(self._seconds, TIMES * median)

  def _watch(self) -> None:
    while not self._over.wait(min(self._seconds / 10, 10.0)):
      if self._clock() - self._last > self.limit:
        self._tell()
        self._leave(HUNG)
        return

  def _tell(self) -> None:
    """Through descriptors: the main thread may hold the lock of sys.stderr."""
    line = f'error: no step has ended for {self.limit:.0f} s; where every thread is: {self._stacks}'
    with contextlib.suppress(OSError):  # a full disk, a closed terminal
      os.write(2, f'\n{line}\n'.encode())
      faulthandler.dump_traceback(2, all_threads=True)
    with contextlib.suppress(OSError), self._stacks.open('w') as file:
      faulthandler.dump_traceback(file, all_threads=True)
