"""Hidden states -> Scores, a few tokens at a time: the [B, T, V] array of logits never exists.

Shapes: B rows, T tokens, D width, V vocabulary, C tokens in a chunk.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from maxent_lm.lm import partition
from maxent_lm.lm.network import Network
from maxent_lm.types import Array, Params, Scorer, Scores

Measure = Callable[[Array], Array]
Divergence = Callable[[Params, Params, Array], Array]


def next_token_logits(hidden: Array, head: Array) -> Array:
  """hidden @ head: [B, D] and [D, V] -> [B, V], summed in float32 even if `hidden` is bfloat16."""
  head = head.astype(hidden.dtype)
  return jnp.einsum('bd,dv->bv', hidden, head, preferred_element_type=jnp.float32)


def score_logits(logits: Array, tokens: Array) -> Scores:
  """Scores [C] of tokens [C] under float32 logits q [C, V]; entropy = LSE(q) - E_pi[q]."""
  value = jax.nn.logsumexp(logits, axis=-1)
  # A masked sum rather than a gather: it stays local when the vocabulary is sharded.
  chosen = jnp.arange(logits.shape[1])[None, :] == tokens[:, None]
  logit = jnp.sum(jnp.where(chosen, logits, 0), axis=-1)
  probability = jnp.exp(logits - value[:, None])
  entropy = value - jnp.sum(probability * logits, axis=-1)
  return Scores(logp=logit - value, logit=logit, value=value, entropy=entropy)


def kl_logits(logits: Array, reference: Array) -> Array:
  """KL(softmax(logits) || softmax(reference)), exact, both [C, V], to [C], nats."""
  logp, log_ref = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)
  return jnp.sum(jnp.exp(logp) * (logp - log_ref), axis=-1)


def score_hidden(
  hidden: Array, head: Array, tokens: Array, *, chunk: int, measure: Measure | None = None
) -> Scores:
  """Scores of every token under the state before it.

  At most [chunk, V] logits exist at once, in the backward pass too (several chunks are computed
  again there).

  Args:
    hidden: [B, T, D], column t is the hidden state BEFORE tokens[:, t].
    head: [D, V].
    tokens: [B, T] int32.
    chunk: largest number of tokens whose logits are held at once; raises ValueError below 1.
    measure: float32 logits [C, V] -> [C], fills `Scores.measure`; None leaves it empty.

  Returns:
    Scores [B, T], float32.
  """

  def score(hidden: Array, tokens: Array) -> Scores:
    logits = next_token_logits(hidden, head)
    scores = score_logits(logits, tokens)
    return scores if measure is None else scores._replace(measure=measure(logits))

  return in_chunks(score, hidden, tokens, chunk=chunk)


def in_chunks(function: Callable[..., Any], *arrays: Array, chunk: int) -> Any:
  """`function` of [C, ...] pieces of [B, T, ...] arrays, at most `chunk` tokens at a time.

  Its results, a pytree of [C, ...], come back as [B, T, ...]. What it computes in between exists
  for one piece only: where there are several, it is computed again in the backward pass. Where
  devices share the rows, each has as many tokens of every piece, its own, and C may be larger than
  `chunk` by one for each. Raises ValueError for chunk < 1.
  """
  if chunk < 1:
    raise ValueError(f'chunk is {chunk}; it must be at least 1 token')
  rows, columns = arrays[0].shape[:2]
  shares = partition.row_shares(rows)
  count = rows * columns // shares  # tokens of a device
  loops = max(1, -(-rows * columns // chunk))
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
  return jax.tree.map(join, jax.lax.map(jax.checkpoint(lambda piece: function(*piece)), pieces))


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
