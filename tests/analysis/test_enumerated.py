"""Distances from a known distribution: identities, a literal, and a run that is followed."""

import jax
import numpy as np
import pytest

from configs import random_numbers
from maxent_lm import build
from maxent_lm.analysis import compare, enumerated


def random_logp(seed, size=7, inside=1.0):
  return np.log(np.random.default_rng(seed).dirichlet(np.ones(size)) * inside)


def test_no_distance_from_itself():
  logp = random_logp(0)
  found = enumerated.distances(logp, logp)
  for name in ('kl', 'reverse_kl', 'jsd', 'total_variation', 'outside'):
    assert abs(getattr(found, name)) < 1e-12
  assert found.entropy == pytest.approx(-np.sum(np.exp(logp) * logp))


def test_a_known_pair():
  """Target (1/2, 1/2), policy (1/4, 1/4) and one half elsewhere."""
  found = enumerated.distances(np.log([0.5, 0.5]), np.log([0.25, 0.25]))
  assert found.kl == pytest.approx(np.log(2))
  assert found.reverse_kl == pytest.approx(0, abs=1e-12)
  assert found.total_variation == pytest.approx(0.5)
  assert found.outside == pytest.approx(0.5)
  jsd = 0.5 * np.log(0.5 / 0.375) + 0.5 * (0.5 * np.log(0.25 / 0.375) + 0.5 * np.log(2))
  assert found.jsd == pytest.approx(jsd)


@pytest.mark.parametrize('inside', [1.0, 0.3])
def test_bounds(inside):
  found = enumerated.distances(random_logp(0), random_logp(1, inside=inside))
  assert 0 < found.jsd < np.log(2)
  assert found.jsd <= found.total_variation * np.log(2)
  assert found.total_variation <= np.sqrt(found.kl / 2)  # Pinsker
  assert found.outside == pytest.approx(1 - inside)


def small_config():
  config = random_numbers.get_config('vargrad')
  config.random_numbers.high = 9
  config.model.update(num_layers=1, d_model=16, num_heads=1, num_kv_heads=1, d_ff=16)
  config.batch.update(max_new_tokens=2, group_size=16)
  config.steps = 5
  return config


def test_a_run_is_followed_and_read_back(tmp_path):
  config = small_config()
  curve = compare.finished_curve(config, tmp_path / 'run', every=2)
  assert [point['step'] for point in curve] == [0, 2, 4, 5]
  assert all(0 <= point['outside'] < 1 and point['kl'] > 0 for point in curve)
  (tmp_path / 'run' / 'metrics.jsonl').unlink()
  assert compare.finished_curve(config, tmp_path / 'run', every=2) == curve


def test_responses_are_scored_as_the_model_writes_them(tmp_path):
  """Ten numbers, EOS and all other strings of up to two tokens: probabilities sum to 1."""
  config = small_config()
  policy = build.make_policy(config, tmp_path)
  eos, size = policy.eos_id, policy.lm.config.vocab_size
  others = [t for t in range(size) if t != eos]
  responses = [[eos], *([t, u] for t in others for u in range(size))]
  prompt = build.make_reader(config, policy, split='test').prompts(
    [build.make_reader(config, policy, split='test').task[0]]
  )[0]
  target = enumerated.Target(prompt, responses, np.zeros(len(responses)))
  scorer = jax.jit(build.make_run_scorer(config, policy))
  logp = enumerated.log_probs(scorer, policy.params, target, rows=32)
  assert np.logaddexp.reduce(logp) == pytest.approx(0, abs=1e-5)


def test_targets_that_do_not_fit_are_refused(tmp_path):
  config = small_config()
  reader = build.make_reader(config, build.make_policy(config, tmp_path), split='test')
  problem = reader.task[0]
  with pytest.raises(ValueError, match='max_new_tokens is 1; raise it'):
    enumerated.tokenised(reader, problem, {'10': 0.0}, max_new_tokens=1)
  with pytest.raises(ValueError, match='not to 1'):
    enumerated.tokenised(reader, problem, {'1': -1.0}, max_new_tokens=2)
