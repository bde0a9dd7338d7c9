"""Loops over tokens that hold as many columns and as many slots as are needed.

Every token attends all of a cache, filled or not, in every slot, whether it has a row or not.
Arrays cannot change their shapes within a loop, so there is one after the other: caches begin short
and are widened; when none is left to begin and half of the slots are enough, the others are
dropped. Each loop is a program of its own, compiled whether it is needed or not.
"""

import functools
import itertools
from collections.abc import Callable

import jax

from maxent_lm.sampling import slots as slots_lib
from maxent_lm.sampling.slots import Slots
from maxent_lm.types import Array

NARROWEST = 32  # columns for responses that caches begin with, or more
FEWEST, HALVINGS = 8, 4  # slots are halved so often at most, and not to fewer

Predicate = Callable[[Slots], Array]
Turn = Callable[[Predicate, Slots], Slots]


def decode(turn: Turn, at: Slots, *, halvings: int) -> Slots:
  """All rows to their ends, from slots without columns for responses.

  `turn(goes, at)` reads and writes a token in every slot, or several as long as `goes(at)`.
  """
  columns = rooms(at.rollout.tokens.shape[1])
  at = slots_lib.widen(at, columns[0])
  for _ in range(halvings):
    at = _narrow(turn, at, *columns)
    columns = columns[-1:]
  for room, wider in itertools.zip_longest(columns, columns[1:]):
    at = _while(turn, functools.partial(_goes, room), at)
    at = slots_lib.widen(at, wider - room) if wider else at
  return at


def rooms(columns: int) -> list[int]:
  """Columns that caches have, one after the other, for responses of so many tokens."""
  return [size for size in (columns // 4, columns // 2) if size >= NARROWEST] + [columns]


def halvings(slots: int) -> int:
  """How often so many slots are halved at most."""
  return max(0, min(HALVINGS, (slots // FEWEST).bit_length() - 1))


def _narrow(turn: Turn, at: Slots, room: int, *wider: int) -> Slots:
  """Half of the slots as soon as these are enough, with all columns, whichever there were."""
  at = _while(turn, lambda at: _fits(room, at) & ~at.sparse, at)
  if not wider:
    return slots_lib.halve(at)
  return jax.lax.cond(
    at.sparse,
    lambda at: slots_lib.widen(slots_lib.halve(at), wider[-1] - room),
    lambda at: _narrow(turn, slots_lib.widen(at, wider[0] - room), *wider),
    at,
  )


def _while(turn: Turn, goes: Predicate, at: Slots) -> Slots:
  return jax.lax.while_loop(goes, functools.partial(turn, goes), at)


def _goes(room: int, at: Slots) -> Array:
  """Whether any row goes on, in caches with so many columns for responses."""
  return (at.live | at.waiting) & _fits(room, at)


def _fits(room: int, at: Slots) -> Array:
  """Whether one more token fits into caches with so many columns for responses."""
  return (at.steps < room) | (room == at.rollout.tokens.shape[1])
