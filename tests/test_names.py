"""What is not in the package's tables takes part in a run that is handed larger ones."""

import copy
import json

import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict
from tiny_runs import tiny_config

from maxent_lm import build, masked
from maxent_lm.build import NAMES
from maxent_lm.build.tasks import make_task
from maxent_lm.tasks.base import Problem
from maxent_lm.temperature import fixed
from maxent_lm.train.metrics import read_metrics


class Echo:
  """Say the digit again, `times` times."""

  def __init__(self, split, *, times):
    self.digits = '13579' if split == 'train' else '02468'
    self.times = times

  def __len__(self):
    return len(self.digits)

  def __getitem__(self, index):
    digit = self.digits[index]
    return Problem(id=digit, prompt=f'{digit}:', answer=digit * self.times, data=None)

  def reward(self, problem, response, finished):
    return float(finished and response == problem.answer)

  def cluster(self, problem, response):
    return response

  def modes(self, problem):
    return 1

  def demonstration(self, problem, rng):
    return problem.answer


def square(views, batch, temperature, *, scale):
  return jnp.where(batch.mask, scale * views.policy.logp**2, 0), {
    'seen': masked.masked_sum(batch.reward, batch.mask)
  }


def sevens(batch, views, *, reward):
  del views
  return batch._replace(reward=jnp.where(masked.last_action(batch.mask), reward, 0))


def halved(initial, *, times):
  return fixed(initial / 2**times)


OWN = NAMES._replace(
  tasks={**NAMES.tasks, 'echo': Echo},
  losses={**NAMES.losses, 'square': square},
  transforms={**NAMES.transforms, 'sevens': sevens},
  controllers={**NAMES.controllers, 'halved': halved},
)


@pytest.fixture
def config():
  config = copy.deepcopy(tiny_config(steps=2)).unlock()
  config.update(task='echo', algorithm='square', transforms=('sevens',))
  config.update(echo={'times': 2}, square={'scale': 0.5}, sevens={'reward': 7.0})
  config.temperature.update(alpha=0.4, alpha_control='halved')
  config.alpha.halved = ConfigDict({'times': 2})
  return config.lock()


def test_a_run_of_nothing_but_your_own(config, tmp_path):
  run = build.rollout_run(config, tmp_path / 'run', names=OWN)
  assert isinstance(run.collect.reader.task, Echo)
  state = run.train()
  assert float(state.alpha.value) == pytest.approx(0.1)
  rows = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert [row['seen'] for row in rows] == [7 * 8] * 2  # 4 prompts x 2 samples
  assert json.loads((tmp_path / 'run' / 'config.json').read_text())['echo'] == {'times': 2}
  table = build.make_evaluation(config, run.policy, names=OWN)(state.params, None)
  assert table['problems'] == 5


def test_your_own_task_among_others(config):
  config = copy.deepcopy(config).unlock()
  config.mixture.tasks = ('echo', 'countdown')
  assert len(make_task(config, split='test', name='mixture', names=OWN)) > 5


def test_demonstrations_of_your_own_task(config, tmp_path):
  config = copy.deepcopy(config).unlock()
  config.update(algorithm='imitation', transforms=(), reference='none')
  config.temperature.update(alpha=0.0, beta=0.0, alpha_control='fixed', beta_control='fixed')
  build.demonstration_run(config, tmp_path / 'run', names=OWN).train()


@pytest.mark.parametrize('name', ['echo', 'square', 'sevens', 'halved'])
def test_unknown_names_list_yours_and_ours_stay_as_they_were(config, name, tmp_path):
  with pytest.raises(ValueError, match='is unknown; choose one of'):
    build.rollout_run(config, tmp_path / 'run')
  assert not any(name in table for table in NAMES)
  lost = OWN._replace(
    **{
      field: {key: each for key, each in table.items() if key != name}
      for field, table in OWN._asdict().items()
    }
  )
  with pytest.raises(ValueError, match=f"='{name}' is unknown; choose one of"):
    build.rollout_run(config, tmp_path / 'run', names=lost)
  assert not (tmp_path / 'run').exists()
