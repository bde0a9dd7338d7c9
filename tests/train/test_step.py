"""One update: what it changes, what it leaves alone, and that the mesh does not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxent_lm import data, temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.lm import partition
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.scores import make_scorer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import TRANSFORMS, chain
from maxent_lm.train.state import init_state
from maxent_lm.train.step import UNITS, Parts, make_update, periodic, polyak

LM_ = LM(
  LMConfig(
    vocab_size=16,
    d_model=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    d_ff=24,
    max_length=32,
    tied=False,
  )
)


def make_parts(algorithm='soft_q', optimizer=None, target_update=None, beta=None):
  sections = {
    'soft_q': {'lam': 0.9, 'gradient': 'semi', 'value': 'lse'},
    'vargrad': {},
    'grpo': {'clip_low': 0.2, 'clip_high': 0.2, 'clip_dual': 1e9, 'kl': 'k3'},
  }
  return Parts(
    scorer=make_scorer(LM_, chunk=24),
    loss=functools.partial(LOSSES[algorithm], **sections[algorithm]),
    transform=chain(functools.partial(TRANSFORMS['group_normalised'], eps=1e-4, ddof=1)),
    reduction=REDUCTIONS['sequence_sum'],
    optimizer=optimizer or optax.sgd(0.1),
    alpha=temperature.fixed(0.05),
    beta=beta or temperature.fixed(0.1),
    target_update=target_update,
  )


def make_batch(sharding=None, rows=16):
  rng = np.random.default_rng(0)
  responses = [rng.integers(2, 16, size=rng.integers(1, 6)).tolist() for _ in range(rows)]
  sequences = data.Sequences(
    prompts=[rng.integers(2, 16, size=3).tolist() for _ in range(rows)],
    responses=responses,
    logp=[rng.normal(-2.0, 0.1, size=len(response)) for response in responses],
    reward=rng.uniform(size=rows),
    group=np.arange(rows) // 4,
    cluster=np.zeros(rows),
    bootstrap=np.zeros(rows, bool),
  )
  return data.make_batch(sequences, columns=10, sharding=sharding)


def make_state(parts, params):
  return init_state(
    jax.tree.map(jnp.copy, params),
    optimizer=parts.optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=parts.target_update is not None,
    seed=0,
  )


@pytest.fixture(scope='module')
def params():
  """Three times the initial ones: at those all entropies are equal but for rounding."""
  return jax.tree.map(lambda leaf: 3 * leaf, LM_.init(0))


def assert_close(left, right, **tolerance):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


@pytest.mark.parametrize('algorithm', ['soft_q', 'vargrad', 'grpo'])
def test_eight_devices_take_the_step_of_one(params, algorithm):
  parts = make_parts(algorithm)  # SGD: Adam's first step would turn rounding into signs
  reference = jax.tree.map(lambda x: x * 1.1, params)
  alone, seen = make_update(parts)(make_state(parts, params), reference, make_batch())
  mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
  spread = jax.device_put((params, reference), partition.param_shardings((params, reference), mesh))
  state = make_state(parts, spread[0])
  state = jax.device_put(state, partition.param_shardings(state, mesh))
  with jax.set_mesh(mesh):
    batch = make_batch(partition.batch_sharding(mesh))
    together, also_seen = make_update(parts)(state, spread[1], batch)
  assert_close(also_seen, seen, rtol=2e-4, atol=1e-6)
  assert_close(together.params, alone.params, rtol=1e-5, atol=2e-6)
  assert len(together.params['layers']['mlp']['up'].sharding.device_set) == 8


PULLING = GroupScorer(LM_, chunk=24, group_size=1, max_new_tokens=5, cells=4, microbatch=12)


def row_by_row(parts, scorer=PULLING):
  """The same parts, which take the gradient in one pass."""
  return parts._replace(scorer=scorer, pull=scorer.pull)


@pytest.mark.parametrize('algorithm', ['soft_q', 'grpo'])
@pytest.mark.parametrize('reduction', ['token_mean', 'sequence_mean', 'present_sum'])
def test_one_pass_takes_the_step_of_two(params, algorithm, reduction):
  """Masked rows, a moving target, temperatures of tokens and units that depend on them."""
  batch = make_batch()
  factors = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2, batch.mask.shape), jnp.float32)
  parts = make_parts(algorithm, target_update=polyak(rate=0.5))._replace(
    reduction=REDUCTIONS[reduction],
    units=UNITS['nats'],
    transform=lambda batch, views: TRANSFORMS['group_normalised'](
      batch, views, eps=1e-4, ddof=1
    )._replace(alpha=factors, weight=factors),
  )
  batch = batch._replace(mask=batch.mask & (jnp.arange(16) != 3)[:, None])
  reference = jax.tree.map(lambda x: x * 1.1, params)
  two, seen = make_update(parts)(make_state(parts, params), reference, batch)
  one, also_seen = make_update(row_by_row(parts))(make_state(parts, params), reference, batch)
  assert_close(also_seen, seen, rtol=2e-4, atol=1e-6)
  assert_close(one.params, two.params, rtol=1e-5, atol=2e-6)
  assert_close(one.target, two.target, rtol=1e-5, atol=2e-6)
  assert np.abs(one.params['head'] - params['head']).max() > 1e-6


def test_eight_devices_take_the_one_pass_of_one(params):
  parts = row_by_row(make_parts('soft_q'))
  alone, _ = make_update(parts)(make_state(parts, params), params, make_batch())
  mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
  spread = jax.device_put(params, partition.param_shardings(params, mesh))
  state = make_state(parts, spread)
  state = jax.device_put(state, partition.param_shardings(state, mesh))
  with jax.set_mesh(mesh):
    batch = make_batch(partition.batch_sharding(mesh))
    together, _ = make_update(parts)(state, spread, batch)
  assert_close(together.params, alone.params, rtol=1e-5, atol=2e-6)


def test_a_poisoned_batch_changes_nothing_but_the_step(params):
  parts = make_parts(
    optimizer=optax.adam(1e-2),
    target_update=polyak(rate=0.5),
    beta=temperature.dual_kl(0.1, target=0.0, learning_rate=1.0, low=0.01, high=1.0),
  )
  update = make_update(parts)
  state, _ = update(make_state(parts, params), params, make_batch())
  before = jax.device_get((state.params, state.target, state.opt_state, state.alpha, state.beta))
  batch = make_batch()
  poisoned = batch._replace(reward=batch.reward.at[3].set(jnp.nan))
  state, metrics = update(state, params, poisoned)
  after = (state.params, state.target, state.opt_state, state.alpha, state.beta)
  jax.tree.map(np.testing.assert_array_equal, before, after)
  assert metrics['skipped'] == 1
  assert state.step == 2
  state, metrics = update(state, params, make_batch())
  assert metrics['skipped'] == 0
  assert (state.params['head'] != before[0]['head']).any()


def test_the_target_lags_by_its_rule(params):
  for rule in (polyak(rate=0.25), periodic(period=2)):
    parts = make_parts(target_update=rule)
    update = make_update(parts)
    first, _ = update(make_state(parts, params), params, make_batch())
    one = jax.device_get((first.params, first.target))
    second, _ = update(first, params, make_batch())
    if rule.__qualname__.startswith('polyak'):
      lagged = jax.tree.map(lambda p, t: 0.25 * p + 0.75 * t, second.params, one[1])
      assert_close(second.target, lagged, rtol=1e-6, atol=1e-8)
    else:
      assert_close(one[1], params, rtol=0)
      assert_close(second.target, second.params, rtol=0)


def test_a_learned_beta_rises_while_the_kl_is_above_its_target(params):
  reference = jax.tree.map(lambda x: x + 0.05, params)
  values = {}
  for target in (-100.0, 100.0):
    beta = temperature.dual_kl(0.1, target=target, learning_rate=1e-3, low=0.01, high=1.0)
    parts = make_parts(beta=beta)
    state, metrics = make_update(parts)(make_state(parts, params), reference, make_batch())
    assert metrics['beta'] == np.float32(0.1)  # the value that this step was taken with
    values[target] = float(state.beta.value)
  assert values[-100.0] > 0.1 > values[100.0]


def test_the_observed_kl_is_the_mean_log_ratio_of_responses(params):
  reference = jax.tree.map(lambda x: x * 1.2, params)
  parts, batch = make_parts(), make_batch()
  scores = [make_scorer(LM_, chunk=24)(p, batch.tokens).logp for p in (params, reference)]
  expected = np.where(batch.mask, scores[0] - scores[1], 0).sum(axis=1).mean()
  _, metrics = make_update(parts)(make_state(parts, params), reference, batch)
  np.testing.assert_allclose(metrics['kl'], expected, rtol=1e-5)


def test_confidence_correlates_with_reward_over_rows(params):
  parts, batch = make_parts(), make_batch()
  entropy = make_scorer(LM_, chunk=24)(params, batch.tokens).entropy
  mask = np.asarray(batch.mask)
  rows = [-np.asarray(line)[at].mean() for line, at in zip(entropy, mask, strict=True)]
  returns = np.where(mask, batch.reward, 0).sum(axis=1)
  update = make_update(parts)
  _, metrics = update(make_state(parts, params), params, batch)
  expected = np.corrcoef(returns, rows)[0, 1]
  np.testing.assert_allclose(metrics['corr_reward_confidence'], expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(metrics['length'], mask.sum(axis=1).mean(), rtol=1e-6)
  _, metrics = update(make_state(parts, params), params, batch._replace(reward=0 * batch.reward))
  assert metrics['corr_reward_confidence'] == 0
  keep = jnp.arange(16) > 3  # rows without a response do not count
  fewer = batch._replace(mask=batch.mask & keep[:, None])
  _, metrics = update(make_state(parts, params), params, fewer)
  expected = np.corrcoef(returns[4:], rows[4:])[0, 1]
  np.testing.assert_allclose(metrics['corr_reward_confidence'], expected, rtol=1e-4, atol=1e-5)


def test_token_weights_scale_the_loss(params):
  parts, batch = make_parts(), make_batch()
  _, once = make_update(parts)(make_state(parts, params), params, batch)
  _, twice = make_update(parts)(
    make_state(parts, params), params, batch._replace(weight=2 * batch.weight)
  )
  np.testing.assert_allclose(twice['loss'], 2 * once['loss'], rtol=1e-6)


def test_nats_divide_the_loss_by_the_squared_temperature(params):
  parts = make_parts('vargrad')  # kappa .05 + .1
  _, plain = make_update(parts)(make_state(parts, params), params, make_batch())
  parts = parts._replace(units=UNITS['nats'])
  _, scaled = make_update(parts)(make_state(parts, params), params, make_batch())
  np.testing.assert_allclose(scaled['loss'], plain['loss'] / 0.15**2, rtol=1e-5)
  np.testing.assert_allclose(scaled['grad_norm'], plain['grad_norm'] / 0.15**2, rtol=1e-4)


def test_semantic_entropy_is_observed(params):
  """Groups of four with one class, with two pairs, and without any class: 0, log 2 and 0 nats."""
  batch = make_batch(rows=12)
  cluster = jnp.asarray([0, 0, 0, 0, 1, 0, 0, 1, -1, -1, -1, -1], jnp.int32)
  parts = make_parts()
  _, metrics = make_update(parts)(
    make_state(parts, params), params, batch._replace(cluster=cluster)
  )
  assert metrics['semantic_entropy'] == pytest.approx(np.log(2) / 3, rel=1e-6)
