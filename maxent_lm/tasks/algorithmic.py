"""Algorithmic tapes: read symbols one at a time, move, and write the answer symbol by symbol.

Worked example, 'Reverse' of the input BA:

  sees B           moves right
  sees A           moves right
  sees a blank     moves left
  sees A           writes A, moves left         +1
  sees B           writes B                     +1, the end

The tasks of gym's algorithmic environments (before 0.20), made again for [Nachum et al. 2017, PCL]:
+1 for a right symbol, -0.5 and the end for a wrong one, -1 and the end when time is up. Inputs grow
by one when the last 10 episodes (50 for Reverse and RepeatCopy) all came close to the best return.
A task counts as solved when the mean return of 100 episodes in a row reaches `threshold`.

One token is one action, a move and the symbol that is written, if any, and one token is what the
head sees: 0 ... base are symbols and the blank, actions come next, and START is the last. (In the
original an action names a symbol even if it writes none, so that many are the same.) A language
model can also say what is no action: that ends the episode like a wrong symbol.

Shapes: B episodes, W input columns, R rows of the input (1 but for additions), N target symbols.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])  # left, right, up, down
LONGEST = 30  # the shortest input grows up to this length
DRAWN = 3  # lengths above the shortest that are drawn


class Rules(NamedTuple):
  """One of the tasks.

  Attributes:
    base: number of symbols.
    draw: [W, R] input from a generator, a length and the base.
    target: [N] symbols to write, from the input and the base.
    threshold: mean return that counts as solved.
    rows: rows of the input.
    shortest: columns of the first inputs.
    window, shortfall: inputs grow when the last `window` returns are this close to the best.
  """

  base: int
  draw: Callable[[np.random.Generator, int, int], np.ndarray]
  target: Callable[[np.ndarray, int], np.ndarray]
  threshold: float
  rows: int = 1
  shortest: int = 2
  window: int = 10
  shortfall: float = -1.0

  @property
  def moves(self) -> int:
    """Directions that the head can go."""
    return 2 if self.rows == 1 else 4

  @property
  def vocabulary(self) -> int:
    """Symbols, the blank, actions, and START."""
    return self.base + 2 + self.moves * (1 + self.base)

  @property
  def start(self) -> int:
    """The token before the first symbol."""
    return self.vocabulary - 1

  @property
  def silent(self) -> tuple[int, ...]:
    """The actions that only move."""
    return tuple(self.action(move, write=False, symbol=0) for move in range(self.moves))

  @property
  def directions(self) -> tuple[int, ...]:
    """The move of every token, -1 of those that are no action."""
    none = (-1,) * (self.base + 1)
    return (*none, *(move for move in range(self.moves) for _ in range(1 + self.base)), -1)

  def action(self, move: int, write: bool, symbol: int) -> int:
    """The token of an action; if it writes nothing, any `symbol` gives the same one."""
    return self.base + 1 + move * (1 + self.base) + (1 + symbol) * write


def _any(rng: np.random.Generator, length: int, base: int) -> np.ndarray:
  return rng.integers(0, base, (length, 1))


def _pairs(rng: np.random.Generator, length: int, base: int) -> np.ndarray:
  return np.repeat(rng.integers(0, base, (max(length, 2) // 2, 1)), 2, axis=0)


def _two_rows(rng: np.random.Generator, length: int, base: int) -> np.ndarray:
  return rng.integers(0, base, (length, 2))


def _copy(tape: np.ndarray, base: int) -> np.ndarray:
  return tape[:, 0]


def _reversed(tape: np.ndarray, base: int) -> np.ndarray:
  return tape[::-1, 0]


def _every_other(tape: np.ndarray, base: int) -> np.ndarray:
  return tape[::2, 0]


def _there_and_back(tape: np.ndarray, base: int) -> np.ndarray:
  return np.concatenate([tape, tape[::-1], tape])[:, 0]


def _sum(tape: np.ndarray, base: int) -> np.ndarray:
  """Numbers written with their lowest digit first."""
  digits, carry = [], 0
  for column in tape:
    carry, digit = divmod(int(column.sum()) + carry, base)
    digits.append(digit)
  return np.array(digits + [carry] * (carry > 0))


TASKS = {
  'Copy': Rules(5, _any, _copy, 25),
  'DuplicatedInput': Rules(5, _pairs, _every_other, 9),
  'Reverse': Rules(2, _any, _reversed, 25, shortest=1, window=50, shortfall=-0.1),
  'RepeatCopy': Rules(5, _any, _there_and_back, 75, window=50, shortfall=-0.1),
  'ReversedAddition': Rules(3, _two_rows, _sum, 25, rows=2),
}


class Episodes:
  """B episodes side by side; those that are over see blanks and are paid nothing.

  Attributes:
    best: [B] the highest return, the length of the target.
    over: [B] bool.
    longest: the most steps that any of them can take.
  """

  def __init__(self, rules: Rules, length: int, count: int, rng: np.random.Generator) -> None:
    """Inputs of `length` to `length` + 2 columns."""
    self._rules = rules
    columns = length + rng.integers(0, DRAWN, count)
    tapes = [rules.draw(rng, int(n), rules.base) for n in columns]
    targets = [rules.target(tape, rules.base) for tape in tapes]
    width = np.array([len(tape) for tape in tapes])
    self.best = np.array([len(target) for target in targets])
    # An addition's last carry gives no more time: a quirk of the original that its scores need.
    self._limit = width + (width if rules.rows > 1 else self.best) + 4
    self.longest = int(self._limit.max()) + 1
    self._tape = np.full((count, width.max(), rules.rows), rules.base)
    self._target = np.full((count, self.best.max()), -1)
    for row, (tape, target) in enumerate(zip(tapes, targets, strict=True)):
      self._tape[row, : len(tape)] = tape
      self._target[row, : len(target)] = target
    self._head = np.zeros((count, 2), int)
    self._written = np.zeros(count, int)
    self._time = 0
    self.over = np.zeros(count, bool)

  def see(self) -> np.ndarray:
    """[B] the symbols under the heads; outside the input, and after the end, the blank."""
    _, columns, rows = self._tape.shape
    x, y = self._head.T
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & ~self.over
    seen = self._tape[np.arange(len(x)), np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)]
    return np.where(inside, seen, self._rules.base).astype(np.int32)

  def step(self, tokens: np.ndarray) -> np.ndarray:
    """[B] rewards of the actions `tokens`; ends what has ended."""
    rules, live = self._rules, ~self.over
    action = tokens.astype(int) - rules.base - 1
    legal = (action >= 0) & (tokens < rules.start)
    move, written = np.divmod(np.where(legal, action, 0), 1 + rules.base)
    wanted = self._target[np.arange(len(tokens)), np.minimum(self._written, self.best - 1)]
    right = legal & (written == 1 + wanted)
    wrong = ~legal | ((written > 0) & ~right)
    self._head += np.where((live & legal)[:, None], MOVES[move], 0)
    self._written += live & right
    self._time += 1
    late = self._time > self._limit
    reward = np.where(late, -1.0, np.where(wrong, -0.5, right.astype(float)))
    self.over |= wrong | late | (self._written >= self.best)
    return np.where(live, reward, 0.0)


class Curriculum(NamedTuple):
  """Length of the shortest inputs, and how far the last returns fell short of the best."""

  length: int
  shortfalls: tuple[float, ...] = ()


def advance(rules: Rules, curriculum: Curriculum, shortfalls: np.ndarray) -> Curriculum:
  """After episodes that ended together: at most one step up, however many of them there are."""
  last = (*curriculum.shortfalls, *shortfalls.tolist())[-rules.window :]
  good = len(last) == rules.window and min(last) >= rules.shortfall
  if good and curriculum.length < LONGEST:
    return Curriculum(curriculum.length + 1)
  return Curriculum(curriculum.length, last)
