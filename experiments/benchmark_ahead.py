r"""Measures seconds of a step with and without rollouts that are one step early.

  python experiments/benchmark_ahead.py --config=configs/list_functions.py:soft_q \
    --workdir=runs/ahead --config.init=runs/warm/model --config.steps=12 --wait_s=1

trains `config.steps` steps with config.batch.ahead = 0 and 1, alternately, --repeats times each, in
folders of their own and each with a seed of its own, as verdicts of programs are remembered. One
line of JSON for each: medians over all steps but the first two, which compile, of the seconds from
one step to the next, and of those that grading took. Grading waits --wait_s longer than the task's
own does, as if it were done on other machines.
"""

import dataclasses
import json
import pathlib
import statistics
import time
from collections.abc import Sequence

import ml_collections
from absl import flags

from maxent_lm import build, cli
from maxent_lm.tasks.base import Problem, Subset, Task
from maxent_lm.train.ahead import Ahead
from maxent_lm.train.collect import Collected, Rollouts
from maxent_lm.train.state import TrainState

COMPILING = 2  # steps

_REPEATS = flags.DEFINE_integer('repeats', 2, 'Runs with, and without.', lower_bound=1)
_WAIT_S = flags.DEFINE_float('wait_s', 0.0, 'Seconds added to the grading of a step.', 0.0)


class Timed(Subset):
  """All problems of a task; grading takes `wait` seconds longer, and is timed."""

  def __init__(self, task: Task, wait: float) -> None:
    super().__init__(task, range(len(task)))
    self._wait = wait
    self.seconds: list[float] = []

  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """As the task's, later."""
    began = time.perf_counter()
    found = super().rewards(problems, responses, finished)
    time.sleep(self._wait)
    self.seconds.append(time.perf_counter() - began)
    return found


def measure(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, *, ahead: bool, wait: float
) -> tuple[list[float], list[float]]:
  """Seconds of each step and of its grading, without the first ones."""
  with cli.user_errors():
    run = build.rollout_run(config, workdir)
    if not isinstance(run.collect, Rollouts):
      raise ValueError('plain rollouts are measured: leave out replay, count_novelty and ahead')
  task = Timed(run.collect.reader.task, wait)
  reader = dataclasses.replace(run.collect.reader, task=task)
  rollouts = dataclasses.replace(run.collect, reader=reader)
  collect = Ahead(rollouts) if ahead else rollouts
  began: list[float] = []

  def timed(step: int, state: TrainState) -> Collected:
    began.append(time.perf_counter())
    return collect(step, state)

  run.collect = timed
  run.train()
  steps = [after - before for before, after in zip(began, began[1:], strict=False)]
  return steps[COMPILING:], task.seconds[COMPILING:-1]


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Measures and prints."""
  steps: dict[bool, list[float]] = {False: [], True: []}
  grading: dict[bool, list[float]] = {False: [], True: []}
  for number in range(_REPEATS.value):
    for ahead in (False, True):
      seeded = config.copy_and_resolve_references()
      seeded.seed = config.seed + 2 * number + ahead
      folder = workdir / f'{number}_{int(ahead)}'
      taken, graded = measure(seeded, folder, ahead=ahead, wait=_WAIT_S.value)
      steps[ahead] += taken
      grading[ahead] += graded
  for ahead in (False, True):
    row = {
      'config': config.name,
      'ahead': int(ahead),
      'wait_s': _WAIT_S.value,
      'step_s': round(statistics.median(steps[ahead]), 3),
      'grading_s': round(statistics.median(grading[ahead]), 3),
      'steps': len(steps[ahead]),
    }
    print(json.dumps(row), flush=True)


if __name__ == '__main__':
  cli.run(main)
