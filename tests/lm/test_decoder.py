import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import largest_gap, random_tokens, roughened, tiny

from maxent_lm.lm import cache as cache_lib
from maxent_lm.lm import layers
from maxent_lm.lm.decoder import LM, segment_positions
from maxent_lm.lm.scores import next_token_logits


@functools.partial(jax.jit, static_argnums=0)
def hidden(lm, params, tokens, positions=None, segments=None):
  return lm.hidden(params, tokens, positions, segments)


@functools.partial(jax.jit, static_argnums=0)
def logits(lm, params, tokens):
  return lm.logits(params, tokens)


@functools.partial(jax.jit, static_argnums=(0, 4))
def prefill(lm, params, tokens, valid, slots):
  return lm.prefill(params, tokens, valid, slots)


@functools.partial(jax.jit, static_argnums=0)
def decode(lm, params, token, cache):
  return lm.decode(params, token, cache)


@pytest.fixture
def model():
  lm = LM(tiny(family='qwen3', tied=False))
  return lm, roughened(lm.init(0))


def test_rms_norm_literal():
  norm = layers.RMSNorm(tiny(norm_eps=0.5), 2)
  norm.scale[...] = jnp.asarray([1.0, 2.0])
  # mean square of (1, 2) is 2.5; 2.5 + 0.5 = 3
  expected = np.array([[[1.0, 4.0]]]) / np.sqrt(3.0)
  np.testing.assert_allclose(norm(jnp.asarray([[[1.0, 2.0]]])), expected, rtol=1e-6)


def test_rotate_literal():
  """theta = 100, H = 4: pair (0, 2) turns by the position, pair (1, 3) by a tenth of it."""
  angles = layers.rope(jnp.asarray([[3]]), tiny(head_dim=4, rope_theta=100.0))
  turned = layers.rotate(jnp.asarray([1.0, 1.0, 0.0, 0.0])[None, None, None, :], angles)
  expected = [np.cos(3), np.cos(0.3), np.sin(3), np.sin(0.3)]
  np.testing.assert_allclose(turned[0, 0, 0], expected, rtol=1e-6)


def reference_logits(config, params, tokens):
  """The architecture written out in float64 numpy, one sequence, one head at a time."""
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  count, half = len(tokens), config.head_dim // 2

  def norm(x, part):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + config.norm_eps) * part['scale']

  def turned(x):
    pairs = x[:, :half] + 1j * x[:, half:]
    speed = config.rope_theta ** (-np.arange(half) / half)
    pairs = pairs * np.exp(1j * np.arange(count)[:, None] * speed)
    return np.concatenate([pairs.real, pairs.imag], axis=1)

  x = p['embedding'][tokens]
  for i in range(config.num_layers):
    layer = jax.tree.map(lambda leaf, i=i: leaf[i], p['layers'])
    attention, mlp = layer['attention'], layer['mlp']
    y = norm(x, layer['attention_norm'])
    for n in range(config.num_heads):
      head = {'query': n, 'key': n * config.num_kv_heads // config.num_heads}
      head['value'] = head['key']
      q, k, v = (y @ attention[name][:, head[name]] for name in ('query', 'key', 'value'))
      if config.qkv_bias:
        q, k, v = (
          part + attention[f'{name}_bias'][head[name]]
          for name, part in (('query', q), ('key', k), ('value', v))
        )
      if config.qk_norm:
        q, k = norm(q, attention['query_norm']), norm(k, attention['key_norm'])
      weights = np.tril(np.exp(turned(q) @ turned(k).T / np.sqrt(config.head_dim)))
      x = x + weights / weights.sum(1, keepdims=True) @ v @ attention['output'][n]
    y = norm(x, layer['mlp_norm'])
    gate = y @ mlp['gate']
    x = x + (gate / (1 + np.exp(-gate)) * (y @ mlp['up'])) @ mlp['down']
  return norm(x, p['norm']) @ (p['embedding'].T if config.tied else p['head'])


@pytest.mark.parametrize(('family', 'tied'), [('llama', True), ('qwen2', False), ('qwen3', True)])
def test_logits_equal_a_plain_numpy_model(family, tied):
  lm = LM(tiny(family=family, tied=tied))
  params, tokens = roughened(lm.init(0)), random_tokens(1, 7)
  expected = reference_logits(lm.config, params, np.asarray(tokens[0]))
  np.testing.assert_allclose(logits(lm, params, tokens)[0], expected, atol=1e-4)


def test_a_token_does_not_see_later_ones(model):
  lm, params = model
  tokens = random_tokens(2, 9)
  before = hidden(lm, params, tokens)
  after = hidden(lm, params, tokens.at[:, 5].set((tokens[:, 5] + 1) % 37))
  np.testing.assert_array_equal(before[:, :5], after[:, :5])
  assert float(jnp.min(jnp.max(jnp.abs(before - after)[:, 5:], axis=-1))) > 1e-3


def test_only_relative_positions_matter(model):
  lm, params = model
  tokens = random_tokens(2, 9)
  positions = jnp.broadcast_to(jnp.arange(9)[None], (2, 9))
  plain = hidden(lm, params, tokens)
  np.testing.assert_allclose(hidden(lm, params, tokens, positions + 11), plain, atol=3e-5)
  assert largest_gap(hidden(lm, params, tokens, positions * 2), plain) > 1e-3


def test_left_padding_right_padding_and_packing_are_one_mechanism(model):
  lm, params = model
  short, long = random_tokens(1, 4, seed=1), random_tokens(1, 5, seed=2)
  pad = jnp.full((1, 3), 7, jnp.int32)
  expected_short, expected_long = hidden(lm, params, short), hidden(lm, params, long)
  tokens = jnp.concatenate([pad, short, long, pad], axis=1)
  segments = jnp.asarray([[0] * 3 + [2] * 4 + [1] * 5 + [0] * 3])
  packed = hidden(lm, params, tokens, None, segments)
  np.testing.assert_allclose(packed[:, 3:7], expected_short, atol=2e-5)
  np.testing.assert_allclose(packed[:, 7:12], expected_long, atol=2e-5)
  right = hidden(lm, params, jnp.concatenate([short, pad], axis=1))
  np.testing.assert_allclose(right[:, :4], expected_short, atol=2e-5)


def test_segment_positions_literal():
  segments = jnp.asarray([[0, 0, 3, 3, 3, 1, 0], [2, 2, 2, 2, 5, 5, 5]])
  expected = [[0, 1, 0, 1, 2, 0, 0], [0, 1, 2, 3, 0, 1, 2]]
  np.testing.assert_array_equal(segment_positions(segments), expected)


def test_padding_reaches_nothing_and_its_gradient_is_zero():
  lm = LM(tiny())
  params = roughened(lm.init(0))
  segments = jnp.asarray([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
  tokens = (random_tokens(2, 5) % 36).at[:, :2].set(36).at[1].set(36)

  def total(params, segments):
    out = lm.hidden(params, tokens, None, segments)
    return jnp.sum(jnp.where(segments[:, :, None] > 0, out, 0) ** 2), out

  gradient, out = jax.jit(jax.grad(total, has_aux=True))(params, segments)
  assert bool(jnp.isfinite(out).all())
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
  np.testing.assert_array_equal(gradient['embedding'][36], 0)
  assert float(jnp.abs(gradient['embedding']).max()) > 0


def test_scanned_unrolled_and_remat_are_the_same_function():
  lm = LM(tiny(family='qwen3'))
  params, tokens = roughened(lm.init(0)), random_tokens(2, 7)

  def value_and_gradient(lm):
    return jax.jit(jax.value_and_grad(lambda p: jnp.sum(lm.hidden(p, tokens) ** 2)))(params)

  expected = value_and_gradient(lm)
  for scan, remat in ((True, False), (True, True), (False, True)):
    config = dataclasses.replace(lm.config, scan_layers=scan, remat=remat)
    other = LM(config)
    assert jax.tree.map(np.shape, other.init(0)) == jax.tree.map(np.shape, params)
    actual = value_and_gradient(other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-3), actual, expected)


def test_grouped_heads_equal_full_heads_with_copied_keys():
  grouped = LM(tiny())
  full = LM(tiny(num_kv_heads=4))
  params, tokens = roughened(grouped.init(0)), random_tokens(2, 6)
  attention = dict(params['layers']['attention'])
  attention |= {name: jnp.repeat(attention[name], 2, axis=2) for name in ('key', 'value')}
  copied = {**params, 'layers': {**params['layers'], 'attention': attention}}
  expected = hidden(grouped, params, tokens)
  np.testing.assert_allclose(hidden(full, copied, tokens), expected, atol=2e-5)


@pytest.mark.parametrize(
  ('family', 'scan'), [('llama', False), ('qwen2', True), ('qwen3', False), ('qwen3', True)]
)
def test_prefill_and_decode_equal_the_full_forward_pass(family, scan):
  lm = LM(tiny(family=family, tied=family != 'qwen2', scan_layers=scan))
  params, tokens = roughened(lm.init(0)), random_tokens(3, 8)
  lengths = [2, 5, 3]
  expected = logits(lm, params, tokens)
  prompts = jnp.stack([jnp.pad(tokens[b, :n], (5 - n, 0)) for b, n in enumerate(lengths)])
  valid = jnp.arange(5)[None, :] >= 5 - jnp.asarray(lengths)[:, None]
  state, cache = prefill(lm, params, prompts, valid, 9)
  for step in range(4):
    scores = next_token_logits(state, lm.head(params))
    for b, n in enumerate(lengths):
      np.testing.assert_allclose(scores[b], expected[b, n + step - 1], atol=3e-5)
    if step < 3:
      token = jnp.stack([tokens[b, n + step] for b, n in enumerate(lengths)])
      state, cache = decode(lm, params, token, cache)
  assert cache.position.tolist() == [n + 3 for n in lengths]
  assert int(cache.length) == 8
  assert cache.valid.sum(axis=1).tolist() == [n + 3 for n in lengths]


@pytest.mark.parametrize('scan', [False, True])
def test_decoding_with_unstacked_parameters_is_the_same(scan):
  lm = LM(tiny(family='qwen3', scan_layers=scan))
  params, prompts = roughened(lm.init(0)), random_tokens(2, 4)
  state, cache = prefill(lm, params, prompts, jnp.ones((2, 4), bool), 5)
  unstacked = lm.unstacked(params)
  assert (unstacked is params) == scan
  expected = decode(lm, params, prompts[:, 0], cache)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    decode(lm, unstacked, prompts[:, 0], cache),
    expected,
  )
  assert largest_gap(state, expected[0]) > 1e-3


@pytest.mark.parametrize('family', ['qwen2', 'qwen3'])
def test_decoding_with_narrowed_parameters_is_the_same_and_casts_none(family):
  lm = LM(tiny(family=family, dtype='bfloat16'))
  params = roughened(lm.init(0))
  narrowed = lm.narrowed(params)
  prompts = random_tokens(2, 5)
  _, cache = lm.prefill(params, prompts, jnp.ones_like(prompts, bool), 6)
  found = [decode(lm, each, prompts[:, 0], cache) for each in (params, narrowed)]
  jax.tree.map(np.testing.assert_array_equal, *found)
  # Of the layers' matrices: everything else is one row or the scale of a norm.
  casts = [
    str(jax.make_jaxpr(lm.decode)(each, prompts[:, 0], cache)).count(
      'convert_element_type[new_dtype=bfloat16'
    )
    for each in (params, narrowed)
  ]
  assert casts[0] - casts[1] >= 7 * lm.config.num_layers


def test_rows_that_begin_have_their_own_prompt_and_the_others_go_on(model):
  """A cache with room, of which one row has read two tokens, and another begins."""
  lm, params = model
  olds, news = random_tokens(2, 6, seed=1), random_tokens(2, 5, seed=2)
  every = jnp.ones((2, 4), bool)
  _, old = prefill(lm, params, olds[:, :4], every, 8)
  for column in (4, 5):
    _, old = decode(lm, params, olds[:, column], old)
  _, new = prefill(lm, params, news[:, :4], every, 8)
  mixed = cache_lib.begin(jnp.asarray([False, True]), cache_lib.cut(new, 4), old)
  token = jnp.stack([olds[0, 0], news[1, 4]])
  state, _ = decode(lm, params, token, mixed)
  going_on = jnp.concatenate([olds[:1], token[:1, None]], axis=1)
  np.testing.assert_allclose(state[0], hidden(lm, params, going_on)[0, -1], atol=2e-5)
  np.testing.assert_allclose(state[1], hidden(lm, params, news[1:])[0, -1], atol=2e-5)


def test_a_group_shares_one_prefill():
  lm = LM(tiny())
  params, prompts = roughened(lm.init(0)), random_tokens(2, 4)
  valid = jnp.asarray([[False, True, True, True], [True] * 4])
  one = prefill(lm, params, prompts, valid, 6)
  many = prefill(lm, params, jnp.repeat(prompts, 3, axis=0), jnp.repeat(valid, 3, axis=0), 6)
  repeated = jnp.repeat(one[0], 3, axis=0), cache_lib.repeat(one[1], 3)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), repeated, many)


@pytest.mark.parametrize('scan', [False, True])
def test_rows_that_share_their_prompt_decode_as_with_copies_of_it(scan):
  """Side by side, each more than once, and in another order, some of them gone."""
  lm = LM(tiny(scan_layers=scan))
  params, prompts = roughened(lm.init(0)), random_tokens(2, 4)
  valid = jnp.asarray([[False, True, True, True], [True] * 4])
  cache = prefill(lm, params, prompts, valid, 4)[1]
  tokens = random_tokens(6, 2, seed=3)
  caches = [
    cache_lib.extend(cache_lib.share(cache, 3), 2),
    cache_lib.extend(cache_lib.repeat(cache, 3), 6),
  ]
  assert caches[0].keys[0].shape[-2] == 2 and len(caches[0].shared.valid) == 2

  def decoded(tokens, caches):
    states, caches = zip(*(decode(lm, params, tokens, each) for each in caches), strict=True)
    np.testing.assert_allclose(*states, atol=1e-5)
    return states[0], caches

  first, caches = decoded(tokens[:, 0], caches)
  assert largest_gap(first[:1], first[1:2]) > 1e-3
  decoded(jnp.repeat(tokens[:, 1], 2), [cache_lib.repeat(each, 2) for each in caches])
  kept = jnp.asarray([4, 1, 5])
  taken = [cache_lib.take(each, kept) for each in caches]
  assert len(taken[0].shared.valid) == 3
  decoded(tokens[kept, 1], taken)


def test_decoding_from_an_empty_cache_equals_the_forward_pass():
  lm = LM(tiny())
  params, tokens = roughened(lm.init(0)), random_tokens(2, 3)
  cache = cache_lib.empty(lm.config, batch=2, slots=4)
  expected = hidden(lm, params, tokens)
  for t in range(3):
    state, cache = decode(lm, params, tokens[:, t], cache)
    np.testing.assert_allclose(state, expected[:, t], atol=2e-5)


def test_cache_sizes_that_do_not_fit_are_refused():
  lm = LM(tiny(max_length=8))
  params, tokens = lm.abstract_params(), jax.ShapeDtypeStruct((1, 4), jnp.int32)
  valid = jax.ShapeDtypeStruct((1, 4), bool)
  for slots in (3, 9):
    with pytest.raises(ValueError, match=f'cache of {slots} slots does not fit.*max_length 8'):
      jax.eval_shape(lambda p, t, v, s=slots: lm.prefill(p, t, v, s), params, tokens, valid)
  with pytest.raises(ValueError, match='cache of 4 slots cannot be cut to 3'):
    cache_lib.extend(cache_lib.empty(lm.config, batch=1, slots=4), 3)


def test_initial_parameters():
  lm = LM(tiny(family='qwen2', d_model=64, d_ff=96, num_layers=2))
  params = lm.init(3)
  assert largest_gap(params, lm.init(3)) == 0
  assert largest_gap(params, lm.init(4)) > 0
  assert jax.tree.map(np.shape, params) == jax.tree.map(lambda a: a.shape, lm.abstract_params())
  attention, mlp = params['layers']['attention'], params['layers']['mlp']
  for leaf in (params['embedding'], attention['query'], mlp['gate'], mlp['up']):
    np.testing.assert_allclose(float(leaf.std()), 0.02, rtol=0.1)
  for leaf in (attention['output'], mlp['down']):
    np.testing.assert_allclose(float(leaf.std()), 0.02 / np.sqrt(2 * 2), rtol=0.1)
  assert float(jnp.abs(attention['query_bias']).max()) == 0
  np.testing.assert_array_equal(params['norm']['scale'], 1)
  assert largest_gap(attention['key'], attention['value']) > 0.01
  assert largest_gap(mlp['up'][0], mlp['up'][1]) > 0.01


def test_parameters_are_a_plain_dict_and_abstract_ones_match():
  params = LM(tiny()).init(0)
  assert type(params) is dict and type(params['layers']['mlp']) is dict
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


def test_equal_models_are_one_static_argument():
  lm, same = LM(tiny()), LM(tiny())
  assert lm == same and hash(lm) == hash(same)


def test_bfloat16_is_the_same_model_with_less_precision():
  lm = LM(tiny(family='qwen3'))
  half = LM(dataclasses.replace(lm.config, dtype='bfloat16'))
  params, tokens = lm.init(0), random_tokens(2, 6)
  rough = logits(half, params, tokens)
  assert hidden(half, params, tokens).dtype == jnp.bfloat16
  assert rough.dtype == jnp.float32
  assert 0 < largest_gap(rough, logits(lm, params, tokens)) < 5e-3
  _, cache = prefill(half, params, tokens, jnp.ones((2, 6), bool), 7)
  assert all(array.dtype == jnp.bfloat16 for array in cache.keys + cache.values)
