"""Which rows go through the network together, and where the tokens of their responses lie.

Layers see a piece of a batch as tokens one response after the other, none of them padding, whatever
the lengths; only attention sees a row for each response. What moves values between the two, and to
the columns of the batch, is a gather, and so is its gradient.

Shapes: C cells, B = C n rows, T columns, S rows of a piece in each cell, W columns of its longest
response, N places for its tokens.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from maxent_lm.types import Array, Pick


@dataclasses.dataclass(frozen=True)
class Rows:
  """A batch, cut into cells.

  Attributes:
    tokens: [C, n, T].
    start: [C, n] length of each row's prompt, at least 1; the same within a group.
    length: [C, n] response tokens.
    order: [C, n] the rows by length, the shortest first.
  """

  tokens: Array
  start: Array
  length: Array
  order: Array

  def pick(self, row: Array) -> Pick:
    """The rows `row` [C, S] of arrays [B, ...], as [C S, ...]; 0 where a row is none."""
    cells, count = self.start.shape

    def of(values: Array) -> Array:
      return merge(_filled(values.reshape(cells, count, *values.shape[1:]), row))

    return of

  def shorter(self, width: int) -> Array:
    """[C] how many rows have at most `width` response tokens."""
    return jnp.sum(self.length <= width, axis=1)

  def longest(self, left: Array, *, rows: int, tokens: int) -> tuple[Array, Array]:
    """[C, S] the longest of the `left` [C] shortest rows that fit, and [C] how many are left then.

    At most `rows` of them with `tokens` tokens in all; n where there is none, and none without a
    response.
    """
    ordered = jnp.take_along_axis(self.length, self.order, axis=1)
    before = jnp.pad(jnp.cumsum(ordered, axis=1), ((0, 0), (1, 0)))  # tokens of shorter ones
    place = left[:, None] - 1 - jnp.arange(rows)[None, :]
    needed = take(before, left[:, None]) - take(before, place)
    fits = (place >= self.shorter(0)[:, None]) & (needed <= tokens)
    row = jnp.where(fits, take(self.order, place), self.start.shape[1])
    return row, left - jnp.sum(fits, axis=1)


@dataclasses.dataclass(frozen=True)
class Piece:
  """The responses of some rows.

  Attributes:
    start: [C, S] length of each row's prompt.
    width: W.
    tokens: [C, N] of responses, one after the other; after the last one, anything.
    following: [C, N + S] the tokens after them, and the first ones of responses.
    column: [C, N] where tokens lie in the batch.
    to_rows: [C, S W] the places of the tokens of each row, N where it has none.
    from_rows: [C, N] where `to_rows` puts a place, S W where nowhere.
    to_columns: [C, S T] which of [C, N + S] is the score of a column, N + S where none is.
    from_columns: [C, N + S] where `to_columns` puts it, S T where nowhere.
  """

  start: Array
  width: int
  tokens: Array
  following: Array
  column: Array
  to_rows: Array
  from_rows: Array
  to_columns: Array
  from_columns: Array

  @classmethod
  def of(cls, rows: Rows, row: Array, *, width: int, places: int) -> 'Piece':
    """Of `row` [C, S], whose responses have at most `width` tokens, and `places` in all.

    Where there are W places for each row, all rows begin W places apart and nothing is moved.
    """
    (cells, count, columns), most = rows.tokens.shape, row.shape[1]
    start, places = take(rows.start, row), min(places, most * width)
    length = jnp.where(row < count, take(rows.length, row), 0)
    which, place = jnp.arange(most)[None, :], jnp.arange(places)[None, :]
    begin, owner = _owners(length, width, places)
    offset = jnp.maximum(place - take(begin, owner), 0)
    column = jnp.minimum(take(start, owner) + offset, columns - 2)
    there = (owner < most) & (offset < take(length, owner))

    texts = rows.tokens.reshape(cells, -1)
    text = take(row, owner) * columns
    following = take(texts, jnp.concatenate([text + column + 1, row * columns + start], axis=1))

    within = jnp.arange(width)[None, None, :]
    to_rows = jnp.where(within < length[:, :, None], begin[:, :, None] + within, places)
    after = jnp.arange(columns)[None, None, :] - start[:, :, None] - 1
    first = (after == -1) & (length[:, :, None] > 0)
    scored = (after >= 0) & (after < length[:, :, None])
    to_columns = jnp.where(scored, begin[:, :, None] + after, places + most)
    to_columns = jnp.where(first, places + which[:, :, None], to_columns)
    from_first = jnp.where(length > 0, which * columns + start, most * columns)
    from_tokens = jnp.where(there, owner * columns + column + 1, most * columns)
    return cls(
      start=start,
      width=width,
      tokens=take(texts, text + column),
      following=following,
      column=column,
      to_rows=to_rows.reshape(cells, -1),
      from_rows=jnp.where(there, owner * width + offset, most * width),
      to_columns=to_columns.reshape(cells, -1),
      from_columns=jnp.concatenate([from_tokens, from_first], axis=1),
    )

  @property
  def moves(self) -> bool:
    """Whether there are fewer places than the rows have columns."""
    return self.tokens.size < self.start.size * self.width

  def in_rows(self, values: Array) -> Array:
    """[C, N, ...] -> [C S, W, ...], anything after the end of a response."""
    if self.moves:
      values = moved(values, self.to_rows, self.from_rows)
    return values.reshape(-1, self.width, *values.shape[2:])

  def in_places(self, values: Array) -> Array:
    """What `in_rows` undoes, anything in the places of no response."""
    split = values.reshape(len(self.start), -1, *values.shape[2:])
    return moved(split, self.from_rows, self.to_rows) if self.moves else split

  def in_columns(self, scores: Array) -> Array:
    """[C, N + S] -> [C, S, T]: a response and the column after it, 0 in the other columns."""
    return moved(scores, self.to_columns, self.from_columns).reshape(*self.start.shape, -1)


def _owners(length: Array, width: int, places: int) -> tuple[Array, Array]:
  """[C, S] where the places of rows begin, and [C, N] whose a place is: S where nobody's."""
  cells, count = length.shape
  if places == count * width:
    begin, owner = jnp.arange(count) * width, jnp.arange(places) // width
    return jnp.tile(begin[None, :], (cells, 1)), jnp.tile(owner[None, :], (cells, 1))
  end = jnp.cumsum(length, axis=1)
  search = functools.partial(jnp.searchsorted, v=jnp.arange(places), side='right')
  return end - length, jax.vmap(search)(end)


@jax.custom_vjp
def moved(values: Array, to: Array, back: Array) -> Array:
  """[C, A, ...] -> [C, E, ...]: values at `to` [C, E], 0 where it is A.

  `back` [C, A] is where each of the values went, E for those that went nowhere: so that the
  gradient is a gather too, as adding to places one by one is slow.
  """
  del back
  return _filled(values, to)


def _moved(values: Array, to: Array, back: Array) -> tuple[Array, tuple[Array, Array]]:
  return _filled(values, to), (to, back)


def _moved_back(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, None, None]:
  to, back = kept
  return moved(gradient, back, to), None, None


moved.defvjp(_moved, _moved_back)


def _filled(values: Array, at: Array) -> Array:
  """[C, n, ...] -> [C, S, ...] at [C, S], 0 where that is out of range."""
  return jax.vmap(lambda own, at: own.at[at].get(mode='fill', fill_value=0))(values, at)


def take(values: Array, at: Array) -> Array:
  """[C, n, ...] -> [C, S, ...] at [C, S]; whatever is out of range is one of the n."""
  return jax.vmap(lambda own, at: own.at[at].get(mode='clip'))(values, at)


def merge(values: Array) -> Array:
  """[C, S, ...] -> [C S, ...]."""
  return values.reshape(-1, *values.shape[2:])
