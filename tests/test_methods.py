"""Every published method builds from its config and takes three real steps on Countdown.

All start from one warm start and sample with one compiled program, so that a method costs only its
own update.
"""

import functools
import pathlib

import jax
import numpy as np
import pytest
from tiny_runs import shrunk

from configs import countdown, methods
from configs.sweeps import mechanisms
from experiments import list_methods
from maxent_lm import build
from maxent_lm.build import run as build_run
from maxent_lm.build.update import make_transform
from maxent_lm.types import Batch

SMALL = {'batch__group_size': 8, 'batch__max_new_tokens': 6, 'steps': 3}
EASED = {'gtpo': {'gtpo__highest': 3.0}}  # the warm start is brief, its entropies are high


@pytest.fixture(scope='module')
def warm_start(tmp_path_factory):
  """A model that answers some of the problems, as a folder."""
  workdir = tmp_path_factory.mktemp('warm')
  config = countdown.get_config('pretrain')
  build.demonstration_run(tiny(config, steps=60, batch__prompts=32), workdir).train()
  return workdir / 'model'


@pytest.fixture(scope='module')
def one_sampler():
  """`make_generate` gives the same compiled function for the same arguments."""
  patch = pytest.MonkeyPatch()
  patch.setattr(build_run, 'make_generate', functools.cache(build_run.make_generate))
  yield
  patch.undo()


def tiny(config, **changes):
  return shrunk(config, **(SMALL | changes))


@pytest.mark.parametrize('name', methods.METHODS)
def test_every_method_takes_three_steps(name, warm_start, one_sampler, tmp_path):
  config = tiny(methods.get_config(name), init=str(warm_start), **EASED.get(name, {}))
  run = build.rollout_run(config, tmp_path / 'run')
  state, start = run.state, jax.device_get(run.state.params)
  with jax.set_mesh(run.policy.mesh):  # as in training: what was traced there serves here
    for step in range(3):
      batch = run.collect(step, state).batch
      state, metrics = run.update(state, run.reference, batch)
      assert float(metrics['skipped']) == 0
      numbers = {key: value for key, value in metrics.items() if key != 'kl_limits'}
      assert all(np.isfinite(np.asarray(value)).all() for value in numbers.values())
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), start, jax.device_get(state.params))
  assert 0 < max(jax.tree.leaves(moved)) < 1
  run.checkpointer.close()


# The advantages of the group (1, 0, 0, 1) in the original code.
CONVENTIONS = {'verl': 0.866024, 'trl': 0.865875, 'halos': 0.980392}


@pytest.mark.parametrize('project', CONVENTIONS)
def test_projects_conventions_are_configs(project):
  config = methods.get_config(f'grpo,{project}')
  column = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32)
  zero, group = np.zeros((4, 1), np.float32), np.zeros(4, np.int32)
  batch = Batch(zero, column >= 0, zero, column, zero, zero, group, group, group > 0)
  found = make_transform(config, None)(jax.tree.map(jax.numpy.asarray, batch), None).advantage
  np.testing.assert_allclose(
    found[:, 0], CONVENTIONS[project] * np.array([1, -1, -1, 1]), atol=2e-6
  )


@pytest.mark.parametrize(
  'arg', [f'{name},{each}' for each, known in methods.PARITY.items() for name in known]
)
def test_conventions_change_what_a_method_does_not_say_itself(arg):
  name, project = arg.split(',')
  config = methods.get_config(arg).to_dict()
  assert config['name'] == f'countdown_{arg}'
  changed = methods.PARITY[project][name]
  rest = {key for key in methods.METHODS[name].changes if key not in changed}
  plain = methods.get_config(name)
  for key in rest:
    value = functools.reduce(lambda tree, part: tree[part], key.split('.'), config)
    assert value == functools.reduce(lambda tree, part: tree[part], key.split('.'), plain.to_dict())


def test_ppo_makes_its_own_advantages(tmp_path):
  config = tiny(methods.get_config('ppo'), transforms=('group_normalised',))
  with pytest.raises(ValueError, match='group_normalised makes advantages, but ppo makes its own'):
    build.rollout_run(config, tmp_path / 'run')


@pytest.mark.parametrize('name', [*mechanisms.COMPARED, *mechanisms.SOFT])
def test_the_sweep_over_mechanisms_gives_all_the_same_budget(name):
  plan = mechanisms.get_sweep()
  (point,) = (each for each in plan.points if each.name == name)
  warm, config = plan.config(point, 2, ''), plan.config(point, 2, 'warm')
  assert warm.algorithm == 'imitation' and warm.seed == config.seed == 2
  assert (config.steps, config.batch.prompts, config.batch.group_size) == (120, 32, 8)
  assert config.init == 'warm' and config.optimizer == plan.config(plan.points[0], 0, 'w').optimizer


def test_rows_of_the_table_tell_methods_apart():
  rows = list_methods.rows()
  assert [row['method'] for row in rows] == list(methods.METHODS)
  told = [row['parts'] for row in rows]
  assert len(set(told)) == len(told)
  table = pathlib.Path('docs/methods.md').read_text()
  for row in rows:
    assert f'| {row["method"]} | {row["paper"]} | {row["parts"]} |' in table, row['method']


@pytest.mark.parametrize('arg', ['nothing', 'grpo,nobody', 'dr_grpo,halos'])
def test_unknown_methods_and_projects_are_told(arg):
  with pytest.raises(ValueError, match='choose one of'):
    methods.get_config(arg)
