"""Rollouts one step early: what they are of, and that a stop at any time changes nothing."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.data import Reader
from maxent_lm.train.ahead import Ahead
from maxent_lm.train.collect import Rollouts
from maxent_lm.train.metrics import read_metrics

FAST = {'optimizer__learning_rate': 1e-2, 'optimizer__warmup_steps': 0}
STEERED = {
  'temperature__sampler_control': 'stages',
  'sampler__stages__boundaries': (1, 2, 3),
  'sampler__stages__values': (0.8, 1.2, 0.9),
}
REMEMBERING = {
  'replay__kind': 'prioritised',
  'replay__capacity': 7,
  'replay__prompts': 2,
  'count_novelty__coefficient': 0.1,
  'checkpoint__every': 2,
}


def start(workdir, *, ahead, **changes):
  return build.rollout_run(tiny_config(batch__ahead=ahead, **FAST, **changes), workdir)


def rows(workdir):
  return read_metrics(workdir / 'metrics.jsonl')


def numbers(state):
  keyless = state._replace(key=jax.random.key_data(state.key))
  return jax.tree.map(np.array, keyless)


def assert_same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def test_zero_is_plain_sampling(tmp_path):
  run = start(tmp_path, ahead=0, steps=2)
  assert isinstance(run.collect, Rollouts) and not run.remembers
  run.train()
  assert 'staleness' not in rows(tmp_path)[0]


@pytest.mark.parametrize('changes', [{}, STEERED], ids=['plain', 'steered sampler'])
def test_rows_are_those_of_the_state_before(changes, tmp_path):
  """Of its parameters and its sampler, which the update has taken over by then."""
  run = start(tmp_path / 'run', ahead=1, steps=4, **changes)
  plain = start(tmp_path / 'plain', ahead=0, steps=4, **changes).collect
  states, batches = [], []
  collect = run.collect

  def watched(step, state):
    states.append(jax.tree.map(lambda leaf: leaf.copy(), state))
    collected = collect(step, state)
    batches.append(jax.device_get(collected.batch))
    return collected

  run.collect = watched
  with jax.set_mesh(run.policy.mesh):
    run.train()
    for step in range(4):
      assert_same(batches[step], jax.device_get(plain(step, states[max(step - 1, 0)]).batch))
      fresh = jax.device_get(plain(step, states[step]).batch)
      assert step == 0 or not np.array_equal(batches[step].logp, fresh.logp)
  found = rows(tmp_path / 'run')
  assert [row['staleness'] for row in found] == [0, 1, 1, 1]
  assert found[0]['off_policy'] < 1e-5 < min(row['off_policy'] for row in found[1:])


def test_a_policy_that_stays_does_not_tell_the_difference(tmp_path):
  """All metrics but `staleness`, the replayed groups, and the bonuses for rare answers."""
  changes = {**REMEMBERING, 'steps': 4, 'optimizer__learning_rate': 0.0}
  found = []
  for ahead in (0, 1):
    config = tiny_config(batch__ahead=ahead, **changes)
    build.rollout_run(config, tmp_path / str(ahead)).train()
    found.append(rows(tmp_path / str(ahead)))
  assert [row.pop('staleness') for row in found[1]] == [0, 1, 1, 1]
  assert found[0] == found[1]


def test_the_device_has_work_while_the_host_grades(tmp_path, monkeypatch):
  done = []
  for name in ('ask', 'grade'):
    monkeypatch.setattr(Rollouts, name, logged(name, getattr(Rollouts, name), done))
  run = start(tmp_path, ahead=1, steps=3)
  update = run.update

  def updated(*arguments):
    done.append('update')
    return update(*arguments)

  run.update = updated
  run.train()
  each = ['ask', 'grade', 'update']
  assert done == ['ask', *each, *each, *each]  # one more than is graded, for the step after


def logged(name, method, done):
  def wrapped(self, *arguments):
    done.append(name)
    return method(self, *arguments)

  return wrapped


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Six steps without a stop: the state, the memories, the rows."""
  workdir = tmp_path_factory.mktemp('whole')
  run = start(workdir, ahead=1, steps=6, **REMEMBERING)
  state = numbers(run.train())
  return state, memories(run), rows(workdir)


def memories(run):
  return {name: each.memory for name, each in run.remembers.items()}


@pytest.mark.parametrize('steps', [1, 3, 4])
def test_prolonged_is_uninterrupted(steps, whole, tmp_path):
  """Checkpoints fall on 2, 4 and 6, and on the end of a run."""
  start(tmp_path, ahead=1, steps=steps, **REMEMBERING).train()
  run = start(tmp_path, ahead=1, steps=6, **REMEMBERING)
  assert run.remembers['ahead'].memory.step == steps
  assert_same(numbers(run.train()), whole[0])
  assert_same(memories(run), whole[1])
  assert rows(tmp_path) == whole[2]


def test_what_ends_grading_ends_the_run_which_then_goes_on(whole, tmp_path, monkeypatch):
  grade, calls = Reader.grade, []

  def failing(self, *arguments):
    calls.append(None)
    if len(calls) == 4:
      raise RuntimeError('the sandbox is gone')
    return grade(self, *arguments)

  run = start(tmp_path, ahead=1, steps=6, **REMEMBERING)
  with monkeypatch.context() as patch, pytest.raises(RuntimeError, match='the sandbox is gone'):
    patch.setattr(Reader, 'grade', failing)
    run.train()
  run.checkpointer.close()
  run = start(tmp_path, ahead=1, steps=6, **REMEMBERING)
  assert run.state.step == 2
  assert_same(numbers(run.train()), whole[0])
  assert rows(tmp_path) == whole[2]


@pytest.mark.parametrize(
  'changes', [{'batch__rounds': 2}, {'replay__kind': 'fifo', 'replay__every': 2}]
)
def test_steps_that_cannot_be_asked_for_early_are_refused(changes, tmp_path):
  with pytest.raises(ValueError, match='config.batch.ahead=1 grades one round of every step'):
    start(tmp_path / 'run', ahead=1, **changes)
  assert not (tmp_path / 'run').exists()


def test_rounds_are_refused_by_the_collector_too(tmp_path):
  plain = start(tmp_path, ahead=0).collect
  with pytest.raises(ValueError, match='of up to 3 rounds is not known before it is graded'):
    Ahead(dataclasses.replace(plain, rounds=3))
