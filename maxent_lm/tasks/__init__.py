"""Tasks: problems with verifiers. `TASKS` is the list of all of them, name to class."""

from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.base import Problem, Task, batch_indices
from maxent_lm.tasks.countdown import Countdown
from maxent_lm.tasks.game24 import Game24
from maxent_lm.tasks.gsm8k import GSM8K
from maxent_lm.tasks.human_eval import HumanEval
from maxent_lm.tasks.mbpp import MBPP
from maxent_lm.tasks.random_numbers import RandomNumbers
from maxent_lm.tasks.random_walks import RandomWalks
from maxent_lm.tasks.stories import Stories
from maxent_lm.tasks.treesample import TreeSample

__all__ = ['TASKS', 'Problem', 'Task', 'batch_indices']

TASKS: dict[str, Callable[..., Any]] = {
  'countdown': Countdown,
  'game24': Game24,
  'gsm8k': GSM8K,
  'human_eval': HumanEval,
  'mbpp': MBPP,
  'random_numbers': RandomNumbers,
  'random_walks': RandomWalks,
  'stories': Stories,
  'treesample': TreeSample,
}
