"""Entropies of a policy, in nats. Shapes: B sequences, T tokens, A actions.

Functions of logits take [..., A] to [...], at least in float32; an action with logit -inf is
forbidden: it has probability 0 and no gradient. Those that keep a part of the actions renormalise
the probabilities over it, and take no gradient through the choice of the part. `MEASURES` lists
those that `Scores.measure` can hold.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.types import Array


def token_entropy(logits: Array) -> Array:
  """H(softmax(logits)) over the last axis, [..., A] to [...], exact, at least float32.

  Actions with logit -inf count as p log p = 0, in value and gradient.
  """
  logits = _wide(logits)
  logp = jax.nn.log_softmax(logits, axis=-1)
  return -jnp.sum(jnp.exp(logp) * jnp.where(jnp.isneginf(logp), 0, logp), axis=-1)


def tempered_entropy(logits: Array, *, temperature: float) -> Array:
  """H(softmax(logits / temperature)), the entropy at a temperature other than the policy's own.

  Below 1 its gradient stays away from tokens that are unlikely already.
  [Gao et al. 2025, one-shot entropy minimisation]

  Raises:
    ValueError: temperature is not above 0.
  """
  if temperature <= 0:
    raise ValueError(f'temperature is {temperature}; it must be above 0')
  return token_entropy(_wide(logits) / temperature)


def nucleus_entropy(logits: Array, *, p: float) -> Array:
  """Entropy of the nucleus: the fewest most likely actions whose probability reaches p.

  The action that crosses p is in, so the nucleus is never empty and holds at least p; p = 1 is the
  whole entropy. Which of several equally likely actions are in changes the gradient only.

  Raises:
    ValueError: p is not in (0, 1].
  """
  ranked, reached = _ranked('nucleus_entropy', logits, p)
  before = jnp.pad(reached[..., :-1], ((0, 0),) * (ranked.ndim - 1) + ((1, 0),))
  return token_entropy(jnp.where(before < p, ranked, -jnp.inf))


def inner_nucleus_entropy(logits: Array, *, p: float) -> Array:
  """The same without the action that crosses p: actions whose probabilities sum to less than p.

  0 wherever one action alone reaches p, which is a jump: at p = 0.8 a state with probabilities
  (.79, .21) has entropy 0, and so has (.81, .19). For comparison with SIREN [Jiang et al. 2025];
  `nucleus_entropy` is the sound definition.

  Raises:
    ValueError: p is not in (0, 1].
  """
  ranked, reached = _ranked('inner_nucleus_entropy', logits, p)
  inside = reached < p
  inner = token_entropy(jnp.where(inside.at[..., 0].set(True), ranked, -jnp.inf))
  return jnp.where(inside[..., 0], inner, 0)


def top_k_entropy(logits: Array, *, k: int) -> Array:
  """Entropy of the k most likely actions; of all of them where there are no more than k.

  Raises:
    ValueError: k is below 1.
  """
  if k < 1:
    raise ValueError(f'k is {k}; it must be at least 1 action')
  return token_entropy(jax.lax.top_k(_wide(logits), min(k, logits.shape[-1]))[0])


def clamped_entropy(logits: Array, *, share: float) -> Array:
  """Entropy without the floor(share A) least likely actions. [Shen 2025, AEnt]

  Raises:
    ValueError: share is not in [0, 1).
  """
  if not 0 <= share < 1:
    raise ValueError(f'share is {share}; it must be in [0, 1)')
  count = logits.shape[-1]
  return top_k_entropy(logits, k=count - int(share * count))


def self_certainty(logits: Array) -> Array:
  """LSE(logits) - mean(logits) = KL(U || p) + log A, with U uniform over the actions, nats.

  Large where the policy is certain; log A where it knows nothing. Over the actions that are not
  forbidden, A being their number. [Kang et al. 2025; Zhao et al. 2025, Intuitor]
  """
  logits = _wide(logits)
  allowed = ~jnp.isneginf(logits)
  mean = jnp.sum(jnp.where(allowed, logits, 0), axis=-1) / jnp.sum(allowed, axis=-1)
  return jax.nn.logsumexp(logits, axis=-1) - mean


def surprisal(logp: Array) -> Array:
  """-log pi(a|s), any shape: for a ~ pi an unbiased estimate of H(pi(.|s)).

  The value only: its gradient is 0 in expectation, and under data of another policy it is the
  cross-entropy. This is what systems measure that keep log-probabilities and no logits.
  """
  return -logp


def sequence_entropy(logp: Array, mask: Array) -> Array:
  """[B] -sum_t log pi(a_t|s_t): for rows sampled from pi, an unbiased estimate of H(pi(y|x)).

  The value only: its gradient is 0 in expectation, since the samples came from pi too.
  """
  return -masked.masked_sum(logp, mask, axis=1)


def _wide(logits: Array) -> Array:
  return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _ranked(name: str, logits: Array, p: float) -> tuple[Array, Array]:
  """Logits from the largest on, and the probability of each action with all before it."""
  if not 0 < p <= 1:
    raise ValueError(f'{name}: p is {p}; it must be in (0, 1]')
  ranked = jnp.sort(_wide(logits), axis=-1, descending=True)
  reached = jnp.cumsum(jax.lax.stop_gradient(jax.nn.softmax(ranked, axis=-1)), axis=-1)
  return ranked, reached


MEASURES: Mapping[str, Callable[..., Array]] = {
  'clamped': clamped_entropy,
  'inner_nucleus': inner_nucleus_entropy,
  'nucleus': nucleus_entropy,
  'self_certainty': self_certainty,
  'tempered': tempered_entropy,
  'top_k': top_k_entropy,
}
