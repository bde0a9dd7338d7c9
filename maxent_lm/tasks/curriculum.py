"""Curriculum: tasks one after another, by the number of the step.

Worked example, stages with 2 and 3 numbers that start at steps 0 and 100:

  len            all problems of all stages, the first stage's first
  pool(99)       the numbers of the problems of stage 0
  pool(100)      those of stage 1; with keep=True, those of stages 0 and 1
  problem id     'stage1/2,5,7=24'

Batches are drawn from the pool of their step (base.draw_indices), one permutation an epoch of the
pool: which problems a step has is a function of the step and the seed alone, so a run that is
resumed meets the same ones, and no success has to be remembered. Known limit: for the same reason
stages do not wait until the policy is ready for them.
"""

import bisect
from collections.abc import Sequence

import numpy as np

from maxent_lm.tasks.base import Problem, Scheduled, Task
from maxent_lm.tasks.parts import Parts


class Curriculum(Scheduled, Parts):
  """Stage k is offered from step starts[k] on, until the next begins; with `keep`, forever.

  Raises:
    ValueError: no stages, or starts that do not ascend from 0, one for each.
  """

  def __init__(self, stages: Sequence[Task], *, starts: Sequence[int], keep: bool = False) -> None:
    ascending = list(starts) == sorted(set(starts)) and list(starts[:1]) == [0]
    if not stages or len(starts) != len(stages) or not ascending:
      raise ValueError(
        f'a curriculum of {len(stages)} stages needs at least one, and a start for each, ascending '
        f'from 0; got starts={tuple(starts)}.'
      )
    super().__init__(enumerate(stages))
    self._stages, self._starts, self._keep = list(stages), list(starts), keep
    self._ends = np.cumsum([len(stage) for stage in stages])

  def __len__(self) -> int:
    """Number of problems of all stages."""
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data are the number of its stage and the stage's own problem."""
    if not 0 <= index < len(self):
      raise IndexError(f'the curriculum has problems 0 to {len(self) - 1}, not {index}.')
    number = int(np.searchsorted(self._ends, index, side='right'))
    stage = self._stages[number]
    problem = stage[int(index) - int(self._ends[number]) + len(stage)]
    return problem._replace(id=f'stage{number}/{problem.id}', data=(number, problem))

  def pool(self, step: int) -> np.ndarray:
    """The problems of the stage at this step; with `keep`, of those before, too."""
    number = bisect.bisect_right(self._starts, step) - 1
    end = int(self._ends[number])
    return np.arange(0 if self._keep else end - len(self._stages[number]), end)
