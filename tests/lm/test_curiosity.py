"""Networks of intrinsic motivation: what stays, what learns, and which state a column is about."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.algorithms.curiosity import AUXILIARY
from maxent_lm.lm.curiosity import CURIOSITY, merged, random_readout
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CRITICS, read_out
from maxent_lm.lm.scores import make_scorer
from maxent_lm.types import Batch, Temperature, Views

LM_ = LM(tiny(tied=False))
D = LM_.config.d_model
TOKENS = random_tokens(3, 6)
OPTIONS = {
  'rnd': {'width': 64, 'outputs': 4, 'seed': 3},
  'ensemble': {'trunk': 'stopped', 'width': 64, 'count': 4, 'prior': 1.0, 'seed': 3},
}
FIELD = {'rnd': 'novelty', 'ensemble': 'ensemble'}
LOSS = {
  'rnd': AUXILIARY['distillation'],
  'ensemble': functools.partial(AUXILIARY['ensemble_regression'], keep=1.0, seed=0),
}


def network(kind, **changes):
  return CURIOSITY[kind](LM_, **{**OPTIONS[kind], **changes})


@pytest.fixture(scope='module')
def params():
  return roughened(LM_.init(0))


def field(kind, critic, params, tokens=TOKENS, **changes):
  return getattr(network(kind, **changes).score(critic, params, tokens), FIELD[kind])


def test_novelty_is_of_the_state_after_the_column_and_an_ensemble_of_that_before(params):
  """Changing the token of column 4 changes the novelty from there on, values one later."""
  other = TOKENS.at[:, 4].add(1)
  for kind, first in (('rnd', 4), ('ensemble', 5)):
    critic = roughened(network(kind).init(params, 0))
    seen, changed = (field(kind, critic, params, tokens) for tokens in (TOKENS, other))
    np.testing.assert_array_equal(seen[:, :first], changed[:, :first])
    assert (jnp.abs(seen - changed)[:, first] > 1e-6).all()
  assert not np.asarray(seen[:, 0]).any()  # there is no state before column 0


def test_novelty_is_the_squared_distance_to_the_target(params):
  critic = roughened(network('rnd').init(params, 0))
  target = random_readout(np.random.default_rng([3, 5]), D, 64, 4)
  hidden = LM_.hidden(params, TOKENS)
  difference = read_out(critic['predictor'], hidden) - read_out(target, hidden)
  expected = np.mean(np.square(difference), axis=-1)
  np.testing.assert_allclose(field('rnd', critic, params), expected, rtol=1e-5)


def test_heads_start_apart_by_their_prior(params):
  critic = network('ensemble').init(params, 0)
  spread = field('ensemble', critic, params, count=4).std(axis=-1)[:, 1:]
  assert spread.min() > 0.1
  half = field('ensemble', critic, params, prior=0.5).std(axis=-1)[:, 1:]
  np.testing.assert_allclose(half, 0.5 * spread, rtol=1e-5)
  assert not field('ensemble', critic, params, prior=0.0).any()


@pytest.mark.parametrize('kind', CURIOSITY)
def test_nothing_random_is_a_parameter(kind, params):
  """Heavy weight decay cannot move the target: it is not in the tree, and not drawn anew."""
  critic = network(kind).init(params, 0)
  assert set(critic) == {{'rnd': 'predictor', 'ensemble': 'ensemble'}[kind]}
  zero = jax.tree.map(jnp.zeros_like, critic)
  before = field(kind, zero, params)
  optimizer = optax.adamw(0.1, weight_decay=1.0)
  state = optimizer.init(zero)
  for _ in range(3):
    updates, state = optimizer.update(zero, state, zero)
    zero = optax.apply_updates(zero, updates)
  np.testing.assert_array_equal(field(kind, zero, params), before)
  assert (field(kind, zero, params, seed=4) != before)[:, 1:].all()


@pytest.mark.parametrize(
  ('kind', 'changes', 'moves'),
  [('rnd', {}, False), ('ensemble', {}, False), ('ensemble', {'trunk': 'shared'}, True)],
)
def test_only_a_shared_trunk_trains_the_policy(kind, changes, moves, params):
  critic = roughened(network(kind, **changes).init(params, 0))

  def total(critic, params):
    return jnp.sum(field(kind, critic, params, **changes) ** 2)

  to_critic, to_policy = jax.grad(total, argnums=(0, 1))(critic, params)
  assert bool(np.asarray(to_policy['embedding']).any()) == moves
  assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(to_critic))


def batch_of(tokens, mask, reward):
  shape = tokens.shape
  zeros = jnp.zeros(shape)
  return Batch(
    tokens=tokens,
    mask=mask,
    logp=zeros,
    reward=reward,
    weight=zeros,
    advantage=zeros,
    group=jnp.arange(shape[0]),
    cluster=jnp.zeros(shape[0], jnp.int32),
    bootstrap=jnp.zeros(shape[0], bool),
  )


def learned(kind, params, tokens, steps=150):
  """The network's parameters after some steps on these rows, rewards of 1 at the end."""
  net = network(kind)
  mask = jnp.zeros(tokens.shape, bool).at[:, 2:].set(True)
  batch = batch_of(tokens, mask, jnp.zeros(tokens.shape).at[:, -1].set(1.0))
  policy = make_scorer(LM_, chunk=64)(params, tokens)
  optimizer = optax.adam(3e-2)

  def loss(critic):
    views = Views(policy, critic=net.score(critic, params, tokens))
    values, _ = LOSS[kind](views, batch, Temperature(jnp.ones(()), jnp.ones(())))
    return jnp.sum(values) / jnp.sum(mask)

  def step(carry, _):
    critic, state = carry
    updates, state = optimizer.update(jax.grad(loss)(critic), state)
    return (optax.apply_updates(critic, updates), state), None

  critic = net.init(params, 0)
  return jax.lax.scan(step, (critic, optimizer.init(critic)), None, length=steps)[0][0]


@pytest.mark.parametrize('kind', CURIOSITY)
def test_what_is_seen_often_becomes_known_and_what_is_new_stays_new(kind, params):
  seen, new = random_tokens(4, 6, seed=1), random_tokens(12, 6, seed=2)
  critic = jax.jit(learned, static_argnums=0)(kind, params, seen)

  def unknown(critic, tokens):
    found = field(kind, critic, params, tokens)
    found = found if kind == 'rnd' else found.std(axis=-1)
    return float(found[:, 3:].mean())

  start = network(kind).init(params, 0)
  assert unknown(critic, seen) < 0.01 * unknown(start, seen)
  assert unknown(critic, new) > 0.1 * unknown(start, new)


@pytest.mark.parametrize('curious', CURIOSITY)
def test_two_networks_become_one_that_says_both(curious, params):
  value = CRITICS['value'](LM_, chunk=8, trunk='stopped', width=8)
  both = merged({'critic': value, 'curiosity': network(curious)})
  critic = roughened(both.init(params, 0))
  assert set(critic) == {'critic', 'curiosity'}
  seen = both.score(critic, params, TOKENS)
  np.testing.assert_array_equal(seen.value, value.score(critic['critic'], params, TOKENS).value)
  expected = field(curious, critic['curiosity'], params)
  np.testing.assert_array_equal(getattr(seen, FIELD[curious]), expected)
  assert seen.q == () and seen.atoms is None
