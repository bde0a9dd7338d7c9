"""Attention received and gradient saliency: what the definitions say, on random tiny models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.saliency import SALIENCIES

B, T = 3, 9
PROMPT, LENGTH = np.array([2, 4, 1]), np.array([5, 3, 0])
COLUMNS = np.arange(T)[None, :]
MASK = (COLUMNS >= PROMPT[:, None]) & (COLUMNS < (PROMPT + LENGTH)[:, None])
READ = (COLUMNS < (PROMPT + LENGTH - 1)[:, None]) & (LENGTH > 0)[:, None]  # by a later token

each = pytest.mark.parametrize('kind', SALIENCIES)


@pytest.fixture(scope='module')
def model():
  lm = LM(tiny(family='qwen3', tied=False))
  return lm, roughened(lm.init(0)), random_tokens(B, T)


def saliency(kind, lm, params, tokens, mask=MASK):
  return jax.jit(SALIENCIES[kind](lm, chunk=16))(params, tokens, jnp.asarray(mask))


@each
def test_only_what_a_later_response_token_reads_is_salient(kind, model):
  found = np.asarray(saliency(kind, *model))
  assert (found[READ] > 0).all() and not found[~READ].any()


@each
def test_padding_and_other_rows_do_not_matter(kind, model):
  lm, params, tokens = model
  found = saliency(kind, lm, params, tokens)
  wider = jnp.pad(tokens, ((0, 0), (0, 3)), constant_values=5)
  other = saliency(kind, lm, params, wider, np.pad(MASK, ((0, 0), (0, 3))))
  np.testing.assert_allclose(other[:, :T], found, rtol=1e-4, atol=1e-6)
  alone = saliency(kind, lm, params, tokens[1:2], MASK[1:2])
  np.testing.assert_allclose(alone, found[1:2], rtol=1e-4, atol=1e-6)


@each
def test_scanned_and_rematerialised_layers_are_the_same(kind, model):
  lm, params, tokens = model
  found = saliency(kind, lm, params, tokens)
  scanned = LM(tiny(family='qwen3', tied=False, scan_layers=True, remat=True))
  np.testing.assert_allclose(saliency(kind, scanned, params, tokens), found, rtol=1e-4, atol=1e-6)


@each
def test_no_gradient_goes_through(kind, model):
  lm, params, tokens = model

  def total(params):
    return jnp.sum(SALIENCIES[kind](lm, chunk=16)(params, tokens, jnp.asarray(MASK)))

  gradient = jax.jit(jax.grad(total))(params)
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))


def test_attention_received_is_its_definition(model):
  lm, params, tokens = model
  before = np.tril(np.ones((T, T), bool))

  def attend(_, carry, query, key, value):
    shared = query.shape[2] // key.shape[2]
    key, value = (jnp.repeat(x, shared, axis=2) for x in (key, value))
    logits = jnp.einsum('bsnh,btnh->bnst', query, key) / np.sqrt(query.shape[-1])
    weights = jax.nn.softmax(jnp.where(before[None, None], logits, -1e30))
    return jnp.einsum('bnst,btnh->bsnh', weights, value), ((*carry, weights), ())

  hidden, layers = lm.run(params, tokens, attend, ())
  np.testing.assert_allclose(hidden, lm.hidden(params, tokens), rtol=1e-3, atol=1e-4)
  attention = np.stack(layers).mean(axis=(0, 2))  # [B, query, key]
  expected = np.zeros((B, T))
  for b in range(B):
    for t in range(T):
      later = [s for s in range(t + 1, T) if MASK[b, s]]
      if later:
        expected[b, t] = attention[b, later, t].mean()
  np.testing.assert_allclose(saliency('attention', *model), expected, rtol=1e-4, atol=1e-6)


def test_gradient_saliency_is_a_finite_difference(model):
  """Scaling one row of the embedding table, of a token that the sequence holds once."""
  lm, params, _ = model
  tokens = jnp.arange(B * T, dtype=jnp.int32).reshape(B, T)
  found = np.asarray(saliency('gradient', lm, params, tokens))

  @jax.jit
  def log_probability(scale, row, column):
    table = params['embedding'].at[tokens[row, column]].multiply(scale)
    logits = lm.logits({**params, 'embedding': table}, tokens)[:, :-1]
    logp = jax.nn.log_softmax(logits)
    taken = jnp.take_along_axis(logp, tokens[:, 1:, None], axis=2)[..., 0]
    return jnp.sum(jnp.where(MASK[:, 1:], taken, 0), axis=1)[row]

  h = 5e-3
  for row, column in ((0, 1), (0, 4), (1, 0), (1, 5)):
    up, down = (log_probability(1 + sign * h, row, column) for sign in (1, -1))
    expected = abs(float(up - down)) / (2 * h)
    np.testing.assert_allclose(found[row, column], expected, rtol=2e-2, atol=2e-3)
