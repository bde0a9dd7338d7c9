"""Tasks: problems with verifiers. `TASKS` is the list of all of them, name to class."""

from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.base import Problem, Task, batch_indices
from maxent_lm.tasks.countdown import Countdown
from maxent_lm.tasks.gsm8k import GSM8K
from maxent_lm.tasks.stories import Stories

__all__ = ['TASKS', 'Problem', 'Task', 'batch_indices']

TASKS: dict[str, Callable[..., Any]] = {
  'countdown': Countdown,
  'gsm8k': GSM8K,
  'stories': Stories,
}
