"""One more number of every state, and the exact KL: in chunks, and as the definition has them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_scores import shapes_inside
from tiny_lm import SIZES, random_tokens, roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import kl_logits, make_divergence, make_scorer
from maxent_lm.soft.entropy import MEASURES

OPTIONS = {
  'nucleus': {'p': 0.8},
  'inner_nucleus': {'p': 0.8},
  'clamped': {'share': 0.2},
  'top_k': {'k': 20},
  'tempered': {'temperature': 0.5},
  'self_certainty': {},
}
LM_ = LM(tiny())
PARAMS = roughened(LM_.init(0))
REFERENCE = roughened(LM_.init(1), seed=1)
TOKENS = random_tokens(3, 7)


def states(params):
  """[B, T - 1, V] logits of the states before columns 1 ... T - 1."""
  return LM_.logits(params, TOKENS)[:, :-1]


def test_every_measure_is_tested():
  assert MEASURES.keys() == OPTIONS.keys()


@pytest.mark.parametrize('name', MEASURES)
def test_measures_are_those_of_the_whole_logits(name):
  measure = functools.partial(MEASURES[name], **OPTIONS[name])

  def total(params, chunk):
    scores = make_scorer(LM_, chunk=chunk, measure=measure)(params, TOKENS)
    return jnp.sum(jnp.sin(scores.measure)), scores

  def naive(params):
    return jnp.sum(jnp.sin(measure(states(params))))

  gradient, scores = jax.jit(jax.grad(total, has_aux=True), static_argnums=1)(PARAMS, 5)
  np.testing.assert_allclose(scores.measure[:, 1:], measure(states(PARAMS)), rtol=1e-4, atol=1e-5)
  assert not scores.measure[:, 0].any()
  expected = jax.jit(jax.grad(naive))(PARAMS)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), gradient, expected
  )
  plain = make_scorer(LM_, chunk=5)(PARAMS, TOKENS)
  assert plain.measure is None
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    scores._replace(measure=None),
    plain,
  )


def exact_kl(params, reference):
  logp, log_ref = (jax.nn.log_softmax(states(p)) for p in (params, reference))
  return jnp.sum(jnp.exp(logp) * (logp - log_ref), axis=-1)


def test_exact_kl_is_the_sum_over_the_vocabulary():
  divergence = make_divergence(LM_, chunk=4)

  def total(params, reference, of):
    kl = of(params, reference)
    return jnp.sum(jnp.sin(kl)), kl

  grads = functools.partial(jax.grad, has_aux=True, argnums=(0, 1))
  ours = jax.jit(grads(lambda p, r: total(p, r, lambda p, r: divergence(p, r, TOKENS))))
  theirs = jax.jit(grads(lambda p, r: total(p, r, exact_kl)))
  (gradient, behind), kl = ours(PARAMS, REFERENCE)
  (expected, _), whole = theirs(PARAMS, REFERENCE)
  np.testing.assert_allclose(kl[:, 1:], whole, rtol=1e-4, atol=1e-5)
  assert float(kl[:, 1:].min()) > 0 and not kl[:, 0].any()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), gradient, expected
  )
  assert not any(leaf.any() for leaf in jax.tree.leaves(behind))


def test_no_array_over_all_tokens_and_the_vocabulary():
  divergence = make_divergence(LM_, chunk=4)
  jaxpr = jax.make_jaxpr(jax.value_and_grad(lambda p, r: jnp.sum(divergence(p, r, TOKENS))))(
    PARAMS, REFERENCE
  )
  vocabulary = SIZES['vocab_size']
  shapes = [shape for shape in shapes_inside(jaxpr.jaxpr) if vocabulary in shape]
  assert (4, vocabulary) in shapes or (3, vocabulary) in shapes
  assert not any(shape[:1] in ((18,), (21,)) or len(shape) > 2 for shape in shapes)


def test_kl_is_zero_with_itself_and_finite_far_away():
  z = jnp.asarray([[0.0, 1.0, 2.0], [1e4, -1e4, 0.0]])
  np.testing.assert_allclose(kl_logits(z, z + 3), 0, atol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(kl_logits(x, z)))(z), 0, atol=1e-6)
  value, gradient = jax.value_and_grad(lambda x: jnp.sum(kl_logits(x, -z)))(z)
  assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
