"""What a process takes from its host."""

import ctypes
import os
import re
import subprocess
import sys

import pytest

from maxent_lm import process

# Eight threads that live at the same time take memory, then malloc tells of its arenas.
THREADS = """
import ctypes, threading
from maxent_lm import process
{first}
meet = threading.Barrier(8)
def take():
  libc = ctypes.CDLL(None)
  libc.malloc.restype = ctypes.c_void_p
  libc.malloc(5000)
  meet.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallopt'), reason='glibc alone has arenas')
@pytest.mark.parametrize(
  ('first', 'limit', 'arenas'),
  [
    ('', '8', range(3, 9)),
    ('process.share_arenas()', None, range(1, 3)),
    ('process.share_arenas()', '8', range(3, 9)),  # who sets the limit has the say
  ],
)
def test_threads_share_arenas(first, limit, arenas):
  surroundings = {name: value for name, value in os.environ.items() if name != 'MALLOC_ARENA_MAX'}
  if limit is not None:
    surroundings['MALLOC_ARENA_MAX'] = limit
  code = THREADS.format(first=first)
  ran = subprocess.run(
    [sys.executable, '-c', code], env=surroundings, capture_output=True, text=True, check=True
  )
  assert len(re.findall(r'^Arena \d+:', ran.stderr, re.MULTILINE)) in arenas


def test_free_memory_can_be_handed_back():
  process.release_memory()
  process.forget_peak()
  assert 0 < process.peak_mb() < process.host_memory() >> 20
  assert process.since_start() > 0
