"""N processes are one: same losses, samples and checkpoints, moved to others, and stopped."""

import json
import shutil
import signal
import time

import jax
import launch
import numpy as np
import pytest
from tiny_runs import get_config

from maxent_lm import build
from maxent_lm.lm import pretrained
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.metrics import read_metrics

pytestmark = pytest.mark.slow

AHEAD = {'batch.ahead': 1, 'batch.rounds': 1}
PRETRAIN = {'steps': 40, 'batch.prompts': 16, 'optimizer.learning_rate': 1e-2}
# Everything that a checkpoint can hold of the host, with groups that only it knows.
TRAIN = {
  **{'replay.kind': 'prioritised', 'replay.prompts': 4, 'replay.capacity': 7},
  **{'count_novelty.coefficient': 0.1, 'batch.rounds': 2, 'target.rule': 'polyak'},
  **{'checkpoint.every': 2, 'samples_every': 1},
}


def command(script, variant, workdir, changes):
  """The command line of a script with a tiny config."""
  keys = [f'--config.{key}={value}' for key, value in changes.items()]
  config = f'--config=tests/tiny_runs.py:{variant}'
  return [f'experiments/{script}.py', config, f'--workdir={workdir}', *keys]


def rows_close(left, right):
  """Every number of every step to 1e-6, the losses foremost."""
  assert [row.keys() for row in left] == [row.keys() for row in right]
  for ours, theirs in zip(left, right, strict=True):
    for key, value in ours.items():
      np.testing.assert_allclose(theirs[key], value, atol=1e-6, rtol=1e-5, err_msg=key)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  """A policy that solves something, trained by two processes."""
  workdir = tmp_path_factory.mktemp('start')
  launch.run(command('pretrain', 'pretrain', workdir, PRETRAIN), processes=2, devices=2)
  return workdir


@pytest.fixture(scope='module')
def runs(start, tmp_path_factory):
  """Four steps of one process; two of two processes, then two more of one and of four."""
  folder = tmp_path_factory.mktemp('runs')

  def train(name, steps, processes):
    changes = {**TRAIN, 'steps': steps, 'init': start / 'model'}
    line = command('train', 'vargrad', folder / name, changes)
    launch.run(line, processes=processes, devices=4 // processes)

  train('whole', 4, 1)
  train('two', 2, 2)
  for name, processes in (('then_one', 1), ('then_four', 4)):
    shutil.copytree(folder / 'two', folder / name)
    train(name, 4, processes)
  return folder


def test_two_processes_pretrain_as_one(start, tmp_path):
  config = get_config('pretrain').copy_and_resolve_references()
  config.update_from_flattened_dict({**PRETRAIN, 'steps': 4, 'mesh.data': 4})
  build.demonstration_run(config, tmp_path).train()
  rows_close(read_metrics(tmp_path / 'metrics.jsonl'), read_metrics(start / 'metrics.jsonl')[:4])


@pytest.mark.parametrize('name', ['then_one', 'then_four'])
def test_a_run_of_two_processes_goes_on_in_one_and_in_four(runs, name):
  whole, moved = (read_metrics(runs / each / 'metrics.jsonl') for each in ('whole', name))
  assert [row['step'] for row in moved] == [0, 1, 2, 3]
  rows_close(whole, moved)
  np.testing.assert_allclose(
    [row['loss'] for row in moved], [row['loss'] for row in whole], rtol=0, atol=1e-6
  )
  assert max(row['success'] for row in whole) > 0  # graders had something to find
  samples = [(runs / each / 'samples.jsonl').read_text() for each in ('whole', name)]
  assert samples[0] == samples[1]
  models = [runs / each / 'model' for each in ('whole', name)]
  ours, theirs = (pretrained.load_params(each, pretrained.load_config(each)) for each in models)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)


def test_rollouts_one_step_early_go_on_in_another_number_of_processes(start, tmp_path):
  """The third step was asked for by two processes, and is graded by one."""

  def train(name, steps, processes):
    changes = {**TRAIN, **AHEAD, 'steps': steps, 'init': start / 'model'}
    line = command('train', 'vargrad', tmp_path / name, changes)
    launch.run(line, processes=processes, devices=4 // processes)
    return read_metrics(tmp_path / name / 'metrics.jsonl')

  train('moved', 2, 2)
  whole, moved = train('whole', 4, 1), train('moved', 4, 1)
  assert [row['staleness'] for row in moved] == [0, 1, 1, 1]
  rows_close(whole, moved)


def test_checkpoints_are_alike(runs):
  """Read by a third number of devices, that of this process."""
  config = get_config('vargrad').copy_and_resolve_references()
  config.update_from_flattened_dict({**TRAIN, 'steps': 4, 'mesh.data': 1, 'mesh.fsdp': 4})
  like = build.rollout_run(config, runs / 'like')

  def stored(name):
    checkpointer = Checkpointer(runs / name / 'checkpoints', every=2, keep=9)
    state = checkpointer.restore(like.state, 2)
    memory = [
      checkpointer.restore_memory(name, each.memory, 2) for name, each in like.remembers.items()
    ]
    checkpointer.close()
    return state._replace(key=jax.random.key_data(state.key)), memory

  (ours, memory), (theirs, other) = stored('whole'), stored('two')
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), memory, other)
  assert memory[0].added == 8


def test_two_processes_evaluate_as_one(runs):
  config = get_config('vargrad').copy_and_resolve_references()
  config.mesh.data = 4
  policy, params, _ = build.trained_policy(config, runs / 'two')
  expected = build.make_evaluation(config, policy).measure(params, policy.params)
  line = command('evaluate', 'vargrad', runs / 'two', {})
  first, second = launch.run(line, processes=2, devices=2)
  assert 'pass@1' in first and not second
  found = [json.loads(x) for x in (runs / 'two' / 'evaluation.jsonl').read_text().splitlines()]
  for ours, theirs in zip(json.loads(json.dumps(expected)), found, strict=True):
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
      if isinstance(value, float):
        np.testing.assert_allclose(theirs[key], value, atol=1e-5, err_msg=key)
  assert json.loads((runs / 'two' / 'evaluation.json').read_text())['step'] == 2


@pytest.mark.parametrize('ahead', [0, 1])
def test_a_signal_to_one_process_stops_all_after_a_checkpoint(ahead, tmp_path):
  """Ctrl-C, which is passed on as SIGTERM is."""
  changes = {'steps': 10**6, 'checkpoint.every': 10**6, 'batch.ahead': ahead}
  started = launch.start(command('train', 'vargrad', tmp_path, changes), processes=2, devices=1)
  while len(read_metrics(tmp_path / 'metrics.jsonl')) < 2:
    assert all(process.poll() is None for process in started), launch.finish(started)
    time.sleep(0.1)
  started[1].send_signal(signal.SIGINT)
  (status, _, told), (other, _, silent) = launch.finish(started)
  assert (status, other) == (128 + signal.SIGTERM,) * 2
  last = read_metrics(tmp_path / 'metrics.jsonl')[-1]['step']
  assert f'stopped after step {last}; the same command goes on from there' in told
  assert 'stopped after' not in silent
  assert Checkpointer(tmp_path / 'checkpoints', every=1, keep=9).latest() == last + 1
  assert not (tmp_path / 'model').exists()
