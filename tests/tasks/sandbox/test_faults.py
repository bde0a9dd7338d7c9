"""Faults of the sandbox are never a program's: the batch goes on, and no reward is 0 for them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from arena import ROOT

from maxent_lm.tasks.sandbox import (
  Program,
  Sandbox,
  SandboxUnavailable,
  TooManyFaults,
  pool,
  supervisor,
)
from maxent_lm.tasks.sandbox.jail import TIERS

RIGHT = Program(
  code='import time\ndef f(x):\n  time.sleep(0.02)\n  return x + 1',
  tests='assert f(1) == 2',
  timeout_s=5,
)
WRONG = RIGHT._replace(tests='assert f(1) == 3')
HUNG = RIGHT._replace(tests='import time\nf(1)\ntime.sleep(99)', timeout_s=0.2)


@pytest.fixture(params=TIERS)
def sandbox(request):
  try:
    with Sandbox(tier=request.param, parallel=4) as it:
      yield it
  except SandboxUnavailable as error:
    pytest.skip(str(error))


def descriptors():
  kinds = []
  for fd in os.listdir('/proc/self/fd'):
    with contextlib.suppress(FileNotFoundError):  # the one that listed the folder
      kinds.append(os.readlink(f'/proc/self/fd/{fd}').split(':')[0])
  return sorted(kinds)


def children():
  with open(f'/proc/self/task/{threading.get_native_id()}/children') as file:
    return file.read().split()


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_zygote_is_replaced(sandbox, monkeypatch, number):
  monkeypatch.setattr(supervisor, 'ANSWER_S', 1.0)
  stop = threading.Event()

  def harm():
    for _ in range(3):
      if stop.wait(0.6):
        return
      with sandbox._lock:  # not while it is being replaced
        os.kill(serving(sandbox), number)

  thread = threading.Thread(target=harm)
  thread.start()
  verdicts = sandbox.run_all([RIGHT, WRONG] * 100)
  stop.set()
  thread.join()
  assert sandbox.counts['restarts'] >= 1
  rewards = [verdict.reward for verdict in verdicts]
  assert set(rewards[::2]) <= {1.0, None} and set(rewards[1::2]) <= {0.0, None}
  assert rewards.count(None) <= 8  # only those that were hit twice
  assert sandbox.run(RIGHT).passed


def test_hung_tests_say_nothing_about_the_program(sandbox):
  verdicts = sandbox.run_all([RIGHT, HUNG, WRONG, HUNG, RIGHT])
  assert [verdict.reward for verdict in verdicts] == [1, None, 0, None, 1]
  assert 'hang' in verdicts[1].detail and sandbox.counts['infra_error'] == 2


SCRIPT = Program(code='print(2)', cases=(('', '2'),))


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize('program', [RIGHT, SCRIPT])
def test_a_program_harmed_by_somebody_else_is_run_again(sandbox, monkeypatch, program, number):
  start, harmed = supervisor.Zygote.start, []

  def start_and_harm(zygote, request, fds):
    started = start(zygote, request, fds)
    if not harmed:
      harmed.append(1)
      signal.pidfd_send_signal(started.pidfds[0], number)
    return started

  monkeypatch.setattr(supervisor.Zygote, 'start', start_and_harm)
  assert sandbox.run(program._replace(timeout_s=0.3)).passed and harmed


def test_killed_tests_are_run_again(sandbox, monkeypatch):
  start, killed = supervisor.Zygote.start, []

  def start_and_kill(zygote, request, fds):
    started = start(zygote, request, fds)
    if len(killed) < 2:
      killed.append(1)
      signal.pidfd_send_signal(started.pidfds[1], signal.SIGKILL)
    return started

  monkeypatch.setattr(supervisor.Zygote, 'start', start_and_kill)
  assert sandbox.run(WRONG).reward is None and sandbox.run(RIGHT).passed


def test_too_many_faults_end_the_run(sandbox, monkeypatch):
  monkeypatch.setattr(pool, 'FEW', 3)
  with pytest.raises(TooManyFaults, match='hang'):
    sandbox.run_all([HUNG] * 4)


def test_nothing_leaks():
  before, mine = descriptors(), children()
  with Sandbox(parallel=4) as sandbox:
    sandbox.run_all([RIGHT, WRONG] * 10)
    warm = descriptors()
    sandbox.run_all([RIGHT, WRONG, RIGHT._replace(code='x = ')] * 60)
    assert descriptors() == warm
    assert len(descendants(sandbox.zygote_pid)) <= 1  # in the namespace of pids, process 1
    sandbox.run_all([RIGHT._replace(code='import os; os._exit(1)')] * 20)
    os.kill(sandbox.zygote_pid, signal.SIGKILL)
    sandbox.run_all([RIGHT, WRONG] * 5)
    assert descriptors() == warm
    last = [sandbox.zygote_pid, *descendants(sandbox.zygote_pid)]
  assert descriptors() == before and children() == mine
  for _ in range(50):
    if not any(os.path.exists(f'/proc/{pid}') for pid in last):
      break
    time.sleep(0.1)
  assert not [pid for pid in last if os.path.exists(f'/proc/{pid}')]


# Each leaves something behind while the programs run.
CARELESS = {
  'nothing': 'pass',
  'descriptor socket': 'socket.socketpair()[0].detach()',
  'process ': "subprocess.Popen(['/bin/sleep', '15'])",
  'file ': "open(folder + '/left', 'w').close()",
}


@pytest.mark.parametrize('what', CARELESS)
def test_the_benchmark_finds_what_is_left_behind(tmp_path, what):
  with Sandbox() as best:
    tier = best.tier
  script = f"""
import runpy, socket, subprocess, sys
from maxent_lm.tasks.sandbox import Sandbox
folder, run_all, calls = {str(tmp_path)!r}, Sandbox.run_all, []
def careless(sandbox, programs):
  calls.append(1)
  if len(calls) == 2:  # the first warms up
    {CARELESS[what]}
  return run_all(sandbox, programs)
Sandbox.run_all = careless
sys.argv = ['benchmark', '--leaks', '--runs=34', '--tiers={tier}', f'--folders={{folder}}']
runpy.run_path('experiments/benchmark_sandbox.py', run_name='__main__')
"""
  ran = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT)
  told = json.loads(ran.stdout)
  assert ran.returncode == bool(told['left']) == (what != 'nothing'), ran.stderr
  assert all(left.startswith(what) for left in told['left'])
  assert sum(told['statuses'].values()) == 34


def serving(sandbox):
  """The process that answers: process 1 of the namespace of pids if there is one."""
  pid = sandbox.zygote_pid
  return descendants(pid)[0] if sandbox.tier == 'ns' else pid


def descendants(pid):
  try:
    with open(f'/proc/{pid}/task/{pid}/children') as file:
      found = [int(child) for child in file.read().split()]
  except (FileNotFoundError, ProcessLookupError):  # it has ended since its parent named it
    return []
  return found + [deeper for child in found for deeper in descendants(child)]


def test_whose_turn_it_was_is_asked_before_anybody_is_killed(sandbox, monkeypatch):
  stop = supervisor.Zygote.stop

  def kill_one_and_stop(zygote, children):
    signal.pidfd_send_signal(children.pidfds[0], signal.SIGKILL)
    time.sleep(0.2)  # time for the tests to see the end of the program
    return stop(zygote, children)

  monkeypatch.setattr(supervisor.Zygote, 'stop', kill_one_and_stop)
  asleep = RIGHT._replace(code='import time\ndef f(x):\n  time.sleep(99)', timeout_s=0.2)
  assert sandbox.run(asleep).status == 'timeout'
