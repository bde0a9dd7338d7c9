"""Mixture: several tasks as one, in given shares.

Worked example, weights 2 and 1 over countdown (3 problems) and arithmetic (2 problems):

  number   0            1             2            3            4            5
  id       countdown/.. arithmetic/.. countdown/.. countdown/.. arithmetic/.. countdown/..
  problem  0            0             1            2            1             0

An epoch shows every problem of every part at least once; parts that would be through earlier begin
again. It has about max_p (problems of p / w_p) problems, w_p being the shares, so a small share of
a large part makes it long. Within it parts take turns by the rule of [Tijdeman 1980]: of any first
n problems part p has n w_p, within 1 - 1 / (2 P - 2) for P parts. So the first problems of the test
split are in the same shares, and so is a batch in expectation. All of it follows from the lengths
and the weights; nothing is drawn.

A problem, its verdict and its class are those of its task, with the name of the task before its id.
Known limits: parts share one tokenizer, whose alphabet must have all their characters, and the
length of a response (config.batch.max_new_tokens); metrics are means over all parts; to lay out an
epoch of a million problems takes some seconds.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from maxent_lm.tasks.base import Problem, Scheduled, Task
from maxent_lm.tasks.parts import Parts

ROUNDING = 1e-6  # of n w_p in floating point


def take_turns(lengths: Sequence[int], weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
  """[L] the part, and its problem, of every number of a mixture.

  Number n (from 1) is of the part that is the first to reach n w_p - seen_p = c, what it may lag
  behind, c = 1 - 1 / (2 P - 2), among those that it does not put ahead by more than c.
  """
  shares = (np.asarray(weights, float) / np.sum(weights)).tolist()
  parts, lag = range(len(lengths)), 1 - 1 / max(2 * len(lengths) - 2, 1)
  total = math.ceil(max(lengths[p] / shares[p] for p in parts) - ROUNDING)
  seen = [0] * len(lengths)
  owner, turn = np.empty(total, int), np.empty(total, int)
  for at in range(total):
    due = [p for p in parts if (at + 1) * shares[p] - seen[p] >= 1 - lag - ROUNDING]
    part = min(due, key=lambda p: (seen[p] + lag) / shares[p])
    owner[at], turn[at] = part, seen[part] % lengths[part]
    seen[part] += 1
  return owner, turn


class Mixture(Parts):
  """The problems of all `parts`; `weights` are their shares (empty: equal ones), in their order.

  Raises:
    ValueError: no parts, a wrong number of weights or one that is not positive, a part on a
      schedule (a curriculum of mixtures is possible, a mixture of curricula is not).
  """

  def __init__(self, parts: Mapping[str, Task], weights: Sequence[float] = ()) -> None:
    weights = tuple(weights) or (1.0,) * len(parts)
    if not parts or len(weights) != len(parts) or min(weights) <= 0:
      raise ValueError(
        f'a mixture of {len(parts)} tasks needs at least one, and a positive weight for each; got '
        f'weights={weights}.'
      )
    scheduled = [name for name, part in parts.items() if isinstance(part, Scheduled)]
    if scheduled:
      raise ValueError(f"'{scheduled[0]}' is on a schedule and cannot be part of a mixture.")
    super().__init__(parts.items())
    self._names = list(parts)
    self._owner, self._turn = take_turns([len(part) for part in parts.values()], weights)

  def __len__(self) -> int:
    """Number of problems of an epoch."""
    return len(self._owner)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data are the name of its task and the task's own problem."""
    if not 0 <= index < len(self):
      raise IndexError(f'the mixture has problems 0 to {len(self) - 1}, not {index}.')
    name = self._names[self._owner[index]]
    problem = self._parts[name][int(self._turn[index])]
    return problem._replace(id=f'{name}/{problem.id}', data=(name, problem))
