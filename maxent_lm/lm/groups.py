"""Scores of groups of responses: the prompt that a group shares goes through the network once.

The same numbers as `scores.make_scorer` on the response columns and the one after them, for less
work: G rows of prompt and response are one prompt, and G responses that attend to it and to
themselves. Other columns are 0.

Shapes: C cells, N prompts, P prompt columns, G rows a prompt, B = N G rows, R response columns,
T = P + R + 1 columns, M = N / C (P + G R) tokens a cell, D width, K key heads, H head dimension.
"""

import dataclasses

import jax
import jax.numpy as jnp

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import Measure, score_hidden
from maxent_lm.types import Array, Params, Scorer, Scores


def make_group_scorer(
  lm: LM,
  *,
  chunk: int,
  group_size: int,
  max_new_tokens: int,
  cells: int = 1,
  microbatch: int = 0,
  measure: Measure | None = None,
) -> Scorer:
  """(params, tokens [B, T], mask [B, T]) -> Scores [B, T] of a batch of `data.make_batch`.

  Rows i G ... i G + G - 1 share a prompt, right-padded like everything, and have at most R =
  `max_new_tokens` response tokens; the first True of `mask` says where the prompt ends. The tokens
  of a cell, prompts and responses, lie side by side in one row, so that a layer is one matrix
  product; `cells` must be a multiple of the devices that share the rows.

  With `microbatch` > 0 so many groups of a cell go through the network at a time as have at most
  that many tokens, one at least, and again in the backward pass: its memory does not depend on B,
  and on a CPU it is faster, too.

  Raises:
    ValueError: the rows are no whole groups in every cell, or there is no prompt column.
  """

  def part(params: Params, tokens: Array, mask: Array) -> Scores:
    layout = _lay_out(tokens, mask, group_size, max_new_tokens, cells)
    hidden = lm.laid_out(params, layout.tokens, layout.positions, layout.attend)
    states = layout.states(hidden)
    head = lm.head(params)
    scores = score_hidden(states, head, layout.following, chunk=chunk, measure=measure)
    return jax.tree.map(layout.place, scores)

  def score(params: Params, tokens: Array, mask: Array) -> Scores:
    rows, columns = tokens.shape
    _check(rows, columns, group_size, max_new_tokens, cells)
    width = columns - 1 + (group_size - 1) * max_new_tokens
    size = _at_a_time(rows // (group_size * cells), microbatch // width if microbatch else rows)
    loops = rows // (group_size * cells * size)
    if loops == 1:
      return part(params, tokens, mask)

    def split(values: Array) -> Array:
      # Each piece has rows of every cell: what is shared by devices stays shared.
      return jnp.moveaxis(values.reshape(cells, loops, -1, columns), 1, 0).reshape(
        loops, -1, columns
      )

    def join(values: Array) -> Array:
      return jnp.moveaxis(values.reshape(loops, cells, -1, columns), 0, 1).reshape(rows, columns)

    piece = jax.checkpoint(lambda of: part(params, *of))
    return jax.tree.map(join, jax.lax.map(piece, (split(tokens), split(mask))))

  return score


def _at_a_time(groups: int, most: int) -> int:
  """The largest divisor of `groups` that is at most `most`; 1 if there is none."""
  return max(size for size in range(1, groups + 1) if groups % size == 0 and size <= max(1, most))


def _check(rows: int, columns: int, group_size: int, response: int, cells: int) -> None:
  if rows % (group_size * cells) or columns < response + 2:
    raise ValueError(
      f'a batch of {rows} rows and {columns} columns is no {cells} cells of groups of {group_size} '
      f'rows with a prompt and {response} response tokens'
    )


@dataclasses.dataclass(frozen=True)
class _Layout:
  """Where everything is.

  Attributes:
    tokens: [C, M] the prompts of a cell, then its responses.
    positions: [C, M] rotary positions.
    following: [B, R + 1] the response, and a token that means nothing after the cut.
    start: [N] length of each prompt, at least 1.
    prompt: P.
    response: R.
    columns: T.
  """

  tokens: Array
  positions: Array
  following: Array
  start: Array
  prompt: int
  response: int
  columns: int

  @property
  def group_size(self) -> int:
    """G."""
    return self.following.shape[0] // self.start.shape[0]

  def split(self, values: Array) -> tuple[Array, Array]:
    """[C, M, ...] -> prompts [N, P, ...] and responses [B, R, ...]."""
    rest = values.shape[2:]
    middle = self.start.shape[0] // values.shape[0] * self.prompt
    return (
      values[:, :middle].reshape(-1, self.prompt, *rest),
      values[:, middle:].reshape(-1, self.response, *rest),
    )

  def join(self, prompts: Array, responses: Array) -> Array:
    """What `split` undoes."""
    return _join(prompts, responses, self.tokens.shape[0])

  def attend(
    self, _: Array | int, carry: tuple, query: Array, key: Array, value: Array
  ) -> tuple[Array, tuple]:
    """Causal attention of prompts, and of responses with their prompts before them."""
    (query, own_query), (key, own_key), (value, own_value) = map(self.split, (query, key, value))
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    keys, values = (
      jnp.concatenate([jnp.repeat(shared, self.group_size, axis=0), own], axis=1)
      for shared, own in ((key, own_key), (value, own_value))
    )
    mask = self._visible()[:, None]
    own_mixed = jax.nn.dot_product_attention(own_query, keys, values, mask=mask)
    return self.join(mixed, own_mixed), (carry, ())

  def _visible(self) -> Array:
    """[B, R, P + R]: the tokens of the prompt, and those of the response up to itself."""
    shared = jnp.arange(self.prompt)[None, :] < self.start[:, None]
    shared = jnp.repeat(shared, self.group_size, axis=0)[:, None, :]
    own = jnp.tri(self.response, dtype=bool)[None]
    rows = self.following.shape[0]
    return jnp.concatenate(
      [
        jnp.broadcast_to(shared, (rows, self.response, self.prompt)),
        jnp.broadcast_to(own, (rows, self.response, self.response)),
      ],
      axis=2,
    )

  def states(self, hidden: Array) -> Array:
    """[B, R + 1, D] the state before each response token, and the one after the last."""
    prompts, responses = self.split(hidden)
    last = jnp.take_along_axis(prompts, self.start[:, None, None] - 1, axis=1)
    return jnp.concatenate([jnp.repeat(last, self.group_size, axis=0), responses], axis=1)

  def place(self, values: Array) -> Array:
    """[B, R + 1] -> [B, T], 0 in other columns."""
    start = jnp.repeat(self.start, self.group_size)[:, None]
    column = jnp.arange(self.columns)[None, :] - start
    there = (column >= 0) & (column <= self.response)
    values = jnp.take_along_axis(values, jnp.clip(column, 0, self.response), axis=1)
    return jnp.where(there, values, 0)


def _join(prompts: Array, responses: Array, cells: int) -> Array:
  flat = (
    values.reshape(cells, values.shape[0] // cells * values.shape[1], *values.shape[2:])
    for values in (prompts, responses)
  )
  return jnp.concatenate(list(flat), axis=1)


def _lay_out(tokens: Array, mask: Array, group_size: int, response: int, cells: int) -> _Layout:
  rows, columns = tokens.shape
  prompt = columns - response - 1
  begun = mask.reshape(-1, group_size, columns).any(axis=1)
  start = jnp.maximum(jnp.argmax(begun, axis=1), 1)
  column = jnp.repeat(start, group_size)[:, None] + jnp.arange(response)[None, :]
  responses = jnp.take_along_axis(tokens, column, axis=1)
  before = jnp.broadcast_to(jnp.arange(prompt)[None, :], (rows // group_size, prompt))
  return _Layout(
    tokens=_join(tokens[::group_size, :prompt], responses, cells),
    positions=_join(before, column, cells),
    following=jnp.pad(responses, ((0, 0), (0, 1))),
    start=start,
    prompt=prompt,
    response=response,
    columns=columns,
  )
