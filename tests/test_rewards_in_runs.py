"""Rewards, measures and the exact KL chosen by a config: what a run does with them."""

import json

import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.build.update import make_exact_kl, make_measure
from maxent_lm.soft.entropy import MEASURES

# Every reward that needs no network beside the policy, one after the other.
CHAIN = (
  *('answer_frequency', 'majority_label', 'negative_entropy', 'self_certainty_reward'),
  *('semantic_bonus', 'count_bonus', 'perplexity_bonus', 'kl_in_reward', 'entropy_in_reward'),
  *('overlong', 'group_normalised'),
)


def test_a_run_with_all_rewards(tmp_path):
  config = tiny_config(
    'grpo', steps=2, transforms=CHAIN, measure='self_certainty', kl_in_reward__kl='exact'
  )
  run = build.rollout_run(config, tmp_path / 'run')
  start = np.asarray(run.state.params['head'])
  state = run.train()
  assert (np.asarray(state.params['head']) != start).any()
  rows = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').open()]
  for row in rows:
    assert row['skipped'] == 0 and 0 <= row['semantic_entropy'] <= np.log(2) + 1e-6
    # Self-certainty is log V where nothing is known, and more elsewhere.
    assert row['measure'] > np.log(run.policy.lm.config.vocab_size)
  table = build.make_evaluation(config, run.policy)(state.params, run.reference)
  assert all(np.isfinite(value) for value in table.values())


def test_the_reference_is_not_looked_at_twice_unless_a_section_asks_for_it(tmp_path):
  config = tiny_config('grpo', transforms=('kl_in_reward', 'group_normalised'))
  policy = build.make_policy(config, tmp_path)
  assert make_exact_kl(config, policy.lm) is None
  config.kl_in_reward.kl = 'exact'
  assert make_exact_kl(config, policy.lm) is not None
  config.transforms = ('group_normalised',)
  assert make_exact_kl(config, policy.lm) is None
  with config.unlocked():
    config.grpo.kl = 'exact'
  assert make_exact_kl(config, policy.lm) is not None
  config.reference = 'none'
  with pytest.raises(ValueError, match=r"config.grpo.kl='exact' needs a reference"):
    make_exact_kl(config, policy.lm)


def test_measures_by_name():
  assert make_measure(tiny_config()) is None
  for name in MEASURES:
    measure = make_measure(tiny_config(measure=name))
    assert measure(np.zeros((2, 30), np.float32)).shape == (2,)
  with pytest.raises(ValueError, match="config.measure='entropy' is unknown; choose one of"):
    make_measure(tiny_config(measure='entropy'))
  wrong = tiny_config(measure='nucleus', transforms=('self_certainty_reward',))
  with pytest.raises(ValueError, match="needs config.measure='self_certainty', but it is"):
    make_measure(wrong)
  with pytest.raises(ValueError, match="ucas needs config.measure='self_certainty'"):
    make_measure(tiny_config(measure='clamped', transforms=('group_normalised', 'ucas')))


def test_networks_that_are_missing_are_told_when_the_run_is_built(tmp_path):
  for name, kind in (('novelty_bonus', 'rnd'), ('disagreement_bonus', 'ensemble')):
    with pytest.raises(
      ValueError, match=f"{name} reads Critic.*set config.curiosity.kind='{kind}'"
    ):
      build.rollout_run(tiny_config('grpo', transforms=(name,)), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
