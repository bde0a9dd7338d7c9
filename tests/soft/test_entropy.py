"""Token entropies of parts of the actions: identities, and the numbers of the originals."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.masked import masked_mean
from maxent_lm.soft import entropy

REFERENCE = pathlib.Path(__file__).parents[1] / 'reference' / 'token_entropy.json'
CASES = {case['case']: case for case in json.loads(REFERENCE.read_text())['cases']}

MEASURES = {
  'exact': entropy.token_entropy,
  'tempered': functools.partial(entropy.tempered_entropy, temperature=0.5),
  'nucleus': functools.partial(entropy.nucleus_entropy, p=0.8),
  'inner nucleus': functools.partial(entropy.inner_nucleus_entropy, p=0.8),
  'top k': functools.partial(entropy.top_k_entropy, k=3),
  'clamped': functools.partial(entropy.clamped_entropy, share=0.4),
  'self-certainty': entropy.self_certainty,
}
each_measure = pytest.mark.parametrize('measure', MEASURES.values(), ids=MEASURES)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def logits(*shape, seed=0):
  return jnp.asarray(2 * np.random.default_rng(seed).normal(size=shape))


@each_measure
def test_order_shift_and_leading_axes_do_not_matter(measure):
  z = logits(2, 3, 7)
  order = np.random.default_rng(1).permutation(7)
  np.testing.assert_allclose(measure(z[..., order] + 5), measure(z), rtol=1e-12)
  gradient = jax.grad(lambda x: jnp.sum(measure(x)))
  np.testing.assert_allclose(gradient(z[..., order]), gradient(z)[..., order], atol=1e-13)
  np.testing.assert_allclose(measure(z)[1, 2], measure(z[1, 2]), rtol=1e-12)
  np.testing.assert_allclose(jax.jit(measure)(z), measure(z), rtol=1e-12)


@pytest.mark.parametrize('name', sorted(MEASURES.keys() - {'clamped'}))  # which counts actions
def test_forbidden_actions_are_as_if_they_did_not_exist(name):
  measure = MEASURES[name]
  z = logits(4, 5)
  more = jnp.concatenate([z, jnp.full((4, 2), -jnp.inf)], axis=1)
  np.testing.assert_allclose(measure(more), measure(z), rtol=1e-12)


@each_measure
def test_gradients_are_finite_everywhere(measure):
  rows = [
    [0.0, -jnp.inf, 1.0, -jnp.inf, 2.0],
    [1e4, -1e4, 0.0, 0.0, 0.0],
    [0.0] * 5,
    [3.0, -jnp.inf, -jnp.inf, -jnp.inf, -jnp.inf],
  ]
  for dtype in (jnp.float64, jnp.float32, jnp.bfloat16):
    z = jnp.asarray(rows, dtype)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(measure(x)))(z)
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
    assert not np.asarray(gradient)[np.isneginf(z)].any()
    assert measure(z).dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)


def test_the_whole_is_a_part():
  z = logits(5, 9)
  whole = entropy.token_entropy(z)
  for part in (
    entropy.nucleus_entropy(z, p=1.0),
    entropy.top_k_entropy(z, k=9),
    entropy.top_k_entropy(z, k=1000),
    entropy.clamped_entropy(z, share=0.0),
    entropy.clamped_entropy(z, share=0.1),
    entropy.tempered_entropy(z, temperature=1.0),
  ):
    np.testing.assert_allclose(part, whole, rtol=1e-10)


def test_the_nucleus_by_hand():
  """Probabilities .5 .3 .15 .05: which are in, and the entropy of the rest renormalised."""
  z = jnp.log(jnp.asarray([0.15, 0.5, 0.05, 0.3]))

  def of(*p):
    p = np.array(p) / np.sum(p)
    return -np.sum(p * np.log(p))

  for p, inside in ((0.4, (0.5,)), (0.6, (0.5, 0.3)), (0.9, (0.5, 0.3, 0.15))):
    np.testing.assert_allclose(entropy.nucleus_entropy(z, p=p), of(*inside), atol=1e-12)
    inner = entropy.inner_nucleus_entropy(z, p=p)
    np.testing.assert_allclose(inner, of(*(inside[:-1] or inside)), atol=1e-12)


def test_the_inner_nucleus_is_empty_where_one_action_reaches_p():
  z = jnp.asarray([3.0, 0.0, 0.0])
  assert entropy.inner_nucleus_entropy(z, p=0.8) == 0
  assert not jax.grad(functools.partial(entropy.inner_nucleus_entropy, p=0.8))(z).any()


def test_self_certainty_is_a_divergence_from_the_uniform():
  z = logits(4, 6)
  divergence = jnp.mean(-np.log(6) - jax.nn.log_softmax(z), axis=-1)
  np.testing.assert_allclose(entropy.self_certainty(z), divergence + np.log(6), rtol=1e-12)
  np.testing.assert_allclose(entropy.self_certainty(jnp.zeros(6)), np.log(6), rtol=1e-12)


def test_surprisal_is_unbiased_in_value_and_blind_in_gradient():
  z = logits(6)

  def mean(z):
    logp = jax.nn.log_softmax(z)
    return jnp.sum(jax.lax.stop_gradient(jnp.exp(logp)) * entropy.surprisal(logp))

  np.testing.assert_allclose(mean(z), entropy.token_entropy(z), rtol=1e-12)
  np.testing.assert_allclose(jax.grad(mean)(z), 0, atol=1e-14)


@pytest.mark.parametrize(
  ('function', 'options', 'message'),
  [
    (entropy.nucleus_entropy, {'p': 0.0}, 'p is 0.0; it must be in'),
    (entropy.inner_nucleus_entropy, {'p': 1.5}, 'p is 1.5; it must be in'),
    (entropy.top_k_entropy, {'k': 0}, 'k is 0; it must be at least 1'),
    (entropy.clamped_entropy, {'share': 1.0}, 'share is 1.0; it must be in'),
    (entropy.tempered_entropy, {'temperature': 0.0}, 'temperature is 0.0; it must be above 0'),
  ],
)
def test_wrong_options_are_told(function, options, message):
  with pytest.raises(ValueError, match=message):
    function(jnp.zeros(3), **options)


@pytest.mark.parametrize(
  ('name', 'measure'),
  [
    ('verl_entropy_from_logits', 'exact'),
    ('trl_entropy_from_logits', 'exact'),
    ('one_shot_em_token_entropy', 'tempered'),
  ],
)
def test_originals_over_all_actions(name, measure):
  case = CASES[name]
  mask = jnp.asarray(case['inputs']['response_mask'])

  def mean(z):
    values = MEASURES[measure](z)
    return jnp.sum(values * mask) / jnp.sum(mask), values

  z = jnp.asarray(case['inputs']['logits'])
  gradient, values = jax.grad(mean, has_aux=True)(z)
  np.testing.assert_allclose(values, case['outputs']['per_token'], atol=1e-12)
  np.testing.assert_allclose(mean(z)[0], case['outputs']['masked_mean'], atol=1e-12)
  np.testing.assert_allclose(gradient, case['outputs']['grad_of_masked_mean'], atol=1e-12)


def test_verls_entropy_loss_is_the_mean_over_tokens():
  """verl b178a3cd, core_algos.compute_entropy_loss with token-mean, on the same logits."""
  case = CASES['verl_entropy_from_logits']['inputs']
  values = entropy.token_entropy(jnp.asarray(case['logits']))
  loss = masked_mean(values, jnp.asarray(case['response_mask'], bool))
  np.testing.assert_allclose(loss, 0.8540336232825769, atol=1e-12)


def test_siren():
  case = CASES['siren_top_p_entropy_p0.95']
  z = jnp.asarray(case['inputs']['logits'])
  ours = entropy.inner_nucleus_entropy(z, p=case['kwargs']['p'])
  np.testing.assert_allclose(ours, case['outputs']['entropy'], atol=1e-9)
  np.testing.assert_allclose(entropy.token_entropy(z), case['outputs']['full_entropy'], atol=1e-12)


# inclusionAI/AReaL ae639739, recipe/AEnt/functional.py, clamped_softmax_entropy, float64: entropy
# and gradient of its sum. In the third row logits are tied: which of them is dropped is open, so
# its gradient is compared as a set.
AENT_LOGITS = [[2.0, 1.0, 0.0, -1.0, -3.0], [0.1, 0.2, 0.3, 0.4, 0.5], [5.0, 0.0, 0.0, 0.0, 0.0]]
AENT = {
  0.2: (
    [0.9475369639754256, 1.380070811244773, 0.11907894009217206],
    [
      [-0.32668813891539084, 0.11670096810837766, 0.13007620567390885, 0.07991096513310417, 0.0],
      [0.0, 0.034741166214370914, 0.014762148328001214, -0.009803562195081595]
      + [-0.039699752347290236],
      [-0.0971038450485123, 0.03236794834950416, 0.0, 0.03236794834950416, 0.03236794834950416],
    ],
  ),
  0.6: (
    [0.582203108888218, 0.691898741325677, 0.04017960311054225],
    [
      [-0.19661193324148188, 0.1966119332414818, 0.0, 0.0, 0.0],
      [0.0, 0.0, 0.0, 0.024937604019289145, -0.02493760401928924],
      [-0.033240283353950566, 0.03324028335395078, 0.0, 0.0, 0.0],
    ],
  ),
}


@pytest.mark.parametrize('share', AENT)
def test_aent(share):
  measure = functools.partial(entropy.clamped_entropy, share=share)
  z = jnp.asarray(AENT_LOGITS)
  values, expected = AENT[share]
  np.testing.assert_allclose(measure(z), values, atol=1e-12)
  gradient = jax.grad(lambda x: jnp.sum(measure(x)))(z)
  np.testing.assert_allclose(gradient[:2], expected[:2], atol=1e-12)
  np.testing.assert_allclose(np.sort(gradient[2]), np.sort(expected[2]), atol=1e-12)
