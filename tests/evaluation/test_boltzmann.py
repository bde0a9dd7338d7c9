"""The oracle's policy has slope 1, another one the slope that theory says."""

import numpy as np
import pytest
from answered import row
from toy_language import toy

from maxent_lm.evaluation import boltzmann
from maxent_lm.soft import exact

KNOBS = [(0.3, 0.0), (0.0, 0.4), (0.1, 0.25)]


def enumerated(log_pi):
  """log pi(y), log pi(y) - log ref(y) and R(y) of all strings."""
  language = toy()
  logp = exact.string_logp(language, log_pi)
  ratio = logp - exact.string_logp(language, language.log_ref)
  return logp, ratio, exact.strings(language).reward.sum(axis=1)


def fitted(columns, alpha, beta, problem=None):
  problem = np.zeros(len(columns[0])) if problem is None else problem
  points = boltzmann.points(*columns, problem, alpha=alpha, beta=beta)
  return boltzmann.calibrate(points, resamples=100, seed=0)


@pytest.mark.parametrize(('alpha', 'beta'), KNOBS)
def test_the_soft_optimum_has_slope_one(alpha, beta):
  columns = enumerated(exact.solve(toy(), alpha, beta).log_pi)
  found = fitted(columns, alpha, beta)
  assert found.slope.value == pytest.approx(1, abs=1e-6)
  assert found.correlation == pytest.approx(1, abs=1e-9)
  assert (found.problems, found.left_out, found.responses) == (1, 0, 31)


@pytest.mark.parametrize(('alpha', 'beta'), KNOBS)
def test_so_have_its_samples(alpha, beta):
  """Four problems are one language here; each is sampled, and repeats are taken out."""
  columns = enumerated(exact.solve(toy(), alpha, beta).log_pi)
  rng = np.random.default_rng(0)
  drawn = [np.unique(rng.choice(31, 40, p=np.exp(columns[0]))) for _ in range(4)]
  chosen, problem = np.concatenate(drawn), np.repeat(range(4), [len(rows) for rows in drawn])
  found = fitted([column[chosen] for column in columns], alpha, beta, problem)
  assert found.slope.value == pytest.approx(1, abs=1e-6)
  assert found.slope.low == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('factor', [0.5, 2.0])
def test_another_temperature_has_the_ratio(factor):
  columns = enumerated(exact.solve(toy(), 0.3 * factor, 0.0).log_pi)
  assert fitted(columns, 0.3, 0.0).slope.value == pytest.approx(1 / factor, abs=1e-6)
  columns = enumerated(exact.solve(toy(), 0.0, 0.3 * factor).log_pi)
  assert fitted(columns, 0.0, 0.3).slope.value == pytest.approx(1 / factor, abs=1e-6)


def test_the_reference_has_slope_zero_where_only_the_kl_counts():
  found = fitted(enumerated(toy().log_ref), 0.0, 0.3)
  assert found.slope.value == pytest.approx(0, abs=1e-12)
  assert found.correlation == 0


def test_the_prior_is_the_references_power():
  """log pi - beta / kappa log ref, less its mean."""
  alpha, beta = 0.1, 0.25
  rng = np.random.default_rng(0)
  logp, log_ref, reward = rng.normal(size=(3, 8))
  found = boltzmann.points(logp, logp - log_ref, reward, np.zeros(8), alpha=alpha, beta=beta)
  policy = logp - beta / (alpha + beta) * log_ref
  np.testing.assert_allclose(found.policy, policy - policy.mean(), atol=1e-12)
  np.testing.assert_allclose(found.reward, (reward - reward.mean()) / 0.35, atol=1e-12)


def test_constants_and_order_of_problems_do_not_count():
  """log Z differs from problem to problem, and rewards may have any zero."""
  rng = np.random.default_rng(1)
  problem = rng.integers(0, 5, 60)
  logp, ratio, reward = rng.normal(size=(3, 60))
  one = fitted((logp, ratio, reward), 0.2, 0.3, problem)
  shift = rng.normal(size=(3, 5))[:, problem]
  order = rng.permutation(60)
  moved = [(column + s)[order] for column, s in zip((logp, ratio, reward), shift, strict=True)]
  two = fitted(moved, 0.2, 0.3, np.array(list('edcba'))[problem][order])
  assert two.slope.value == pytest.approx(one.slope.value)
  assert two.correlation == pytest.approx(one.correlation)


def test_problems_of_one_reward_are_left_out():
  logp = np.array([-1.0, -2.0, -3.0, -1.0, -2.0])
  found = fitted((logp, logp, [1.0, 1.0, 1.0, 1.0, 0.0]), 1.0, 0.0, [0, 0, 1, 2, 2])
  assert (found.problems, found.left_out, found.responses) == (1, 2, 2)
  assert found.slope.value == pytest.approx(1)
  assert fitted((logp, logp, np.ones(5)), 1.0, 0.0, np.arange(5)) is None
  # Equal floats that do not subtract to 0 from their mean are one reward, too.
  tenth = np.full(3, 0.1)
  assert fitted((logp[:3], logp[:3], tenth), 0.3, 0.0, [0, 0, 0]) is None


def test_rows_give_each_response_once():
  same = [('a',), ('b',), ('a',), ('c',)]
  logp, ratio = np.log([0.5, 0.2, 0.5, 0.3]), np.array([0.1, -0.2, 0.1, 0.0])
  answered = row(list('abac'), [1, 0, 1, 0], tokens=same, logp=logp, log_ratio=ratio)
  nothing = row(['a'], [np.nan], log_ratio=np.zeros(1))
  found = boltzmann.of_rows([nothing, answered], alpha=0.5, beta=0.5)
  expected = boltzmann.points(
    logp[[0, 1, 3]], ratio[[0, 1, 3]], [1.0, 0.0, 0.0], [0, 0, 0], alpha=0.5, beta=0.5
  )
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_what_has_no_calibration_is_refused():
  with pytest.raises(ValueError, match='alpha \\+ beta = 0 has no Boltzmann policy'):
    boltzmann.points([0.0], [0.0], [0.0], [0], alpha=0, beta=0)
  with pytest.raises(ValueError, match='under the reference were not measured'):
    boltzmann.of_rows([row(['a'], [1])], alpha=1.0, beta=0.0)
