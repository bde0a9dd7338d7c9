"""Tables that are made of sweeps run from one end to the other, at the size that only shows that.

Processes as users start them: the scripts, their pool, and a process for every run.
"""

import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
import quick

ROOT = pathlib.Path(__file__).parent.parent
STARTED = 240  # seconds to wait for a row at most


def start(name, workdir, *arguments):
  command = [sys.executable, f'experiments/tables/{name}.py', '--preset=smoke', '--workers=1']
  environment = {
    'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax'),
    **os.environ,
    **{'PYTHONPATH': str(ROOT), 'XLA_FLAGS': quick.COMPILATION},
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  return subprocess.Popen(
    [*command, f'--workdir={workdir}', *arguments],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def finish(name, workdir, *arguments):
  """The rows of the table, and what was printed."""
  process = start(name, workdir, *arguments)
  printed, _ = process.communicate()
  assert process.returncode == 0, printed
  with (workdir / f'{name}.csv').open() as file:
    return list(csv.DictReader(file)), printed


@pytest.fixture(scope='module')
def plane(tmp_path_factory):
  """A finished table of the (alpha, beta) plane: one point."""
  workdir = tmp_path_factory.mktemp('plane')
  return workdir, finish('alpha_beta', workdir, '--points=alpha=0.1, beta=0.0', '--check')


@pytest.fixture
def warm(plane):
  """The option that takes its warm start."""
  return f'--warm_start=countdown={plane[0] / "countdown" / "start_0" / "model"}'


def test_alpha_beta(plane):
  workdir, (rows, printed) = plane
  assert [row['point'] for row in rows] == ['start', 'alpha=0.1, beta=0.0']
  assert 'countdown: 2 runs, 0 finished, 2 to do, 1 at a time' in printed
  assert (workdir / 'alpha_beta.png').stat().st_size > 10_000


def test_alpha_schedules_killed_at_any_time_finishes_without_repeating(tmp_path, warm):
  """Killed with its processes at a random time after the first row, and started again."""
  arguments = ('--tasks=countdown', '--points=linear', '--points=token-weighted', warm)
  process = start('alpha_schedules', tmp_path, *arguments)
  before = time.monotonic()
  while not (found := list(tmp_path.glob('countdown/*/row.json'))):
    assert process.poll() is None and time.monotonic() < before + STARTED
    time.sleep(0.1)
  time.sleep(random.Random(7).uniform(0, 20))
  os.killpg(process.pid, signal.SIGKILL)
  process.communicate()
  found = {path: path.stat().st_mtime_ns for path in tmp_path.glob('countdown/*/row.json')}
  assert 'start_0' in {path.parent.name for path in found}
  rows, printed = finish('alpha_schedules', tmp_path, *arguments, '--check')
  assert f'countdown: 3 runs, {len(found)} finished, {3 - len(found)} to do' in printed
  assert found == {path: path.stat().st_mtime_ns for path in found}
  assert [row['schedule'] for row in rows] == ['start', 'linear', 'token-weighted']
  assert float(rows[0]['kl']) == 0 and float(rows[1]['alpha']) == 0
  assert float(rows[2]['alpha']) == pytest.approx(0.02)
  assert (tmp_path / 'alpha_schedules.tex').read_text().count(r'\\') == 4
  assert (tmp_path / 'alpha_schedules.png').exists()
  with (tmp_path / 'alpha_schedules_runs.csv').open() as file:
    assert [row['seed'] for row in csv.DictReader(file)] == ['0', '0', '0']


def test_entropy_law(tmp_path, warm):
  rows, _ = finish('entropy_law', tmp_path, warm, '--points=GRPO', '--points=VarGrad', '--check')
  grpo, vargrad = rows
  assert int(grpo['points']) == int(vargrad['points']) == 8
  assert float(grpo['rms residual']) <= 0.5
  assert abs(float(grpo['over GRPO, mean'])) < 1e-9  # least squares: its own residuals have none
  assert float(vargrad['seed by seed']) == pytest.approx(
    float(vargrad['over GRPO, mean']), abs=6e-4
  )
  assert (tmp_path / 'entropy_law.png').exists()


def test_replay_staleness(tmp_path, warm):
  point = '--points=VarGrad, 0.5 from 2 steps'
  rows, _ = finish('replay_staleness', tmp_path, warm, point, '--check')
  begun, replayed = rows
  assert begun['off policy'] == ''  # of the warm start, which has no rollouts
  assert float(replayed['replayed share']) == 0.5 and 0 <= float(replayed['age']) <= 1
  assert (tmp_path / 'replay_staleness.png').exists()
  lines = (tmp_path / 'countdown').glob('VarGrad*/metrics.jsonl')
  assert [len(next(lines).read_text().splitlines())] == [3]


def test_mode_coverage(tmp_path, warm):
  rows, _ = finish('mode_coverage', tmp_path, warm, '--points=Dr. GRPO', '--check')
  published = {row['task']: row['published'] for row in rows if row['method'] == 'Dr. GRPO'}
  assert published['countdown'].split(' / ') == ['.401', '.297', '.124', '.496']
  assert published['graph_coloring'].split(' / ') == ['.649', '.341', '.123', '.770']
  row = json.loads((tmp_path / 'countdown' / 'start_0' / 'row.json').read_text())
  assert row['config']['countdown']['num_numbers'] == [3, 4] and 'coverage@8' in row['row']


def test_a_wrong_folder_is_one_sentence(tmp_path):
  process = start('alpha_schedules', tmp_path, '--warm_start=countdown=absent')
  printed, _ = process.communicate()
  assert process.returncode == 1
  assert 'error: --warm_start=countdown=absent must be NAME=FOLDER' in printed
