"""Guidance: a base policy and what is known of values make another policy, token by token.

    log pi(a|s) = log base(a|s) + gain(s, a) - log of the sum over a

The gain comes from a value of some kind, and is exact, that is pi is the soft-optimal policy, if
the value is: see each function. It may be added to the base policy's most likely actions only.

Shapes: B rows, V vocabulary, K atoms. Gains are in nats, values in reward units, kappa in reward
units per nat.
"""

import jax
import jax.numpy as jnp

from maxent_lm.types import Array

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
    least = jax.lax.top_k(log_base, candidates)[0][..., -1:]
    chosen = log_base >= least
    lowest = jnp.min(jnp.where(chosen, gain, jnp.inf), axis=-1, keepdims=True)
    rest = {'kept': 0.0, 'lowest': lowest, 'dropped': -jnp.inf}[tail]
    gain = jnp.where(chosen, gain, rest)
  return jax.nn.log_softmax(log_base + gain)


def exponential_gain(atom_logp: Array, atoms: Array, kappa: Array) -> Array:
  """log E[exp(R / kappa)] from [B, V, K] log-probabilities of the return: [B, V].

  Exact over the reference with kappa = beta, alpha = 0, for the return of the reference's own
  completions [Zhou et al. 2025, Q-sharp]. The published code's eta is 1 / kappa.
  """
  atoms = jnp.asarray(atoms).reshape((1,) * (atom_logp.ndim - 1) + (-1,))
  return jax.nn.logsumexp(atom_logp + atoms / kappa, axis=-1)


def bernoulli_gain(logit: Array, kappa: Array) -> Array:
  """log(1 + e^(1/kappa + l)) - log(1 + e^l): `exponential_gain` of a reward of 0 or 1."""
  return jnp.logaddexp(0, logit + 1 / kappa) - jnp.logaddexp(0, logit)


def mean_gain(value: Array, kappa: Array) -> Array:
  """E[R] / kappa: controlled decoding [Mudgal et al. 2024]. Never exact but for certain returns."""
  return value / kappa


def advantage_gain(q: Array, value: Array, beta: Array) -> Array:
  """beta (Q(s, a) - V(s)), [B, V] and [B]: ILQL's steering [Snell et al. 2023].

  Exact over the prior rho if Q and V are the soft ones and beta = 1 / kappa; ILQL's own, expectiles
  of the data's values, are not. V changes nothing but the scale of the gains.
  """
  return beta * (q - value[..., None])
