"""A signal stops a run after the step in flight; what goes on from there is the run without it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import jax
import launch
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build, hosts
from maxent_lm.train import signals
from maxent_lm.train.metrics import read_metrics

STEPS = 4
OPTIONS = {'steps': STEPS, 'checkpoint__every': 2, 'samples_every': 1}


def leaves(state):
  return jax.device_get(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))


def ask(number=signal.SIGTERM):
  """Sends it to this process, and waits until it is known."""
  os.kill(os.getpid(), number)
  while not signals.stopping(0):
    time.sleep(0.001)


def asking(function, *, call):
  """The function, in whose call number `call` a signal comes."""
  calls = []

  def wrapped(*arguments, **options):
    calls.append(None)
    if len(calls) == call + 1:
      ask()
    return function(*arguments, **options)

  return wrapped


@contextlib.contextmanager
def signalled(run, moment):
  """The run, which is asked to stop: in step 1's rollout, compilation, update or save."""
  if moment == 'before':
    ask()
  elif moment == 'rollout':
    run.collect = asking(run.collect, call=1)
  elif moment == 'compile':
    run.update = asking(run.update, call=0)
  elif moment == 'update':
    run.update = asking(run.update, call=1)
  else:
    run.checkpointer.save = asking(run.checkpointer.save, call=0)
  yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """State, rows and samples of the run that nobody stopped."""
  workdir = tmp_path_factory.mktemp('whole')
  state = build.rollout_run(tiny_config('vargrad', **OPTIONS), workdir).train()
  return leaves(state), read_metrics(workdir / 'metrics.jsonl'), texts(workdir)


def texts(workdir):
  return [(workdir / name).read_text() for name in ('samples.jsonl', 'rollouts.jsonl')]


@pytest.mark.parametrize(
  ('moment', 'saved', 'sentence'),
  [
    ('before', None, 'stopped before step 0'),
    ('compile', 1, 'stopped after step 0'),
    ('rollout', 2, 'stopped after step 1'),
    ('update', 2, 'stopped after step 1'),
    ('save', 3, 'stopped after step 2'),  # of step 1: the next one was not known to be the last
  ],
)
def test_it_goes_on_bit_for_bit(moment, saved, sentence, whole, tmp_path, capfd):
  config = tiny_config('vargrad', **OPTIONS)
  run = build.rollout_run(config, tmp_path)
  with (
    signals.listening(grace=0),
    pytest.raises(hosts.Stopped, match=f'{sentence}; the same command goes on from there'),
    signalled(run, moment),
  ):
    run.train()
  assert run.checkpointer.latest() == saved
  assert len(read_metrics(tmp_path / 'metrics.jsonl')) == (saved or 0)
  run.checkpointer.close()
  state = build.rollout_run(config, tmp_path).train()
  expected, rows, written = whole
  for left, right in zip(expected, leaves(state), strict=True):
    np.testing.assert_array_equal(left, right)
  assert read_metrics(tmp_path / 'metrics.jsonl') == rows
  assert texts(tmp_path) == written
  assert 'SIGTERM: the step is finished and saved first' in capfd.readouterr().err


@pytest.mark.parametrize('number', signals.ASKS)
def test_outside_a_signal_is_what_it_was(number):
  before = [signal.getsignal(each) for each in signals.ASKS]
  with signals.listening(grace=0):
    assert not signals.stopping(1)
    ask(number)
    assert signals.stopping(1)
  assert [signal.getsignal(each) for each in signals.ASKS] == before
  assert signal.set_wakeup_fd(-1) == -1
  assert not signals.stopping(1)


def test_the_grace_is_no_negative_number():
  with pytest.raises(ValueError, match='config.grace=-1 must be at least 0'):
    with signals.listening(grace=-1):
      pass


# The main thread is in C, where Python runs no handler, as when XLA compiles.
BUSY = """
import hashlib, sys
from maxent_lm.train import signals
signals.TOGETHER = float(sys.argv[2])
with signals.listening(grace=float(sys.argv[1])):
  print('ready', flush=True)
  hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)
"""


def busy(*, grace, together):
  """A process that would go on for an hour."""
  environment = {**os.environ, 'PYTHONPATH': str(launch.ROOT)}
  process = subprocess.Popen(
    [sys.executable, '-c', BUSY, str(grace), str(together)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=environment,
    text=True,
  )
  assert process.stdout.readline() == 'ready\n'
  return process


def promised(process):
  said = process.stderr.readline() + process.stderr.readline()
  assert 'the step is finished and saved first; a second signal' in said
  return said


def test_a_second_signal_ends_at_once():
  process = busy(grace=0, together=0)
  process.send_signal(signal.SIGTERM)
  assert 'SIGTERM: ' in promised(process)
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=60)
  assert process.returncode == hosts.STOPPED == 143
  assert 'stopped at once, by a second signal; the same command goes on from the newest' in said


def test_the_echo_of_a_signal_is_no_second_one():
  """`timeout` signals its child, and then the group with the child in it."""
  process = busy(grace=0, together=3600)
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
    process.send_signal(number)
  promised(process)
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(0.5)
  process.kill()
  _, said = process.communicate(timeout=60)
  assert said == ''


def test_after_the_grace_it_ends_at_once():
  process = busy(grace=0.3, together=0)
  process.send_signal(signal.SIGINT)
  assert 'or 0.3 s, ends it at once' in promised(process)
  _, said = process.communicate(timeout=60)
  assert process.returncode == 143
  assert 'as the step was not finished 0.3 s after the signal' in said
