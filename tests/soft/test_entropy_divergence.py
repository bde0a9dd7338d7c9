"""Estimators against exact sums over actions: values and the gradients they are unbiased for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.soft import divergence, entropy


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def policies():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=6)), jax.nn.log_softmax(jnp.asarray(rng.normal(size=6)))


def mean_under_pi(estimator, logits, log_ref):
  """The expectation over a ~ pi, with the samples (the weights) held fixed for autodiff."""
  log_pi = jax.nn.log_softmax(logits)
  return jnp.sum(jax.lax.stop_gradient(jnp.exp(log_pi)) * estimator(log_pi - log_ref))


def kl(log_p, log_q):
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q))


def test_values():
  logits, log_ref = policies()
  exact = float(kl(jax.nn.log_softmax(logits), log_ref))
  assert mean_under_pi(divergence.k1, logits, log_ref) == pytest.approx(exact)
  assert mean_under_pi(divergence.k3, logits, log_ref) == pytest.approx(exact)
  assert abs(float(mean_under_pi(divergence.k2, logits, log_ref)) - exact) > 1e-2
  ratios = jnp.linspace(-3, 3, 101)
  assert float(divergence.k2(ratios).min()) >= 0 and float(divergence.k3(ratios).min()) >= 0


def test_gradients():
  logits, log_ref = policies()

  def gradient(estimator):
    return jax.grad(lambda x: mean_under_pi(estimator, x, log_ref))(logits)

  forward = jax.grad(lambda x: kl(jax.nn.log_softmax(x), log_ref))(logits)
  backward = jax.grad(lambda x: kl(log_ref, jax.nn.log_softmax(x)))(logits)
  np.testing.assert_allclose(gradient(divergence.k1), 0, atol=1e-14)
  np.testing.assert_allclose(gradient(divergence.k2), forward, rtol=1e-10)
  np.testing.assert_allclose(gradient(divergence.k3), backward, rtol=1e-10)


def test_k3_near_zero_keeps_its_digits():
  with jax.enable_x64(False):
    small = divergence.k3(jnp.float32(1e-2))
  assert float(small) == pytest.approx(4.983375e-5, rel=1e-3)


def test_token_entropy():
  logits, _ = policies()
  log_pi = jax.nn.log_softmax(logits)
  assert entropy.token_entropy(logits + 5) == pytest.approx(-float(jnp.exp(log_pi) @ log_pi))
  forbidden = jnp.asarray([0.0, 0.0, -jnp.inf])
  assert entropy.token_entropy(forbidden) == pytest.approx(np.log(2))
  assert jnp.isfinite(jax.grad(entropy.token_entropy)(forbidden)).all()
  assert entropy.token_entropy(jnp.zeros((2, 3, 8), jnp.bfloat16)).dtype == jnp.float32


def test_sequence_entropy_is_the_masked_sum():
  logp = jnp.asarray([[-1.0, -2.0, jnp.nan], [-0.5, jnp.nan, jnp.nan]])
  mask = jnp.asarray([[True, True, False], [True, False, False]])
  assert entropy.sequence_entropy(logp, mask).tolist() == [3.0, 0.5]
