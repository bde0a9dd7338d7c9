"""This process on its host: its memory and its age. Imports nothing but Python's own."""

import ctypes
import gc
import os
import pathlib
import time

ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
CGROUP_LIMITS = ('memory.max', 'memory/memory.limit_in_bytes')  # versions 2 and 1


def release_memory() -> None:
  """Hands memory that is free back to the system.

  Compiling needs hundreds of megabytes for a moment, and glibc keeps them: a process would stay
  that large, and the next compilation would come on top. With another libc nothing happens.
  """
  gc.collect()
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
  if trim is not None:
    trim(0)


def share_arenas(arenas: int = 2) -> None:
  """Lets threads take memory from few places, where glibc has one for each, up to eight a core.

  What is free in one place is no use in another, so that a run whose saves start new threads would
  grow for thousands of steps. MALLOC_ARENA_MAX, if set, goes before. With another libc nothing
  happens.
  """
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is not None and 'MALLOC_ARENA_MAX' not in os.environ:
    mallopt(ARENA_MAX, arenas)


def host_memory() -> int:
  """Bytes that this process may use: the machine's, or less in a container (Linux)."""
  machine = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  limits = (pathlib.Path('/sys/fs/cgroup') / name for name in CGROUP_LIMITS)
  found = [path.read_text(encoding='ascii').strip() for path in limits if path.exists()]
  return min([machine, *(int(each) for each in found if each.isdigit())])


def peak_mb() -> int:
  """The most that was resident since the start, or since `forget_peak` (Linux)."""
  with open('/proc/self/status', encoding='ascii') as file:
    (line,) = (line for line in file if line.startswith('VmHWM'))
  return int(line.split()[1]) // 1024


def forget_peak() -> None:
  """The next `peak_mb` begins with what is resident now (Linux)."""
  with open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
    file.write('5')


def since_start() -> float:
  """Seconds since it was started (Linux)."""
  with open('/proc/self/stat', encoding='ascii') as file:
    ticks = int(file.read().rpartition(')')[2].split()[19])  # after boot
  return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')
