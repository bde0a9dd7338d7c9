"""Tasks: problems with verifiers. `TASKS` is the list of all of them, name to class."""

from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.aqua_rat import AquaRat
from maxent_lm.tasks.arithmetic import Arithmetic
from maxent_lm.tasks.base import Problem, Task, batch_indices
from maxent_lm.tasks.bbh import BBH
from maxent_lm.tasks.competition_math import CompetitionMath
from maxent_lm.tasks.countdown import Countdown
from maxent_lm.tasks.game24 import Game24
from maxent_lm.tasks.graph_coloring import GraphColoring
from maxent_lm.tasks.gsm8k import GSM8K
from maxent_lm.tasks.gsm_hard import GSMHard
from maxent_lm.tasks.human_eval import HumanEval
from maxent_lm.tasks.jsonl_task import Jsonl
from maxent_lm.tasks.list_functions import ListFunctions
from maxent_lm.tasks.mbpp import MBPP
from maxent_lm.tasks.olympiadbench import OlympiadBench
from maxent_lm.tasks.random_numbers import RandomNumbers
from maxent_lm.tasks.random_walks import RandomWalks
from maxent_lm.tasks.reasoning_gym import ReasoningGym
from maxent_lm.tasks.star_graph import StarGraph
from maxent_lm.tasks.stories import Stories
from maxent_lm.tasks.svamp import SVAMP
from maxent_lm.tasks.treesample import TreeSample

__all__ = ['TASKS', 'Problem', 'Task', 'batch_indices']

TASKS: dict[str, Callable[..., Any]] = {
  'aqua_rat': AquaRat,
  'arithmetic': Arithmetic,
  'bbh': BBH,
  'countdown': Countdown,
  'game24': Game24,
  'graph_coloring': GraphColoring,
  'gsm8k': GSM8K,
  'gsm_hard': GSMHard,
  'human_eval': HumanEval,
  'jsonl': Jsonl,
  'list_functions': ListFunctions,
  'math': CompetitionMath,
  'mbpp': MBPP,
  'olympiadbench': OlympiadBench,
  'random_numbers': RandomNumbers,
  'random_walks': RandomWalks,
  'reasoning_gym': ReasoningGym,
  'star_graph': StarGraph,
  'stories': Stories,
  'svamp': SVAMP,
  'treesample': TreeSample,
}
