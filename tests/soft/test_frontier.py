"""Laws of the temperature, points of the toy, classes and coverage, exact gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_language import state_kappa, toy

from maxent_lm.soft import exact, frontier


def best_variance(language, alpha, beta):
  logp = exact.string_logp(language, exact.solve(language, alpha, beta).log_pi)
  reward = exact.strings(language).reward.sum(axis=1)
  mean = np.exp(logp) @ reward
  return np.exp(logp) @ (reward - mean) ** 2


def slope(function, at, step=1e-5):
  return (function(at * (1 + step)) - function(at * (1 - step))) / (2 * step * at)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), kappa=st.floats(0.1, 3.0))
def test_the_variance_of_the_reward_is_the_slope_of_everything(seed, kappa):
  """dKL/dbeta = -Var/beta^3, dE[R]/dbeta = -Var/beta^2 (with prior), dH/dalpha = Var/alpha^3."""
  language = exact.random(np.random.default_rng(seed), actions=3, length=3, eos=seed % 3)

  def at(field, share):
    return lambda k: getattr(frontier.frontier(language, [k], alpha_share=share), field)[0]

  variance = best_variance(language, 0.0, kappa)
  assert slope(at('kl', 0.0), kappa) == pytest.approx(-variance / kappa**3, rel=1e-5, abs=1e-9)
  assert slope(at('reward', 0.0), kappa) == pytest.approx(-variance / kappa**2, rel=1e-5, abs=1e-9)
  variance = best_variance(language, kappa, 0.0)
  assert slope(at('entropy', 1.0), kappa) == pytest.approx(variance / kappa**3, rel=1e-5, abs=1e-9)


def test_the_frontier_of_the_toy():
  """Computed independently: KL and E[R] at five temperatures."""
  line = frontier.frontier(toy(), [0.05, 0.1, 0.35, 1.0, 5.0], alpha_share=0.0)
  np.testing.assert_allclose(line.kl, [2.216, 1.852, 0.728, 0.076, 0.0024], atol=6e-4)
  np.testing.assert_allclose(line.reward, [0.921, 0.897, 0.636, 0.296, 0.177], atol=6e-4)
  np.testing.assert_allclose(line.value, line.reward - line.kappa * line.kl, rtol=1e-12)
  with pytest.raises(ValueError, match='alpha_share is 2; it must be in'):
    frontier.frontier(toy(), [1.0], alpha_share=2)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_bisection_meets_every_reachable_target(seed, share):
  language = exact.random(np.random.default_rng(seed), actions=3, length=3, eos=0)
  target = share * frontier.largest_kl(language)
  beta = frontier.beta_for_kl(language, target)
  found = exact.solve(language, 0.0, beta).log_pi
  assert exact.kl(language, found, language.log_ref) == pytest.approx(target, rel=1e-9)
  low, high = frontier.entropy_limits(language)
  target = low + share * (high - low)
  alpha = frontier.alpha_for_entropy(language, target)
  found = exact.solve(language, alpha, 0.0).log_pi
  assert exact.sequence_entropy(language, found) == pytest.approx(target, rel=1e-9)


def test_targets_out_of_reach_are_told():
  with pytest.raises(ValueError, match='no temperature gives a target KL of 6 nats; choose one be'):
    frontier.beta_for_kl(toy(), 6.0)
  with pytest.raises(ValueError, match='target entropy of 4 nats; choose one between 0 and 3.434'):
    frontier.alpha_for_entropy(toy(), 4.0)


def test_a_binary_reward_bounds_the_kl_by_the_log_of_its_rarity():
  base = toy()
  language = base._replace(reward=(base.reward > 0.5).astype(float))
  success = exact.expected_reward(language, language.log_ref)
  assert frontier.largest_kl(language) == pytest.approx(-np.log(success), rel=1e-12)
  coldest = exact.solve(language, 0.0, 1e-3).log_pi
  assert exact.kl(language, coldest, language.log_ref) == pytest.approx(-np.log(success), rel=1e-9)


def test_masses_and_coverage_of_classes():
  """Classes by first token; k samples find each with 1 - (1 - p)^k; every string is its own."""
  language = toy()
  rows = exact.strings(language)
  masses = frontier.class_masses(language, language.log_ref, rows.tokens[:, 0])
  np.testing.assert_allclose(masses, np.exp(language.log_ref[0]), rtol=1e-12)
  expected = exact.token_entropy(language.log_ref)[0]
  assert frontier.class_entropy(masses) == pytest.approx(expected, rel=1e-12)
  assert frontier.class_entropy(0.5 * masses) == pytest.approx(expected, rel=1e-12)
  curve = frontier.coverage_curve(masses, [1, 2, 1000])
  np.testing.assert_allclose(curve[:2], [1 / 3, np.mean(1 - (1 - masses) ** 2)], rtol=1e-12)
  assert curve[2] == pytest.approx(1)
  alone = frontier.class_masses(language, language.log_ref, np.arange(31))
  correct = np.ones(31, bool)
  coverage = exact.coverage_at_k(language, language.log_ref, correct, 8)
  assert frontier.coverage_curve(alone, [8])[0] == pytest.approx(coverage, rel=1e-12)
  some = frontier.class_masses(language, language.log_ref, np.where(np.arange(31) < 3, 0, -1))
  assert len(some) == 1 and some[0] < 1


def test_the_gradient_of_the_objective_is_exact():
  """Against central differences, with a temperature for each state; zero at the optimum only."""
  language, kappa = toy(), state_kappa()
  logits = np.random.default_rng(0).normal(size=language.reward.shape)

  def objective(logits):
    log_pi = np.asarray(jax.nn.log_softmax(jnp.asarray(logits)))
    return exact.evaluate(language, log_pi, kappa, 0.5 * kappa)

  with jax.enable_x64(True):
    log_pi = np.asarray(jax.nn.log_softmax(jnp.asarray(logits)))
    gradient = exact.objective_gradient(language, log_pi, kappa, 0.5 * kappa)
    for place in [(0, 0), (0, 2), (3, 1), (14, 2)]:
      ends = []
      for sign in (1, -1):
        moved = logits.copy()
        moved[place] += sign * 1e-5
        ends.append(objective(moved))
      assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)
  best = exact.solve(language, kappa, 0.5 * kappa).log_pi
  rest = exact.objective_gradient(language, best, kappa, 0.5 * kappa)
  np.testing.assert_allclose(rest, 0, atol=1e-12)
  np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12)
