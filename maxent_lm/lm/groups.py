"""Scores of groups of responses, a few tokens at a time, and hardly any of them padding.

The same numbers as `scores.make_scorer` on the response columns and the one after them, for less
work. The prompt that a group shares goes through the network once; then the responses, the longest
ones first, with what the network remembers of their prompts. A piece is so many tokens of
responses (`pieces.Piece`); only in attention, and among those of nearly R tokens, does the longest
one set the width of the others. Memory does not depend on B. Other columns are 0.

Shapes: C cells, N prompts, P prompt columns, G rows a prompt, B = N G rows, n = B / C rows of a
cell, R response columns, T = P + R + 1 columns, S rows of a piece in each cell, W <= R columns of a
piece, L layers, D width, K key heads, H head dimension.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.layers import mix
from maxent_lm.lm.pieces import Piece, Rows, merge, take
from maxent_lm.lm.scores import Measure, score_hidden
from maxent_lm.types import Array, OfRows, Params, Pick, Scores

NARROWEST = 32  # columns: narrower pieces save less than they cost to compile


class Memory(NamedTuple):
  """What responses see of prompts: keys and values [L, C, ., P, K, H], last states [C, ., D]."""

  keys: Array
  values: Array
  last: Array

  def of(self, prompt: Array) -> 'Memory':
    """Of the prompts [C, S]; whatever is out of range is one of them."""
    deep = jax.vmap(take, in_axes=(0, None))
    return Memory(deep(self.keys, prompt), deep(self.values, prompt), take(self.last, prompt))

  def add(self, prompt: Array, more: 'Memory') -> 'Memory':
    """`more` added where `of` took it from."""
    add = jax.vmap(lambda values, at, new: values.at[at].add(new, mode='drop'))
    deep = jax.vmap(add, in_axes=(0, None, 0))
    return Memory(
      deep(self.keys, prompt, more.keys),
      deep(self.values, prompt, more.values),
      add(self.last, prompt, more.last),
    )


@dataclasses.dataclass(frozen=True)
class GroupScorer:
  """(params, tokens [B, T], mask [B, T]) -> Scores [B, T] of a batch of `data.make_batch`.

  Rows i G ... i G + G - 1 share a prompt, right-padded like everything, and have at most R response
  tokens; the first True of `mask` says where the prompt ends, the last one where the response does.

  Attributes:
    lm: the model.
    chunk: tokens whose logits exist at a time, see `scores.score_hidden`.
    group_size: G.
    max_new_tokens: R.
    cells: a multiple of the devices that share the rows.
    microbatch: tokens of a cell that go through the network at a time, and again in the backward
      pass; 0 is all of them once, with all columns.
    widths: pieces of a microbatch have at most this many different widths, R, 3R/4, R/2, 3R/8 ...;
      each is compiled, and none narrower than 32 columns.
    measure: fills `Scores.measure`.
  """

  lm: LM
  chunk: int
  group_size: int
  max_new_tokens: int
  cells: int = 1
  microbatch: int = 0
  widths: int = 1
  measure: Measure | None = None

  def __post_init__(self) -> None:
    if self.microbatch < 0 or self.widths < 1:
      raise ValueError(
        f'compute.microbatch={self.microbatch} must not be negative and compute.widths='
        f'{self.widths} must be at least 1'
      )

  def __call__(self, params: Params, tokens: Array, mask: Array) -> Scores:
    """Scores [B, T]. Raises ValueError if the rows are no whole groups in every cell."""
    if self.microbatch:
      return _in_pieces(self, params, tokens, mask)
    rows = self._lay_out(tokens, mask)
    every = jnp.broadcast_to(jnp.arange(rows.start.shape[1])[None, :], rows.start.shape)
    shared = self._read(params, rows).of(every // self.group_size)
    return jax.tree.map(merge, self._score(params, shared, rows, every, self.max_new_tokens))

  def pull(
    self, params: Params, tokens: Array, mask: Array, objective: OfRows
  ) -> tuple[Scores, Params]:
    """(Scores [B, T], gradient) of a sum over rows, each of which goes through the network once.

    `objective(pick, scores)` is what some rows add to the sum, given their scores, and `pick` of
    anything else [B, ...] that belongs to them; where it gives zeros, there is no row. The
    gradient is summed in float32 and has the parameters' dtypes.
    """
    rows = self._lay_out(tokens, mask)
    layers = self.lm.unstacked(params)  # and their gradients: once, not in every piece
    memory, pull_prompts = jax.vjp(lambda layers: self._read(layers, rows), layers)

    def step(width: int, row: Array, state: Any) -> Any:
      (of_params, of_memory), found = state
      prompt = self._prompt(row)

      def piece(params: Params, shared: Memory) -> tuple[Array, Scores]:
        scores = self._score(params, shared, rows, row, width)
        return objective(rows.pick(row), jax.tree.map(merge, scores)), scores

      more, scores = jax.grad(piece, (0, 1), has_aux=True)(layers, memory.of(prompt))
      of_params = jax.tree.map(lambda old, new: old + new, of_params, more[0])
      return (of_params, of_memory.add(prompt, more[1])), _put(found, row, scores)

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), (layers, memory))
    (of_params, of_memory), found = self._each(rows, step, (nothing, self._blank(rows)))
    (of_prompts,) = pull_prompts(jax.tree.map(_as, of_memory, memory))
    gradient = jax.tree.map(lambda x, y, like: _as(x + y, like), of_params, of_prompts, layers)
    return jax.tree.map(merge, found), self.lm.stacked(gradient)

  def scores(self, params: Params, tokens: Array, mask: Array) -> Scores:
    """Scores [B, T], piece by piece, without a gradient."""
    rows = self._lay_out(tokens, mask)
    params = self.lm.unstacked(params)
    memory = self._read(params, rows)

    def step(width: int, row: Array, found: Scores) -> Scores:
      shared = memory.of(self._prompt(row))
      return _put(found, row, self._score(params, shared, rows, row, width))

    return jax.tree.map(merge, self._each(rows, step, self._blank(rows)))

  def _each(self, rows: Rows, step: Callable[[int, Array, Any], Any], state: Any) -> Any:
    """`step(width, row [C, S], state)` of all rows with a response, the longest ones first."""
    cells, count = rows.start.shape
    carry = jnp.full(cells, count), state
    for width, narrower in itertools.pairwise([*self._widths(), 0]):
      carry = self._pieces(rows, width, narrower, functools.partial(step, width), carry)
    return carry[1]

  def _pieces(
    self,
    rows: Rows,
    width: int,
    narrower: int,
    step: Callable[[Array, Any], Any],
    carry: tuple[Array, Any],
  ) -> tuple[Array, Any]:
    """`step(row [C, S], state)` until no row is left, of [C], with more than `narrower` tokens.

    The last piece is filled up with shorter rows.
    """
    count = rows.start.shape[1]
    most = self._most_rows(count, width, narrower)

    def piece(carry: tuple[Array, Any]) -> tuple[Array, Any]:
      row, left = rows.longest(carry[0], rows=most, tokens=self._places(count))
      return left, step(row, carry[1])

    def longer(carry: tuple[Array, Any]) -> Array:
      return jnp.any(carry[0] > rows.shorter(narrower))

    return jax.lax.while_loop(longer, piece, carry)

  def most_pieces(self, count: int, width: int) -> int:
    """How many pieces `count` rows of a cell with `width` tokens are; 1 if all at once."""
    most = max(1, min(count, self.microbatch // width if self.microbatch else count))
    return -(-count // most)

  def least_pieces(self, count: int, tokens: int) -> int:
    """How many pieces `count` rows of a cell with so many tokens in all are, if all are full."""
    return max(1, -(-tokens // self._places(count)))

  def _widest_rows(self, count: int) -> int:
    """How many of `count` rows with R tokens are a piece: all pieces have about the same size."""
    return -(-count // self.most_pieces(count, self.max_new_tokens))

  def _places(self, count: int) -> int:
    """For response tokens in a piece, of a cell of `count` rows."""
    return self._widest_rows(count) * self.max_new_tokens

  def _most_rows(self, count: int, width: int, narrower: int) -> int:
    """S of pieces with responses of at most `width` tokens, some of them more than `narrower`.

    Enough to fill all places, unless attention would have more than twice as many.
    """
    if width == self.max_new_tokens:
      return self._widest_rows(count)
    places = self._places(count)
    return min(count, places // (narrower + 1), 2 * places // width)

  def _widths(self) -> list[int]:
    """R first, then narrower ones."""
    shares = ((4 - i % 2) / 2 ** (i // 2 + 2) for i in range(self.widths))
    widest, *narrower = (math.ceil(self.max_new_tokens * share) for share in shares)
    return [widest] + [each for each in narrower if each >= NARROWEST]

  def _prompt(self, row: Array) -> Array:
    return row // self.group_size  # N / C, which is none, where a row is none

  def _lay_out(self, tokens: Array, mask: Array) -> Rows:
    count, columns = tokens.shape
    if count % (self.group_size * self.cells) or columns < self.max_new_tokens + 2:
      raise ValueError(
        f'a batch of {count} rows and {columns} columns is no {self.cells} cells of groups of '
        f'{self.group_size} rows with a prompt and {self.max_new_tokens} response tokens'
      )
    groups = mask.reshape(-1, self.group_size, columns)
    start = jnp.maximum(jnp.argmax(groups.any(axis=1), axis=1), 1)
    start = jnp.repeat(start, self.group_size).reshape(self.cells, -1)
    mask = mask.reshape(self.cells, -1, columns)
    end = jnp.max(jnp.where(mask, jnp.arange(1, columns + 1)[None, None, :], 0), axis=2)
    length = jnp.maximum(end - start, 0)
    return Rows(tokens.reshape(mask.shape), start, length, jnp.argsort(length, axis=1))

  def _read(self, params: Params, rows: Rows) -> Memory:
    """The network reads the prompts, at most `microbatch` tokens of a cell at a time."""
    prompt = rows.tokens.shape[2] - self.max_new_tokens - 1
    tokens = rows.tokens[:, :: self.group_size, :prompt]
    start = rows.start[:, :: self.group_size]
    cells, count = start.shape
    size = _largest_divisor(count, self.microbatch // prompt if self.microbatch else count)

    def read(of: tuple[Array, Array]) -> Memory:
      tokens, start = of
      attend = functools.partial(_attend_prompts, self.lm.config, prompt)
      positions = jnp.broadcast_to(jnp.arange(prompt), tokens.shape).reshape(cells, -1)
      hidden, kept = self.lm.laid_out(params, tokens.reshape(cells, -1), positions, attend)
      hidden = hidden.reshape(*tokens.shape, -1)
      last = jnp.take_along_axis(hidden, start[:, :, None, None] - 1, axis=2)[:, :, 0]
      split = (kept[0].shape[0], cells, size, prompt, *kept[0].shape[-2:])
      return Memory(*(each.reshape(split) for each in kept), last)

    if not self.microbatch:
      return read((tokens, start))
    tokens, start = (
      jnp.moveaxis(each.reshape(cells, -1, size, *each.shape[2:]), 1, 0) for each in (tokens, start)
    )
    pieces = jax.lax.map(jax.checkpoint(read), (tokens, start))
    keys, values = (
      jnp.moveaxis(each, 0, 2).reshape(each.shape[1], cells, count, *each.shape[4:])
      for each in pieces[:2]
    )
    return Memory(keys, values, jnp.moveaxis(pieces.last, 0, 1).reshape(cells, count, -1))

  def _score(self, params: Params, shared: Memory, rows: Rows, row: Array, width: int) -> Scores:
    """[C, S, T] of `row` [C, S], whose responses have at most `width` tokens."""
    piece = Piece.of(rows, row, width=width, places=self._places(rows.start.shape[1]))
    attend = functools.partial(_attend_responses, self.lm.config, shared, piece)
    hidden, _ = self.lm.laid_out(params, piece.tokens, piece.column, attend)
    states, head = jnp.concatenate([hidden, shared.last], axis=1), self.lm.head(params)
    scores = score_hidden(states, head, piece.following, chunk=self.chunk, measure=self.measure)
    return jax.tree.map(piece.in_columns, scores)

  def _blank(self, rows: Rows) -> Scores:
    zeros = jnp.zeros(rows.tokens.shape, jnp.float32)
    return Scores(zeros, zeros, zeros, zeros, None if self.measure is None else zeros)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _in_pieces(scorer: GroupScorer, params: Params, tokens: Array, mask: Array) -> Scores:
  return scorer.scores(params, tokens, mask)


def _forward(scorer: GroupScorer, *of: Any) -> tuple[Scores, tuple[Params, Array, Array]]:
  return scorer.scores(*of), of


def _backward(
  scorer: GroupScorer, of: tuple[Params, Array, Array], gradient: Scores
) -> tuple[Params, None, None]:
  def product(pick: Pick, scores: Scores) -> Array:
    return sum(jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * pick(y)), scores, gradient)))

  return scorer.pull(*of, product)[1], None, None


_in_pieces.defvjp(_forward, _backward)


def _attend_prompts(
  config: LMConfig,
  prompt: int,
  _: Array | int,
  carry: tuple,
  query: Array,
  key: Array,
  value: Array,
) -> tuple[Array, tuple]:
  """Causal attention of prompts; keys and values are kept."""
  split = (each.reshape(-1, prompt, *each.shape[2:]) for each in (query, key, value))
  mixed = mix(config, *split, is_causal=True)
  return mixed.reshape(query.shape), (carry, (key, value))


def _attend_responses(
  config: LMConfig,
  shared: Memory,
  piece: Piece,
  layer: Array | int,
  carry: tuple,
  query: Array,
  key: Array,
  value: Array,
) -> tuple[Array, tuple]:
  """Attention of responses to themselves and to the columns of their prompts."""
  queries, own, own_values = (piece.in_rows(each) for each in (query, key, value))
  keys = jnp.concatenate([merge(shared.keys[layer]), own], axis=1)
  values = jnp.concatenate([merge(shared.values[layer]), own_values], axis=1)
  count, width, prompt = len(queries), queries.shape[1], shared.keys.shape[3]
  seen = jnp.arange(prompt)[None, None, :] < piece.start.reshape(-1, 1, 1)
  causal = jnp.broadcast_to(jnp.tri(width, dtype=bool)[None], (count, width, width))
  seen = jnp.broadcast_to(seen, (count, width, prompt))
  mask = jnp.concatenate([seen, causal], axis=2)[:, None]
  return piece.in_places(mix(config, queries, keys, values, mask=mask)), (carry, ())


def _put(found: Scores, row: Array, scores: Scores) -> Scores:
  put = jax.vmap(lambda old, at, new: old.at[at].set(new, mode='drop'))
  return jax.tree.map(lambda old, new: put(old, row, new), found, scores)


def _as(values: Array, like: Array) -> Array:
  return values.astype(like.dtype)


def _largest_divisor(count: int, most: int) -> int:
  """The largest divisor of `count` that is at most `most`; 1 if there is none."""
  return max(size for size in range(1, count + 1) if count % size == 0 and size <= max(1, most))
