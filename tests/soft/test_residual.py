"""Laws of the residual: additivity, gaps, cuts, lambda-returns against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.soft import residual
from maxent_lm.types import Batch, Scores, Temperature

B, T = 5, 9
MASK = np.array(
  [
    [0, 1, 1, 1, 1, 1, 0, 0, 0],
    [1, 1, 0, 0, 1, 1, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 1, 0, 1, 0, 1, 0],
  ],
  bool,
)
BOOTSTRAP = np.array([True, False, True, True, True])


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def steps(seed=0):
  rng = np.random.default_rng(seed)
  value, ratio, reward = rng.normal(size=(3, B, T))
  kappa = rng.uniform(0.1, 2, size=(B, T))
  arrays = map(jnp.asarray, (value, ratio, reward, kappa, MASK, BOOTSTRAP))
  return residual.Steps(*arrays)


def naive(s, row):
  """The columns of a row's actions, V before each, V after each, delta of each."""
  columns = np.flatnonzero(s.mask[row])
  end = columns[-1] + 1
  value = np.asarray(s.value[row])
  values = [value[c] for c in columns] + [value[end] if s.bootstrap[row] else 0.0]
  cost = np.asarray(s.kappa[row] * s.log_ratio[row] - s.reward[row])[columns]
  return columns, values, [values[i] - values[i + 1] + cost[i] for i in range(len(columns))]


def test_one_step_skips_gaps_and_bootstraps():
  s = steps()
  delta, after = residual.one_step(s), residual.next_value(s.value, s.mask, s.bootstrap)
  assert not delta[3].any() and not np.where(MASK, 0, delta).any()
  for row in (0, 1, 2, 4):
    columns, values, expected = naive(s, row)
    np.testing.assert_allclose(np.asarray(after)[row][columns], values[1:], rtol=1e-12)
    np.testing.assert_allclose(np.asarray(delta)[row][columns], expected, rtol=1e-12)


def test_additivity():
  """delta(0:L) = delta(0:j) + delta(j:L), and telescopes to V(s_0) - V(end) + the costs."""
  s = steps(1)
  whole, rest = residual.path(s), residual.suffix(residual.one_step(s), s.mask, 1.0)
  for row in (0, 1, 2, 4):
    columns, values, deltas = naive(s, row)
    cost = np.asarray(s.kappa * s.log_ratio - s.reward)[row][columns].sum()
    assert float(whole[row]) == pytest.approx(values[0] - values[-1] + cost, abs=1e-12)
    for j, column in enumerate(columns):
      assert float(whole[row]) == pytest.approx(sum(deltas[:j]) + float(rest[row, column]))


@pytest.mark.parametrize('lam', [0.0, 0.3, 1.0])
def test_suffix_is_the_recursion_over_actions(lam):
  s = steps(2)
  delta = residual.one_step(s)
  errors = np.asarray(residual.suffix(delta, s.mask, lam))
  assert not errors[~MASK].any()
  for row in (0, 1, 2, 4):
    expected = 0.0
    for column in np.flatnonzero(MASK[row])[::-1]:
      expected = float(delta[row, column]) + lam * expected
      assert errors[row, column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('lam', [0.0, 0.3, 1.0])
def test_lambda_return_is_q_minus_the_suffix_error(lam):
  s = steps(3)
  error = residual.suffix(residual.one_step(s), s.mask, lam)
  target = residual.lambda_return(s, lam)
  np.testing.assert_allclose(residual.soft_q(s) - target, error, atol=1e-12)


def test_lambda_return_at_one_needs_no_values():
  """G_t = sum_{k>=t} r_k - sum_{k>t} kappa_k log_ratio_k, plus V at a bootstrapped cut."""
  s = steps(4)
  target = np.asarray(residual.lambda_return(s, 1.0))
  for row in (0, 1, 2, 4):
    columns, values, _ = naive(s, row)
    reward = np.asarray(s.reward)[row][columns]
    cost = np.asarray(s.kappa * s.log_ratio)[row][columns]
    for i, column in enumerate(columns):
      expected = reward[i:].sum() - cost[i + 1 :].sum() + values[-1]
      assert target[row, column] == pytest.approx(expected, abs=1e-12)


def test_lambda_return_at_zero_is_the_bellman_target():
  s = steps(5)
  target = residual.lambda_return(s, 0.0)
  bellman = s.reward + residual.next_value(s.value, s.mask, s.bootstrap)
  np.testing.assert_allclose(target, jnp.where(s.mask, bellman, 0), rtol=1e-12)


def test_value_columns_and_a_response_that_fills_the_row():
  columns = np.asarray(residual.value_columns(jnp.asarray(MASK), jnp.asarray(BOOTSTRAP)))
  expected = MASK.copy()
  expected[0, 6] = expected[2, 8] = expected[4, 8] = True
  np.testing.assert_array_equal(columns, expected)
  full = jnp.ones((1, 3), bool)
  after = residual.next_value(jnp.asarray([[1.0, 2.0, 3.0]]), full, jnp.asarray([True]))
  assert after.tolist() == [[2.0, 3.0, 0.0]]


def test_read_multiplies_by_kappa_of_the_column():
  rng = np.random.default_rng(6)
  logp, logit, value, entropy, ref = jnp.asarray(rng.normal(size=(5, B, T)))
  alpha, beta = jnp.asarray(rng.uniform(0.1, 1, size=(2, B, T)))
  zeros = jnp.zeros((B, T))
  batch = Batch(
    zeros, jnp.asarray(MASK), zeros, zeros + 2, zeros, zeros, zeros, zeros, jnp.asarray(BOOTSTRAP)
  )
  reference = Scores(ref, ref, ref, ref)
  scores = Scores(logp, logit, value, entropy)
  s = residual.read(scores, reference, batch, Temperature(alpha, beta))
  kappa = alpha + beta
  np.testing.assert_allclose(np.asarray(s.value)[0, 6], (kappa * value)[0, 6], rtol=1e-12)
  np.testing.assert_allclose(
    np.asarray(s.log_ratio)[MASK], np.asarray(logp - beta / kappa * ref)[MASK], rtol=1e-12
  )
  np.testing.assert_allclose(np.asarray(s.reward), 2.0 * MASK)
  plain = residual.read(scores, None, batch, Temperature(alpha, beta))
  np.testing.assert_allclose(np.asarray(plain.log_ratio)[MASK], np.asarray(logp)[MASK])


def test_bfloat16_is_widened():
  with jax.enable_x64(False):
    low = jnp.ones((B, T), jnp.bfloat16)
    batch = Batch(low, jnp.asarray(MASK), low, low, low, low, low, low, jnp.asarray(BOOTSTRAP))
    s = residual.read(Scores(low, low, low, low), None, batch, Temperature(low[0, 0], low[0, 0]))
    assert residual.path(s).dtype == jnp.float32 and s.log_ratio.dtype == jnp.float32
