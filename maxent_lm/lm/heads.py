"""Networks beside the policy: value head, twin model, ILQL heads, atoms of the return.

Each is a pair (init, score) over the policy's parameters. A `trunk` says which hidden states a head
reads: 'shared' (its gradient trains the policy's layers too), 'stopped' (it does not), 'own' (a
copy of the policy's layers that is trained with the head).

Shapes: B rows, T tokens, D width, F head width, V vocabulary, K atoms, C tokens in a chunk.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.lm.network import Network
from maxent_lm.lm.scores import before, in_chunks, next_token_logits, score_logits
from maxent_lm.types import Array, Critic, Params, Scores

TRUNKS = ('shared', 'stopped', 'own')


class CriticNet(NamedTuple):
  """`init(policy params, seed) -> params`; `score(params, policy params, tokens) -> Critic`.

  Like a Scorer's, columns are about the action there and the state before it; column 0 is 0.
  """

  init: Callable[[Params, int], Params]
  score: Callable[[Params, Params, Array], Critic]


def value_head(lm: Network, *, chunk: int, trunk: str, width: int) -> CriticNet:
  """V(s_t), reward units: a two-layer head on the state before each token; it starts at 0."""
  del chunk

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 1])
    return with_trunk(params, trunk, {'value': init_readout(rng, lm.config.d_model, width, 1)})

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, trunk, critic, params, tokens)[:, :-1]
    return Critic(value=before(read_out(critic['value'], hidden)[..., 0]))

  return CriticNet(init, score)


def twin(lm: Network, *, chunk: int, count: int, noise: float) -> CriticNet:
  """`count` further language models q_i, seen like policies, and E_pi[min_i q_i], exact.

  They start as the policy with every weight matrix perturbed by `noise` times its own root mean
  square, since equal twins would stay equal. `expected` has a gradient in the policy only.
  """

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 2])

    def perturb(leaf: Array) -> Array:
      host = leaf.astype(np.float32)
      change = noise * (host**2).mean() ** 0.5 * rng.standard_normal(host.shape)
      return jnp.asarray(host + (change if host.ndim > 1 else 0), leaf.dtype)

    return {str(i): jax.tree.map(perturb, params) for i in range(count)}

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    networks = [params, *(critic[name] for name in sorted(critic))]
    hidden = jnp.stack([lm.hidden(each, tokens)[:, :-1] for each in networks], axis=2)
    heads = [lm.head(each) for each in networks]

    def both(hidden: Array, tokens: Array) -> tuple[tuple[Scores, ...], Array]:
      policy, *energy = (next_token_logits(hidden[:, i], head) for i, head in enumerate(heads))
      smallest = jax.lax.stop_gradient(functools.reduce(jnp.minimum, energy))
      expected = jnp.sum(jax.nn.softmax(policy) * smallest, axis=-1)
      return tuple(score_logits(logits, tokens) for logits in energy), expected

    q, expected = jax.tree.map(before, in_chunks(both, hidden, tokens[:, 1:], chunk=chunk))
    return Critic(q=q, expected=expected)

  return CriticNet(init, score)


def ilql_heads(lm: Network, *, chunk: int, trunk: str, width: int) -> CriticNet:
  """Two Q heads over the vocabulary and a value head, all in reward units."""

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 3])
    d, vocabulary = lm.config.d_model, lm.config.vocab_size
    outputs = {'q1': vocabulary, 'q2': vocabulary, 'value': 1}
    heads = {name: init_readout(rng, d, width, count) for name, count in outputs.items()}
    return with_trunk(params, trunk, heads)

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, trunk, critic, params, tokens)[:, :-1]

    def read(hidden: Array, tokens: Array) -> tuple[Scores, ...]:
      return tuple(score_logits(read_out(critic[name], hidden), tokens) for name in ('q1', 'q2'))

    q = in_chunks(read, hidden, tokens[:, 1:], chunk=chunk)
    value = read_out(critic['value'], hidden)[..., 0]
    return Critic(value=before(value), q=jax.tree.map(before, q))

  return CriticNet(init, score)


def atom_head(lm: Network, *, chunk: int, trunk: str, width: int, count: int) -> CriticNet:
  """Probabilities of `count` = K returns for every action: V K numbers a state, K kept a token."""

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 4])
    outputs = lm.config.vocab_size * count
    return with_trunk(
      params, trunk, {'atoms': init_readout(rng, lm.config.d_model, width, outputs)}
    )

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, trunk, critic, params, tokens)[:, :-1]

    def read(hidden: Array, tokens: Array) -> Array:
      taken = jax.nn.one_hot(tokens, lm.config.vocab_size)
      return jnp.einsum('cv,cvk->ck', taken, atom_logp(critic['atoms'], hidden, count))

    return Critic(atoms=before(in_chunks(read, hidden, tokens[:, 1:], chunk=chunk)))

  return CriticNet(init, score)


def outcome_head(lm: Network, *, chunk: int, trunk: str, width: int, count: int) -> CriticNet:
  """Probabilities of `count` = K returns after each token was read: K numbers a token.

  What `atom_head` says of an action before it is read, this says afterwards: a better informed
  classifier, that guidance has to read ahead for (`sampling.guidance.guided_by_values`).
  """
  del chunk

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 5])
    readout = init_readout(rng, lm.config.d_model, width, count)
    return with_trunk(params, trunk, {'outcome': readout})

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, trunk, critic, params, tokens)[:, 1:]
    return Critic(atoms=before(outcome_logp(critic, hidden)))

  return CriticNet(init, score)


def outcome_logp(critic: Params, hidden: Array) -> Array:
  """[..., D] -> [..., K] log-probabilities of the K returns of what was read."""
  return jax.nn.log_softmax(read_out(critic['outcome'], hidden))


def atom_logp(readout: Params, hidden: Array, count: int) -> Array:
  """[..., D] -> [..., V, K] log-probabilities of the K returns of every action."""
  flat = read_out(readout, hidden)
  return jax.nn.log_softmax(flat.reshape(*flat.shape[:-1], -1, count))


def read_out(readout: Params, hidden: Array) -> Array:
  """relu(hidden up + bias) down + bias: [..., D] -> [..., outputs], in float32."""
  hidden = hidden.astype(jnp.float32)
  up = jnp.einsum('...d,df->...f', hidden, readout['up'])
  inner = jax.nn.relu(up + readout['up_bias'].reshape((1,) * (up.ndim - 1) + (-1,)))
  out = jnp.einsum('...f,fn->...n', inner, readout['down'])
  return out + readout['down_bias'].reshape((1,) * (out.ndim - 1) + (-1,))


CRITICS: Mapping[str, Callable[..., CriticNet]] = {
  'value': value_head,
  'twin': twin,
  'ilql': ilql_heads,
  'atoms': atom_head,
  'outcome': outcome_head,
}


def init_readout(rng: np.random.Generator, d: int, width: int, outputs: int) -> Params:
  """Random first layer, zero last layer: every head starts at 0, and no two are alike."""
  up = rng.standard_normal((d, width)) / math.sqrt(d)
  zeros = {'up_bias': (width,), 'down': (width, outputs), 'down_bias': (outputs,)}
  leaves = {'up': up, **{name: np.zeros(shape) for name, shape in zeros.items()}}
  return {name: jnp.asarray(leaf, jnp.float32) for name, leaf in leaves.items()}


def with_trunk(params: Params, trunk: str, heads: dict[str, Params]) -> Params:
  """The heads, with a copy of the policy's parameters where the trunk is their own."""
  if trunk not in TRUNKS:
    raise ValueError(f'critic: unknown trunk {trunk!r}; choose one of {", ".join(TRUNKS)}')
  return heads | {'trunk': jax.tree.map(jnp.copy, params)} if trunk == 'own' else heads


def trunk_hidden(lm: Network, trunk: str, critic: Params, params: Params, tokens: Array) -> Array:
  """[B, T, D] hidden states of the trunk that the head reads."""
  hidden = lm.hidden(critic['trunk'] if trunk == 'own' else params, tokens)
  return jax.lax.stop_gradient(hidden) if trunk == 'stopped' else hidden
