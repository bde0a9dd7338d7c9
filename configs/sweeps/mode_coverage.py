"""Mode coverage as ModeBench has it: Countdown and graph colouring, 8 samples a problem.

python experiments/sweep.py --sweep=configs/sweeps/mode_coverage.py:countdown,cpu --workdir=runs/c

The argument is TASK,PRESET[,FOLDER], FOLDER a model that all seeds start from. Countdown is that of
ModeBench [Daliberti 2026, maxent-grpo]: three or four numbers up to 12, 4 to 32 solutions; graphs
are those of configs/graph_coloring.py.
"""

import functools
from typing import Any

import ml_collections

from configs import countdown, graph_coloring, methods
from configs.sweeps import warm
from maxent_lm.analysis import sweep

TASKS = {'countdown': countdown.get_config, 'graph_coloring': graph_coloring.get_config}
METHODS = {
  'Dr. GRPO': 'dr_grpo',
  'Dr. GRPO, entropy bonus': 'dr_grpo',
  'SEED-GRPO': 'seed_grpo',
  'pass@k advantages': 'pass_at_k',
}
SOFT: dict[str, dict[str, Any]] = {
  'VarGrad, beta = 0.05': {'temperature.beta': 0.05},
  'VarGrad, beta = 0.2': {'temperature.beta': 0.2},
}
PRESETS = {
  'smoke': warm.Size(seeds=1, steps=2, prompts=4, warm_steps=4, problems=8, samples=8, layers=1),
  'cpu': warm.Size(seeds=1, steps=80, prompts=32, warm_steps=0, problems=96, samples=8),
  'full': warm.Size(seeds=3, steps=200, prompts=32, warm_steps=0, problems=256, samples=8),
}


def base(task: str, variant: str) -> ml_collections.ConfigDict:
  """A config of the task, with ModeBench's problems."""
  config = TASKS[task](variant)
  if task == 'countdown':
    config.countdown.update(num_numbers=(3, 4), max_number=12, min_modes=4, max_modes=32)
    config.batch.update(max_new_tokens=16, prompt_multiple=16)
    if variant == 'pretrain':
      config.steps = 1000
  return config


def make_config(
  task: str, size: warm.Size, folder: str, point: sweep.Point, seed: int, init: str
) -> ml_collections.ConfigDict:
  """The warm start of a seed, or a method from there."""
  if point.name == sweep.START:
    return warm.start(base(task, 'pretrain'), size, seed=seed, folder=folder)
  if point.name in SOFT:
    config = base(task, 'soft_q')
    config.algorithm = 'vargrad'
    config.temperature.update(alpha=0.0, alpha_control='fixed', beta_control='fixed')
  else:
    config = base(task, 'grpo')
    config.temperature.update(alpha=0.0, beta=0.0)
    config.update_from_flattened_dict(dict(methods.METHODS[METHODS[point.name]].changes))
  warm.run(config, size, name=point.name, seed=seed, init=init)
  config.update_from_flattened_dict(dict(point.changes))
  return config


def get_sweep(arg: str = 'countdown,cpu') -> sweep.Sweep:
  """`arg`: TASK,PRESET[,FOLDER]."""
  task, _, rest = arg.partition(',')
  if task not in TASKS:
    raise ValueError(
      f'configs/sweeps/mode_coverage.py:{arg} is unknown; choose a task of {", ".join(TASKS)}'
    )
  size, folder = warm.parsed(rest, PRESETS, 'mode_coverage')
  changes = {name: {} for name in METHODS}
  changes['Dr. GRPO, entropy bonus'] = {'temperature.alpha': 0.01}
  return sweep.Sweep(
    name=f'mode_coverage_{task}',
    config=functools.partial(make_config, task, size, folder),
    points=sweep.listed({**changes, **SOFT}),
    seeds=size.seeds,
    measured=('pass@8', 'pass@1', 'coverage@8', 'distinct@8'),
    plane=('pass@1', 'coverage@8'),
    note='Mode coverage.',
  )
