"""The algebra of sweeps, and one that really runs: failures are listed, finished runs kept."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import quick

from maxent_lm.analysis import sweep

ROOT = pathlib.Path(__file__).parents[2]

TINY = """
from tiny_runs import tiny_config
from maxent_lm.analysis import sweep

def make(point, seed, init):
  config = tiny_config('vargrad' if init else 'pretrain', steps=1).copy_and_resolve_references()
  config.unlock()
  config.update(seed=seed, init=init)
  config.update_from_flattened_dict(dict(point.changes))
  return config

def get_sweep():
  points = sweep.listed({'good': {}, 'bad': {'reduction': 'none of them'}})
  return sweep.Sweep('tiny', make, points, 1, ('pass@1', 'entropy'), ('entropy', 'kl'), 'A note.')
"""


def changes(points):
  return [dict(point.changes) for point in points]


def test_product_has_every_combination_and_the_last_changes_fastest():
  points = sweep.product(sweep.over('x.a', (1, 2)), sweep.over('y', 'pq'))
  assert [point.name for point in points] == ['a=1, y=p', 'a=1, y=q', 'a=2, y=p', 'a=2, y=q']
  assert changes(points)[1] == {'x.a': 1, 'y': 'q'}


def test_product_is_associative_and_has_a_unit():
  a, b, c = (sweep.over(key, (1, 2)) for key in 'abc')
  assert sweep.product(sweep.product(a, b), c) == sweep.product(a, sweep.product(b, c))
  assert changes(sweep.product(a)) == changes(a)


def test_zipped_goes_side_by_side():
  points = sweep.zipped(sweep.over('a', (1, 2)), sweep.listed({'u': {'b': 3}, 'v': {'b': 4}}))
  assert changes(points) == [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
  with pytest.raises(ValueError, match='2, 1 points'):
    sweep.zipped(sweep.over('a', (1, 2)), sweep.over('b', (1,)))


def test_a_key_that_is_set_twice_is_told():
  with pytest.raises(ValueError, match='sweep: a is set twice'):
    sweep.product(sweep.over('a', (1,)), sweep.over('a', (2,)))


def test_names_must_differ_and_folders_do(tmp_path):
  points = sweep.over('a', (1, 2))
  of = sweep.Sweep('s', lambda point, seed, init: None, points, 2, (), ('x', 'y'), '')
  found = sweep.jobs(of, tmp_path, 2)
  assert [job.title for job in found[:3]] == ['start/0', 'start/1', 'a=1/0']
  assert len({job.workdir for job in found}) == 6
  with pytest.raises(ValueError, match='two points are called a=1'):
    sweep.jobs(of._replace(points=points + points), tmp_path, 1)
  with pytest.raises(ValueError, match='two points are called u v, u_v, one folder'):
    sweep.jobs(of._replace(points=sweep.listed({'u v': {}, 'u_v': {}})), tmp_path, 1)


def job(name, seed=0):
  return sweep.Job(sweep.Point(name, {}), seed, pathlib.Path('runs') / f'{name}_{seed}')


def test_a_start_comes_before_what_begins_from_it():
  a, start, b, other = job('a'), job(sweep.START), job('b'), job('a', 1)
  assert sweep.chains([a, start, other, b]) == [[[start], [a, b]], [[other]]]
  assert sweep.chains([]) == []


def test_a_command_is_for_one_run_and_keeps_the_seeds():
  parts = sweep.command('sweep.py', 'file.py:x,y', job('a b', 1), seeds=2)
  wanted = ['sweep.py', '--sweep=file.py:x,y', '--workdir=runs', '--seeds=2', '--only=a b/1']
  assert parts[1:] == wanted


def test_a_plan_takes_its_time_from_the_runs_that_are_finished():
  timed, resumed = {'train_seconds': 90.0}, {'train_seconds': None}
  text = sweep.plan('s', [timed, resumed, None, None, None, None], workers=2)
  head, _, tail = text.partition('; ')
  assert head == 's: 6 runs, 2 finished, 4 to do, 2 at a time'
  assert tail == 'about 3 min of training, as the finished ones took'
  assert sweep.plan('s', [resumed, None], workers=1).endswith('1 to do, 1 at a time')
  assert sweep.plan('s', [timed], workers=1).endswith('0 to do, 1 at a time')


def test_a_file_may_take_an_argument(tmp_path):
  file = tmp_path / 'file.py'
  file.write_text('def get_sweep(arg="none"):\n  return arg\n')
  assert sweep.load(str(file)) == 'none' and sweep.load(f'{file}:a,b:c') == 'a,b:c'
  with pytest.raises(FileNotFoundError, match='absent.py is no Python file'):
    sweep.load('absent.py:x')


def run(tmp_path, *arguments):
  file = tmp_path / 'tiny_sweep.py'
  file.write_text(TINY)
  command = [sys.executable, 'experiments/sweep.py', f'--sweep={file}', '--workers=1']
  cache = str(ROOT / '.cache' / 'jax')
  environment = os.environ | {
    'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}',
    'JAX_COMPILATION_CACHE_DIR': cache,
    'XLA_FLAGS': quick.COMPILATION,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  return subprocess.run(
    [*command, f'--workdir={tmp_path / "runs"}', *arguments],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_sweep_runs_lists_failures_and_goes_on(tmp_path):
  plan = run(tmp_path, '--plan')
  assert 'tiny: 3 runs, 0 finished, 3 to do' in plan.stdout
  assert not (tmp_path / 'runs').exists()
  first = run(tmp_path)
  assert first.returncode == 1
  assert '1 runs failed: bad/0 (status 1' in first.stderr
  assert "config.reduction='none of them' is unknown" in first.stderr
  assert ' good |     1 |' in first.stdout
  assert {'tiny.md', 'tiny.csv', 'tiny.png'} <= {p.name for p in (tmp_path / 'runs').iterdir()}
  row = tmp_path / 'runs' / 'good_0' / 'row.json'
  assert json.loads(row.read_text())['row']['steps'] == 1
  written = row.stat().st_mtime_ns
  again = run(tmp_path)
  assert '3 runs, 2 finished, 1 to do' in again.stdout
  assert row.stat().st_mtime_ns == written
  assert 'about' in again.stdout and 'as the finished ones took' in again.stdout
  script = run(tmp_path, '--slurm').stdout
  assert '#SBATCH --array=0-0' in script
  assert '--only=bad/0 ;;' in script
