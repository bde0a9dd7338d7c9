"""Saving: durable before older ones go, finite, retried; and going back to an older step."""

import errno
import resource
import shutil
import threading

import jax
import jax.numpy as jnp
import pytest
from checkpoints import assert_same, damage, make_state, save

from maxent_lm.train import manifest, steps
from maxent_lm.train.checkpoint import Checkpointer, NotSavedError
from maxent_lm.train.stored import Checkpoints

# Orbax's own threads, when one of them has failed.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


@pytest.fixture
def folder(tmp_path):
  save(tmp_path, 1)
  return tmp_path


@pytest.fixture
def checkpointer(folder):
  """Goes on from step 1."""
  made = Checkpointer(folder, every=2, keep=1, misses=3)
  made.restore(make_state())
  yield made
  made.close()


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def settle(checkpointer, writing):
  """Waits in the way that training looks: `check` never blocks."""
  for _ in range(1000):
    checkpointer.check()
    if not writing(checkpointer):
      return
    threading.Event().wait(0.01)
  raise AssertionError('never written')


def test_the_newest_steps_are_kept_and_an_uncommitted_one_is_not_seen(tmp_path):
  checkpointer = Checkpointer(tmp_path, every=2, keep=2)
  for step in range(1, 9):
    if checkpointer.due(step):
      checkpointer.save(make_state()._replace(step=jnp.int32(step)), step)
  checkpointer.wait()
  assert names(tmp_path) == ['6', '8']
  checkpointer.close()
  (tmp_path / '8').rename(tmp_path / '8.orbax-checkpoint-tmp')  # as if killed while writing
  assert Checkpointer(tmp_path, every=2, keep=2).latest() == 6


def test_older_steps_go_only_when_the_newer_one_is_durable(folder, checkpointer, monkeypatch):
  write, gate = manifest.write, threading.Event()
  monkeypatch.setattr(manifest, 'write', lambda path: (gate.wait(60), write(path)))
  checkpointer.save(make_state(2), 2)
  checkpointer.check()
  assert checkpointer.durable == 1
  assert names(folder) == ['1', '2.orbax-checkpoint-tmp']
  assert Checkpoints(folder).latest() == 1
  gate.set()
  settle(checkpointer, lambda x: x.durable == 1)
  assert checkpointer.durable == 2
  assert names(folder) == ['2']


def test_a_removal_that_is_cut_off_leaves_no_half_step(folder, monkeypatch):
  save(folder, 2)
  with monkeypatch.context() as patch:
    patch.setattr(shutil, 'rmtree', lambda *_, **__: None)
    steps.remove(folder, 1)
  assert steps.saved(folder) == [2]
  assert [path.name for path in steps.leftovers(folder)] == ['1.deleted']
  save(folder, 3)
  assert names(folder) == ['2', '3']


def failing(times, error):
  """A manifest that cannot be written the first few times, in the background."""
  write, left = manifest.write, [times]

  def instead(folder):
    if left[0]:
      left[0] -= 1
      raise error
    write(folder)

  return instead


FULL = OSError(errno.ENOSPC, 'No space left on device')


def test_a_save_that_fails_in_the_background_is_told_and_made_up_for(
  folder, checkpointer, monkeypatch, capsys
):
  monkeypatch.setattr(manifest, 'write', failing(1, FULL))
  assert checkpointer.due(2) and not checkpointer.due(3)
  checkpointer.save(make_state(2), 2)
  settle(checkpointer, lambda x: not x.due(3))
  told = capsys.readouterr().err
  assert 'step 2 is not saved (OSError: [Errno 28] No space' in told
  assert 'the newest one is of step 1; the next step tries again' in told
  assert names(folder) == ['1'] and checkpointer.durable == 1
  checkpointer.save(make_state(3), 3)
  checkpointer.wait()
  assert checkpointer.durable == 3 and not checkpointer.due(5)
  assert_same(Checkpoints(folder).restore(make_state()), make_state(3))
  assert 'not saved' not in capsys.readouterr().err


def test_a_save_does_not_inherit_the_error_of_the_one_before(folder, checkpointer, monkeypatch):
  """Without a look in between: the error is known when the next save begins."""
  monkeypatch.setattr(manifest, 'write', failing(1, FULL))
  checkpointer.save(make_state(2), 2)
  checkpointer.save(make_state(4), 4)
  checkpointer.wait()
  assert checkpointer.durable == 4
  assert names(folder) == ['4']


def test_a_step_that_is_not_what_was_signed_is_written_again(
  folder, checkpointer, monkeypatch, capsys
):
  """A straggler writes into it after the manifest."""
  write = manifest.write

  def late(path):
    write(path)
    monkeypatch.setattr(manifest, 'write', write)
    (path / 'params' / 'late').write_text('late')

  monkeypatch.setattr(manifest, 'write', late)
  checkpointer.save(make_state(2), 2)
  checkpointer.wait()
  assert 'step 2 is not saved (OSError: params/late is unexpected)' in capsys.readouterr().err
  assert names(folder) == ['1']
  checkpointer.finish(make_state(2), 2)
  assert names(folder) == ['2']


def test_some_failures_in_a_row_end_the_run(folder, checkpointer, monkeypatch, capsys):
  monkeypatch.setattr(manifest, 'write', failing(3, FULL))
  with pytest.raises(NotSavedError, match='newest one is of step 1.*misses=3 saves in a row'):
    checkpointer.finish(make_state(2), 2)
  assert capsys.readouterr().err.count('step 2 is not saved') == 2
  assert names(folder) == ['1']


def test_two_failures_and_a_success_do_not(folder, checkpointer, monkeypatch):
  for _ in range(2):
    monkeypatch.setattr(manifest, 'write', failing(2, FULL))
    step = checkpointer.durable + 1
    checkpointer.finish(make_state(step), step)
  assert names(folder) == ['3']


def test_files_that_the_system_does_not_take(folder, checkpointer):
  """A real error while Orbax writes: no file may be longer than a few bytes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
  try:
    checkpointer.save(make_state(2), 2)
    checkpointer.wait()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert checkpointer.durable == 1
  assert names(folder) == ['1']
  assert_same(Checkpoints(folder).restore(make_state()), make_state(1))
  checkpointer.save(make_state(3), 3)
  checkpointer.wait()
  assert names(folder) == ['3']
  assert_same(Checkpoints(folder).restore(make_state()), make_state(3))


def test_a_full_disk_is_seen_before_anything_is_written(folder, checkpointer, monkeypatch, capsys):
  size = manifest.size(folder / '1')
  assert size == sum(
    path.stat().st_size
    for path in (folder / '1').rglob('*')
    if path.is_file() and path.name != manifest.NAME and path.parent != folder / '1'
  )
  stale = folder / '9.orbax-checkpoint-tmp'
  stale.mkdir()
  free = {True: int(2.2 * size) - 1, False: int(2.2 * size)}  # with and without the leftovers
  monkeypatch.setattr(steps, 'free_space', lambda path: free[stale.exists()])
  checkpointer.save(make_state(2), 2)
  checkpointer.wait()
  assert checkpointer.durable == 2 and not capsys.readouterr().err
  free[False] = int(2.2 * manifest.size(folder / '2')) - 1
  checkpointer.save(make_state(4), 4)
  told = capsys.readouterr().err
  assert 'step 4 is not saved' in told and 'MB left and' in told
  assert names(folder) == ['2'] and checkpointer.due(5)
  checkpointer.save(make_state(5), 5)
  with pytest.raises(NotSavedError, match='MB are wanted'):
    checkpointer.save(make_state(6), 6)
  free[False] += 1
  checkpointer.save(make_state(7), 7)
  checkpointer.wait()
  assert names(folder) == ['7']


def test_the_first_save_wants_room_too(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(steps, 'free_space', lambda path: 100)
  checkpointer = Checkpointer(tmp_path, every=1, keep=1)
  checkpointer.save(make_state(), 1)
  assert 'step 1 is not saved' in capsys.readouterr().err
  assert names(tmp_path) == []


def poisoned(where):
  """A state with one number that is none."""
  state = make_state(2)
  if where == 'params':
    return state._replace(
      params={'layers': {'w': state.params['layers']['w'].at[1, 1].set(jnp.inf)}}
    )
  if where == 'optimizer':
    return state._replace(opt_state=jax.tree.map(lambda x: x * jnp.nan, state.opt_state))
  return state._replace(beta=state.beta._replace(value=jnp.float32(jnp.nan)))


@pytest.mark.parametrize(
  ('where', 'leaf'),
  [
    ('params', 'params/layers/w'),
    ('optimizer', 'optimizer/0/'),
    ('temperature', 'temperature/beta'),
  ],
)
def test_what_is_not_finite_is_never_saved(folder, checkpointer, capsys, where, leaf):
  checkpointer.save(poisoned(where), 2)
  checkpointer.wait()
  told = capsys.readouterr().err
  assert f'step 2 is not saved ({leaf}' in told and 'holds NaN or infinity)' in told
  assert names(folder) == ['1'] and checkpointer.due(3)
  with pytest.raises(NotSavedError, match='holds NaN'):
    checkpointer.finish(poisoned(where), 2)
  assert_same(Checkpoints(folder).restore(make_state()), make_state(1))


def test_what_a_controller_remembers_may_be_infinite(folder, checkpointer):
  state = make_state(2)
  state = state._replace(alpha=state.alpha._replace(memory=(jnp.float32(-jnp.inf),)))
  checkpointer.finish(state, 2)
  assert names(folder) == ['2']


def test_going_back_to_an_older_step_sets_the_newer_ones_aside(tmp_path, capsys):
  save(tmp_path, 1, 2, 3)
  checkpointer = Checkpointer(tmp_path, every=1, keep=9)
  assert checkpointer.latest() == 3
  assert_same(checkpointer.restore(make_state(), 1), make_state(1))
  assert names(tmp_path) == ['1', '2', '3']  # nothing is changed by reading
  checkpointer.save(make_state(7), 2)
  told = capsys.readouterr().err
  assert '/3 is renamed to 3.undone: the run went back to 1' in told
  checkpointer.wait()
  assert checkpointer.durable == 2
  assert names(tmp_path) == ['1', '2', '2.undone', '3.undone']
  assert_same(Checkpoints(tmp_path).restore(make_state()), make_state(7))
  checkpointer.save(make_state(8), 3)
  checkpointer.close()
  assert_same(Checkpoints(tmp_path).restore(make_state()), make_state(8))


def test_a_step_of_another_run_is_not_overwritten(folder):
  checkpointer = Checkpointer(folder, every=1, keep=1)
  with pytest.raises(FileExistsError, match='/1 is there already'):
    checkpointer.save(make_state(5), 1)
  assert_same(Checkpoints(folder).restore(make_state()), make_state(1))


def test_a_step_that_is_saved_is_not_saved_again(folder, checkpointer, monkeypatch):
  checkpointer.finish(make_state(2), 2)
  monkeypatch.setattr(manifest, 'write', failing(9, FULL))
  checkpointer.save(make_state(2), 2)
  checkpointer.finish(make_state(2), 2)
  assert names(folder) == ['2']


def test_after_damage_the_steps_that_follow_are_saved(folder, capsys):
  save(folder, 2)
  damage(folder / '2' / 'progress' / 'manifest.ocdbt', 'flipped')
  checkpointer = Checkpointer(folder, every=1, keep=9)
  checkpointer.restore(make_state())
  for step in (2, 3):
    checkpointer.finish(make_state(step + 10), step)
  checkpointer.close()
  assert names(folder) == ['1', '2', '2.corrupt', '3']
  assert_same(Checkpoints(folder).restore(make_state(), 2), make_state(12))
