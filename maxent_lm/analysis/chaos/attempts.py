"""One process of a run, with at most one fault, to its end."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from typing import NamedTuple

from maxent_lm.analysis.chaos.growth import Held, watch
from maxent_lm.analysis.chaos.points import Strike
from maxent_lm.analysis.chaos.schedule import POINTS, Fault

SIGNALS = {
  'term': signal.SIGTERM,
  'pause': signal.SIGSTOP,
  'second': signal.SIGSTOP,  # so that it is surely still there
  'full': 0,
}  # the other kinds: SIGKILL
RESUMABLE = 143  # exit status of a run that was told to stop, has saved, and can go on
ERROR = 'error: '  # how a run begins the sentence that says why it has ended
HUNG = 600  # seconds without an end
FULL = 4  # seconds without space


class Lab(NamedTuple):
  """What is run, where.

  Attributes:
    command: script and flags, but for --workdir.
    workdir: of the undisturbed run and its digest.
    scratch: of the others, perhaps on a small disk.
    cache: of compiled programs.
  """

  command: Sequence[str]
  workdir: pathlib.Path
  scratch: pathlib.Path
  cache: pathlib.Path


class Ended(NamedTuple):
  """How a process ended.

  Attributes:
    status: exit status, -N for signal N.
    said: its last line.
    inside: what it was in when it was struck; None if it was not.
    noticed: what was seen while it ran.
  """

  status: int
  said: str
  inside: list[str] | None
  noticed: str


class Child(NamedTuple):
  """A process, and where its log begins."""

  process: 'subprocess.Popen[bytes]'
  log: pathlib.Path
  begin: int

  def last_words(self) -> str:
    """The last line that tells an error, or else the last line."""
    text = self.log.read_bytes()[self.begin :].decode(errors='replace')
    lines = [line.strip() for line in re.split('[\r\n]', text) if line.strip()]
    return ([line for line in lines if line.startswith(ERROR)] or lines or [''])[-1]


def plain(lab: Lab, folder: pathlib.Path) -> Ended:
  """The command as users give it, in that folder."""
  child = _start(lab, folder, [*lab.command, f'--workdir={folder}'])
  return Ended(child.process.wait(), child.last_words(), None, '')


def watched(lab: Lab, folder: pathlib.Path) -> tuple[Ended, list[Held]]:
  """As `plain`, with what the process held on its way."""
  child = _start(lab, folder, [*lab.command, f'--workdir={folder}'])
  seen = watch(child.process, folder / 'metrics.jsonl')
  return Ended(child.process.wait(), child.last_words(), None, ''), seen


def attempt(lab: Lab, folder: pathlib.Path, fault: Fault | None) -> Ended:
  """The command with its points marked, struck by the fault if it comes where that strikes."""
  note = lab.workdir / 'note.json'
  note.unlink(missing_ok=True)
  strike = ''
  if fault is not None:
    number = int(SIGNALS.get(fault.kind, signal.SIGKILL))
    each = Strike(fault.point, fault.nth, fault.delay, number, str(folder), str(note))
    strike = json.dumps(each._asdict())
  command = ['-m', 'maxent_lm.analysis.chaos.points', strike, *lab.command, f'--workdir={folder}']
  child = _start(lab, folder, command, cold=fault is not None and POINTS[fault.point].cold)
  noticed = ''
  try:
    if fault is not None and fault.kind in MEANWHILE and _struck(note, child.process):
      noticed = MEANWHILE[fault.kind](lab, folder, child.process)
    child.process.wait(HUNG)
  except subprocess.TimeoutExpired:
    child.process.kill()
    return Ended(child.process.wait(), f'no end in {HUNG} s', None, noticed)
  inside = json.loads(note.read_text()) if note.exists() else None
  return Ended(child.process.returncode, child.last_words(), inside, noticed)


def _start(
  lab: Lab, folder: pathlib.Path, arguments: Sequence[str], *, cold: bool = False
) -> Child:
  """Python with these arguments; `cold` is without anything that was compiled before.

  What it says is kept elsewhere than its run folder, whose disk may be full.
  """
  cache = lab.workdir / 'cold' if cold else lab.cache
  if cold:
    shutil.rmtree(cache, ignore_errors=True)
  environment = {
    **{**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_COMPILATION_CACHE_DIR': str(cache)},
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  log = lab.workdir / 'logs' / ('_'.join(folder.relative_to(lab.workdir).parts) + '.log')
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('ab') as file:
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    return Child(process, log, file.tell())


def _struck(note: pathlib.Path, process: 'subprocess.Popen[bytes]') -> bool:
  """Waits for the note, or for the end."""
  while process.poll() is None and not note.exists():
    time.sleep(0.01)
  return note.exists()


def _pause(lab: Lab, folder: pathlib.Path, process: 'subprocess.Popen[bytes]') -> str:
  """It stands still for a second."""
  del lab, folder
  time.sleep(1)
  process.send_signal(signal.SIGCONT)
  return ''


def _second(lab: Lab, folder: pathlib.Path, process: 'subprocess.Popen[bytes]') -> str:
  """The same command is given again in the same folder; what came of that."""
  own = folder.with_name(f'{folder.name}_second')  # of its log
  second = _start(lab, own, [*lab.command, f'--workdir={folder}'])
  try:
    status = second.process.wait(HUNG // 2)
  except subprocess.TimeoutExpired:
    second.process.kill()
    status = second.process.wait()
  process.send_signal(signal.SIGCONT)
  return f'status {status}: {second.last_words()}'


def _full(lab: Lab, folder: pathlib.Path, process: 'subprocess.Popen[bytes]') -> str:
  """No space is left on the disk of the run for a while."""
  del lab
  with _ballast(folder.with_name('ballast')), contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(FULL)
  return ''


@contextlib.contextmanager
def _ballast(path: pathlib.Path) -> Generator[None, None, None]:
  """Takes all space that is left."""
  try:
    with contextlib.suppress(OSError), path.open('wb', buffering=0) as file:
      while True:
        file.write(bytes(1 << 12))
    yield
  finally:
    path.unlink(missing_ok=True)


MEANWHILE = {'pause': _pause, 'second': _second, 'full': _full}
