"""Every published method builds from its config and takes three real steps on Countdown.

All start from one warm start and sample with one compiled program, so that a method costs only its
own update.
"""

import functools

import jax
import numpy as np
import pytest
from tiny_runs import shrunk

from configs import countdown, methods
from maxent_lm import build
from maxent_lm.build import run as build_run

SMALL = {'batch__group_size': 8, 'batch__max_new_tokens': 6, 'steps': 3}
EASED = {'gtpo': {'gtpo__highest': 3.0}}  # the warm start is brief, its entropies are high


@pytest.fixture(scope='module')
def warm_start(tmp_path_factory):
  """A model that answers some of the problems, as a folder."""
  workdir = tmp_path_factory.mktemp('warm')
  config = countdown.get_config('pretrain')
  config.model.update(num_layers=1)
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
  config = shrunk(config, **(SMALL | changes))
  config.unlock()
  config.model.num_layers = 1
  return config


@pytest.mark.parametrize('name', methods.METHODS)
def test_every_method_takes_three_steps(name, warm_start, one_sampler, tmp_path):
  config = tiny(methods.get_config(name), init=str(warm_start), **EASED.get(name, {}))
  run = build.rollout_run(config, tmp_path / 'run')
  state, start = run.state, jax.device_get(run.state.params)
  for step in range(3):
    batch = run.collect(step, state).batch
    state, metrics = run.update(state, run.reference, batch)
    assert float(metrics['skipped']) == 0
    assert all(
      np.isfinite(np.asarray(value)).all() for key, value in metrics.items() if key != 'kl_limits'
    )
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), start, jax.device_get(state.params))
  assert 0 < max(jax.tree.leaves(moved)) < 1
  run.checkpointer.close()


@pytest.mark.parametrize('project', methods.PARITY)
def test_projects_conventions_are_configs(project):
  config = methods.get_config(f'grpo,{project}')
  assert config.group_normalised.eps == methods.PARITY[project]['group_normalised.eps']


@pytest.mark.parametrize('arg', ['nothing', 'grpo,nobody'])
def test_unknown_methods_and_projects_are_told(arg):
  with pytest.raises(ValueError, match='choose one of'):
    methods.get_config(arg)
