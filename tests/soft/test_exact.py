"""The oracle against enumeration, against its own derivatives, and against published numbers."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_language import state_kappa, toy

from maxent_lm.soft import exact


@st.composite
def languages(draw):
  actions, length = draw(st.integers(2, 4)), draw(st.integers(1, 5))
  rng = np.random.default_rng(draw(st.integers(0, 10_000)))
  eos = draw(st.integers(0, actions - 1))
  return exact.random(rng, actions=actions, length=length, eos=eos), rng


knobs = st.sampled_from([(0.0, 0.3), (0.3, 0.0), (0.1, 0.4), (2.0, 0.5)])


@settings(max_examples=40, deadline=None)
@given(languages(), knobs)
def test_solution_is_the_normalised_boltzmann_distribution(drawn, knob):
  language, rng = drawn
  solution = exact.solve(language, *knob)
  logp, log_z = exact.brute_force(language, *knob)
  np.testing.assert_allclose(exact.string_logp(language, solution.log_pi), logp, atol=1e-10)
  assert solution.value[0] == pytest.approx(sum(knob) * log_z, abs=1e-10)
  np.testing.assert_allclose(np.sum(np.exp(solution.log_pi), axis=1), 1, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(languages(), knobs)
def test_objective_is_the_value_at_the_optimum_and_less_elsewhere(drawn, knob):
  language, rng = drawn
  solution = exact.solve(language, *knob)
  best = exact.evaluate(language, solution.log_pi, *knob)
  assert best == pytest.approx(solution.value[0], abs=1e-10)
  for scale in (1e-2, 1.0):
    logits = solution.log_pi + scale * rng.normal(size=solution.log_pi.shape)
    other = np.asarray(jax.nn.log_softmax(logits), np.float64)
    other -= np.log(np.sum(np.exp(other), axis=1, keepdims=True))
    assert exact.evaluate(language, other, *knob) < best
    gap = sum(knob) * exact.kl(language, other, solution.log_pi)
    assert best - exact.evaluate(language, other, *knob) == pytest.approx(gap, abs=1e-10)


@settings(max_examples=20, deadline=None)
@given(languages())
def test_strings_are_all_strings(drawn):
  language, _ = drawn
  rows = exact.strings(language)
  found = [tuple(t[m].tolist()) for t, m in zip(rows.tokens, rows.mask, strict=True)]
  actions = range(language.reward.shape[1])
  candidates = itertools.chain.from_iterable(
    itertools.product(actions, repeat=n) for n in range(1, language.length + 1)
  )
  expected = {
    c
    for c in candidates
    if language.eos not in c[:-1] and (c[-1] == language.eos or len(c) == language.length)
  }
  assert len(found) == len(set(found)) and set(found) == expected
  for tokens, mask, states in zip(rows.tokens, rows.mask, rows.states, strict=True):
    for t in range(int(mask.sum())):
      assert language.prefixes[states[t]] == tuple(tokens[:t].tolist())


def test_single_action_left_at_the_cap_pays_its_own_reward():
  log_ref = np.log(np.array([[0.2, 0.8], [0.5, 0.5]]))
  language = exact.from_function(lambda s: float(len(s) * 10 + s[-1]), log_ref, eos=0, length=2)
  rows = exact.strings(language)
  assert rows.tokens.tolist() == [[0, 0], [1, 0], [1, 1]]
  assert rows.mask.tolist() == [[True, False], [True, True], [True, True]]
  assert rows.reward.tolist() == [[10, 0], [0, 20], [0, 21]]
  logp, log_z = exact.brute_force(language, 0.0, 2.0)
  weights = np.array([0.2, 0.4, 0.4]) * np.exp(np.array([10, 20, 21]) / 2.0)
  np.testing.assert_allclose(np.exp(logp), weights / weights.sum())
  assert log_z == pytest.approx(np.log(weights.sum()))


def test_toy_numbers():
  """An independent float64 computation of the same language, to the digits it printed."""
  language = toy()
  kl = [0, 0, 0, 0, 0]
  reward = [0, 0, 0, 0, 0]
  for i, beta in enumerate((0.05, 0.1, 0.35, 1.0, 5.0)):
    log_pi = exact.solve(language, 0.0, beta).log_pi
    kl[i] = exact.kl(language, log_pi, language.log_ref)
    reward[i] = exact.expected_reward(language, log_pi)
  np.testing.assert_allclose(kl[:4], [2.216, 1.852, 0.728, 0.076], atol=6e-4)
  assert kl[4] == pytest.approx(0.0024, abs=6e-5)
  np.testing.assert_allclose(reward, [0.921, 0.897, 0.636, 0.296, 0.177], atol=6e-4)
  assert exact.brute_force(language, 0.0, 0.35)[1] == pytest.approx(1.0902, abs=6e-5)
  assert exact.solve(language, 0.0, state_kappa()).value[0] == pytest.approx(0.3407, abs=6e-5)


@pytest.mark.parametrize('beta', [0.1, 0.35, 1.0])
def test_temperature_derivatives_are_variances(beta):
  """dKL/dbeta = -Var/beta^3 and dE[R]/dbeta = -Var/beta^2 with a prior."""
  language, step = toy(), 1e-4
  measured = []
  for b in (beta - step, beta + step):
    log_pi = exact.solve(language, 0.0, b).log_pi
    kl = exact.kl(language, log_pi, language.log_ref)
    measured.append((kl, exact.expected_reward(language, log_pi)))
  slope = (np.array(measured[1]) - measured[0]) / (2 * step)
  variance = _variance(language, exact.solve(language, 0.0, beta).log_pi)
  np.testing.assert_allclose(slope, [-variance / beta**3, -variance / beta**2], rtol=1e-4)


@pytest.mark.parametrize('alpha', [0.1, 0.35, 1.0])
def test_entropy_rises_with_alpha_by_the_variance(alpha):
  """dH/dalpha = Var/alpha^3 with the uniform prior."""
  language, step = toy(), 1e-4
  entropy = [
    exact.sequence_entropy(language, exact.solve(language, a, 0.0).log_pi)
    for a in (alpha - step, alpha + step)
  ]
  variance = _variance(language, exact.solve(language, alpha, 0.0).log_pi)
  assert (entropy[1] - entropy[0]) / (2 * step) == pytest.approx(variance / alpha**3, rel=1e-4)


def test_entropy_coverage_and_forbidden_actions():
  log_ref = np.array([[-np.inf, 0.0], [np.log(0.25), np.log(0.75)]])
  language = exact.from_tables(0, 2, np.zeros((2, 2)), log_ref)
  log_pi = exact.solve(language, 0.2, 0.3).log_pi
  prior = np.array([0.25, 0.75]) ** 0.6
  np.testing.assert_allclose(np.exp(log_pi[1]), prior / prior.sum())
  assert np.exp(log_pi[0]).tolist() == [0, 1]
  p = np.exp(exact.string_logp(language, log_pi))
  assert exact.sequence_entropy(language, log_pi) == pytest.approx(-np.sum(p[1:] * np.log(p[1:])))
  np.testing.assert_allclose(exact.token_entropy(log_pi)[0], 0, atol=1e-12)
  assert exact.kl(language, log_pi, log_ref) > 0
  correct = np.array([True, True, False])
  found = 1 - (1 - p[1]) ** 3
  assert exact.distinct_at_k(language, log_pi, correct, 3) == pytest.approx(found)
  assert exact.coverage_at_k(language, log_pi, correct, 3) == pytest.approx(found / 2)
  # With beta = 0 the reference says nothing, not even what it forbids.
  np.testing.assert_allclose(
    np.exp(exact.string_logp(language, exact.solve(language, 0.2, 0.0).log_pi)), 1 / 3
  )


def test_length_bias_of_pure_entropy():
  """With reward 1 for ending, half of the mass is on truncated strings at alpha = 1/ln(A - 1)."""
  actions, length = 9, 4
  states = sum(8**n for n in range(length))
  language = exact.from_function(
    lambda s: float(s[-1] == 0), np.zeros((states, actions)), eos=0, length=length
  )
  p = np.exp(
    exact.string_logp(language, exact.solve(language, 1 / np.log(actions - 1), 0.0).log_pi)
  )
  cut = exact.strings(language).tokens[:, -1] != 0
  weight = 8.0 ** np.arange(length) * (actions - 1)
  assert p[cut].sum() == pytest.approx(8**length / (8**length + weight.sum()))


def test_errors():
  language = toy()
  with pytest.raises(ValueError, match='must be positive'):
    exact.solve(language, 0.0, 0.0)
  with pytest.raises(ValueError, match='not one of the 3'):
    exact.from_tables(3, 4, language.reward, language.log_ref)
  with pytest.raises(ValueError, match='needs'):
    exact.from_tables(0, 3, language.reward, language.log_ref)


def test_batch_holds_every_string_and_a_free_column():
  language = toy()
  batch, rows = exact.to_batch(language), exact.strings(language)
  assert batch.tokens.shape == (31, 5) and not batch.mask[:, -1].any()
  np.testing.assert_array_equal(batch.mask[:, :-1], rows.mask)
  np.testing.assert_allclose(batch.reward.sum(axis=1), rows.reward.sum(axis=1), rtol=1e-6)
  logp = exact.string_logp(language, language.log_ref)
  np.testing.assert_allclose(batch.logp.sum(axis=1), logp, rtol=1e-5)
  scores = exact.tabular_scores(jax.numpy.asarray(language.log_ref + 1.5), rows.states, rows.tokens)
  np.testing.assert_allclose(np.where(rows.mask, scores.value, 1.5), 1.5, atol=1e-5)
  np.testing.assert_allclose(np.where(rows.mask, scores.logp, 0).sum(axis=1), logp, rtol=1e-5)
  entropy = exact.token_entropy(language.log_ref)[rows.states]
  np.testing.assert_allclose(scores.entropy, entropy, rtol=1e-5)


def _variance(language, log_pi):
  p = np.exp(exact.string_logp(language, log_pi))
  total = exact.strings(language).reward.sum(axis=1)
  return np.sum(p * total**2) - np.sum(p * total) ** 2
