"""Whole runs that must learn: a warm start, then soft-Q from it, on problems with known answers."""

import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.train.metrics import read_metrics


@pytest.fixture(scope='module')
def warm_start(tmp_path_factory):
  """Two numbers, one operator: about half solved after 45 supervised steps."""
  workdir = tmp_path_factory.mktemp('warm')
  config = tiny_config(
    'pretrain', steps=45, batch__prompts=64, optimizer__learning_rate=5e-3, checkpoint__every=200
  )
  build.demonstration_run(config, workdir).train()
  return workdir / 'model'


def test_the_warm_start_learns(warm_start):
  nll = [row['nll'] for row in read_metrics(warm_start.parent / 'metrics.jsonl')]
  assert nll[0] > 3
  assert np.mean(nll[-5:]) < 0.8


@pytest.mark.parametrize('variant', ['soft_q', 'vargrad', 'grpo'])
def test_training_from_it_raises_accuracy(warm_start, variant, tmp_path):
  config = tiny_config(
    variant,
    steps=60,
    batch__prompts=16,
    batch__group_size=8,
    optimizer__learning_rate=1e-3,
    checkpoint__every=100,
    init=str(warm_start),
  )
  run = build.rollout_run(config, tmp_path / 'run')
  run.train()
  success = [row['success'] for row in read_metrics(tmp_path / 'run' / 'metrics.jsonl')]
  assert np.mean(success[-15:]) > np.mean(success[:5]) + 0.12


def test_a_round_of_self_training_raises_accuracy(warm_start, tmp_path):
  config = tiny_config(
    'raft',
    steps=25,
    batch__prompts=64,
    optimizer__learning_rate=2e-3,
    checkpoint__every=100,
    init=str(warm_start),
    self_training__rounds=1,
    self_training__prompts=32,
    eval__problems=64,
    eval__prompts=32,
    eval__samples=8,
  )
  start, after = build.self_training(config, tmp_path / 'run').rounds()
  assert after['pass@1'] > start['pass@1'] + 0.1
