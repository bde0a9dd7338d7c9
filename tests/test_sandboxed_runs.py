"""Runs that execute programs say in which sandbox, and are not continued in a weaker one."""

import importlib
import json

import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.tasks.arithmetic import Arithmetic
from maxent_lm.tasks.base import Sandboxed, Subset
from maxent_lm.tasks.code_answers import weakest_tier
from maxent_lm.tasks.curriculum import Curriculum
from maxent_lm.tasks.list_functions import ListFunctions
from maxent_lm.tasks.mixture import Mixture
from maxent_lm.tasks.sandbox import shared_sandbox


class In(Sandboxed):
  """A task in a sandbox of that name."""

  def __init__(self, name):
    self.name = name

  def __len__(self):
    return 1

  def tier(self):
    return self.name


def test_of_several_the_weakest_counts():
  strong, weak, plain = In('ns'), In('pure'), Arithmetic(split='train', size=3)
  assert weakest_tier(strong) == 'ns' and weakest_tier(plain) == weakest_tier() == ''
  assert weakest_tier(weak, plain, strong) == 'pure'
  for task, tier in [
    (Mixture({'a': strong, 'b': weak}), 'pure'),
    (Mixture({'a': plain, 'b': strong}), 'ns'),
    (Curriculum([strong, In('landlock')], starts=(0, 1)), 'landlock'),
    (Subset(Mixture({'a': weak}), [0]), 'pure'),
    (Mixture({'a': plain}), ''),
    (Subset(plain, [0]), ''),
  ]:
    assert weakest_tier(task) == tier


def test_a_task_that_runs_programs_says_where():
  task = ListFunctions(split='train', size=1, minimum_tier='pure')
  assert weakest_tier(task) == shared_sandbox('pure').tier


@pytest.mark.parametrize(
  ('module', 'variant', 'start'),
  [('run', 'soft_q', build.rollout_run), ('self_training', 'star', build.self_training)],
)
def test_a_run_goes_on_in_no_weaker_sandbox(tmp_path, monkeypatch, module, variant, start):
  config = tiny_config(variant)

  def begin(tier):
    monkeypatch.setattr(
      importlib.import_module(f'maxent_lm.build.{module}'), 'weakest_tier', lambda task: tier
    )
    start(config, tmp_path)
    return json.loads((tmp_path / 'sandbox.json').read_text())

  for tier in ('landlock', 'landlock', 'ns', 'landlock'):
    assert begin(tier) == {'tier': 'landlock'}
  with pytest.raises(ValueError, match="the sandbox 'landlock' and this machine gives only 'pure'"):
    begin('pure')


def test_other_runs_say_nothing(tmp_path):
  build.rollout_run(tiny_config(), tmp_path)
  assert not (tmp_path / 'sandbox.json').exists()
