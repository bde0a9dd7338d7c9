"""A run folder belongs to one run at a time: the lock, and when it is taken over.

`workdir/run.lock` says who holds it, and is locked with flock, which the kernel gives up however
its process ends. On network disks flock may be missing or end at the machine. So the holder counts
a number in the file up, every `BEAT` seconds, and whoever finds the file of another machine looks
whether the number moves, for `PATIENCE` seconds of its own clock: no two clocks are compared, and
no names of machines. A holder that was held up for longer, and whose folder was taken over, ends
at its next beat.

The file stays when the run is over, empty.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import platform
import sys
import threading
import time
import uuid
from collections.abc import Generator

NAME = 'run.lock'
BEAT, PATIENCE = 10.0, 60.0  # seconds
BOOT_ID = pathlib.Path('/proc/sys/kernel/random/boot_id')


@dataclasses.dataclass
class Holder:
  """What the file says.

  Attributes:
    run: a random name of this process.
    kernel: of the kernel that runs it; flock is known to reach as far.
    locked: whether it has the file with flock, too.
    host, pid, since: for people.
    beat: how often it has shown that it lives.
  """

  run: str
  kernel: str
  locked: bool
  host: str
  pid: int
  since: str
  beat: int = 0

  def __str__(self) -> str:
    return f'process {self.pid} on {self.host} since {self.since}'


@contextlib.contextmanager
def hold(
  workdir: pathlib.Path, *, beat: float = BEAT, patience: float = PATIENCE
) -> Generator[None, None, None]:
  """The folder, made if missing, is this process's inside.

  A holder that is dead is replaced: at once where flock says so, else after `patience`.

  Raises:
    BlockingIOError: another process holds it; the sentence says which, and since when.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  path = workdir / NAME
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
  try:
    locked = _flock(descriptor, path)
    _replace_dead(path, locked=locked, beat=beat, patience=patience)
    holder = Holder(uuid.uuid4().hex, _kernel(), locked, platform.node(), os.getpid(), _now())
    _write(descriptor, holder)
    over = threading.Event()
    arguments = path, descriptor, holder, beat, over
    thread = threading.Thread(target=_beat, args=arguments, daemon=True, name='lock')
    thread.start()
    try:
      yield
    finally:
      over.set()
      thread.join()
      _release(path, descriptor, holder)
  finally:
    os.close(descriptor)


def _flock(descriptor: int, path: pathlib.Path) -> bool:
  """Whether the file is locked now; False where this file system has no such locks."""
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    raise _taken(path) from None
  except OSError:
    return False
  return True


def _replace_dead(path: pathlib.Path, *, locked: bool, beat: float, patience: float) -> None:
  """Returns once nobody who lives is named in the file; raises if somebody is."""
  said = path.read_bytes()
  holder = read(path)
  if not said.strip():
    return
  if holder is not None and locked and holder.locked and holder.kernel == _kernel():
    return  # it would have the file locked
  print(
    f'{path} names {holder or "somebody"}: looking up to {patience:g} s for signs of life',
    file=sys.stderr,
  )
  end = time.monotonic() + patience
  while time.monotonic() < end:
    time.sleep(beat / 4)
    if path.read_bytes() != said:
      raise _taken(path)


def _taken(path: pathlib.Path) -> BlockingIOError:
  return BlockingIOError(
    f'{path.parent} is in use by {read(path) or "another process"}; wait until that has ended or '
    'choose another --workdir'
  )


def _beat(
  path: pathlib.Path, descriptor: int, holder: Holder, seconds: float, over: threading.Event
) -> None:
  while not over.wait(seconds):
    other = read(path)
    if other is not None and other.run != holder.run:
      message = f'error: {path.parent} was taken over by {other}; this run ends\n'
      os.write(2, message.encode())
      os._exit(1)  # before the main thread writes a byte more
    holder.beat += 1
    with contextlib.suppress(OSError):  # a disk that is away for a moment
      _write(descriptor, holder)


def _write(descriptor: int, holder: Holder) -> None:
  """Over what is there, cut to length after: at no time is the file empty."""
  text = json.dumps(dataclasses.asdict(holder)).encode() + b'\n'
  os.pwrite(descriptor, text, 0)
  os.ftruncate(descriptor, len(text))
  os.fsync(descriptor)


def _release(path: pathlib.Path, descriptor: int, holder: Holder) -> None:
  last = read(path)
  if last is not None and last.run == holder.run:
    with contextlib.suppress(OSError):
      os.ftruncate(descriptor, 0)


def read(path: pathlib.Path) -> Holder | None:
  """Whom the file names, None if that cannot be understood.

  It is opened anew, which is when network disks ask the server.
  """
  try:
    return Holder(**json.loads(path.read_bytes()))
  except (OSError, ValueError, TypeError, RecursionError):
    return None


def _kernel() -> str:
  """The same in all containers of a machine, another after it was started anew."""
  return BOOT_ID.read_text().strip() if BOOT_ID.exists() else platform.node()


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M:%S UTC')
