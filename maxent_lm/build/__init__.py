"""From a config to a run: the only package that reads the config, besides the scripts."""

from maxent_lm.build.policy import Policy, make_policy, trained_policy
from maxent_lm.build.run import (
  Run,
  demonstration_run,
  make_evaluation,
  make_reader,
  make_run_scorer,
  rollout_run,
)

__all__ = [
  'Policy',
  'Run',
  'demonstration_run',
  'make_evaluation',
  'make_policy',
  'make_reader',
  'make_run_scorer',
  'rollout_run',
  'trained_policy',
]
