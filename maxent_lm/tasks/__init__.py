"""Tasks: problems with verifiers. `TASKS` is the list of all of them, name to class."""

from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.base import Problem, Task, batch_indices
from maxent_lm.tasks.countdown import Countdown
from maxent_lm.tasks.gsm8k import GSM8K
from maxent_lm.tasks.stories import Stories

__all__ = ['TASKS', 'Problem', 'Task', 'batch_indices', 'find_task']

TASKS: dict[str, Callable[..., Any]] = {
  'countdown': Countdown,
  'gsm8k': GSM8K,
  'stories': Stories,
}


def find_task(name: str) -> Callable[..., Any]:
  """The factory called `name`; ValueError with the known names if there is none."""
  if name not in TASKS:
    raise ValueError(f"unknown task '{name}': choose one of {', '.join(sorted(TASKS))}.")
  return TASKS[name]
