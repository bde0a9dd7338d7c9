"""Entropies of a policy, in nats. Shapes: B sequences, T tokens, A actions."""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.types import Array


def token_entropy(logits: Array) -> Array:
  """H(softmax(logits)) over the last axis, [..., A] to [...], exact, at least float32.

  Actions with logit -inf count as p log p = 0, in value and gradient.
  """
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  logp = jax.nn.log_softmax(logits, axis=-1)
  return -jnp.sum(jnp.exp(logp) * jnp.where(jnp.isneginf(logp), 0, logp), axis=-1)


def sequence_entropy(logp: Array, mask: Array) -> Array:
  """[B] -sum_t log pi(a_t|s_t): for rows sampled from pi, an unbiased estimate of H(pi(y|x)).

  The value only: its gradient is 0 in expectation, since the samples came from pi too.
  """
  return -masked.masked_sum(logp, mask, axis=1)
