"""One run a folder: refused while somebody lives in it, taken over when nobody does."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from launch import ROOT

from maxent_lm.train import lock

HOLD = """
import pathlib, sys, time
from maxent_lm.train import lock
with lock.hold(pathlib.Path(sys.argv[1]), beat=0.05):
  print('held', flush=True)
  time.sleep(600)
"""
QUICK = {'beat': 0.05, 'patience': 0.5}


@pytest.fixture
def holder(tmp_path):
  """A process that holds the folder."""
  environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
  process = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
  )
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.communicate()


def without_flock(monkeypatch):
  def refuse(descriptor, operation):
    raise OSError('no locks available')

  monkeypatch.setattr(lock.fcntl, 'flock', refuse)


def left_behind(folder, **changes):
  """A file as a holder leaves it that was killed."""
  holder = lock.Holder('ab12', lock._kernel(), True, 'elsewhere', 7, '2026-01-02 03:04:05 UTC', 3)
  text = json.dumps({**vars(holder), **changes})
  (folder / lock.NAME).write_text(text)
  return text


def taken(folder):
  with lock.hold(folder, **QUICK):
    return json.loads((folder / lock.NAME).read_text())


def test_the_second_is_told_who_is_there_since_when(holder, tmp_path):
  said = json.loads((tmp_path / lock.NAME).read_text())
  sentence = f'in use by process {holder.pid} on {said["host"]} since {said["since"]}; wait until'
  with pytest.raises(BlockingIOError, match=sentence), lock.hold(tmp_path, **QUICK):
    pass
  assert json.loads((tmp_path / lock.NAME).read_text())['run'] == said['run']


def test_the_folder_of_a_killed_holder_is_taken_at_once(holder, tmp_path, monkeypatch):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  monkeypatch.setattr(lock.time, 'sleep', None)  # nobody waits
  assert taken(tmp_path)['pid'] == os.getpid()
  assert (tmp_path / lock.NAME).read_bytes() == b''
  assert taken(tmp_path)['beat'] == 0


def test_without_flock_a_living_holder_is_noticed(holder, tmp_path, monkeypatch):
  without_flock(monkeypatch)
  with pytest.raises(BlockingIOError, match=f'process {holder.pid}'):
    taken(tmp_path)


@pytest.mark.parametrize('case', ['other machine', 'no flock here', 'no flock there', 'torn'])
def test_a_holder_that_gives_no_sign_is_replaced(case, tmp_path, monkeypatch, capsys):
  if case == 'no flock here':
    without_flock(monkeypatch)
  changes = {
    'other machine': {'kernel': 'another'},
    'no flock there': {'locked': False},
  }.get(case, {})
  said = left_behind(tmp_path, **changes)
  if case == 'torn':
    (tmp_path / lock.NAME).write_text(said[:20])
  assert taken(tmp_path)['pid'] == os.getpid()
  assert 'looking up to 0.5 s for signs of life' in capsys.readouterr().err


def test_neither_clocks_nor_names_of_machines_matter(tmp_path, monkeypatch):
  """The other machine's clock is years off, and this one is renamed and put back in between."""
  left_behind(tmp_path, since='1970-01-01 00:00:00 UTC', host='renamed')
  os.utime(tmp_path / lock.NAME, (4e9, 4e9))
  monkeypatch.setattr(lock.platform, 'node', lambda: 'renamed')
  monkeypatch.setattr(lock.time, 'time', lambda: 0.0)
  assert taken(tmp_path)['host'] == 'renamed'
  left_behind(tmp_path, kernel='another')
  path, moved = tmp_path / lock.NAME, threading.Event()

  def live(seconds):  # in place of sleep: the other machine counts on
    left_behind(tmp_path, kernel='another', beat=4)
    moved.set()

  monkeypatch.setattr(lock.time, 'sleep', live)
  with pytest.raises(BlockingIOError, match='process 7 on elsewhere since 2026-01-02'):
    taken(tmp_path)
  assert moved.is_set() and json.loads(path.read_text())['beat'] == 4


def test_the_holder_counts_and_the_file_is_locked(tmp_path):
  path = tmp_path / 'new' / lock.NAME
  with lock.hold(path.parent, beat=0.01, patience=1):
    first = json.loads(path.read_text())
    while json.loads(path.read_text())['beat'] < 3:
      pass
    with path.open() as file, pytest.raises(BlockingIOError):
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert json.loads(path.read_text())['run'] == first['run']


def test_a_run_whose_folder_was_taken_over_ends_and_leaves_it(holder, tmp_path):
  said = left_behind(tmp_path, run='the new one')
  assert holder.wait(timeout=60) == 1
  assert (tmp_path / lock.NAME).read_text() == said


def test_a_folder_that_was_taken_over_is_not_released(tmp_path):
  with lock.hold(tmp_path, beat=60, patience=1):
    said = left_behind(tmp_path)
  assert (tmp_path / lock.NAME).read_text() == said
