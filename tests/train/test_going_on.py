"""What may change when a run goes on: what is refused, what is warned of, and what it does then."""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.train import folder
from maxent_lm.train.metrics import read_metrics

OPTIONS = {'checkpoint__every': 2}
COSINE = {'temperature__alpha_control': 'schedule', 'alpha__schedule__arguments__decay_steps': 4}


def config(**changes):
  return tiny_config('vargrad', **{**OPTIONS, 'steps': 4, **changes})


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
  """A run of two steps, with a schedule for alpha."""
  workdir = tmp_path_factory.mktemp('begun')
  build.rollout_run(config(steps=2, **COSINE), workdir).train()
  return workdir


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Rows and parameters of four steps on one device."""
  workdir = tmp_path_factory.mktemp('whole')
  state = build.rollout_run(config(**COSINE), workdir).train()
  return read_metrics(workdir / 'metrics.jsonl'), jax.device_get(state.params)


@pytest.fixture
def workdir(begun, tmp_path):
  return shutil.copytree(begun, tmp_path / 'run')


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'model__d_model': 48}, 'config.model.d_model was 32 and is 48'),
    ({'model__vocab_size': 64}, 'config.model.vocab_size was 0 and is 64'),
    ({'tokenizer__alphabet': 'abc'}, "config.tokenizer.alphabet was '.*' and is 'abc'"),
    ({'countdown__max_number': 8}, 'config.countdown.max_number was 9 and is 8'),
    ({'task': 'arithmetic'}, "config.task was 'countdown' and is 'arithmetic'"),
    ({'seed': 1}, 'config.seed was 0 and is 1'),
    ({'algorithm': 'grpo'}, "config.algorithm was 'vargrad' and is 'grpo'"),
    ({'temperature__alpha_control': 'fixed'}, "alpha_control was 'schedule' and is 'fixed'"),
    ({'alpha__average': 0.5}, 'config.alpha.average was 0.0 and is 0.5'),
    (
      {'seed': 1, 'optimizer__learning_rate': 1.0, 'init': 'x', 'steps': 9},
      "another config: config.init was '' and is 'x'; config.seed was 0 and is 1; choose another",
    ),
  ],
)
def test_what_would_be_another_run_is_refused(changes, sentence, workdir):
  before = (workdir / 'config.json').read_bytes()
  with pytest.raises(ValueError, match=sentence):
    folder.check_config(workdir, config(**{**COSINE, **changes}).to_dict())
  assert (workdir / 'config.json').read_bytes() == before


@pytest.mark.parametrize(
  ('changes', 'told'),
  [
    ({'optimizer__learning_rate': 0.5}, 'config.optimizer.learning_rate was 0.0004 and is 0.5'),
    ({'batch__prompts': 2}, 'config.batch.prompts was 4 and is 2'),
    ({'compute__dtype': 'bfloat16'}, "config.compute.dtype was 'float32' and is 'bfloat16'"),
    (
      {'alpha__schedule__arguments__decay_steps': 400, 'temperature__alpha': 0.5},
      'config.alpha.schedule.arguments.decay_steps was 4 and is 400; config.temperature.alpha was',
    ),
  ],
)
def test_other_numbers_are_told_and_go_on(changes, told, workdir, whole, capfd):
  state = build.rollout_run(config(**{**COSINE, **changes}), workdir).train()
  said = capfd.readouterr().err
  assert f'{workdir}: warning: goes on with another config: {told}' in said
  assert f'{workdir}: goes on with: config.steps was 2 and is 4' in said
  assert int(state.step) == 4
  rows, expected = read_metrics(workdir / 'metrics.jsonl'), whole[0]
  assert rows[:2] == expected[:2] and rows[2:] != expected[2:]
  assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype('float32')}
  if 'temperature__alpha' in changes:  # of step 3, which the schedule knows after step 2
    assert rows[3]['alpha'] == pytest.approx(0.5, rel=0.01) != expected[3]['alpha']
  build.rollout_run(config(**{**COSINE, **changes}), workdir)
  assert 'goes on with' not in capfd.readouterr().err  # told once


@pytest.mark.parametrize('mesh', [{'data': 2}, {'data': 2, 'fsdp': 2, 'tensor': 2}])
def test_more_devices_and_fewer_again_are_close(mesh, workdir, whole):
  """Two steps on one device, one on more, one on one; not bit for bit, as sums are split."""
  spread = {f'mesh__{axis}': size for axis, size in mesh.items()}
  build.rollout_run(config(steps=3, **COSINE, **spread), workdir).train()
  state = build.rollout_run(config(**COSINE), workdir).train()
  rows, params = whole
  for ours, theirs in zip(read_metrics(workdir / 'metrics.jsonl'), rows, strict=True):
    for key, value in theirs.items():
      np.testing.assert_allclose(ours[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.params, params
  )


def started(workdir, **tree):
  workdir.mkdir(exist_ok=True)
  (workdir / 'config.json').write_text(json.dumps(tree))
  return workdir


def test_keys_of_another_version_warn_at_most(tmp_path):
  workdir = started(tmp_path, seed=0, gone={'a': 1}, steps=3)
  lines = folder.check_config(workdir, {'seed': 0, 'steps': 3, 'new': {'b': 2}, 'grace': 1.0})
  assert lines == [
    f'{workdir}: warning: goes on with another config: config.gone.a was 1 and is missing; '
    'config.new.b was missing and is 2',
    f'{workdir}: goes on with: config.grace was missing and is 1.0',
  ]


def test_in_an_open_section_a_new_key_is_another_task(tmp_path):
  workdir = started(tmp_path, reasoning_gym={'options': {}, 'size': 9})
  with pytest.raises(ValueError, match='options.words was missing and is 3'):
    folder.check_config(workdir, {'reasoning_gym': {'options': {'words': 3}, 'size': 9}})


def test_the_same_config_and_a_new_folder_say_nothing(tmp_path):
  tree = {'model': {'d_model': 3}, 'alarms': (1, 2)}
  assert folder.check_config(tmp_path, tree) == []
  assert folder.check_config(started(tmp_path, **tree), tree) == []


def test_every_class_is_of_keys_that_there_are():
  known = folder.flat(tiny_config().to_dict())
  for name in folder.CLASSES:
    assert name in known or any(key.startswith(name) for key in known if name[-1] == '.'), name
