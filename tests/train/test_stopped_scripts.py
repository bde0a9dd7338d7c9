"""Scripts that are stopped, and scripts in odd surroundings, end as they should."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import launch
import pytest
import quick

from maxent_lm.train.metrics import read_metrics

pytestmark = pytest.mark.slow

TINY = {
  **{'model.num_layers': 1, 'model.d_model': 32, 'batch.prompts': 4, 'batch.group_size': 2},
  **{'batch.max_new_tokens': 8, 'list_functions.size': 40, 'checkpoint.every': 100000},
}


def command(config, workdir, changes):
  keys = [f'--config.{key}={value}' for key, value in changes.items()]
  return ['experiments/train.py', f'--config={config}', f'--workdir={workdir}', *keys]


def below(pid):
  """Processes that it has started, with theirs."""
  parents = {}
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    try:
      parents[int(path.parent.name)] = int(path.read_text().rpartition(')')[2].split()[1])
    except OSError:  # over
      continue
  found, new = set(), {pid}
  while new:
    new = {child for child, parent in parents.items() if parent in new}
    found |= new
  return found


def test_ctrl_c_while_programs_are_run(tmp_path):
  """It reaches the whole group of a terminal; the sandbox outlives it until the step is saved."""
  workdir = tmp_path / 'run'
  line = command('configs/list_functions.py:grpo', workdir, {**TINY, 'steps': 100000})
  environment = {
    **{**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(launch.ROOT)},
    'XLA_FLAGS': quick.COMPILATION,
  }
  process = subprocess.Popen(
    [sys.executable, *line],
    cwd=launch.ROOT,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,  # a group of its own, as a shell gives it
  )
  while len(read_metrics(workdir / 'metrics.jsonl')) < 2:
    assert process.poll() is None, process.communicate()
    time.sleep(0.05)
  children = below(process.pid)
  assert children
  os.killpg(process.pid, signal.SIGINT)
  _, said = process.communicate(timeout=300)
  rows = read_metrics(workdir / 'metrics.jsonl')
  assert process.returncode == 143, said
  assert f'stopped after step {rows[-1]["step"]}; the same command goes on from there' in said
  assert all(row['faults'] == 0 for row in rows)
  assert (workdir / 'checkpoints' / str(len(rows))).exists()
  while any(pathlib.Path(f'/proc/{child}').exists() for child in children):
    time.sleep(0.05)  # the zygote ends when its socket does


def test_a_second_run_is_refused_and_changes_nothing(tmp_path):
  line = command('tests/tiny_runs.py:vargrad', tmp_path, {'steps': 100000})
  started = launch.start(line, processes=1, devices=1)
  while not read_metrics(tmp_path / 'metrics.jsonl'):
    assert started[0].poll() is None, launch.finish(started)
    time.sleep(0.05)
  config = (tmp_path / 'config.json').read_bytes()
  [(status, _, said)] = launch.finish(
    launch.start([*line, '--config.seed=1'], processes=1, devices=1)
  )
  assert status == 1
  assert f'error: {tmp_path} is in use by process {started[0].pid} on ' in said
  assert (tmp_path / 'config.json').read_bytes() == config
  started[0].kill()
  launch.finish(started)
  steps = read_metrics(tmp_path / 'metrics.jsonl')[-1]['step'] + 1
  [(status, _, said)] = launch.finish(
    launch.start([*line, f'--config.steps={steps}'], processes=1, devices=1)
  )
  assert status == 0, said
  assert [row['step'] for row in read_metrics(tmp_path / 'metrics.jsonl')] == list(range(steps))


def test_surroundings_do_not_matter(tmp_path, monkeypatch):
  """No home, one that cannot be written to, another language, another clock: the same run."""
  surroundings = {
    'plain': {},
    'homeless': {'HOME': None, 'LANG': 'C', 'LC_ALL': 'C', 'TZ': 'Pacific/Kiritimati'},
    'read-only': {'HOME': '/dev/null', 'LANG': 'de_DE.ISO-8859-1', 'TZ': ':nonsense'},
  }
  found = {}
  for name, changes in surroundings.items():
    with monkeypatch.context() as patched:
      for key, value in changes.items():
        patched.setenv(key, value) if value else patched.delenv(key, raising=False)
      line = command('tests/tiny_runs.py:vargrad', tmp_path / name, {'steps': 2})
      launch.run(line, processes=1, devices=1)
    files = ('metrics.jsonl', 'samples.jsonl', 'rollouts.jsonl')
    found[name] = [(tmp_path / name / file).read_bytes() for file in files]
    assert json.loads((tmp_path / name / 'versions.json').read_text())['processes'] == 1
  assert found['plain'] == found['homeless'] == found['read-only']
