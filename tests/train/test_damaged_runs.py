"""Runs whose checkpoints are damaged or cannot be written end as the run that nothing befell."""

import shutil
import threading
import time

import numpy as np
import pytest
from checkpoints import assert_same, damage
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.analysis.chaos.damage import poison
from maxent_lm.train import manifest, steps
from maxent_lm.train.checkpoint import NotSavedError
from maxent_lm.train.metrics import read_metrics

pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


def config(**changes):
  return tiny_config(steps=6, checkpoint__every=2, **changes)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """`whole` has 6 steps, and its last state; `part` has 5 and checkpoints of 4 and 5."""
  folder = tmp_path_factory.mktemp('runs')
  state = build.rollout_run(config(), folder / 'whole').train()
  build.rollout_run(tiny_config(steps=5, checkpoint__every=2), folder / 'part').train()
  assert steps.saved(folder / 'part' / 'checkpoints') == [4, 5]
  return folder, state


@pytest.fixture
def part(runs, tmp_path):
  shutil.copytree(runs[0] / 'part', tmp_path / 'part')
  return tmp_path / 'part'


def assert_whole(runs, workdir, state):
  """Rows and the last state are those of `whole`."""
  folder, whole = runs
  rows = [read_metrics(each / 'metrics.jsonl') for each in (folder / 'whole', workdir)]
  assert rows[0] == rows[1]
  assert_same(state, whole)


def largest(step):
  return max(step.rglob('*/d/*'), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize('kind', ['flipped', 'deleted'])
def test_a_damaged_checkpoint_costs_a_step_and_nothing_else(runs, part, capsys, kind):
  damage(largest(part / 'checkpoints' / '5'), kind)
  run = build.rollout_run(config(), part)
  told = capsys.readouterr().err
  assert '/checkpoints/5 is damaged and renamed to 5.corrupt: ' in told and 'step 4 is used' in told
  assert int(run.state.step) == 4
  assert_whole(runs, part, run.train())
  assert sorted(path.name for path in (part / 'checkpoints').iterdir()) == ['4', '5.corrupt', '6']


def test_a_checkpoint_of_nan_costs_a_step_and_nothing_else(runs, part, capsys):
  """Its manifest is right: whoever wrote it was wrong."""
  poison(part / 'checkpoints' / '5', np.random.default_rng(0))
  run = build.rollout_run(config(), part)
  told = capsys.readouterr().err
  assert '/checkpoints/5 is damaged and renamed to 5.corrupt: params/' in told
  assert ' holds NaN or infinity' in told and int(run.state.step) == 4
  assert_whole(runs, part, run.train())
  for step in (4, 6):
    shutil.rmtree(part / 'checkpoints' / str(step))
  with pytest.raises(ValueError, match='no intact checkpoint .*5.corrupt: set aside earlier'):
    build.rollout_run(config(), part)


def test_with_no_intact_checkpoint_a_run_does_not_begin_again(part):
  for step in (4, 5):
    damage(largest(part / 'checkpoints' / str(step)), 'flipped')
  before = {path: path.read_bytes() for path in part.rglob('*') if path.is_file()}
  for make in (build.rollout_run, build.trained_policy, build.trained_knobs):
    with pytest.raises(ValueError, match='checkpoints holds no intact checkpoint'):
      make(config(), part)
  after = {path: path.read_bytes() for path in part.rglob('*') if path.is_file()}
  assert {path.name for path in part.rglob('*') if before.get(path) != after.get(path)} <= {
    'config.json',
    'versions.json',
  }


def test_evaluation_passes_over_what_is_damaged(part, capsys):
  damage(largest(part / 'checkpoints' / '5'), 'flipped')
  _, _, step = build.trained_policy(config(), part)
  assert step == 4 and 'step 4 is used' in capsys.readouterr().err
  assert steps.saved(part / 'checkpoints') == [4, 5]


def test_saves_that_fail_are_made_up_for(runs, tmp_path, monkeypatch, capsys):
  """That of step 3 as soon as it is known, and that of step 6, the last one, at once."""
  write, left, failed = manifest.write, {'3', '6'}, threading.Event()

  def failing(folder):
    step = folder.name.split('.')[0]
    if step in left:
      left.remove(step)
      failed.set()
      raise OSError(28, 'No space left on device')
    write(folder)

  monkeypatch.setattr(manifest, 'write', failing)
  run = build.rollout_run(tiny_config(steps=6, checkpoint__every=3), tmp_path)
  collect = run.collect

  def waiting(number, state):
    if number == 3:  # while the third step's state is written
      failed.wait(60)
      time.sleep(0.2)
    return collect(number, state)

  run.collect = waiting
  state = run.train()
  told = capsys.readouterr().err
  assert 'step 3 is not saved' in told and 'none is; the next step tries again' in told
  assert 'step 6 is not saved' in told and 'the newest one is of step 5' in told
  assert told.count('is not saved') == 2
  assert run.checkpointer.durable == 6
  assert steps.saved(tmp_path / 'checkpoints') == [5, 6]
  assert_whole(runs, tmp_path, state)


def test_a_run_that_cannot_save_stops(tmp_path, monkeypatch):
  monkeypatch.setattr(steps, 'free_space', lambda folder: 0)
  run = build.rollout_run(config(checkpoint__misses=2), tmp_path)
  with pytest.raises(NotSavedError, match='step 3 is not saved.*MB are wanted.*misses=2'):
    run.train()
  assert [row['step'] for row in read_metrics(tmp_path / 'metrics.jsonl')] == [0, 1, 2]
