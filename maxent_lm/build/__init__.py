"""From a config to a run: the only package that reads the config, besides the scripts."""

from maxent_lm.build.memory import Memory, memory_lines, memory_plan
from maxent_lm.build.names import NAMES, Names
from maxent_lm.build.offline import offline_run
from maxent_lm.build.pairs import sampled_rows
from maxent_lm.build.policy import Policy, make_policy, trained_knobs, trained_policy
from maxent_lm.build.reader import make_reader
from maxent_lm.build.run import (
  Run,
  demonstration_run,
  make_evaluation,
  make_run_scorer,
  rollout_run,
)
from maxent_lm.build.self_training import NothingKept, SelfTraining, self_training

__all__ = [
  'NAMES',
  'Memory',
  'Names',
  'NothingKept',
  'Policy',
  'Run',
  'SelfTraining',
  'demonstration_run',
  'make_evaluation',
  'make_policy',
  'make_reader',
  'make_run_scorer',
  'memory_lines',
  'memory_plan',
  'offline_run',
  'rollout_run',
  'sampled_rows',
  'self_training',
  'trained_knobs',
  'trained_policy',
]
