"""Guidance: a base policy and what is known of values make another policy, token by token.

    log pi(a|s) = log base(a|s) + gain(s, a) - log of the sum over a

The gain comes from a value of some kind, and is exact, that is pi is the soft-optimal policy, if
the value is: see each function. It may be added to the base policy's most likely actions only.

`guide` and the gains are arithmetic; `guided`, `guided_by_values` and `steered` make of them
policies to decode from (`generate.make_sampler`).

Shapes: B rows, V vocabulary, K atoms, D width. Gains are in nats, values in reward units, kappa in
reward units per nat.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from maxent_lm.lm import heads
from maxent_lm.sampling import streams
from maxent_lm.sampling.streams import Memory, Stream
from maxent_lm.types import Array, Params

Gain = Callable[[Array], Array]  # log-probabilities of returns [..., K] -> gains [...]

TAILS = ('kept', 'lowest', 'dropped')


def guide(log_base: Array, gain: Array, *, candidates: int, tail: str) -> Array:
  """[B, V] log-probabilities of the guided policy.

  `candidates` > 0 adds the gain to that many of the base policy's most likely actions only, which
  saves value computations but is exact for no tail: 'kept' leaves the others' logits as they are (a
  gain of 0, the worst there is if rewards are not negative), 'lowest' gives them the smallest gain
  of a candidate, 'dropped' probability 0. With `candidates` = 0 every action has its gain.

  Raises:
    ValueError: an unknown tail or a negative number of candidates.
  """
  if tail not in TAILS or candidates < 0:
    raise ValueError(
      f'guide: needs candidates >= 0 and a tail of {", ".join(TAILS)}; '
      f'got candidates={candidates}, tail={tail!r}'
    )
  if 0 < candidates < log_base.shape[-1]:
    likely = jax.lax.top_k(log_base, candidates)[1]
    chosen = jnp.put_along_axis(jnp.zeros(log_base.shape, bool), likely, True, -1, inplace=False)
    lowest = jnp.min(jnp.where(chosen, gain, jnp.inf), axis=-1, keepdims=True)
    rest = {'kept': 0.0, 'lowest': lowest, 'dropped': -jnp.inf}[tail]
    gain = jnp.where(chosen, gain, rest)
  return jax.nn.log_softmax(log_base + gain)


def exponential_gain(atom_logp: Array, atoms: Array, kappa: Array | float) -> Array:
  """log E[exp(R / kappa)] from [..., K] log-probabilities of the return: [B, V] from [B, V, K].

  Exact over the reference with kappa = beta, alpha = 0, for the return of the reference's own
  completions [Zhou et al. 2025, Q-sharp]. The published code's eta is 1 / kappa.
  """
  atoms = jnp.asarray(atoms).reshape((1,) * (atom_logp.ndim - 1) + (-1,))
  return jax.nn.logsumexp(atom_logp + atoms / kappa, axis=-1)


def bernoulli_gain(logit: Array, kappa: Array | float) -> Array:
  """log(1 + e^(1/kappa + l)) - log(1 + e^l): `exponential_gain` of a reward of 0 or 1."""
  return jnp.logaddexp(0, logit + 1 / kappa) - jnp.logaddexp(0, logit)


def mean_gain(value: Array, kappa: Array | float) -> Array:
  """E[R] / kappa: controlled decoding [Mudgal et al. 2024]. Never exact but for certain returns."""
  return value / kappa


def advantage_gain(q: Array, value: Array, beta: Array | float) -> Array:
  """beta (Q(s, a) - V(s)), [B, V] and [B]: ILQL's steering [Snell et al. 2023].

  Exact over the prior rho if Q and V are the soft ones and beta = 1 / kappa; ILQL's own, expectiles
  of the data's values, are not. V changes nothing but the scale of the gains.
  """
  return beta * (q - value[..., None])


def q_sharp(*, low: float, high: float, kappa: float) -> Gain:
  """`exponential_gain` of log-probabilities of returns evenly spaced from `low` to `high`.

  With K = 2, low = 0, high = 1 it is `bernoulli_gain` of the logit between the two.
  """
  return lambda logp: exponential_gain(logp, jnp.linspace(low, high, logp.shape[-1]), kappa)


def controlled(*, low: float, high: float, kappa: float) -> Gain:
  """`mean_gain` of the same: controlled decoding by the classifier of Q-sharp."""
  return lambda logp: mean_gain(expected(logp, low=low, high=high), kappa)


def expected(logp: Array, *, low: float, high: float) -> Array:
  """E[R] of log-probabilities [..., K] of returns evenly spaced from `low` to `high`: [...]."""
  atoms = jnp.linspace(low, high, logp.shape[-1])
  return jnp.einsum('...k,k->...', jnp.exp(logp), atoms)


def ilql(critic: Params, hidden: Array, *, beta: float) -> Array:
  """`advantage_gain` of ILQL's heads, beta (min Q - V): [..., V] of hidden states [..., D]."""
  q = jnp.minimum(heads.read_out(critic['q1'], hidden), heads.read_out(critic['q2'], hidden))
  return advantage_gain(q, heads.read_out(critic['value'], hidden)[..., 0], beta)


def guided(base: Stream, gains: Stream, *, candidates: int, tail: str) -> Stream:
  """`guide` of the logits [B, V] of `base` by the gains [B, V] of another stream.

  The gains of a head with its own trunk are `streams.of_model` of the trunk; a head on the policy's
  trunk is better read in one stream with the logits.
  """

  def logits(said: tuple[Array, Array]) -> Array:
    return guide(jax.nn.log_softmax(said[0]), said[1], candidates=candidates, tail=tail)

  return streams.mapped(streams.together(base, gains), logits)


def guided_by_values(
  base: Stream, value: Stream, gain: Callable[[Array], Array], *, candidates: int, tail: str
) -> Stream:
  """`guide` by a value of states: every candidate is read ahead, and `gain` taken of what is said.

  `value` says [B, ...] of the response so far, the reward of its last token included; `gain` turns
  C of these into [C]: `q_sharp` of a classifier's log-probabilities. A token costs as many steps of
  the value's model as there are candidates, V with candidates = 0.
  """

  def ahead(said: tuple[Array, Array], memory: Memory) -> Array:
    log_base = jax.nn.log_softmax(said[0])
    count = candidates or log_base.shape[-1]
    tokens = jax.lax.top_k(log_base, count)[1]
    after, _ = value.decode(tokens.reshape(-1), streams.repeat(streams.ahead(memory), count))
    found = gain(after).reshape(tokens.shape)
    gains = jnp.put_along_axis(jnp.zeros_like(log_base), tokens, found, -1, inplace=False)
    return guide(log_base, gains, candidates=candidates, tail=tail)

  both = streams.together(base, value)

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Array, Memory]:
    said, memory = both.prefill(prompts, valid, slots)
    return ahead(said, memory[1]), memory

  def decode(token: Array, memory: Memory) -> tuple[Array, Memory]:
    said, memory = both.decode(token, memory)
    return ahead(said, memory[1]), memory

  return Stream(prefill, decode)


def backed_up(base: Stream, gains: Stream, *, candidates: int, eos_id: int) -> Stream:
  """A value one token further ahead, log sum_a base(a|s) exp(gain of the response with a): [B].

  `gains` says [B] nats of the response so far, log E[exp(R / kappa)]; of exact ones this is the
  Bellman equation and changes nothing, of a classifier that sees not far enough it is the same
  classifier, asked later. The sum is over the `candidates` likeliest tokens, 0 for all; a response
  that has ended keeps its own gain.
  """
  both = streams.together(base, gains)

  def value(said: tuple[Array, Array], memory: Memory, ended: Array) -> Array:
    log_base, now = jax.nn.log_softmax(said[0]), said[1]
    logp, tokens = jax.lax.top_k(log_base, candidates or log_base.shape[-1])
    count = tokens.shape[1]
    after, _ = gains.decode(tokens.reshape(-1), streams.repeat(streams.ahead(memory[1]), count))
    return jnp.where(ended, now, jax.nn.logsumexp(logp + after.reshape(tokens.shape), axis=-1))

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Array, Memory]:
    said, memory = both.prefill(prompts, valid, slots)
    ended = jnp.zeros(len(prompts), bool)
    return value(said, memory, ended), (memory, ended)

  def decode(token: Array, memory: Memory) -> tuple[Array, Memory]:
    memory, ended = memory
    said, memory = both.decode(token, memory)
    ended |= token == eos_id
    return value(said, memory, ended), (memory, ended)

  return Stream(prefill, decode)


def steered(base: Stream, soft: Stream, *, strength: float) -> Stream:
  """Guidance by the advantage of a soft-Q policy, strength (log pi - log base): [B, V].

  (log pi - log rho) = (Q - V) / kappa: with `strength` 1 over the policy's own prior it is pi, with
  another it is what pi would be if Q were the same at kappa / strength.
  """

  def logits(said: tuple[Array, Array]) -> Array:
    log_base, log_pi = map(jax.nn.log_softmax, said)
    return guide(log_base, strength * (log_pi - log_base), candidates=0, tail='kept')

  return streams.mapped(streams.together(base, soft), logits)
