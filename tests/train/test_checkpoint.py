"""Checkpoints come back bit for bit or not at all: damage, other models, older steps."""

import shutil

import jax
import jax.numpy as jnp
import pytest
from checkpoints import DAMAGES, assert_same, damage, files, make_state, save

from maxent_lm.train import manifest, steps
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.stored import Checkpoints

HARMLESS = {'_CHECKPOINT_METADATA', 'commit_success.txt'}  # no numbers in them, and never read


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """Steps 1 and 2; to be copied."""
  folder = tmp_path_factory.mktemp('two')
  save(folder, 1, 2)
  return folder


@pytest.fixture
def folder(two, tmp_path):
  shutil.copytree(two, tmp_path / 'checkpoints')
  return tmp_path / 'checkpoints'


@pytest.mark.parametrize('has_target', [True, False])
def test_a_state_comes_back_bit_for_bit(tmp_path, has_target):
  state = make_state(1, has_target=has_target)._replace(step=jnp.int32(7))
  with_file = Checkpointer(tmp_path, every=1, keep=2)
  with_file.save(state, 7)
  with_file.wait()
  assert_same(with_file.restore(make_state(2, has_target=has_target)), state)
  assert_same(with_file.restore_params(make_state(2).params), state.params)
  with_file.close()


def test_an_empty_folder_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    Checkpointer(tmp_path, every=1, keep=1).restore(make_state())
  assert Checkpoints(tmp_path / 'nowhere').latest() is None


@pytest.mark.parametrize('kind', DAMAGES)
def test_no_damaged_file_is_ever_read(two, capsys, kind):
  """Every file of a step in turn: it is named, and the step before is used."""
  names = [path.relative_to(two / '2').as_posix() for path in files(two / '2')]
  assert len(names) > 40 and manifest.NAME in names and set(names) > HARMLESS
  for name in names:
    was = damage(two / '2' / name, kind)
    latest = Checkpoints(two).latest()
    told = capsys.readouterr().err
    (two / '2' / name).write_bytes(was)
    if name in HARMLESS:
      assert latest == 2 and not told
    else:
      assert latest == 1, name
      assert name in told and 'step 1 is used' in told and told.count('\n') == 1
  assert Checkpoints(two).latest() == 2


@pytest.mark.parametrize('kind', DAMAGES)
@pytest.mark.parametrize('name', sorted(HARMLESS))
def test_what_is_not_in_the_manifest_is_not_needed(folder, name, kind):
  damage(folder / '2' / name, kind)
  assert_same(Checkpoints(folder).restore(make_state()), make_state(2))


def test_whoever_trains_renames_what_is_damaged(folder, capsys):
  for number, name in enumerate(('2.corrupt', '2.corrupt.1')):
    if number:
      shutil.copytree(folder / '1', folder / '2')
    damage(folder / '2' / 'params' / '_METADATA', 'flipped')
    checkpointer = Checkpointer(folder, every=1, keep=2)
    assert_same(checkpointer.restore(make_state()), make_state(1))
    told = capsys.readouterr().err
    assert f'/2 is damaged and renamed to {name}: params/_METADATA has changed' in told
    checkpointer.save(make_state(5), 2)
    checkpointer.wait()
    assert checkpointer.durable == 2
    assert_same(Checkpoints(folder).restore(make_state()), make_state(5))
    steps.remove(folder, 2)
    checkpointer.close()
  assert steps.quarantined(folder) == ['2.corrupt', '2.corrupt.1']


@pytest.mark.parametrize('reader', [Checkpoints, lambda x: Checkpointer(x, every=1, keep=1)])
def test_with_nothing_intact_nothing_is_started_or_touched(folder, reader):
  damage(folder / '1' / 'params' / '_METADATA', 'halved')
  damage(folder / '2' / manifest.NAME, 'deleted')
  with pytest.raises(ValueError, match='no intact.*2: manifest.json is mis.*1: params/_META') as e:
    reader(folder).latest()
  assert '\n' not in str(e.value)
  assert steps.saved(folder) == [1, 2]
  for step in (1, 2):
    steps.set_aside(folder, step, 'corrupt')
  with pytest.raises(ValueError, match='1.corrupt: set aside earlier; 2.corrupt'):
    reader(folder).latest()


def test_other_things_in_the_folder_do_not_count(folder):
  for name in ('9.orbax-checkpoint-tmp', '5_backup', '07', '٣'):
    shutil.copytree(folder / '2', folder / name)
  (folder / '8').write_text('a file')
  assert steps.saved(folder) == [1, 2]
  assert Checkpoints(folder).latest() == 2


def test_a_folder_that_only_looks_like_a_step_is_passed_over(folder, capsys):
  (folder / '4').mkdir()
  shutil.copytree(folder / '2', folder / '5', ignore=shutil.ignore_patterns('optimizer'))
  shutil.copytree(folder / '2', folder / '6')
  (folder / '6' / 'notes.txt').write_text('mine')
  shutil.copytree(folder / '2', folder / '7')
  (folder / '7' / 'params' / '_METADATA').unlink()
  (folder / '7' / 'params' / '_METADATA').symlink_to('nowhere')
  assert Checkpoints(folder).latest() == 2
  told = capsys.readouterr().err
  assert '/4 is passed over: manifest.json is missing' in told
  assert '/5 is passed over: optimizer/_METADATA is missing and ' in told
  assert '/6 is passed over: notes.txt is unexpected' in told
  assert '/7 is passed over: params/_METADATA cannot be read (No such file or directory)' in told


def test_sizes_alone_see_what_is_shorter_and_not_what_is_changed(folder):
  name = 'params/_METADATA'
  was = damage(folder / '2' / name, 'flipped')
  assert manifest.verify(folder / '2', 'sizes') == []
  assert manifest.verify(folder / '2', 'full') == [f'{name} has changed (its SHA-256 differs)']
  (folder / '2' / name).write_bytes(was + b'x')
  assert f'{name} has grown' in manifest.verify(folder / '2', 'sizes')[0]
  (folder / '2' / name).write_bytes(was[:-1])
  assert (
    f'{name} is truncated ({len(was) - 1} of {len(was)}'
    in manifest.verify(folder / '2', 'sizes')[0]
  )
  with pytest.raises(ValueError, match=r'config.checkpoint.verify=.none. is unknown'):
    Checkpoints(folder, verify='none').latest()


@pytest.mark.parametrize(
  'text',
  ['[]', '{"files": 3}', '{"files": {"x": {}}}', '\xff', '{', '[' * 10**5],
  ids=['a list', 'a number', 'no size', 'no text', 'cut', 'deep'],
)
def test_a_manifest_of_other_bytes_is_told(folder, text):
  (folder / '2' / manifest.NAME).write_text(text, encoding='latin-1')
  assert 'manifest.json cannot be read' in manifest.verify(folder / '2', 'full')[0]


def test_a_manifest_that_was_changed_is_told(folder):
  """Not the file that it would then be wrong about."""
  path = folder / '2' / manifest.NAME
  text = path.read_text()
  for at in range(0, len(text), 97):
    flipped = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
    path.write_text(flipped)
    assert 'manifest.json cannot be read' in manifest.verify(folder / '2', 'full')[0], flipped[:at]


@pytest.mark.parametrize(
  ('like', 'told'),
  [
    (make_state(dtype=jnp.bfloat16), r'params/layers/w is float32\(3, 4\) in .* bfloat16\(3, 4\)'),
    (make_state(width=5), r'params/layers/w is float32\(3, 4\) in .* float32\(3, 5\)'),
    (make_state(has_target=False), '2 holds target, which this run does not have'),
    (make_state()._replace(reference={'w': jnp.ones(2)}), '2 lacks reference, which this run has'),
    (
      make_state()._replace(params={'layers': {'v': jnp.ones((3, 4))}}),
      'params/layers/v is not in the checkpoint',
    ),
    (
      make_state()._replace(params={'layers': {}}),
      'params/layers/w is in the checkpoint but not in this run',
    ),
    (make_state()._replace(key=jax.random.key(0, impl='rbg')), r'progress/key is uint32\(2,\)'),
  ],
)
def test_another_model_is_refused_in_one_sentence(two, like, told):
  with pytest.raises(ValueError, match=told) as error:
    Checkpoints(two).restore(like)
  assert '\n' not in str(error.value)


def test_parts_are_compared_too(two):
  checkpoints = Checkpoints(two)
  with pytest.raises(ValueError, match='float32'):
    checkpoints.restore_params({'layers': {'w': jnp.ones((3, 4), jnp.float16)}})
  with pytest.raises(ValueError, match='lacks replay'):
    checkpoints.restore_memory('replay', jnp.ones(3))
  alpha, beta = checkpoints.restore_knobs()
  assert (alpha, beta) == pytest.approx((0.1, 0.2))


def test_a_step_that_is_asked_for_is_that_or_an_error(folder):
  checkpoints = Checkpoints(folder)
  assert_same(checkpoints.restore(make_state(), 1), make_state(1))
  with pytest.raises(ValueError, match='/3 cannot be restored: it is not there, only 1, 2 is'):
    checkpoints.restore(make_state(), 3)
  damage(folder / '2' / 'progress' / '_METADATA', 'flipped')
  for read in (checkpoints.restore_knobs, Checkpoints(folder).restore_knobs):
    with pytest.raises(ValueError, match='/2 cannot be restored: progress/_METADATA has changed'):
      read(2)
