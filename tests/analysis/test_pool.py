"""The pool of processes: who runs where, what failed, and what it says of the time left."""

import sys

import pytest

from maxent_lm import cli
from maxent_lm.analysis import pool


def work(tmp_path, title, code):
  return pool.Work(title, [sys.executable, '-c', code], tmp_path / title)


def test_stages_are_one_after_the_other_and_failures_are_told(tmp_path, capsys):
  mark = tmp_path / 'mark'
  first = work(tmp_path, 'first', f'open({str(mark)!r}, "w").close()')
  second = work(tmp_path, 'second', f'open({str(mark)!r})')
  bad = work(tmp_path, 'bad', 'import sys; print("no luck"); sys.exit(3)')
  (failed,) = pool.run([[[first], [second, bad]]], [{}, {}])
  assert failed.startswith('bad (status 3, ') and failed.endswith('no luck)')
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 3 and lines[0].startswith('1/3 first finished')
  assert lines[-1].endswith('about 0 min left')


def test_chains_do_not_wait_for_each_other(tmp_path):
  mark = tmp_path / 'mark'
  wait = f"""
import pathlib, time
until = time.monotonic() + 60
while not pathlib.Path({str(mark)!r}).exists() and time.monotonic() < until:
  time.sleep(0.05)
assert time.monotonic() < until
"""
  slow = work(tmp_path, 'slow', wait)
  first, then = work(tmp_path, 'first', ''), work(tmp_path, 'then', f'open({str(mark)!r}, "w")')
  assert pool.run([[[slow]], [[], [first], [then]], []], [{}, {}]) == []


def test_every_process_has_a_slot_to_itself(tmp_path):
  code = 'import os; print(os.environ["SLOT"])'
  works = [work(tmp_path, str(number), code) for number in range(4)]
  assert pool.run([[works]], [{'SLOT': 'a'}, {'SLOT': 'b'}]) == []
  seen = {(each.workdir / 'log.txt').read_text().strip() for each in works}
  assert seen <= {'a', 'b'}


def test_the_rest_is_thought_to_take_as_long_as_what_is_done():
  assert pool.estimate(600, 2, 8) == '10 min so far, about 30 min left'


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
  code = f"""
import pathlib, time
from maxent_lm.analysis import pool
folder = pathlib.Path({str(tmp_path / 'shared')!r})
with pool.alone(folder):
  (folder / 'busy').mkdir()
  time.sleep(0.3)
  (folder / 'busy').rmdir()
"""
  works = [work(tmp_path, str(number), code) for number in range(2)]
  assert pool.run([[works]], [{}, {}]) == []


def test_gpus_are_dealt_out_first(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,5')
  assert pool.slots(0) == [{'CUDA_VISIBLE_DEVICES': '3'}, {'CUDA_VISIBLE_DEVICES': '5'}]
  assert pool.slots(1) == [{'CUDA_VISIBLE_DEVICES': '3'}]
  shared = pool.slots(3)  # two of them on one
  assert [slot['CUDA_VISIBLE_DEVICES'] for slot in shared] == ['3', '5', '3']
  assert {slot['XLA_PYTHON_CLIENT_MEM_FRACTION'] for slot in shared} == {'0.3750'}


@pytest.mark.parametrize(
  ('workers', 'shares'), [(0, ['0', '2', '3']), (2, ['0,3', '2']), (9, ['0', '2', '3'])]
)
def test_cores_are_shared_without_overlap(monkeypatch, workers, shares):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  monkeypatch.setattr(cli, 'cores', lambda: [0, 2, 3])
  assert pool.slots(workers) == [{cli.CORES: share} for share in shares]


def test_where_processes_cannot_be_kept_on_cores_they_share_them(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  monkeypatch.setattr(cli, 'cores', lambda: None)
  assert pool.slots(3) == [{}, {}, {}]
