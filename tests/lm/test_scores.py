import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.lm import blocks
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer, next_token_logits, score_hidden, score_logits
from maxent_lm.types import Scores

B, T, D, V = 3, 7, 5, 11


def arrays(dtype=jnp.float32):
  rng = np.random.default_rng(0)
  hidden = jnp.asarray(rng.standard_normal((B, T, D)), dtype)
  head = jnp.asarray(rng.standard_normal((D, V)), jnp.float32)
  return hidden, head, jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)


def naive(hidden, head, tokens):
  """The definition, on the whole [B, T, V] array."""
  logits = jnp.einsum('btd,dv->btv', hidden.astype(jnp.float32), head)
  logps = jax.nn.log_softmax(logits)

  def pick(values):
    return jnp.take_along_axis(values, tokens[:, :, None], axis=-1)[:, :, 0]

  value = jnp.log(jnp.sum(jnp.exp(logits), axis=-1))
  entropy = -jnp.sum(jnp.exp(logps) * logps, axis=-1)
  return Scores(pick(logps), pick(logits), value, entropy)


def weighted(score):
  """A scalar that feels every entry of every field."""
  rng = np.random.default_rng(1)
  weights = Scores(*(jnp.asarray(rng.standard_normal((B, T)), jnp.float32) for _ in range(4)))

  def total(hidden, head, tokens):
    terms = jax.tree.map(lambda w, s: jnp.sum(w * s), weights, score(hidden, head, tokens))
    return sum(jax.tree.leaves(terms))

  return total


def shapes_inside(jaxpr):
  """Shapes of every value computed anywhere in a jaxpr, sub-jaxprs included."""
  for equation in jaxpr.eqns:
    yield from (variable.aval.shape for variable in equation.outvars)
    for parameter in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda p: hasattr(p, 'eqns') or hasattr(p, 'jaxpr')
    ):
      inner = getattr(parameter, 'jaxpr', parameter)
      if hasattr(inner, 'eqns'):
        yield from shapes_inside(inner)


@pytest.mark.parametrize('chunk', [1, 4, 7, 1000])
def test_equals_the_definition_whatever_the_chunk(chunk):
  actual = jax.jit(functools.partial(score_hidden, chunk=chunk))(*arrays())
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5), actual, naive(*arrays())
  )


@pytest.mark.parametrize('chunk', [1, 4, 7, 1000])
def test_gradients_equal_those_of_the_definition(chunk):
  score = functools.partial(score_hidden, chunk=chunk)
  actual = jax.jit(jax.grad(weighted(score), argnums=(0, 1)))(*arrays())
  expected = jax.jit(jax.grad(weighted(naive), argnums=(0, 1)))(*arrays())
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5), actual, expected
  )


@pytest.mark.parametrize('columns', [1, 2, 4, 5, 10, 11, 12])
def test_blocks_of_any_width_are_the_whole_vocabulary(columns):
  """Also where the last block begins in the one before it; logits are far from 0."""

  def in_blocks(hidden, head, tokens):
    flat = hidden.reshape(B * T, D), head, tokens.reshape(B * T), B * T * columns
    return jax.tree.map(lambda x: x.reshape(B, T), blocks.score(*flat))

  hidden, head, tokens = arrays()
  moved = 2 * hidden, head + 2, tokens
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=3e-5),
    *(
      (score(*moved), jax.grad(weighted(score), argnums=(0, 1))(*moved))
      for score in (in_blocks, naive)
    ),
  )


def test_a_gradient_can_be_differentiated_again():
  """Hessian-vector products, against the definition's; in blocks and with logits kept."""
  hidden, head, tokens = arrays()

  def squared(score):
    total = weighted(score)
    return jax.grad(lambda h: jnp.sum(jax.grad(total)(h, head, tokens) ** 2))(hidden)

  for chunk in (4, 1000):
    actual = squared(functools.partial(score_hidden, chunk=chunk))
    np.testing.assert_allclose(actual, squared(naive), rtol=1e-4, atol=1e-4)


def test_identities_of_the_four_arrays():
  logits = jnp.asarray([[0.0, np.log(3.0)], [5.0, 5.0]])
  scores = score_logits(logits, jnp.asarray([1, 0]))
  np.testing.assert_allclose(scores.value, [np.log(4.0), 5.0 + np.log(2.0)], rtol=1e-6)
  np.testing.assert_allclose(scores.logit, [np.log(3.0), 5.0], rtol=1e-6)
  np.testing.assert_allclose(scores.logp, [np.log(0.75), np.log(0.5)], rtol=1e-6)
  entropy = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
  np.testing.assert_allclose(scores.entropy, [entropy, np.log(2.0)], rtol=1e-6)


@pytest.mark.parametrize('chunk', [1, 4, 8])
def test_no_array_over_all_tokens_and_the_vocabulary_forward_or_backward(chunk):
  """The largest array is that of the logits of `chunk` tokens, the head, or 24 states."""

  def largest(score):
    gradient = jax.value_and_grad(weighted(score), argnums=(0, 1))
    return max(map(math.prod, shapes_inside(jax.make_jaxpr(gradient)(*arrays()).jaxpr)))

  assert largest(naive) == B * T * V  # the detector sees what it is to find
  assert largest(functools.partial(score_hidden, chunk=chunk)) <= max(chunk * V, D * V, 24 * D)


def test_where_rows_are_seen_whole_few_of_them_are():
  """A measure takes [C, V]."""
  score = functools.partial(score_hidden, chunk=4, measure=lambda logits: logits[:, 0])
  total = jax.value_and_grad(lambda *of: jnp.sum(score(*of).measure + score(*of).logp))
  jaxpr = jax.make_jaxpr(total)(*arrays())
  rows = {shape[0] for shape in shapes_inside(jaxpr.jaxpr) if shape[1:] == (V,) and shape != (D, V)}
  assert max(rows) == 4


def test_bfloat16_states_are_summed_in_float32():
  hidden, head, tokens = arrays(jnp.bfloat16)
  head = head.astype(jnp.bfloat16).astype(jnp.float32)
  actual = score_hidden(hidden, head, tokens, chunk=6)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(actual))
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5),
    actual,
    naive(hidden, head, tokens),
  )
  assert next_token_logits(hidden[:, 0], head).dtype == jnp.float32


def test_extreme_logits_stay_finite():
  scores, gradient = jax.value_and_grad(
    lambda q: sum(map(jnp.sum, jax.tree.leaves(score_logits(q, jnp.asarray([0, 1])))))
  )(jnp.asarray([[1e4, -1e4, 0.0], [0.0, 3e4, 3e4]]))
  assert bool(jnp.isfinite(scores)) and bool(jnp.isfinite(gradient).all())


def test_chunk_below_one_is_refused():
  with pytest.raises(ValueError, match='chunk is 0; it must be at least 1'):
    score_hidden(*arrays(), chunk=0)


def test_scorer_columns_are_about_their_own_token():
  lm = LM(tiny(tied=False))
  params, tokens = roughened(lm.init(0)), random_tokens(2, 6)
  scores = jax.jit(make_scorer(lm, chunk=5))(params, tokens)
  logits = jax.jit(lm.logits)(params, tokens)
  for t in range(1, 6):
    value = jax.nn.logsumexp(logits[:, t - 1], axis=-1)
    logit = logits[jnp.arange(2), t - 1, tokens[:, t]]
    np.testing.assert_allclose(scores.value[:, t], value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.logp[:, t], logit - value, rtol=1e-5, atol=1e-5)
  for leaf in jax.tree.leaves(scores):
    np.testing.assert_array_equal(leaf[:, 0], 0)


def test_scorer_ignores_right_padding_up_to_the_cut_value():
  """Column n, right after n tokens, holds the value of the cut; what follows does not matter."""
  lm = LM(tiny())
  params, tokens = roughened(lm.init(0)), random_tokens(2, 6)
  score = jax.jit(make_scorer(lm, chunk=4))
  one, other = score(params, tokens), score(params, tokens.at[:, 4:].set(9))
  for left, right in zip(*map(jax.tree.leaves, (one, other)), strict=True):
    np.testing.assert_array_equal(left[:, :4], right[:, :4])
  np.testing.assert_array_equal(one.value[:, 4], other.value[:, 4])
  assert float(jnp.abs(one.value[:, 5] - other.value[:, 5]).max()) > 1e-4


def test_a_single_column_has_no_state_before_it():
  lm = LM(tiny())
  scores = make_scorer(lm, chunk=4)(lm.init(0), random_tokens(2, 1))
  assert all(leaf.shape == (2, 1) and not leaf.any() for leaf in jax.tree.leaves(scores))
