import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.sampling.policies import Sampling, Wandering, draw


@pytest.fixture
def logits():
  return jnp.asarray(np.random.default_rng(0).normal(size=(4, 9)) * 2, jnp.float32)


def test_without_knobs_the_behaviour_is_the_policy(logits):
  np.testing.assert_array_equal(Sampling().log_probs(logits), jax.nn.log_softmax(logits))


def test_temperature_divides_logits_and_zero_is_greedy(logits):
  np.testing.assert_allclose(
    Sampling(temperature=0.5).log_probs(logits), jax.nn.log_softmax(2 * logits), rtol=1e-6
  )
  greedy = np.exp(Sampling(temperature=0.0).log_probs(logits))
  np.testing.assert_array_equal(greedy, np.eye(9)[np.argmax(logits, axis=1)])


def test_top_k_keeps_the_k_largest_and_renormalises(logits):
  probs = np.exp(Sampling(top_k=3).log_probs(logits))
  np.testing.assert_array_equal((probs > 0).sum(axis=1), 3)
  np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
  largest = np.sort(np.argsort(-np.asarray(logits), axis=1)[:, :3])
  np.testing.assert_array_equal(np.sort(np.argsort(-probs, axis=1)[:, :3]), largest)


def test_top_p_keeps_the_smallest_set_that_reaches_p(logits):
  probs = np.asarray(jax.nn.softmax(logits))
  kept = np.exp(Sampling(top_p=0.7).log_probs(logits)) > 0
  for row, mask in zip(probs, kept, strict=True):
    assert row[mask].sum() >= 0.7
    assert row[mask].sum() - row[mask].min() < 0.7
    assert mask.all() or row[mask].min() >= row[~mask].max()


def test_drawing_with_equally_spaced_numbers_gives_the_probabilities():
  probs = np.array([0.5, 0.0, 0.25, 0.125, 0.0, 0.125], np.float32)
  uniform = (jnp.arange(1024) + 0.5) / 1024
  rows = jnp.tile(jnp.log(probs)[None, :], (1024, 1))
  counts = np.bincount(draw(rows, uniform), minlength=6)
  np.testing.assert_array_equal(counts, probs * 1024)


def test_drawing_at_the_ends_of_the_unit_interval_stays_in_the_support():
  log_probs = jnp.log(jnp.array([[0.0, 0.3, 0.7, 0.0]] * 2))
  largest = 1 - 2**-23  # the largest number that jax.random.uniform gives
  np.testing.assert_array_equal(draw(log_probs, jnp.array([0.0, largest])), [1, 2])


def test_a_sum_that_is_not_monotone_cannot_draw_what_has_no_mass():
  """On a large vocabulary the float32 cdf rises a little even where the probability is zero."""
  rng = np.random.default_rng(0)
  row = Sampling(top_k=500).log_probs(jnp.asarray(rng.normal(size=(1, 50_000)), jnp.float32))
  cdf = np.asarray(jnp.cumsum(jnp.exp(row), axis=-1))[0]
  rises = np.flatnonzero((np.diff(cdf) != 0) & np.isneginf(np.asarray(row)[0, 1:]))
  edges = np.concatenate([cdf[rises], cdf[rises + 1]]) / cdf[-1]
  uniform = jnp.asarray(np.concatenate([edges, rng.uniform(size=200)]), jnp.float32)
  uniform = jnp.clip(uniform, 0, 1 - 2**-23)
  tokens = draw(jnp.tile(row, (len(uniform), 1)), uniform)
  assert np.isfinite(np.asarray(row)[0, np.asarray(tokens)]).all()


def hard_rows(rng, tokens):
  """[5, V] probabilities: flat, skewed over 30 orders of magnitude, sparse, one token, the last."""
  skewed = 10 ** rng.uniform(-30, 0, tokens)
  sparse = np.where(rng.uniform(size=tokens) < 0.2, rng.uniform(size=tokens), 0)
  sparse[rng.integers(tokens)] = 1
  one, last = np.eye(tokens)[[rng.integers(tokens), tokens - 1]]
  rows = np.stack([np.ones(tokens), skewed, sparse, one, last])
  return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('tokens', [1, 2, 3, 7, 13, 64, 100, 512, 1000, 4097])
def test_drawing_is_the_inverse_of_the_distribution_function(tokens):
  """Block by block or not: the token whose interval of the float64 cdf holds the number."""
  rng = np.random.default_rng(tokens)
  probs = hard_rows(rng, tokens)
  uniform = np.concatenate([[0, 1 - 2**-23], rng.uniform(size=200)]).astype(np.float32)
  drawn = jax.vmap(lambda u: draw(jnp.log(probs), jnp.full(len(probs), u)))(jnp.asarray(uniform))
  cdf = np.cumsum(probs.astype(np.float64), axis=1)
  cdf /= cdf[:, -1:]
  for row, tokens_of_row in enumerate(np.asarray(drawn).T):
    assert (probs[row, tokens_of_row] > 0).all()
    end = cdf[row, tokens_of_row]
    np.testing.assert_array_less(end - probs[row, tokens_of_row] - 1e-5, uniform)
    np.testing.assert_array_less(uniform, end + 1e-5)


@pytest.mark.parametrize('wrong', [{'temperature': -1.0}, {'top_k': -1}, {'top_p': 0.0}])
def test_impossible_knobs_are_refused(wrong):
  with pytest.raises(ValueError, match='sampling needs'):
    Sampling(**wrong)


def test_wandering_draws_some_tokens_more_often_and_keeps_the_support_of_the_policy(logits):
  probs = np.exp(Wandering(share=0.3, tokens=(1, 4)).log_probs(logits))
  expected = 0.7 * np.array(jax.nn.softmax(logits))
  expected[:, [1, 4]] += 0.15
  np.testing.assert_allclose(probs, expected, rtol=1e-5)
  nowhere = Wandering(share=0.0, tokens=(1,)).log_probs(logits)
  np.testing.assert_allclose(nowhere, jax.nn.log_softmax(logits), rtol=1e-5)


@pytest.mark.parametrize(('share', 'tokens'), [(-0.1, (1,)), (1.0, (1,)), (0.5, ()), (0.5, (1, 1))])
def test_impossible_wandering_is_refused(share, tokens):
  with pytest.raises(ValueError, match='wandering needs 0 <= share < 1 and different tokens'):
    Wandering(share=share, tokens=tokens)
