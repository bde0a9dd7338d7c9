"""Where tokens lie in a piece: everything that is moved comes back, and nothing is padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_lm import tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.lm.pieces import Piece, Rows, moved

PROMPT, R = 4, 9
LENGTHS = ((9, 0, 3, 1, 9, 5), (2, 2, 0, 0, 7, 1))  # of two cells


def make_rows(lengths=LENGTHS, seed=0):
  rng = np.random.default_rng(seed)
  length = jnp.asarray(lengths)
  tokens = jnp.asarray(rng.integers(0, 99, (*length.shape, PROMPT + R + 1)))
  start = jnp.asarray(rng.integers(1, PROMPT + 1, length.shape))
  return Rows(tokens, start, length, jnp.argsort(length, axis=1))


ROW = ((4, 2, 3, 6), (4, 6, 6, 6))  # 6 is none: 13 tokens, and 7


def test_tokens_lie_one_after_the_other():
  rows = make_rows()
  piece = Piece.of(rows, jnp.asarray(ROW), width=R, places=20)
  for cell, chosen in enumerate(ROW):
    start, length = np.asarray(rows.start[cell]), LENGTHS[cell]
    columns = [(row, start[row] + i) for row in chosen if row < 6 for i in range(length[row])]
    tokens = np.asarray(rows.tokens[cell])
    count = len(columns)
    assert np.asarray(piece.column[cell])[:count].tolist() == [column for _, column in columns]
    assert np.asarray(piece.tokens[cell])[:count].tolist() == [tokens[at] for at in columns]
    following = [tokens[row, column + 1] for row, column in columns]
    assert np.asarray(piece.following[cell])[:count].tolist() == following
    first = np.asarray(piece.following[cell])[20:]
    assert all(first[i] == tokens[row, start[row]] for i, row in enumerate(chosen) if row < 6)


@pytest.mark.parametrize('places', [20, 4 * R])
def test_what_goes_to_rows_comes_back(places):
  piece = Piece.of(make_rows(), jnp.asarray(ROW), width=R, places=places)
  values = jnp.asarray(np.random.default_rng(1).standard_normal((2, places, 3)))
  there = piece.in_rows(values)
  assert there.shape == (2 * 4, R, 3)
  back = piece.in_places(there)
  lengths = [[LENGTHS[cell][row] if row < 6 else 0 for row in ROW[cell]] for cell in (0, 1)]
  for cell in (0, 1):
    begin = 0
    for i, length in enumerate(lengths[cell]):
      begin = i * R if places == 4 * R else begin
      of_row = values[cell, begin : begin + length]
      np.testing.assert_array_equal(there[4 * cell + i, :length], of_row)
      np.testing.assert_array_equal(back[cell, begin : begin + length], of_row)
      begin += length


def test_rows_with_places_of_their_own_are_not_moved():
  rows, row = make_rows(), jnp.asarray(ROW)

  def there_and_back(values, places):
    piece = Piece.of(rows, row, width=R, places=places)
    return piece.in_places(piece.in_rows(values))

  for places in (4 * R, 1000):
    lowered = jax.jit(lambda values, n=places: there_and_back(values, n))
    assert 'gather' not in lowered.lower(jnp.zeros((2, 4 * R, 3))).as_text()
  moving = jax.jit(lambda values: there_and_back(values, 20)).lower(jnp.zeros((2, 20, 3)))
  assert 'gather' in moving.as_text()


@pytest.mark.parametrize('places', [20, 4 * R])
def test_scores_are_put_where_their_tokens_are(places):
  rows = make_rows()
  piece = Piece.of(rows, jnp.asarray(ROW), width=R, places=places)
  placed = np.asarray(piece.in_columns(piece.following + 1))  # 0 is nothing
  for cell, chosen in enumerate(ROW):
    for i, row in enumerate(chosen):
      expected = np.zeros(PROMPT + R + 1, int)
      if row < 6 and LENGTHS[cell][row]:
        start, end = int(rows.start[cell, row]), int(rows.start[cell, row]) + LENGTHS[cell][row]
        expected[start : end + 1] = rows.tokens[cell, row, start : end + 1] + 1
      np.testing.assert_array_equal(placed[cell, i], expected)


@pytest.mark.parametrize('seed', range(3))
def test_a_move_has_the_gradient_of_its_definition(seed):
  rng = np.random.default_rng(seed)
  places, others = rng.permutation(7)[:4], rng.permutation(5)[:4]
  to, back = np.full((1, 5), 7), np.full((1, 7), 5)
  to[0, others], back[0, places] = places, others
  values = jnp.asarray(rng.standard_normal((1, 7, 2)))
  weight = jnp.asarray(rng.standard_normal((1, 5, 2)))

  def defined(values):
    return jnp.pad(values, ((0, 0), (0, 1), (0, 0)))[:, to[0]]

  def ours(values):
    return moved(values, jnp.asarray(to), jnp.asarray(back))

  np.testing.assert_array_equal(ours(values), defined(values))

  def gradient(of):
    return jax.grad(lambda values: jnp.sum(weight * of(values) ** 2))

  def second(of):
    return jax.grad(lambda values: jnp.sum(gradient(of)(values) ** 2))

  for take in (gradient, second):
    np.testing.assert_allclose(take(ours)(values), take(defined)(values), rtol=1e-6)


def cut(lengths, microbatch, widths):
  """How often each row is in a piece, and how many pieces there are; 10,000 if one is too large."""
  rows = Rows(
    jnp.zeros((*lengths.shape, 2 + 256), int),
    jnp.ones(lengths.shape, int),
    jnp.asarray(lengths),
    jnp.argsort(jnp.asarray(lengths), axis=1),
  )
  scorer = GroupScorer(LM(tiny()), 1, 1, max_new_tokens=256, microbatch=microbatch, widths=widths)
  seen, pieces = jnp.zeros(lengths.shape, int), jnp.zeros((), int)

  def step(width, row, state):
    seen, pieces = state
    fits = jnp.take_along_axis(rows.length, jnp.minimum(row, lengths.shape[1] - 1), axis=1)
    fits = jnp.where(row < lengths.shape[1], fits, 0)
    wrong = jnp.any(fits > width) | jnp.any(fits.sum(axis=1) > microbatch)
    add = jax.vmap(lambda old, at: old.at[at].add(1, mode='drop'))
    return add(seen, row), pieces + jnp.where(wrong, 10_000, 1)

  seen, pieces = scorer._each(rows, step, (seen, pieces))
  return np.asarray(seen), int(pieces)


@pytest.mark.parametrize('cells', [1, 4])
@pytest.mark.parametrize('widths', [1, 4, 7])
@pytest.mark.parametrize('seed', range(3))
def test_every_response_is_in_one_piece(cells, widths, seed):
  rng = np.random.default_rng(seed)
  lengths = np.minimum(rng.geometric(1 / 64, (cells, 32)), 256) - 1
  seen, pieces = cut(lengths, 1100, widths)
  np.testing.assert_array_equal(seen, lengths > 0)
  assert pieces <= 32 / 4  # four of the longest fit


def test_pieces_are_full():
  """Of geometric lengths, a quarter of the longest in the mean: hardly a tenth is not tokens."""
  rng = np.random.default_rng(0)
  lengths = np.minimum(rng.geometric(1 / 64, (1, 512)), 256)
  _, pieces = cut(lengths, 2048, 7)
  assert lengths.sum() > 0.9 * 2048 * (pieces - 1)


def test_no_responses_are_no_pieces():
  assert cut(np.zeros((2, 8), int), 300, 3)[1] == 0
