"""What a process holds while its run goes on, seen from outside (Linux)."""

import contextlib
import os
import pathlib
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

EVERY = 0.5  # seconds
WARM = 0.25  # of the steps, which are not looked at: programs are compiled, rings fill
COUNTED = ('descriptors', 'threads', 'processes', 'zombies')
LEAST = 9  # looks


class Held(NamedTuple):
  """What a process and those below it hold after so many steps; `resident`: its own bytes."""

  step: int
  resident: int
  descriptors: int
  threads: int
  processes: int
  zombies: int


class Growth(NamedTuple):
  """Of a run after its warm-up.

  Attributes:
    slope: bytes a step, the median of the slopes between all pairs (Theil-Sen).
    low: of its 95% interval.
    high: likewise.
    more: by name of `COUNTED`, how many more there were at least in the last third of the looks
      than at least in the first: what comes and goes, as in a save, is in neither.
  """

  slope: float
  low: float
  high: float
  more: dict[str, int]


def watch(process: 'subprocess.Popen[bytes]', metrics: pathlib.Path) -> list[Held]:
  """Looks at it until it ends; its step is the number of lines of its metrics."""
  seen, lines, read = [], 0, 0
  while process.poll() is None:
    if metrics.exists():
      with metrics.open('rb') as file:
        file.seek(read)
        new = file.read()
      lines, read = lines + new.count(b'\n'), read + len(new)
    with contextlib.suppress(OSError):  # it has just ended
      if lines and (look := held(process.pid, lines)).resident:  # 0 while it ends
        seen.append(look)
    time.sleep(EVERY)
  return seen


def held(pid: int, step: int) -> Held:
  """What there is now."""
  states = [_state(each) for each in (pid, *below(pid))]
  return Held(
    step=step,
    resident=_resident(pid),
    descriptors=len(os.listdir(f'/proc/{pid}/fd')),
    threads=len(os.listdir(f'/proc/{pid}/task')),
    processes=sum(state not in 'ZX' for state in states),
    zombies=states.count('Z'),
  )


def below(pid: int) -> list[int]:
  """The processes that descend from it."""
  children: list[int] = []
  with contextlib.suppress(OSError):
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
      children += map(int, (task / 'children').read_text().split())
  return children + [each for child in children for each in below(child)]


def of(seen: Sequence[Held]) -> Growth:
  """Of what was seen after the warm-up.

  Raises:
    ValueError: that are too few looks.
  """
  last = max((each.step for each in seen), default=0)
  warm = [each for each in seen if each.step >= WARM * last]
  if len(warm) < LEAST:
    raise ValueError(f'a run was looked at {len(warm)} times after its warm-up: give it more steps')
  steps = np.array([each.step for each in warm])
  slope, _, low, high = stats.theilslopes([each.resident for each in warm], steps)
  third = len(warm) // 3

  def least(part: Sequence[Held], name: str) -> int:
    return min(getattr(each, name) for each in part)

  more = {name: least(warm[-third:], name) - least(warm[:third], name) for name in COUNTED}
  return Growth(float(slope), float(low), float(high), more)


def _resident(pid: int) -> int:
  pages = pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1]
  return int(pages) * os.sysconf('SC_PAGE_SIZE')


def _state(pid: int) -> str:
  """One letter; X for a process that is gone."""
  with contextlib.suppress(OSError):
    return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
  return 'X'
