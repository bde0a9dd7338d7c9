"""Hidden states -> Scores, few tokens or part of the vocabulary at a time: never logits [B, T, V].

Shapes: B rows, T tokens, D width, V vocabulary, C tokens in a chunk.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from maxent_lm.lm import blocks, partition
from maxent_lm.lm.network import Network
from maxent_lm.types import Array, Params, Scorer, Scores

Measure = Callable[[Array], Array]
Divergence = Callable[[Params, Params, Array], Array]


def next_token_logits(hidden: Array, head: Array) -> Array:
  """hidden @ head: [B, D] and [D, V] -> [B, V], summed in float32 even if `hidden` is bfloat16."""
  head = head.astype(hidden.dtype)
  return jnp.einsum('bd,dv->bv', hidden, head, preferred_element_type=jnp.float32)


@jax.custom_vjp
def score_logits(logits: Array, tokens: Array) -> Scores:
  """Scores [C] of tokens [C] under float32 logits q [C, V]; entropy = LSE(q) - E_pi[q].

  Backwards, probabilities are computed again from the logits, in one pass with their gradient.
  """
  return _score(logits, tokens)


def _score(logits: Array, tokens: Array) -> Scores:
  value = jax.nn.logsumexp(logits, axis=-1)
  logit = jnp.sum(jnp.where(_chosen(logits, tokens), logits, 0), axis=-1)
  probability = jnp.exp(logits - value[:, None])
  entropy = value - jnp.sum(probability * logits, axis=-1)
  return Scores(logp=logit - value, logit=logit, value=value, entropy=entropy)


def _forward(logits: Array, tokens: Array) -> tuple[Scores, tuple[Array, Array, Scores]]:
  scores = _score(logits, tokens)
  return scores, (logits, tokens, scores)


def _backward(kept: tuple[Array, Array, Scores], gradient: Scores) -> tuple[Array, None]:
  logits, tokens, scores = kept
  logp = logits - scores.value[:, None]
  return blocks.logit_gradient(logp, _chosen(logits, tokens), scores.entropy, gradient), None


def _chosen(logits: Array, tokens: Array) -> Array:
  """[C, V]. A mask rather than an index: it stays local when the vocabulary is sharded."""
  return jnp.arange(logits.shape[1])[None, :] == tokens[:, None]


score_logits.defvjp(_forward, _backward)


def kl_logits(logits: Array, reference: Array) -> Array:
  """KL(softmax(logits) || softmax(reference)), exact, both [C, V], to [C], nats."""
  logp, log_ref = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)
  return jnp.sum(jnp.exp(logp) * (logp - log_ref), axis=-1)


def score_hidden(
  hidden: Array, head: Array, tokens: Array, *, chunk: int, measure: Measure | None = None
) -> Scores:
  """Scores of every token under the state before it.

  No more than [chunk, V] logits exist at once, in the backward pass too: of all tokens if they are
  so few, and kept for it; otherwise a part of the vocabulary for many tokens (`blocks.score`), or,
  where `measure` has to see whole rows, all of it for a few.

  Args:
    hidden: [B, T, D], column t is the hidden state BEFORE tokens[:, t].
    head: [D, V].
    tokens: [B, T] int32.
    chunk: largest number of tokens whose logits could be held at once; raises ValueError below 1.
    measure: float32 logits [C, V] -> [C], fills `Scores.measure`; None leaves it empty.

  Returns:
    Scores [B, T], float32.
  """

  def whole(hidden: Array, tokens: Array) -> Scores:
    logits = next_token_logits(hidden, head)
    scores = score_logits(logits, tokens)
    return scores if measure is None else scores._replace(measure=measure(logits))

  _check(chunk)
  rows, columns = tokens.shape
  if measure is not None or rows * columns <= chunk:
    return in_chunks(whole, hidden, tokens, chunk=chunk)
  shares, most = partition.shares('batch', rows), chunk * head.shape[1]
  # About as many tokens as columns: fewer of one would read the other more often.
  together = max(chunk, shares * math.isqrt(most // shares))

  def in_blocks(hidden: Array, tokens: Array) -> Scores:
    return blocks.score(hidden, head, tokens, most)

  return in_pieces(in_blocks, hidden, tokens, most=together)


def in_chunks(function: Callable[..., Any], *arrays: Array, chunk: int) -> Any:
  """`in_pieces` of at most `chunk` tokens.

  What `function` computes in between exists for one piece only: where there are several, it is
  computed again in the backward pass. Raises ValueError for chunk < 1.
  """
  _check(chunk)
  several = math.prod(arrays[0].shape[:2]) > chunk
  return in_pieces(jax.checkpoint(function) if several else function, *arrays, most=chunk)


def in_pieces(function: Callable[..., Any], *arrays: Array, most: int) -> Any:
  """`function` of [C, ...] pieces of [B, T, ...] arrays, at most so many tokens at a time.

  Its results, a pytree of [C, ...], come back as [B, T, ...]. Where devices share the rows, each
  has as many tokens of every piece, its own, and C may be larger than `most` by one for each.
  """
  rows, columns = arrays[0].shape[:2]
  shares = partition.shares('batch', rows)
  count = rows * columns // shares  # tokens of a device
  loops = max(1, -(-rows * columns // most))
  width = -(-count // loops)
  extra = loops * width - count

  def split(values: Array) -> Array:
    flat = values.reshape(shares, count, *values.shape[2:])
    flat = jnp.pad(flat, ((0, 0), (0, extra)) + ((0, 0),) * (flat.ndim - 2))
    pieces = jnp.moveaxis(flat.reshape(shares, loops, width, *flat.shape[2:]), 1, 0)
    rest = (None,) * (values.ndim - 2)
    return partition.constrain(pieces.reshape(loops, -1, *flat.shape[2:]), None, 'batch', *rest)

  def join(values: Array) -> Array:
    rest = values.shape[2:]
    flat = jnp.moveaxis(values.reshape(loops, shares, width, *rest), 0, 1)
    return flat.reshape(shares, -1, *rest)[:, :count].reshape(rows, columns, *rest)

  pieces = tuple(split(values) for values in arrays)
  if loops == 1:
    return jax.tree.map(lambda values: join(values[None]), function(*(each[0] for each in pieces)))
  return jax.tree.map(join, jax.lax.map(lambda piece: function(*piece), pieces))


def _check(chunk: int) -> None:
  if chunk < 1:
    raise ValueError(f'chunk is {chunk}; it must be at least 1 token')


def before(values: Array) -> Array:
  """[B, T - 1, ...] of the states after columns 0 ... T - 2, put where they are the state before.

  Column t of the result is the entry of column t - 1; column 0 has no state before it and is 0.
  """
  return jnp.pad(values, ((0, 0), (1, 0)) + ((0, 0),) * (values.ndim - 2))


def make_scorer(lm: Network, *, chunk: int, measure: Measure | None = None) -> Scorer:
  """A Scorer: (params, tokens [B, T]) -> Scores [B, T], for rows padded on the right.

  `measure` is a function of float32 logits, [C, V] -> [C], for `Scores.measure`: one of
  `soft.entropy.MEASURES`, or any other.

  Column t is scored from the hidden state of column t - 1, so `value` in the column right after a
  cut response is LSE of the state at the cut. Column 0 has no state before it: it is 0 in all
  arrays and has no gradient. What stands in padded columns is finite but means nothing.
  """

  def score(params: Params, tokens: Array, mask: Array | None = None) -> Scores:
    del mask  # whole rows are scored
    hidden = lm.hidden(params, tokens)[:, :-1]
    head = lm.head(params)
    scores = score_hidden(hidden, head, tokens[:, 1:], chunk=chunk, measure=measure)
    return jax.tree.map(before, scores)

  return score


def make_divergence(lm: Network, *, chunk: int) -> Divergence:
  """(params, reference params, tokens [B, T]) -> [B, T] KL(pi(.|s_t) || ref(.|s_t)), exact, nats.

  Gradients flow into the first parameters only. At most 2 `chunk` rows of logits exist at once.
  Columns are those of `make_scorer`: column t is about the state before tokens[:, t], 0 at t = 0.
  """

  def divergence(params: Params, reference: Params, tokens: Array) -> Array:
    reference = jax.lax.stop_gradient(reference)
    heads = lm.head(params), lm.head(reference)
    states = lm.hidden(params, tokens)[:, :-1], lm.hidden(reference, tokens)[:, :-1]

    def kl(*hidden: Array) -> Array:
      return kl_logits(*map(next_token_logits, hidden, heads))

    return before(in_chunks(kl, *states, chunk=chunk))

  return divergence
