"""Soft Bellman operators: the log-sum-exp value, the Boltzmann policy, and folding of the prior.

Shapes: B sequences, T tokens, A actions. A trailing [..., A] axis holds one entry per action; the
temperature has the shape of what is left without it, or is a scalar. Q and V are in reward units,
kappa in reward units per nat, log-probabilities and folded logits in nats.
"""

import jax
import jax.numpy as jnp

from maxent_lm.types import Array, Temperature


def log_prior(log_ref: Array, temperature: Temperature) -> Array:
  """log rho = (beta / kappa) log ref, elementwise, NOT renormalised over the actions.

  Renormalising rho in each state would be another objective with another optimum. With beta = 0
  the prior is exactly 0, the count measure, even where the reference forbids an action (-inf).
  alpha, beta and `log_ref` broadcast.
  """
  share = temperature.beta / temperature.kappa
  return share * jnp.where(share == 0, 0, log_ref)


def soft_value(q: Array, kappa: Array, prior: Array) -> Array:
  """V = kappa log sum_a rho(a) exp(Q(a) / kappa): [..., A] to [...], reward units.

  `prior` is log rho in nats, [..., A]. [Ziebart 2010; Haarnoja et al. 2017]
  """
  return kappa * jax.nn.logsumexp(fold(q, kappa, prior), axis=-1)


def boltzmann(q: Array, kappa: Array, prior: Array) -> Array:
  """log pi(a) = log rho(a) + (Q(a) - V) / kappa: [..., A], nats."""
  return jax.nn.log_softmax(fold(q, kappa, prior), axis=-1)


def fold(q: Array, kappa: Array, prior: Array) -> Array:
  """Folded logits Q / kappa + log rho, [..., A]: what a language model's head puts out, in nats."""
  return q / _per_action(kappa) + prior


def unfold(logits: Array, kappa: Array, prior: Array) -> Array:
  """Q = kappa (logits - log rho), [..., A]: the inverse of `fold`, in reward units."""
  return _per_action(kappa) * (logits - prior)


def _per_action(kappa: Array) -> Array:
  """[...] to [..., 1]; a scalar stays one."""
  return jnp.expand_dims(kappa, -1) if jnp.ndim(kappa) else kappa
