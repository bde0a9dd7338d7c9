"""One of two processes is killed: the other ends too, and started again they end as if never."""

import hashlib
import pathlib
import signal
import time

import launch
import pytest

from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.metrics import read_metrics

pytestmark = pytest.mark.slow

STEPS = 4


def start(workdir):
  line = ['experiments/train.py', '--config=tests/tiny_runs.py:vargrad', f'--workdir={workdir}']
  keys = {'steps': STEPS, 'checkpoint.every': 1, 'checkpoint.keep': STEPS, 'samples_every': 1}
  line += [f'--config.{key}={value}' for key, value in keys.items()]
  return launch.start(line, processes=2, devices=1)


def result(workdir):
  """The policy's bytes, the numbers and the samples of a finished run."""
  model = hashlib.sha256((workdir / 'model' / 'model.safetensors').read_bytes()).hexdigest()
  rows = read_metrics(workdir / 'metrics.jsonl')
  return model, rows, (workdir / 'samples.jsonl').read_text()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  for status, _, said in launch.finish(start(workdir)):
    assert status == 0, said
  return result(workdir)


def until(happened, started):
  while not happened():
    assert all(process.poll() is None for process in started), launch.finish(started)
    time.sleep(0.002)


def steps_begun(workdir):
  return {path.name for path in pathlib.Path(workdir, 'checkpoints').glob('[0-9]*')}


def die_in_a_save(workdir, started, victim):
  """At the first sign of the second save."""
  until(lambda: len(steps_begun(workdir)) > 1, started)
  started[victim].send_signal(signal.SIGKILL)


def die_at_a_barrier(workdir, started, victim):
  """One is halted, so that the other waits for it wherever both meet next."""
  until(lambda: len(read_metrics(workdir / 'metrics.jsonl')) > 0, started)
  started[victim].send_signal(signal.SIGSTOP)
  time.sleep(1)
  started[victim].send_signal(signal.SIGKILL)


@pytest.mark.parametrize(('die', 'victim'), [(die_in_a_save, 1), (die_at_a_barrier, 0)])
def test_the_other_ends_and_both_go_on(die, victim, whole, tmp_path):
  started = start(tmp_path)
  die(tmp_path, started, victim)
  ended = launch.finish(started, timeout=180)
  assert ended[victim][0] == -signal.SIGKILL
  assert ended[1 - victim][0] != 0
  seen = Checkpointer(tmp_path / 'checkpoints', every=1, keep=STEPS).latest()
  for status, _, said in launch.finish(start(tmp_path)):
    assert status == 0, said
  assert result(tmp_path) == whole
  assert seen is None or 1 <= seen < STEPS
