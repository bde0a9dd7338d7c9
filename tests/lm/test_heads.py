"""Networks beside the policy: what they say of a batch, and who gets a gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import random_tokens, roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CRITICS, atom_logp, outcome_logp, read_out
from maxent_lm.lm.scores import make_scorer

LM_ = LM(tiny(tied=False))
TOKENS = random_tokens(2, 6)
OPTIONS = {
  'value': {'trunk': 'stopped', 'width': 8},
  'twin': {'count': 2, 'noise': 0.1},
  'ilql': {'trunk': 'shared', 'width': 8},
  'atoms': {'trunk': 'stopped', 'width': 8, 'count': 3},
  'outcome': {'trunk': 'stopped', 'width': 8, 'count': 3},
}


def network(kind, *, chunk=5, **changes):
  return CRITICS[kind](LM_, chunk=chunk, **{**OPTIONS[kind], **changes})


@pytest.fixture(scope='module')
def params():
  return roughened(LM_.init(0))


def trained(net, params):
  """Parameters whose last layers are not zero any more."""
  return roughened(net.init(params, 0), seed=1)


def close(left, right, **tolerance):
  tolerance = tolerance or {'rtol': 1e-5, 'atol': 1e-5}
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


@pytest.mark.parametrize('kind', CRITICS)
def test_the_chunk_changes_nothing(kind, params):
  critic = trained(network(kind), params)

  def total(critic, params, chunk):
    seen = network(kind, chunk=chunk).score(critic, params, TOKENS)
    weights = np.random.default_rng(0)
    parts = [jnp.sum(weights.normal(size=x.shape) * x) for x in jax.tree.leaves(seen)]
    return functools.reduce(jnp.add, parts), seen

  run = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True), static_argnums=2)
  small, large = run(critic, params, 3), run(critic, params, 1000)
  close(small[1], large[1])
  close(small[0], large[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('kind', CRITICS)
def test_columns_are_about_the_state_before_their_token(kind, params):
  """What comes later does not matter, and there is no state before column 0."""
  net = network(kind)
  critic = trained(net, params)
  seen = net.score(critic, params, TOKENS)
  other = net.score(critic, params, TOKENS.at[:, 4:].set(9))
  close(*(jax.tree.map(lambda x: x[:, :4], each) for each in (seen, other)))
  assert not any(np.asarray(leaf[:, 0]).any() for leaf in jax.tree.leaves(seen))


@pytest.mark.parametrize(('kind', 'field'), [('value', 'value'), ('ilql', 'value')])
def test_values_start_at_zero(kind, field, params):
  net = network(kind)
  assert not np.asarray(getattr(net.score(net.init(params, 0), params, TOKENS), field)).any()


def test_atoms_start_alike_and_are_those_of_the_taken_action(params):
  net = network('atoms')
  critic = net.init(params, 0)
  np.testing.assert_allclose(net.score(critic, params, TOKENS).atoms[:, 1:], -np.log(3), rtol=1e-6)
  critic = trained(net, params)
  hidden = LM_.hidden(params, TOKENS)
  table = atom_logp(critic['atoms'], hidden, 3)
  np.testing.assert_allclose(jax.nn.logsumexp(table, axis=-1), 0, atol=1e-5)
  expected = table[np.arange(2)[:, None], np.arange(5)[None, :], TOKENS[:, 1:]]
  close(net.score(critic, params, TOKENS).atoms[:, 1:], expected)


def test_an_outcome_is_judged_after_the_action_was_read(params):
  net = network('outcome')
  critic = trained(net, params)
  expected = outcome_logp(critic, LM_.hidden(params, TOKENS))
  close(net.score(critic, params, TOKENS).atoms[:, 1:], expected[:, 1:])
  other = TOKENS.at[:, 3].add(1)
  changed = net.score(critic, params, other).atoms != net.score(critic, params, TOKENS).atoms
  assert not changed[:, :3].any() and changed[:, 3].any()


def test_twins_are_scored_like_policies_and_differ(params):
  net = network('twin')
  critic = net.init(params, 0)
  seen = net.score(critic, params, TOKENS)
  for name, scores in zip('01', seen.q, strict=True):
    close(scores, make_scorer(LM_, chunk=5)(critic[name], TOKENS))
  assert float(jnp.abs(seen.q[0].logit - seen.q[1].logit).max()) > 1e-3


def test_the_expectation_is_exact_and_trains_the_policy_only(params):
  net = network('twin')
  critic = net.init(params, 0)
  logits = [LM_.logits(critic[name], TOKENS) for name in '01']
  probability = jax.nn.softmax(LM_.logits(params, TOKENS))
  expected = jnp.sum(probability * jnp.minimum(*logits), axis=-1)
  close(net.score(critic, params, TOKENS).expected[:, 1:], expected[:, :-1])

  def total(critic, params):
    return jnp.sum(net.score(critic, params, TOKENS).expected)

  to_critic, to_policy = jax.grad(total, argnums=(0, 1))(critic, params)
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(to_critic))
  assert np.abs(to_policy['head']).max() > 1e-3


def test_ilql_heads_are_what_decoding_reads(params):
  net = network('ilql')
  critic = trained(net, params)
  seen = net.score(critic, params, TOKENS)
  hidden = LM_.hidden(params, TOKENS)[:, :-1]
  for name, scores in zip(('q1', 'q2'), seen.q, strict=True):
    table = read_out(critic[name], hidden)
    expected = jnp.take_along_axis(table, TOKENS[:, 1:, None], axis=-1)[..., 0]
    close(scores.logit[:, 1:], expected)
  close(seen.value[:, 1:], read_out(critic['value'], hidden)[..., 0])


@pytest.mark.parametrize(
  ('trunk', 'moves_policy', 'moves_trunk'),
  [('shared', True, False), ('stopped', False, False), ('own', False, True)],
)
def test_the_trunk_says_whose_layers_are_trained(trunk, moves_policy, moves_trunk, params):
  net = network('value', trunk=trunk)
  critic = trained(net, params)

  def total(critic, params):
    return jnp.sum(net.score(critic, params, TOKENS).value)

  to_critic, to_policy = jax.grad(total, argnums=(0, 1))(critic, params)
  assert bool(np.asarray(to_policy['embedding']).any()) == moves_policy
  assert ('trunk' in critic) == moves_trunk
  if moves_trunk:
    assert np.asarray(to_critic['trunk']['embedding']).any()
  assert np.abs(to_critic['value']['down']).max() > 1e-3


def test_an_unknown_trunk_is_told(params):
  with pytest.raises(ValueError, match="unknown trunk 'mine'; choose one of shared, stopped, own"):
    network('value', trunk='mine').init(params, 0)
