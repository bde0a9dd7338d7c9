"""Whole runs with intrinsic motivation: all of it is in the checkpoint."""

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.train.metrics import read_metrics

CURIOUS = {
  'curiosity__kind': 'ensemble',
  'curiosity__ensemble__width': 8,
  'count_novelty__coefficient': 0.3,
  'batch__rounds': 2,
  'replay__kind': 'fifo',
  'replay__prompts': 2,
  'replay__capacity': 7,
  'optimizer__weight_decay': 0.1,
  'checkpoint__every': 2,
}


def leaves(state):
  return jax.device_get(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))


def test_a_curious_run_is_resumed_bit_for_bit(tmp_path):
  """A value head, an ensemble, counts and replay together."""
  whole = build.rollout_run(tiny_config('dqo', steps=4, **CURIOUS), tmp_path / 'whole')
  assert set(whole.state.critic.params) == {'critic', 'curiosity'}
  state = whole.train()
  build.rollout_run(tiny_config('dqo', steps=2, **CURIOUS), tmp_path / 'part').train()
  part = build.rollout_run(tiny_config('dqo', steps=4, **CURIOUS), tmp_path / 'part')
  assert part.remembers['counts'].memory.table.any()
  again = part.train()
  for left, right in zip(leaves(state), leaves(again), strict=True):
    np.testing.assert_array_equal(left, right)
  for name in ('counts', 'replay'):
    memories = (run.remembers[name].memory for run in (whole, part))
    jax.tree.map(np.testing.assert_array_equal, *memories)
  rows = read_metrics(tmp_path / 'whole' / 'metrics.jsonl')
  assert rows == read_metrics(tmp_path / 'part' / 'metrics.jsonl')
  assert {'ensemble_std', 'count_novelty', 'sampled', 'informative'} <= rows[0].keys()
  assert rows[0]['sampled'] == 8


@pytest.mark.parametrize('variant', ['grpo', 'dqo'])
def test_the_distilled_network_is_trained_with_and_without_another(variant, tmp_path):
  run = build.rollout_run(
    tiny_config(variant, steps=1, curiosity__kind='rnd', curiosity__rnd__width=8), tmp_path / 'run'
  )
  start = jax.device_get(run.state.critic.params)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), start, run.train().critic.params)
  network = moved if variant == 'grpo' else moved['curiosity']
  assert network['predictor']['down']
  assert read_metrics(tmp_path / 'run' / 'metrics.jsonl')[0]['novelty'] > 0
