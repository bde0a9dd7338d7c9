"""Hidden states -> Scores, a part of the vocabulary at a time, with a backward pass of its own.

The head is read once for many tokens, forwards and backwards, and its gradient written once: of few
tokens at a time with all of their logits, these would take longer than the products where the
vocabulary is large. Backwards, logits are computed again; what is kept are two numbers a token.

Shapes: C tokens, D width, V vocabulary in N shares of devices, W columns of a share in a block.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm import partition
from maxent_lm.types import Array, Scores


class Sums(NamedTuple):
  """Over the columns seen so far, [C, N]: max q, sum e^(q - max), sum q e^(q - max), q chosen."""

  largest: Array
  total: Array
  weighted: Array
  chosen: Array

  def rescaled(self, largest: Array) -> 'Sums':
    """Against another, no smaller, maximum."""
    factor = jnp.exp(self.largest - largest)
    return Sums(largest, self.total * factor, self.weighted * factor, self.chosen)


class Block(NamedTuple):
  """W columns of every share.

  Attributes:
    begin: the first of them.
    weights: [D, N, W] of the head, in the dtype of the hidden states.
    fresh: [1, 1, W] False where the block before had the column, too.
    chosen: [C, N, W] where the column is the token's.
  """

  begin: Array
  weights: Array
  fresh: Array
  chosen: Array

  def logits(self, hidden: Array) -> Array:
    """[C, N, W], float32."""
    return jnp.einsum('cd,dnw->cnw', hidden, self.weights, preferred_element_type=jnp.float32)


def logit_gradient(logp: Array, chosen: Array, entropy: Array, gradient: Scores) -> Array:
  """[C, ...] of the logits, given log pi and where the token is [C, ...], and that of Scores [C].

  With e(v) = 1 for the token: d logit = e, d value = pi, d logp = e - pi, and
  d entropy = -pi (log pi + entropy).
  """
  of_value = gradient.value - gradient.logp - gradient.entropy * entropy
  of_chosen = gradient.logp + gradient.logit
  tail = tuple(range(1, logp.ndim))
  of_value, of_entropy, of_chosen = (
    jnp.expand_dims(each, tail) for each in (of_value, gradient.entropy, of_chosen)
  )
  return jnp.exp(logp) * (of_value - of_entropy * logp) + jnp.where(chosen, of_chosen, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def score(hidden: Array, head: Array, tokens: Array, most: int) -> Scores:
  """Scores [C] of tokens [C] under hidden [C, D] @ head [D, V]: `scores.score_logits` of them.

  At most `most` logits exist at a time, forwards or backwards, but one for each token and share.
  Sums are float32, and so are the gradients of logits.
  """
  return _score(hidden, head, tokens, most)


def _score(hidden: Array, head: Array, tokens: Array, most: int) -> Scores:
  head = _in_shares(head)
  size = _width(head, len(tokens), most)
  zeros = jnp.zeros((len(tokens), head.shape[1]), jnp.float32)

  def step(number: Array, sums: Sums) -> Sums:
    block = _block(hidden, head, tokens, number, size)
    logits = block.logits(hidden)
    seen = jnp.where(block.fresh, logits, -jnp.inf)
    sums = sums.rescaled(jnp.maximum(sums.largest, jnp.max(seen, axis=2)))
    part = jnp.exp(seen - sums.largest[:, :, None])
    return Sums(
      sums.largest,
      sums.total + jnp.sum(part, axis=2),
      sums.weighted + jnp.sum(part * logits, axis=2),
      sums.chosen + jnp.sum(jnp.where(block.chosen, logits, 0), axis=2),
    )

  nothing = Sums(zeros - jnp.inf, zeros, zeros, zeros)
  sums = jax.lax.fori_loop(0, _count(head, size), step, nothing)
  largest = jnp.max(sums.largest, axis=1)
  sums = Sums(*(jnp.sum(each, axis=1) for each in sums.rescaled(largest[:, None])))
  value, logit = largest + jnp.log(sums.total), sums.chosen
  return Scores(logit - value, logit, value, entropy=value - sums.weighted / sums.total)


def _forward(
  hidden: Array, head: Array, tokens: Array, most: int
) -> tuple[Scores, tuple[Array, ...]]:
  scores = _score(hidden, head, tokens, most)
  return scores, (hidden, head, tokens, scores.value, scores.entropy)


def _backward(most: int, kept: tuple[Array, ...], gradient: Scores) -> tuple[Array, Array, None]:
  hidden, whole, tokens, value, entropy = kept
  head = _in_shares(whole)
  size = _width(head, len(tokens), most)

  def step(number: Array, grads: tuple[Array, Array]) -> tuple[Array, Array]:
    of_hidden, of_head = grads
    block = _block(hidden, head, tokens, number, size)
    logp = block.logits(hidden) - value[:, None, None]
    of_logits = logit_gradient(logp, block.chosen, entropy, gradient)
    of_logits = jnp.where(block.fresh, of_logits, 0)
    of_hidden += jnp.einsum('cnw,dnw->ncd', of_logits, block.weights)
    of_block = jnp.einsum('cd,cnw->dnw', hidden, of_logits)
    of_block += jax.lax.dynamic_slice_in_dim(of_head, block.begin, size, axis=2)
    return of_hidden, jax.lax.dynamic_update_slice_in_dim(of_head, of_block, block.begin, axis=2)

  nothing = jnp.zeros((head.shape[1], *hidden.shape)), jnp.zeros(head.shape)
  of_hidden, of_head = jax.lax.fori_loop(0, _count(head, size), step, nothing)
  of_head = of_head.reshape(whole.shape).astype(whole.dtype)
  return jnp.sum(of_hidden, axis=0).astype(hidden.dtype), of_head, None


score.defvjp(_forward, _backward)


def _in_shares(head: Array) -> Array:
  """[D, V] -> [D, N, V / N]: whatever is cut from the last axis, every device has a part of it."""
  depth, vocabulary = head.shape
  split = head.reshape(depth, partition.shares('vocab', vocabulary), -1)
  return partition.constrain(split, None, 'vocab', None)


def _width(head: Array, tokens: int, most: int) -> int:
  """W, so that blocks of at most `most` logits are about equally wide."""
  _, shares, columns = head.shape
  widest = max(1, most // (tokens * shares))
  return -(-columns // -(-columns // widest))


def _count(head: Array, width: int) -> int:
  return -(-head.shape[2] // width)


def _block(hidden: Array, head: Array, tokens: Array, number: Array, width: int) -> Block:
  """Block `number`; the last one begins early enough to be of full width."""
  _, shares, columns = head.shape
  first = number * width
  begin = jnp.minimum(first, columns - width)
  column = begin + jnp.arange(width)
  fresh = (column >= first)[None, None, :]
  token = jnp.arange(shares)[:, None] * columns + column[None, :]
  weights = jax.lax.dynamic_slice_in_dim(head, begin, width, axis=2).astype(hidden.dtype)
  return Block(begin, weights, fresh, fresh & (token[None] == tokens[:, None, None]))
