"""Laws of the soft operators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.soft import operators
from maxent_lm.types import Temperature


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def tables(seed=0):
  rng = np.random.default_rng(seed)
  q, ref = rng.normal(size=(5, 7, 4)), jax.nn.log_softmax(rng.normal(size=(5, 7, 4)), axis=-1)
  kappa = rng.uniform(0.2, 2, size=(5, 7))
  return jnp.asarray(q), jnp.asarray(kappa), jnp.asarray(ref)


@pytest.mark.parametrize('scalar', [True, False])
def test_value_is_expected_q_plus_entropy_minus_prior_term(scalar):
  """V = E_pi[Q] + kappa E_pi[log rho - log pi], and Q - V = kappa (log pi - log rho)."""
  q, kappa, prior = tables()
  kappa = jnp.asarray(0.7) if scalar else kappa
  log_pi = operators.boltzmann(q, kappa, prior)
  value = operators.soft_value(q, kappa, prior)
  pi = jnp.exp(log_pi)
  free = jnp.sum(pi * q, axis=-1) + kappa * jnp.sum(pi * (prior - log_pi), axis=-1)
  np.testing.assert_allclose(value, free, rtol=1e-12)
  spread = kappa if scalar else kappa[..., None]
  np.testing.assert_allclose(q - value[..., None], spread * (log_pi - prior), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('scalar', [True, False])
def test_folded_logits_are_the_same_policy_and_value(scalar):
  q, kappa, prior = tables(1)
  kappa = jnp.asarray(0.7) if scalar else kappa
  logits = operators.fold(q, kappa, prior)
  np.testing.assert_allclose(operators.unfold(logits, kappa, prior), q, rtol=1e-12)
  value = kappa * jax.nn.logsumexp(logits, axis=-1)
  np.testing.assert_allclose(value, operators.soft_value(q, kappa, prior), rtol=1e-12)
  log_pi = jax.nn.log_softmax(logits, axis=-1)
  np.testing.assert_allclose(log_pi, operators.boltzmann(q, kappa, prior), rtol=1e-12)


def test_value_tends_to_the_maximum_and_is_stable():
  q = jnp.asarray([1.0, 3.0, 2.0])
  assert operators.soft_value(q, jnp.asarray(1e-4), jnp.zeros(3)) == pytest.approx(3.0)
  assert operators.soft_value(q + 1e6, jnp.asarray(1.0), jnp.zeros(3)) == pytest.approx(
    1e6 + np.log(np.sum(np.exp([1.0, 3.0, 2.0])))
  )


def test_prior_is_the_tempered_reference_not_renormalised():
  _, kappa, ref = tables(2)
  prior = operators.log_prior(ref, Temperature(jnp.asarray(0.1), jnp.asarray(0.3)))
  np.testing.assert_allclose(prior, 0.75 * ref, rtol=1e-12)
  assert float(jnp.min(jax.nn.logsumexp(prior, axis=-1))) > 0.01
  per_token = operators.log_prior(ref[..., 0], Temperature(kappa, 2 * kappa))
  np.testing.assert_allclose(per_token, 2 / 3 * ref[..., 0], rtol=1e-12)


def test_prior_with_beta_zero_ignores_what_the_reference_forbids():
  ref = jnp.asarray([-jnp.inf, 0.0])
  free = Temperature(jnp.asarray(0.1), jnp.asarray(0.0))
  assert operators.log_prior(ref, free).tolist() == [0, 0]
  bound = Temperature(jnp.asarray(0.0), jnp.asarray(0.1))
  assert operators.log_prior(ref, bound).tolist() == [-np.inf, 0]
