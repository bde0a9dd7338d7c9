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
HUNG = 600  # seconds without an end
FULL = 2  # seconds without space


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


def plain(lab: Lab, folder: pathlib.Path) -> Ended:
  """The command as users give it, in that folder."""
  process = _start(lab, [*lab.command, f'--workdir={folder}'], _log(folder))
  return Ended(process.wait(), last_line(_log(folder)), None, '')


def watched(lab: Lab, folder: pathlib.Path) -> tuple[Ended, list[Held]]:
  """As `plain`, with what the process held on its way."""
  process = _start(lab, [*lab.command, f'--workdir={folder}'], _log(folder))
  seen = watch(process, folder / 'metrics.jsonl')
  return Ended(process.wait(), last_line(_log(folder)), None, ''), seen


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
  cold = fault is not None and POINTS[fault.point].cold
  process = _start(lab, command, _log(folder), cold=cold)
  noticed = ''
  try:
    if fault is not None and fault.kind in MEANWHILE and _struck(note, process):
      noticed = MEANWHILE[fault.kind](lab, folder, process)
    process.wait(HUNG)
  except subprocess.TimeoutExpired:
    process.kill()
    process.wait()
    return Ended(process.returncode, f'no end in {HUNG} s', None, noticed)
  inside = json.loads(note.read_text()) if note.exists() else None
  return Ended(process.returncode, last_line(_log(folder)), inside, noticed)


def last_line(log: pathlib.Path) -> str:
  """The last line that was said, without what a progress bar wrote over."""
  lines = re.split('[\r\n]', log.read_text(errors='replace'))
  return next((line.strip() for line in reversed(lines) if line.strip()), '')


def _log(folder: pathlib.Path) -> pathlib.Path:
  """Beside the run folder, not in it."""
  return folder.with_name(f'{folder.name}.log')


def _start(
  lab: Lab, arguments: Sequence[str], log: pathlib.Path, *, cold: bool = False
) -> 'subprocess.Popen[bytes]':
  """Python with these arguments; `cold` is without anything that was compiled before."""
  cache = lab.workdir / 'cold' if cold else lab.cache
  if cold:
    shutil.rmtree(cache, ignore_errors=True)
  environment = {
    **{**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_COMPILATION_CACHE_DIR': str(cache)},
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('ab') as file:
    return subprocess.Popen([sys.executable, *arguments], env=environment, stdout=file, stderr=file)


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
  log = folder.with_name(f'{folder.name}_second.log')
  second = _start(lab, [*lab.command, f'--workdir={folder}'], log)
  try:
    status = second.wait(HUNG // 2)
  except subprocess.TimeoutExpired:
    second.kill()
    status = second.wait()
  process.send_signal(signal.SIGCONT)
  return f'status {status}: {last_line(log)}'


def _full(lab: Lab, folder: pathlib.Path, process: 'subprocess.Popen[bytes]') -> str:
  """No space is left on the file system of the run for a while."""
  del lab
  with _ballast(folder.with_name('ballast')), contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(FULL)
  return ''


@contextlib.contextmanager
def _ballast(path: pathlib.Path) -> Generator[None, None, None]:
  try:
    with contextlib.suppress(OSError), path.open('wb', buffering=0) as file:
      while True:
        file.write(bytes(1 << 12))
    yield
  finally:
    path.unlink(missing_ok=True)


MEANWHILE = {'pause': _pause, 'second': _second, 'full': _full}
