"""Tasks of tasks by a config: sections are found, wrong names told, a curriculum is trained on."""

import json

import numpy as np
import pytest
from tiny_runs import tiny_config

from configs import arithmetic, base, graph_coloring, list_functions
from maxent_lm import build
from maxent_lm.build.tasks import make_task
from maxent_lm.tasks import TASKS
from maxent_lm.tasks.curriculum import Curriculum


@pytest.fixture
def config():
  config = base.get_config()
  config.arithmetic.size = 20
  config.countdown.update(max_number=8, min_modes=1)
  return config


def test_every_task_has_a_section():
  assert not set(TASKS) - set(base.get_config())


def test_a_mixture_by_its_sections(config):
  config.task = 'mixture'
  config.mixture.weights = (1, 3)
  task = make_task(config, split='train')
  assert [task[i].id.split('/')[0] for i in range(8)].count('arithmetic') == 6
  config.mixture.tasks = ('arithmetic',)
  config.mixture.weights = ()
  assert len(make_task(config, split='test')) == 20


def test_a_curriculum_varies_one_key(config):
  config.task = 'curriculum'
  config.curriculum.update(key='max_number', settings=(6, 8), starts=(0, 3))
  task = make_task(config, split='train')
  assert isinstance(task, Curriculum)
  largest = [max(max(task[i].data[1].data.numbers) for i in task.pool(step)) for step in (0, 3)]
  assert largest == [6, 8]
  test = make_task(config, split='test')
  config.task = 'countdown'
  last = make_task(config, split='test')
  assert [test[i] for i in range(len(test))] == [last[i] for i in range(len(last))]


def test_a_curriculum_of_mixtures(config):
  config.task = 'curriculum'
  config.curriculum.update(
    task='mixture', key='weights', settings=((9, 1), (1, 1)), starts=(0, 1), keep=True
  )
  assert len(make_task(config, split='train').pool(1)) > len(make_task(config, split='test'))


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'task': 'mixtur'}, "config.task='mixtur' is unknown; choose one of aqua_rat"),
    ({'mixture.tasks': ('countdwn',)}, "config.mixture.tasks='countdwn' is unknown"),
    ({'mixture.tasks': ('curriculum',)}, 'may not have curriculum or mixture among them'),
    ({'mixture.tasks': ()}, 'a mixture of 0 tasks'),
    ({'task': 'curriculum', 'curriculum.task': 'curriculum'}, 'would never end'),
    ({'task': 'curriculum', 'curriculum.task': 'x'}, "config.curriculum.task='x' is unknown"),
    ({'task': 'curriculum', 'curriculum.key': 'digits'}, 'is no key of config.countdown'),
    ({'task': 'curriculum', 'curriculum.starts': (1, 2)}, 'ascending from 0'),
  ],
)
def test_wrong_names_are_told(config, changes, sentence):
  config.task = 'mixture'
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=sentence):
    make_task(config, split='train')


def test_training_on_a_curriculum_changes_stage_at_its_step(tmp_path):
  run_config = tiny_config('soft_q', steps=2)
  run_config.task = 'curriculum'
  run_config.samples_every = 1
  run_config.curriculum.update(key='max_number', settings=(6, 8), starts=(0, 1))
  run_config.countdown.update(min_modes=1)
  build.rollout_run(run_config, tmp_path / 'run').train()
  rows = [json.loads(line) for line in (tmp_path / 'run' / 'samples.jsonl').open()]
  largest: dict[int, int] = {}
  for row in rows:
    numbers = map(int, row['prompt'].split('=')[0].split(','))
    largest[row['step']] = max(largest.get(row['step'], 0), *numbers)
  assert max(largest[min(largest)], 0) <= 6


@pytest.mark.parametrize('module', [arithmetic, graph_coloring, list_functions])
@pytest.mark.parametrize('variant', ['pretrain', 'soft_q', 'grpo'])
def test_configs_build(module, variant, tmp_path):
  config = module.get_config(variant)
  config.mesh.data = 1
  config.model.update(num_layers=1, d_model=16, num_heads=2, num_kv_heads=2, head_dim=8, d_ff=16)
  config.batch.update(prompts=2, group_size=2)
  config[config.task].update({'graphs': 300} if config.task == 'graph_coloring' else {'size': 50})
  make = build.demonstration_run if variant == 'pretrain' else build.rollout_run
  make(config, tmp_path / 'run').checkpointer.close()


@pytest.mark.parametrize('module', [arithmetic, graph_coloring, list_functions])
def test_demonstrations_fit(module):
  """Nothing that the configs ask the model to imitate is cut."""
  config = module.get_config('pretrain')
  task = make_task(config, split='train')
  room = config.batch.max_new_tokens - 1  # the last token is EOS
  rng = np.random.default_rng(0)
  texts = [task.demonstration(task[i], rng) for i in range(0, len(task), 20)]
  assert max(map(len, texts)) <= room
  alphabet = set(config.tokenizer.alphabet)
  assert set(''.join([task[i].prompt for i in range(0, len(task), 20)] + texts)) <= alphabet
  with pytest.raises(ValueError, match='is unknown; choose one of pretrain, soft_q, grpo'):
    module.get_config('ppo')
