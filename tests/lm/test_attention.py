"""Attention of whole rows, by XLA and by cuDNN, and the dtype in which decoding keeps keys.

cuDNN is lowered to, not run: that needs no GPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.layers import mix
from maxent_lm.sampling.generate import make_generate
from maxent_lm.sampling.policies import Sampling

FORWARD, BACKWARD = '__cudnn$fmha', 'Backward('


@pytest.fixture
def cudnn(monkeypatch):
  """A small model for cuDNN, whose version the lowering asks for."""
  monkeypatch.setattr(fused_attention_stablehlo, 'check_cudnn_version', lambda: 91300)
  return LM(tiny(dtype='bfloat16', attention='cudnn', head_dim=8))


def lowered(function, *shapes):
  return jax.jit(function).trace(*shapes).lower(lowering_platforms=('cuda',)).as_text()


def shape(*sizes, dtype=jnp.int32):
  return jax.ShapeDtypeStruct(sizes, dtype)


@pytest.mark.parametrize('is_causal', [False, True])
def test_mixing_is_a_softmax_over_the_keys_that_are_seen(is_causal):
  rng = np.random.default_rng(0)
  query = rng.standard_normal((2, 5, 4, 6))
  key, value = rng.standard_normal((2, 2, 7, 2, 6))
  mask = rng.random((2, 1, 5, 7)) < 0.7
  mask[..., 0] = True
  seen = mask & (np.tri(5, 7, dtype=bool) | (not is_causal))
  logits = np.einsum('btnh,bsnh->bnts', query, np.repeat(key, 2, axis=2)) / np.sqrt(6)
  weights = np.where(seen, np.exp(logits), 0)
  weights /= weights.sum(axis=-1, keepdims=True)
  expected = np.einsum('bnts,bsnh->btnh', weights, np.repeat(value, 2, axis=2))
  arrays = (jnp.asarray(each, jnp.float32) for each in (query, key, value))
  mixed = mix(tiny(), *arrays, mask=jnp.asarray(mask), is_causal=is_causal)
  np.testing.assert_allclose(mixed, expected, atol=1e-5)


@pytest.mark.parametrize(('queries', 'keys', 'is_causal'), [(5, 5, True), (4, 7, False)])
@pytest.mark.parametrize('heads', [1, 2, 4])
def test_gradients_are_those_of_attention_as_it_is_written(queries, keys, is_causal, heads):
  """Of queries, keys and values; and once more, of a gradient."""
  rng = np.random.default_rng(0)
  shapes = (2, queries, 4, 6), (2, keys, heads, 6), (2, keys, heads, 6)
  arrays = tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes)
  mask = jnp.asarray(rng.random((2, 1, queries, keys)) < 0.6).at[..., 0].set(True)
  weight = jnp.asarray(rng.standard_normal(shapes[0]), jnp.float32)

  def written(*arrays):
    return jax.nn.dot_product_attention(*arrays, mask=mask, is_causal=is_causal)

  def ours(*arrays):
    return mix(tiny(), *arrays, mask=mask, is_causal=is_causal)

  def slope(function):
    return jax.grad(lambda *arrays: jnp.sum(function(*arrays) * weight), argnums=(0, 1, 2))

  def bend(function):
    def total(*arrays):
      return sum(jnp.sum(jnp.sin(leaf)) for leaf in slope(function)(*arrays))

    return jax.grad(total, argnums=(0, 1, 2))

  for derivative in (slope, bend):
    for found, expected in zip(
      derivative(ours)(*arrays), derivative(written)(*arrays), strict=True
    ):
      np.testing.assert_allclose(found, expected, atol=2e-5)


def test_in_bfloat16_a_gradient_errs_by_its_rounding_alone():
  rng = np.random.default_rng(0)
  shapes = (2, 33, 4, 16), (2, 33, 2, 16), (2, 33, 2, 16)
  arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

  def gradients(dtype, attend):
    def total(*arrays):
      return jnp.sum(
        attend(*arrays).astype(jnp.float32) * jnp.cos(jnp.arange(16.0))[None, None, None]
      )

    given = [jnp.asarray(each, dtype) for each in arrays]
    found = jax.grad(total, argnums=(0, 1, 2))(*given)
    return np.concatenate([np.asarray(each, np.float64).ravel() for each in found])

  def ours(*arrays):
    return mix(tiny(), *arrays, is_causal=True)

  def written(*arrays):
    return jax.nn.dot_product_attention(*arrays, is_causal=True)

  exact = gradients('float32', written)
  errors = [np.linalg.norm(gradients('bfloat16', each) - exact) for each in (ours, written)]
  assert 0 < errors[0] < 1.5 * errors[1] < 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize(('queries', 'keys'), [(5, 5), (5, 8), (4, 7), (4, 6)])
def test_what_cudnn_is_given_beyond_odd_lengths_changes_nothing(queries, keys, monkeypatch):
  """The call is XLA's here, and its lengths are even, as cuDNN's gradients need them."""
  plain = jax.nn.dot_product_attention

  def called(query, key, value, *, implementation, **rest):
    assert implementation == 'cudnn' and query.shape[1] % 2 == key.shape[1] % 2 == 0
    return plain(query, key, value, **rest)

  monkeypatch.setattr(jax.nn, 'dot_product_attention', called)
  config = tiny(dtype='bfloat16', attention='cudnn', head_dim=8)
  rng = np.random.default_rng(0)
  query, key, value = (
    jnp.asarray(rng.standard_normal((2, length, heads, 8)), jnp.float32)
    for length, heads in ((queries, 4), (keys, 2), (keys, 2))
  )
  mask = jnp.asarray(rng.random((2, 1, queries, keys)) < 0.5).at[..., 0].set(True)
  masks = [{'mask': mask}, {'mask': mask, 'is_causal': True}]
  for seen in [*masks, {'is_causal': True}] if queries == keys else masks:
    expected = plain(query, key, value, **seen)
    np.testing.assert_allclose(mix(config, query, key, value, **seen), expected, atol=1e-6)


def test_whole_rows_are_lowered_to_cudnn(cudnn):
  params = cudnn.abstract_params()

  def total(params, tokens):
    return jnp.sum(cudnn.hidden(params, tokens).astype(jnp.float32))

  text = lowered(jax.grad(total), params, shape(2, 9))
  assert text.count(FORWARD) == 2 * cudnn.config.num_layers
  assert text.count(BACKWARD) == cudnn.config.num_layers


def test_prefill_is_lowered_to_cudnn_and_decoding_is_not(cudnn):
  params = cudnn.abstract_params()

  def prefill(params, tokens, valid):
    return cudnn.prefill(params, tokens, valid, 12)

  text = lowered(prefill, params, shape(2, 8), shape(2, 8, dtype=bool))
  assert text.count(FORWARD) == cudnn.config.num_layers
  _, cache = jax.eval_shape(prefill, params, shape(2, 8), shape(2, 8, dtype=bool))
  assert FORWARD not in lowered(cudnn.decode, params, shape(2), cache)


@pytest.mark.parametrize('response', [6, 5])
def test_groups_are_lowered_to_cudnn(cudnn, response):
  """Prompts without a mask, responses with one, for the prompts that they see."""
  scorer = GroupScorer(cudnn, chunk=8, group_size=2, max_new_tokens=response, microbatch=40)
  tokens = shape(4, 8 + response + 1)
  mask = shape(*tokens.shape, dtype=bool)

  def total(params, tokens, mask):
    return jnp.sum(scorer(params, tokens, mask).logp)

  text = lowered(jax.grad(total), cudnn.abstract_params(), tokens, mask)
  assert text.count(BACKWARD) == cudnn.config.num_layers * 2


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'head_dim': 8}, "'cudnn' has no float32: set dtype to bfloat16"),
    ({'dtype': 'bfloat16'}, 'head_dim that is a multiple of 8 and at most 256, but it is 6'),
    ({'dtype': 'bfloat16', 'head_dim': 264}, 'at most 256, but it is 264'),
  ],
)
def test_what_cudnn_does_not_compute_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    tiny(attention='cudnn', **changes)


def sampled(cache, *, temperature=1.0, dtype='float32', scan=False):
  """A rollout of the same parameters, prompts and key."""
  lm = LM(tiny(cache_dtype=cache, dtype=dtype, scan_layers=scan))
  generate = make_generate(
    lm,
    sampling=Sampling(temperature=temperature),
    group_size=3,
    max_new_tokens=8,
    eos_id=-1,
  )
  tokens = random_tokens(2, 5, seed=1)
  params = roughened(LM(tiny()).init(0))
  return generate(params, tokens, jnp.ones_like(tokens, bool), jax.random.key(3))


def test_a_cache_in_the_dtype_of_activations_is_the_default():
  for temperature in (0.0, 1.0):
    plain, told = (sampled(cache, temperature=temperature) for cache in ('', 'float32'))
    jax.tree.map(np.testing.assert_array_equal, plain, told)


@pytest.mark.parametrize('scan', [False, True])
def test_a_narrow_cache_holds_narrow_keys_of_the_same_model(scan):
  lm, narrow = (LM(tiny(cache_dtype=cache, scan_layers=scan)) for cache in ('', 'bfloat16'))
  params, tokens = roughened(lm.init(0)), random_tokens(2, 9)
  states = {}
  for name, each in {'wide': lm, 'narrow': narrow}.items():
    hidden, cache = each.prefill(params, tokens[:, :4], jnp.ones((2, 4), bool), 9)
    for column in range(4, 9):
      hidden, cache = each.decode(params, tokens[:, column], cache)
    states[name] = hidden
    width = {'wide': jnp.float32, 'narrow': jnp.bfloat16}[name]
    assert {leaf.dtype for leaf in (*cache.keys, *cache.values)} == {jnp.dtype(width)}
  logp = {name: jax.nn.log_softmax(hidden @ lm.head(params)) for name, hidden in states.items()}
  gap = float(jnp.max(jnp.abs(logp['wide'] - logp['narrow'])))
  assert 0 < gap < 0.1


def test_a_wide_cache_of_narrow_activations_keeps_their_dtype():
  rollout = sampled('float32', dtype='bfloat16')
  assert bool(jnp.isfinite(rollout.logp).all())
  lm = LM(tiny(cache_dtype='float32', dtype='bfloat16'))
  hidden, cache = lm.prefill(lm.init(0), random_tokens(2, 4), jnp.ones((2, 4), bool), 5)
  hidden, cache = lm.decode(lm.init(0), random_tokens(2), cache)
  assert hidden.dtype == jnp.bfloat16 and cache.keys[0].dtype == jnp.float32
