"""How logits become the distribution that is sampled from.

Shapes: B rows, V vocabulary. These knobs change the behaviour only: the policy that the objectives
speak of is always softmax(logits). The behaviour's log-probability is what a rollout records.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from maxent_lm.types import Array


class Behaviour(Protocol):
  """What is sampled from, given a policy's logits."""

  def log_probs(self, logits: Array) -> Array:
    """[B, V] -> [B, V] log-probabilities; -inf for tokens that are never drawn."""
    ...


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Temperature, then top-k, then top-p (nucleus) [Holtzman et al. 2020].

  Attributes:
    temperature: divides the logits; 0 is greedy.
    top_k: keep the k largest logits; 0 keeps all.
    top_p: keep the smallest set of tokens whose mass reaches p; 1 keeps all. Anything below full
      support leaves actions that no objective constrains: it is a choice, not a speed-up.
  """

  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0

  def __post_init__(self) -> None:
    if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
      raise ValueError(
        f'sampling needs temperature >= 0, top_k >= 0 and 0 < top_p <= 1, but got {self}'
      )

  def log_probs(self, logits: Array) -> Array:
    """[B, V] log-probabilities of the behaviour; -inf for tokens that are never drawn."""
    if self.temperature == 0:
      greedy = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=bool)
      return jnp.where(greedy, 0.0, -jnp.inf)
    logits = logits / self.temperature
    if 0 < self.top_k < logits.shape[-1]:
      kth = jax.lax.top_k(logits, self.top_k)[0][:, -1:]
      logits = jnp.where(logits >= kth, logits, -jnp.inf)
    if self.top_p < 1:
      logits = jnp.where(self._nucleus(logits), logits, -jnp.inf)
    return jax.nn.log_softmax(logits)

  def _nucleus(self, logits: Array) -> Array:
    """[B, V] bool: tokens before which, in order of probability, less than top_p has been seen."""
    order = jnp.argsort(-logits, axis=-1)
    probs = jnp.take_along_axis(jax.nn.softmax(logits), order, axis=-1)
    kept = jnp.cumsum(probs, axis=-1) - probs < self.top_p
    return jnp.take_along_axis(kept, jnp.argsort(order, axis=-1), axis=-1)


@dataclasses.dataclass(frozen=True)
class Wandering:
  """The policy, but `share` of the time one of `tokens`, each as likely: to try what it would not.

  Off-policy objectives learn from such rows as they do from the policy's own.
  """

  share: float
  tokens: tuple[int, ...]

  def __post_init__(self) -> None:
    if not 0 <= self.share < 1 or not self.tokens or len(set(self.tokens)) < len(self.tokens):
      raise ValueError(
        f'wandering needs 0 <= share < 1 and different tokens to try, but got {self}'
      )

  def log_probs(self, logits: Array) -> Array:
    """[B, V] log((1 - share) softmax(logits) + share / #tokens on the tokens)."""
    tried = jnp.zeros(logits.shape[-1]).at[jnp.array(self.tokens)].set(1 / len(self.tokens))
    return jnp.log((1 - self.share) * jax.nn.softmax(logits) + self.share * tried[None, :])


def draw(log_probs: Array, uniform: Array) -> Array:
  """Inverse-CDF sampling: [B] tokens from [B, V] log-probabilities and [B] numbers in [0, 1).

  One random number a row; drawing Gumbel noise for the whole vocabulary costs more than a decoding
  step of a small model. A block of about sqrt(V) tokens is picked first and then a token of it, for
  running sums over a whole vocabulary are slow. Tokens of probability zero are never drawn.
  """
  rows, tokens = log_probs.shape
  size = 2 ** (tokens.bit_length() // 2)
  probs = jnp.pad(jnp.exp(log_probs), ((0, 0), (0, -tokens % size)))
  blocks = probs.reshape(rows, -1, size)
  masses = jnp.sum(blocks, axis=-1)
  block, left = _pick(masses, uniform * jnp.sum(masses, axis=-1))
  token, _ = _pick(blocks[jnp.arange(rows), block], left)
  return (block * size + token).astype(jnp.int32)


def _pick(weights: Array, aim: Array) -> tuple[Array, Array]:
  """The first entry [B] of [B, N] where the running sum exceeds `aim` [B], and the rest of `aim`.

  The rest is what the entries before leave of it. Where rounding has made `aim` too large
  it is the last entry there is; entries of weight zero are never picked.
  """
  # A parallel float32 sum is not quite monotone: look only where there is weight.
  ends = jnp.where(weights > 0, jnp.cumsum(weights, axis=-1), 0)
  last = ends == jnp.max(ends, axis=-1, keepdims=True)
  entry = jnp.argmax((ends > aim[:, None]) | last, axis=-1)
  before = jnp.take_along_axis(ends - weights, entry[:, None], axis=-1)[:, 0]
  return entry, jnp.maximum(aim - before, 0)
