"""A run that was stopped and started again is the run that was never stopped, bit for bit."""

import json
import re

import jax
import numpy as np
import pytest
from tiny_runs import crash, tiny_config

from maxent_lm import build
from maxent_lm.lm import pretrained
from maxent_lm.train.metrics import read_metrics


def leaves(state):
  return jax.device_get(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))


LEARNED = {
  'temperature__alpha': 0.01,
  'temperature__alpha_control': 'target_entropy',
  'temperature__beta_control': 'target_kl',
  'target__rule': 'polyak',
  'checkpoint__every': 3,
}


@pytest.mark.parametrize('variant', ['soft_q', 'vargrad'])
def test_resumed_is_uninterrupted(variant, tmp_path):
  whole = build.rollout_run(tiny_config(variant, steps=6, **LEARNED), tmp_path / 'whole').train()
  part = build.rollout_run(tiny_config(variant, steps=3, **LEARNED), tmp_path / 'part').train()
  assert part.step == 3
  part = build.rollout_run(tiny_config(variant, steps=6, **LEARNED), tmp_path / 'part').train()
  for left, right in zip(leaves(whole), leaves(part), strict=True):
    np.testing.assert_array_equal(left, right)
  rows = [read_metrics(tmp_path / name / 'metrics.jsonl') for name in ('whole', 'part')]
  assert rows[0] == rows[1]
  assert [row['step'] for row in rows[0]] == list(range(6))


STEERED = {
  'temperature__alpha_control': 'pi',
  'alpha__pi__target': 4.0,
  'temperature__beta_control': 'raise_when_stuck',
  'beta__raise_when_stuck__patience': 1,
  'beta__raise_when_stuck__margin': 1.0,
  'temperature__sampler_control': 'log_ratio_to_start',
  'sampler__log_ratio_to_start__measured': 1,
  'sampler__log_ratio_to_start__begin': 0,
  'sampler__log_ratio_to_start__length': 4,
  'sampler__log_ratio_to_start__final': 0.3,
  'sampler__log_ratio_to_start__vocabulary': 20,
  'sampler__average': 0.5,
}


def test_controllers_with_memory_are_resumed(tmp_path):
  options = {**LEARNED, **STEERED}
  whole = build.rollout_run(tiny_config(steps=5, **options), tmp_path / 'whole').train()
  build.rollout_run(tiny_config(steps=3, **options), tmp_path / 'part').train()
  part = build.rollout_run(tiny_config(steps=5, **options), tmp_path / 'part').train()
  for left, right in zip(leaves(whole), leaves(part), strict=True):
    np.testing.assert_array_equal(left, right)
  rows = read_metrics(tmp_path / 'whole' / 'metrics.jsonl')
  assert rows == read_metrics(tmp_path / 'part' / 'metrics.jsonl')
  for knob in ('alpha', 'beta', 'sampler'):
    assert len({row[knob] for row in rows}) > 2, knob
  off = [row['off_policy'] for row in rows]  # grows with the distance of the sampler from 1
  assert rows[0]['sampler'] == rows[1]['sampler'] == 1 and max(off[:2]) < 1e-4 < 1e-2 < off[4]


REPLAY = {
  'replay__kind': 'prioritised',
  'replay__exponent': 2.0,
  'replay__capacity': 7,
  'replay__prompts': 2,
  'replay__demonstrations': 1,
  'replay__every': 2,
}


def test_the_replay_ring_is_resumed_with_the_run(tmp_path):
  """Steps 3 to 5 draw from groups that only the checkpoint knows."""
  options = {**LEARNED, **REPLAY}
  whole = build.rollout_run(tiny_config(steps=6, **options), tmp_path / 'whole')
  state = whole.train()
  build.rollout_run(tiny_config(steps=3, **options), tmp_path / 'part').train()
  part = build.rollout_run(tiny_config(steps=6, **options), tmp_path / 'part')
  assert int(part.remembers['replay'].memory.added) == 8  # four fresh groups in steps 0 and 2
  again = part.train()
  for left, right in zip(leaves(state), leaves(again), strict=True):
    np.testing.assert_array_equal(left, right)
  for left, right in zip(*(run.remembers['replay'].memory for run in (whole, part)), strict=True):
    np.testing.assert_array_equal(left, right)
  rows = read_metrics(tmp_path / 'whole' / 'metrics.jsonl')
  assert rows == read_metrics(tmp_path / 'part' / 'metrics.jsonl')
  assert [row['replayed'] for row in rows] == [2 / 7, 6 / 7] * 3
  assert ['finished' in row for row in rows] == [True, False] * 3


def test_demonstrations_and_replay_alone_teach(tmp_path):
  """One rollout in eight; the batch is demonstrations and what the ring holds."""
  changes = {**REPLAY, 'replay__every': 8, 'replay__demonstrations': 8, 'batch__prompts': 4}
  config = tiny_config('pretrain', steps=24, optimizer__learning_rate=1e-2, **changes)
  run = build.rollout_run(config, tmp_path / 'run')
  run.train()
  rows = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert rows[-1]['loss'] < 0.7 * rows[0]['loss']


def test_a_crash_loses_no_row_and_doubles_none(tmp_path):
  config = tiny_config(steps=6, checkpoint__every=2, samples_every=1)
  crash(build.rollout_run(config, tmp_path / 'run'), step=5)
  build.rollout_run(config, tmp_path / 'run').train()
  for name in ('metrics.jsonl', 'samples.jsonl'):
    steps = [row['step'] for row in read_metrics(tmp_path / 'run' / name)]
    assert sorted(set(steps)) == list(range(6))
    assert name == 'samples.jsonl' or len(steps) == 6
  counts = np.bincount([row['step'] for row in read_metrics(tmp_path / 'run' / 'samples.jsonl')])
  assert len(set(counts)) == 1


def test_a_finished_run_is_left_as_it_is(tmp_path):
  first = build.rollout_run(tiny_config(steps=2), tmp_path / 'run').train()
  again = build.rollout_run(tiny_config(steps=2), tmp_path / 'run').train()
  for left, right in zip(leaves(first), leaves(again), strict=True):
    np.testing.assert_array_equal(left, right)
  assert len(read_metrics(tmp_path / 'run' / 'metrics.jsonl')) == 2


def test_the_run_folder_tells_what_was_run(tmp_path):
  workdir = tmp_path / 'run'
  config = tiny_config(steps=2)
  state = build.rollout_run(config, workdir).train()
  assert json.loads((workdir / 'config.json').read_text()) == json.loads(
    json.dumps(config.to_dict())
  )
  versions = json.loads((workdir / 'versions.json').read_text())
  assert versions['jax'] == jax.__version__
  assert re.fullmatch(r'[0-9a-f]{40}(\+changes\.[0-9a-f]{8})?|unknown', versions['commit'])
  sample = json.loads((workdir / 'samples.jsonl').read_text().splitlines()[0])
  assert {'step', 'prompt', 'response', 'reward', 'finished'} <= sample.keys()
  exported = pretrained.load_params(workdir / 'model', pretrained.load_config(workdir / 'model'))
  jax.tree.map(np.testing.assert_array_equal, exported, jax.device_get(state.params))
  start = pretrained.load_params(workdir / 'start', pretrained.load_config(workdir / 'start'))
  assert (np.asarray(start['head']) != exported['head']).any()


def test_the_reference_stays_where_the_run_started(tmp_path):
  """Resuming does not move the reference to the checkpoint."""
  build.rollout_run(tiny_config(steps=2), tmp_path / 'run').train()
  resumed = build.rollout_run(tiny_config(steps=4), tmp_path / 'run')
  start = pretrained.load_params(
    tmp_path / 'run' / 'start', pretrained.load_config(tmp_path / 'run' / 'start')
  )
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed.reference), start)
  assert (np.asarray(resumed.state.params['head']) != start['head']).any()
