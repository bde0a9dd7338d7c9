"""A run in which nothing ends any more says where it is, and ends."""

import subprocess
import sys
import threading

import pytest
from launch import ROOT

from maxent_lm.train.watchdog import HUNG, TIMES, Watchdog

HANG = """
import pathlib, threading
from maxent_lm.train.watchdog import Watchdog

def waits_for_ever():
  threading.Event().wait()

with Watchdog(pathlib.Path('stacks.txt'), seconds=0.2):
  waits_for_ever()
"""


class Clock:
  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


def test_a_hang_ends_with_the_stacks_of_all_threads(tmp_path):
  ended = subprocess.run(
    [sys.executable, '-c', HANG],
    cwd=tmp_path,
    env={'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert ended.returncode == HUNG == 75
  assert 'error: no step has ended for 0 s; where every thread is: stacks.txt' in ended.stderr
  for text in (ended.stderr, (tmp_path / 'stacks.txt').read_text()):
    assert 'in waits_for_ever' in text and 'in _watch' in text


def test_slow_steps_have_ten_times_their_median():
  clock = Clock()
  watchdog = Watchdog(None, seconds=5, clock=clock)
  assert watchdog.limit == 5
  for seconds in (600, 0.1, 0.1):  # the first one compiles
    clock.now += seconds
    watchdog.beat()
  assert watchdog.limit == 5
  for _ in range(4):
    clock.now += 60
    watchdog.beat()
  assert watchdog.limit == pytest.approx(TIMES * 60)


def test_it_bites_when_the_clock_says_so_and_not_before(tmp_path, capfd):
  clock, bitten, statuses = Clock(), threading.Event(), []

  def leave(status):
    statuses.append(status)
    bitten.set()

  with Watchdog(tmp_path / 'stacks.txt', seconds=0.01, clock=clock, leave=leave) as watchdog:
    clock.now = 3.0
    watchdog.beat()  # 3 s: from now on 30 are allowed
    clock.now = 32.9
    assert not bitten.wait(0.2) and not (tmp_path / 'stacks.txt').exists()
    clock.now = 33.1
    assert bitten.wait(60)
  assert statuses == [HUNG]
  assert 'no step has ended for 30 s' in capfd.readouterr().err


def test_none_is_none():
  clock = Clock()
  with Watchdog(None, seconds=0, clock=clock, leave=pytest.fail):
    clock.now = 1e9
  with pytest.raises(ValueError, match='config.watchdog=-1 must be at least 0'):
    Watchdog(None, seconds=-1)
