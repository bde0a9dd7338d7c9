"""What tasks of tasks share: every problem is verified by the task that it comes from.

Worked example, of a mixture whose problem `p` is the problem `q` of its task countdown:

  p.data                    ('countdown', q)
  mixture.reward(p, ...)    as countdown.reward(q, ...), and so is all else
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from maxent_lm.tasks.base import (
  Batched,
  Fingerprinted,
  Problem,
  Sandboxed,
  Task,
  Undecided,
  fingerprint,
  grade,
  undecided,
)
from maxent_lm.tasks.code_answers import weakest_tier


class Parts(Batched, Fingerprinted, Sandboxed, Undecided):
  """A task made of named `parts`; a problem's data are its part's name and the problem there."""

  def __init__(self, parts: Iterable[tuple[Hashable, Task]]) -> None:
    self._parts = dict(parts)

  def _own(self, problem: Problem) -> tuple[Task, Problem]:
    name, inner = problem.data
    return self._parts[name], inner

  def fingerprint(self) -> str:
    """Of the files of all parts."""
    return fingerprint(*self._parts.values())

  def tier(self) -> str:
    """The weakest of the parts'."""
    return weakest_tier(*self._parts.values())

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """As the problem's own task's."""
    task, inner = self._own(problem)
    return task.reward(inner, response, finished)

  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """Every part grades its own responses together, in their order."""
    rows: dict[Hashable, list[int]] = {}
    for row, problem in enumerate(problems):
      rows.setdefault(problem.data[0], []).append(row)
    graded: list[float | None] = [None] * len(problems)
    for name, mine in rows.items():
      inner = [problems[row].data[1] for row in mine]
      theirs = [responses[row] for row in mine], [finished[row] for row in mine]
      for row, reward in zip(mine, grade(self._parts[name], inner, *theirs), strict=True):
        graded[row] = reward
    return graded

  def undecided(self, problem: Problem, response: str, finished: bool) -> bool:
    """As the problem's own task's."""
    task, inner = self._own(problem)
    return undecided(task, inner, response, finished)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """As the problem's own task's."""
    task, inner = self._own(problem)
    return task.cluster(inner, response)

  def modes(self, problem: Problem) -> int | None:
    """As the problem's own task's."""
    task, inner = self._own(problem)
    return task.modes(inner)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """As the problem's own task's."""
    task, inner = self._own(problem)
    return task.demonstration(inner, rng)
