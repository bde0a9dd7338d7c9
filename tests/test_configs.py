"""Every config builds a run and takes a real step; wrong ones are told in one sentence."""

import inspect
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from configs import base, countdown, gsm8k, list_functions, stories
from maxent_lm import build, cli, shaping
from maxent_lm.algorithms import LOSSES
from maxent_lm.build.policy import score_chunk
from maxent_lm.lm import pretrained
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.tokenizer import byte_tokenizer
from maxent_lm.train import step

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='session')
def model_folder(tmp_path_factory):
  """A random byte-level model: a Hugging Face folder as users bring one."""
  folder = tmp_path_factory.mktemp('model')
  tokenizer = byte_tokenizer()
  config = LMConfig(
    vocab_size=len(tokenizer),
    d_model=16,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    d_ff=16,
    max_length=640,
  )
  pretrained.save(folder, config, LM(config).init(0))
  tokenizer.save_pretrained(str(folder))
  return folder


@pytest.fixture
def gsm8k_folder(tmp_path):
  rows = [
    {'question': f'Tom has {n} apples and eats one. How many?', 'answer': f'{n}-1.\n#### {n - 1}'}
    for n in range(2, 20)
  ]
  for split in ('train', 'test'):
    lines = ''.join(json.dumps(row) + '\n' for row in rows)
    (tmp_path / f'{split}.jsonl').write_text(lines)
  return tmp_path


def shrink(config):
  config.steps = 1
  config.mesh.data = 1
  config.batch.update(prompts=2, group_size=2, max_new_tokens=4)
  config.eval.update(problems=2, samples=2, prompts=2)
  return config


def one_step(config, workdir):
  run = build.rollout_run(config, workdir)
  state = run.train()
  assert state.step == 1
  row = build.make_evaluation(config, run.policy)(state.params, run.reference)
  assert all(np.isfinite(value) for value in row.values())
  return row


@pytest.mark.parametrize('variant', ['soft_q', 'vargrad', 'grpo'])
def test_countdown_variants(variant, tmp_path):
  row = one_step(tiny_config(variant, steps=1), tmp_path / 'run')
  assert {'pass@1', 'pass@4', 'coverage@4', 'distinct@4', 'entropy', 'kl'} <= row.keys()


@pytest.mark.parametrize('member', [*countdown.MEMBERS, 'ppo'])
def test_every_member_builds(member, tmp_path):
  """A run is traced abstractly when it is built: losses have the views that they ask for."""
  build.rollout_run(tiny_config(member, steps=1), tmp_path / 'run').checkpointer.close()


def test_the_first_update_was_traced_when_the_run_was_built(tmp_path, monkeypatch):
  """What checks that an update can be traced is not work done twice."""
  shapes = []
  traced = step._row_by_row
  monkeypatch.setattr(
    step, '_row_by_row', lambda *of: shapes.append(of[-1].tokens.shape) or traced(*of)
  )
  run = build.rollout_run(tiny_config('grpo', steps=1), tmp_path / 'run')
  assert len(shapes) == 1
  run.train()
  assert len(shapes) == 1


@pytest.mark.parametrize('member', ['sac', 'ilql'])
def test_networks_beside_the_policy_are_trained_and_restored(member, tmp_path):
  run = build.rollout_run(tiny_config(member, steps=1), tmp_path / 'run')
  before = jax.device_get(run.state.critic)
  after = jax.device_get(run.train().critic)
  for changed in (after.params, after.target):
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, changed)
    assert jax.tree.reduce(bool.__or__, moved)
  again = build.rollout_run(tiny_config(member, steps=2), tmp_path / 'run')
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(again.state.critic), after)
  again.checkpointer.close()


def test_a_moving_reference_follows_the_policy_and_is_restored(tmp_path):
  changes = {'reference_update__periodic__period': 2, 'temperature__alpha': 0.1}
  run = build.rollout_run(tiny_config('reval', steps=3, **changes), tmp_path / 'run')
  assert run.reference is None
  start = jax.device_get(run.state.reference)
  state = run.train()
  assert (np.asarray(state.reference['head']) != start['head']).any()
  assert (np.asarray(state.reference['head']) != np.asarray(state.params['head'])).any()
  again = build.rollout_run(tiny_config('reval', steps=4, **changes), tmp_path / 'run')
  jax.tree.map(np.testing.assert_array_equal, again.state.reference, state.reference)
  again.checkpointer.close()


def test_logits_held_at_once_do_not_grow_with_the_vocabulary():
  config = base.get_config()
  chunks = {}
  for vocabulary in (64, 4096, 151_936, 1 << 22):
    lm = LM(LMConfig(vocabulary, 16, 1, 1, 1, 16, 16))
    chunks[vocabulary] = score_chunk(config, lm)
  assert chunks == {64: 262_144, 4096: 4096, 151_936: 110, 1 << 22: 8}  # 2^24 logits, 8 tokens


def test_pretrain(tmp_path):
  state = build.demonstration_run(tiny_config('pretrain', steps=2), tmp_path / 'run').train()
  assert state.step == 2


def test_stories(model_folder, tmp_path):
  config = shrink(stories.get_config())
  config.init = str(model_folder)
  config.tokenizer.stop_token = '<eos>'
  config.batch.prompt_multiple = 448
  one_step(config, tmp_path / 'run')


def test_list_functions(tmp_path):
  """A step whose rewards are those of programs that were run."""
  config = shrink(list_functions.get_config())
  config.model.update(num_layers=1, d_model=16, num_heads=2, num_kv_heads=2, head_dim=8, d_ff=16)
  one_step(config, tmp_path / 'run')


def test_gsm8k(model_folder, gsm8k_folder, tmp_path):
  config = shrink(gsm8k.get_config())
  config.init = str(model_folder)
  config.gsm8k.update(data_dir=str(gsm8k_folder), cache_dir=str(tmp_path / 'cache'))
  one_step(config, tmp_path / 'run')


@pytest.mark.parametrize(
  ('key', 'value', 'sentence'),
  [
    (
      'algorithm',
      'sac2',
      "config.algorithm='sac2' is unknown; choose one of aot, bapo, cispo, dcpo",
    ),
    ('task', 'coutdown', "config.task='coutdown' is unknown; choose one of aqua_rat, arithmetic"),
    ('reduction', 'mean', "config.reduction='mean' is unknown"),
    ('target.rule', 'ema', "config.target.rule='ema' is unknown; choose one of none, periodic"),
    ('optimizer.decay', 'step', "config.optimizer.decay='step' is unknown"),
    ('optimizer.learning_rate', float('inf'), 'a learning_rate must be finite, got inf'),
    ('skips.in_window', 0, 'config.skips: needs in_a_row >= 1 and 1 <= in_window <= window'),
    ('batch.truncation', 'drop', "config.batch.truncation='drop' is unknown"),
    ('temperature.beta_control', 'pid', "config.temperature.beta_control='pid' is unknown"),
    ('temperature.beta', -1.0, 'must not be negative'),
    ('temperature.beta', 0.0, 'needs a temperature alpha \\+ beta above 0'),
    ('reference', 'none', 'needs a reference'),
    ('tokenizer.stop_token', '</s>', "'</s>' is not a token of this tokenizer"),
    ('tokenizer.alphabet', '', 'config.init is empty'),
    ('init', 'no/such/folder', 'no/such/folder'),
    ('mesh.data', 9, 'does not fit 8 devices'),
    ('compute.attention', 'cudnn', 'is a kernel of NVIDIA GPUs and the devices are cpu'),
    ('compute.cache', 'int8', "cache_dtype 'int8' is not known"),
    ('compute.logits', 0, 'config.compute.logits=0 must be at least 1'),
    ('model.head_dim', 7, 'head_dim'),
    ('batch.max_prompt_tokens', 1, 'leaves none of the'),
    ('batch.max_new_tokens', 600, 'need 608 positions but the model has 512'),
    ('samples_every', 0, 'start at 1'),
    ('soft_q.gradient', 'full', "unknown gradient 'full'; choose one of semi, residual"),
    ('soft_q.value', 'lsm', "unknown value 'lsm'"),
    ('soft_q.value', 'head', "needs a value head; set config.critic.kind='value'"),
    ('algorithm', 'sac', "needs critics with logits of their own; set config.critic.kind='twin'"),
    ('algorithm', 'ilql', "needs Q heads and a value head; set config.critic.kind='ilql'"),
    ('algorithm', 'q_sharp', "needs a head of return atoms; set config.critic.kind='atoms'"),
    ('replay.kind', 'lifo', "config.replay.kind='lifo' is unknown; choose one of fifo, none, pri"),
    ('replay.demonstrations', 2, "set config.replay.kind='fifo'"),
    ('loss_units', 'bits', "config.loss_units='bits' is unknown; choose one of nats, reward"),
    ('critic.kind', 'v', "config.critic.kind='v' is unknown; choose one of atoms, ilql, none"),
    (
      'curiosity.kind',
      'icm',
      "config.curiosity.kind='icm' is unknown; choose one of ensemble, none",
    ),
    ('batch.rounds', 0, 'config.batch.rounds=0 must be at least 1'),
    ('batch.ahead', 2, 'config.batch.ahead=2 must be 0 or 1'),
    ('reference_update.rule', 'ema', "config.reference_update.rule='ema' is unknown"),
  ],
)
def test_wrong_values_are_told_before_anything_is_written(key, value, sentence, tmp_path):
  fixed = {'temperature.alpha_control': 'fixed', 'temperature.beta_control': 'fixed'}
  config = tiny_config(temperature__alpha=0.0)
  config.update_from_flattened_dict(fixed | {key: value})
  with pytest.raises((ValueError, OSError), match=sentence):
    build.rollout_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_schedule_that_ends_at_no_temperature_is_told(tmp_path):
  config = tiny_config('vargrad', steps=20, temperature__alpha=0.0)
  config.temperature.update(alpha_control='fixed', beta_control='schedule')
  config.beta.schedule.arguments = {'decay_steps': 10}
  with pytest.raises(ValueError, match='above 0 throughout, but it becomes 0.0'):
    build.rollout_run(config, tmp_path / 'run')
  config.algorithm, config.reference = 'grpo', 'none'
  with pytest.raises(ValueError, match='needs a reference'):
    build.rollout_run(config, tmp_path / 'run')


def test_going_on_with_another_config_is_refused(tmp_path):
  build.rollout_run(tiny_config(steps=1), tmp_path / 'run').train()
  with pytest.raises(ValueError, match="config.target.rule was 'none' and is 'polyak'"):
    build.rollout_run(tiny_config(steps=2, target__rule='polyak'), tmp_path / 'run')
  assert json.loads((tmp_path / 'run' / 'config.json').read_text())['target']['rule'] == 'none'
  build.rollout_run(tiny_config(steps=2, eval__seed=5), tmp_path / 'run').train()


def test_rows_that_devices_cannot_share_are_told(tmp_path):
  config = tiny_config(mesh__data=8)
  with pytest.raises(ValueError, match='config.batch.prompts=4 cannot be split over 8 devices'):
    build.rollout_run(config, tmp_path / 'run')


def test_there_must_be_something_to_evaluate(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no run to evaluate'):
    build.trained_policy(tiny_config(), tmp_path / 'run')


def test_the_newest_checkpoint_is_evaluated(tmp_path):
  state = build.rollout_run(tiny_config(steps=2), tmp_path / 'run').train()
  policy, params, step = build.trained_policy(tiny_config(steps=2), tmp_path / 'run')
  assert step == 2
  jax.tree.map(np.testing.assert_array_equal, params, state.params)
  assert (np.asarray(policy.params['head']) != np.asarray(params['head'])).any()


def test_damaged_model_folders_are_told(model_folder, tmp_path):
  broken = tmp_path / 'broken'
  broken.mkdir()
  for path in model_folder.iterdir():
    (broken / path.name).write_bytes(path.read_bytes())
  (broken / 'model.safetensors').write_bytes(b'\x00' * 100)
  config = tiny_config()
  config.init = str(broken)
  with pytest.raises(ValueError, match='model.safetensors'):
    build.rollout_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_tokenizer_that_does_not_fit_the_embedding_is_told(tmp_path):
  folder = tmp_path / 'small'
  config = LMConfig(
    vocab_size=100,
    d_model=8,
    num_layers=1,
    num_heads=1,
    num_kv_heads=1,
    head_dim=8,
    d_ff=8,
  )
  pretrained.save(folder, config, LM(config).init(0))
  byte_tokenizer().save_pretrained(str(folder))
  config = tiny_config()
  config.init = str(folder)
  with pytest.raises(ValueError, match='ids up to 257 .* vocab_size 100'):
    build.rollout_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_an_empty_data_file_is_told(model_folder, gsm8k_folder, tmp_path):
  (gsm8k_folder / 'train.jsonl').write_text('')
  config = gsm8k.get_config()
  config.mesh.data = 1
  config.init = str(model_folder)
  config.gsm8k.update(data_dir=str(gsm8k_folder), cache_dir=str(tmp_path / 'cache'))
  with pytest.raises(ValueError, match='train.jsonl'):
    build.rollout_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_user_errors_become_one_line(capsys):
  with pytest.raises(SystemExit) as stop, cli.user_errors():
    raise ValueError('config.x is wrong;\n  mend it')
  assert stop.value.code == 'error: config.x is wrong; mend it'


def test_a_wrong_key_names_the_right_one(tmp_path):
  ran = subprocess.run(
    [
      sys.executable,
      'experiments/train.py',
      '--config=configs/countdown.py',
      f'--workdir={tmp_path / "run"}',
      '--config.temperature.alhpa=1',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert ran.returncode == 1
  assert 'alpha' in ran.stderr
  assert 'alhpa' in ran.stderr
  assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
  assert not (tmp_path / 'run').exists()


def test_every_key_has_a_default_that_json_can_hold():
  assert json.loads(json.dumps(base.get_config().to_dict()))


@pytest.mark.parametrize('table', [LOSSES, shaping.TRANSFORMS], ids=['losses', 'transforms'])
def test_sections_are_the_keyword_arguments(table):
  """Every objective and transform has a section of its name, with its options and no others."""
  config = base.get_config()
  for name, function in table.items():
    if name in shaping.IMPORTANCE:  # their sections hold names of parts
      continue
    kinds = inspect.signature(function).parameters.values()
    options = {each.name for each in kinds if each.kind is inspect.Parameter.KEYWORD_ONLY}
    assert set(config[name]) == options, name


def test_devices_are_simulated():
  assert jax.device_count() == 8


def test_without_a_home_no_compilation_is_kept(monkeypatch):
  def unknown(number):
    raise KeyError(number)

  seen = {}
  monkeypatch.setattr(cli.sys, 'path', list(cli.sys.path))
  monkeypatch.setattr(cli.jax.config, 'update', seen.__setitem__)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  monkeypatch.setenv('HOME', '/home/of')
  cli.prepare()
  assert seen == {'jax_compilation_cache_dir': '/home/of/.cache/maxent_lm/jax'}
  monkeypatch.delenv('HOME')
  monkeypatch.setattr('pwd.getpwuid', unknown)  # a container's made-up user
  cli.prepare()
  assert seen == {'jax_compilation_cache_dir': None}
