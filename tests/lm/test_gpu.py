"""On a GPU: the numbers of the CPU, by XLA and by cuDNN. Skipped where there is none.

make test-gpu
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.layers import mix
from maxent_lm.lm.scores import make_scorer
from maxent_lm.sampling.generate import make_generate
from maxent_lm.sampling.policies import Sampling

pytestmark = pytest.mark.gpu
G, P, R = 4, 10, 7  # samples of a prompt, tokens of a prompt, of a response
NARROW = dict(dtype='bfloat16', head_dim=64, d_model=64, d_ff=96)
ROUNDING = 2.0  # times the error of XLA's bfloat16 that cuDNN may have


@pytest.fixture(autouse=True)
def there_is_a_gpu():
  if jax.default_backend() != 'gpu':
    pytest.skip('needs a GPU and MAXENT_LM_TEST_PLATFORM=cuda,cpu')


def on(platform, function):
  """What it computes there, all products in whole float32."""
  with jax.default_device(jax.devices(platform)[0]), jax.default_matmul_precision('highest'):
    return jax.device_get(function())


def grouped(lm):
  return GroupScorer(lm, chunk=24, group_size=G, max_new_tokens=R)


def batch(seed=0):
  """Rows of four groups: tokens and the mask of responses of 1 to R tokens, one column over."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, 37, (4 * G, P + R + 1))
  tokens[:, :P] = np.repeat(tokens[::G, :P], G, axis=0)
  lengths = rng.integers(1, R + 1, len(tokens))
  columns = np.arange(P + R + 1) - P
  return tokens.astype(np.int32), (columns >= 0) & (columns < lengths[:, None])


def scored(lm, scorer, params):
  """Scores of the responses, and the gradient of a sum in which every token has its weight."""
  tokens, mask = batch()
  weight = np.random.default_rng(1).standard_normal(mask.shape).astype(np.float32) * mask

  def of(params):
    scores = scorer(params, jnp.asarray(tokens), jnp.asarray(mask))
    terms = (scores.logp, scores.value, scores.entropy)
    return sum(jnp.sum(term * weight) for term in terms), [term * mask for term in terms]

  gradient, terms = jax.jit(jax.grad(of, has_aux=True))(params)
  return {'scores': terms, 'gradient': gradient}


def distance(left, right):
  """||left - right|| / ||right|| over all leaves."""
  pairs = list(zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))
  apart = sum(np.sum((np.asarray(a, float) - np.asarray(b, float)) ** 2) for a, b in pairs)
  return (apart / sum(np.sum(np.asarray(b, float) ** 2) for _, b in pairs)) ** 0.5


@pytest.mark.parametrize('in_groups', [False, True])
def test_scores_and_gradients_are_those_of_the_cpu(in_groups):
  lm = LM(tiny())
  whole = make_scorer(lm, chunk=24)

  def found():
    return scored(lm, grouped(lm) if in_groups else whole, roughened(lm.init(0)))

  there, here = on('cuda', found), on('cpu', found)
  assert distance(there['scores'], here['scores']) < 1e-5
  assert distance(there['gradient'], here['gradient']) < 1e-5


@pytest.mark.parametrize('temperature', [0.0, 1.0])
@pytest.mark.parametrize('slots', [0, 3])
def test_samples_are_those_of_the_cpu(temperature, slots):
  lm = LM(tiny())
  generate = make_generate(
    lm,
    sampling=Sampling(temperature=temperature),
    group_size=G,
    max_new_tokens=40,
    eos_id=1,
    slots=slots,
  )

  def rollout():
    prompts = random_tokens(3, 6)
    valid = jnp.ones_like(prompts, bool)
    return generate(roughened(lm.init(0), scale=0.1), prompts, valid, jax.random.key(2))

  there, here = on('cuda', rollout), on('cpu', rollout)
  np.testing.assert_array_equal(there.tokens, here.tokens)
  np.testing.assert_allclose(there.logp, here.logp, atol=1e-4)
  assert temperature == 0 or len(set(here.length.tolist())) > 1


@pytest.mark.parametrize('attention', ['xla', 'cudnn'])
@pytest.mark.parametrize(
  ('queries', 'keys', 'masked', 'is_causal'),
  [(16, 16, False, True), (15, 15, False, True), (16, 16, True, True), (15, 15, True, True)]
  + [(8, 40, True, False), (7, 17, True, False)],
)
def test_mixing_in_bfloat16_is_that_of_float32(attention, queries, keys, masked, is_causal):
  """Values, and gradients of queries, keys and values."""
  rng = np.random.default_rng(0)
  shapes = ((2, queries, 4, 64), (2, keys, 2, 64), (2, keys, 2, 64))
  arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
  mask = rng.random((2, 1, queries, keys)) < 0.5
  mask[..., 0] = True

  def of(config):
    def total(*arrays):
      seen = jnp.asarray(mask) if masked else None
      mixed = mix(config, *arrays, mask=seen, is_causal=is_causal).astype(jnp.float32)
      return jnp.sum(mixed * jnp.sin(jnp.arange(64.0))[None, None, None]), mixed

    given = [jnp.asarray(each, config.dtype) for each in arrays]
    return jax.device_get(jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*given))

  exact = on('cuda', lambda: of(tiny()))
  gradients, mixed = of(tiny(**NARROW, attention=attention))
  assert distance(mixed, exact[1]) < 0.01
  assert distance(gradients, exact[0]) < 0.02


@pytest.mark.parametrize('in_groups', [False, True])
def test_models_by_cudnn_are_as_exact_as_by_xla(in_groups):
  def found(**changes):
    lm = LM(tiny(**{**NARROW, **changes}))
    whole = make_scorer(lm, chunk=24)
    params = roughened(lm.init(0), scale=0.05)
    return jax.device_get(scored(lm, grouped(lm) if in_groups else whole, params))

  exact = on('cuda', functools.partial(found, dtype='float32'))
  xla, cudnn = found(), found(attention='cudnn')
  for part in ('scores', 'gradient'):
    error = distance(xla[part], exact[part])
    assert 1e-5 < error < 0.1
    assert distance(cudnn[part], exact[part]) < ROUNDING * error


def test_a_rollout_by_cudnn_scores_as_whole_rows_do():
  """Prompts by cuDNN, decoding by XLA: the policy that sampled is the policy that learns."""
  lm = LM(tiny(**NARROW, attention='cudnn'))
  params = roughened(lm.init(0), scale=0.05)
  prompts = random_tokens(4, P)
  generate = make_generate(
    lm, sampling=Sampling(temperature=1.0), group_size=G, max_new_tokens=R, eos_id=-1
  )
  rollout = generate(params, prompts, jnp.ones_like(prompts, bool), jax.random.key(0))
  tokens = jnp.concatenate([jnp.repeat(prompts, G, axis=0), rollout.tokens], axis=1)
  tokens = jnp.pad(tokens, ((0, 0), (0, 1)))
  mask = jnp.zeros(tokens.shape, bool).at[:, P:-1].set(True)
  scores = grouped(lm)(params, tokens, mask)
  np.testing.assert_allclose(scores.logp[:, P:-1], rollout.logp, atol=0.05)
