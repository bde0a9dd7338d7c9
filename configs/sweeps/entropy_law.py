"""Objectives whose accuracy is followed over their entropy, on Countdown.

python experiments/sweep.py --sweep=configs/sweeps/entropy_law.py:cpu --workdir=runs/entropy_law

The argument is PRESET[,FOLDER], FOLDER a model that all seeds start from. GRPO without KL and
without an entropy bonus is what the law was found on; one more with a bonus, one with KL-Cov, and
two soft objectives at kappa = beta = 0.1.
"""

import functools
from typing import Any

import ml_collections

from configs import countdown, methods
from configs.sweeps import warm
from maxent_lm.analysis import sweep

POLICY_GRADIENTS: dict[str, tuple[str, dict[str, Any]]] = {
  'GRPO': ('grpo', {'temperature.beta': 0.0}),
  'GRPO, entropy bonus': ('entropy_bonus', {'temperature.alpha': 0.01}),
  'KL-Cov': ('kl_cov', {}),
}
SOFT = {'VarGrad': 'vargrad', 'soft_q(0.9)': 'soft_q'}
PRESETS = {
  'smoke': warm.Size(seeds=1, steps=8, prompts=4, warm_steps=4, problems=8, samples=4, layers=1),
  'cpu': warm.Size(seeds=1, steps=100, prompts=32, warm_steps=0, problems=64, samples=8),
  'full': warm.Size(seeds=3, steps=250, prompts=64, warm_steps=0, problems=256, samples=16),
}


def make_config(
  size: warm.Size, folder: str, point: sweep.Point, seed: int, init: str
) -> ml_collections.ConfigDict:
  """The warm start of a seed, or an objective from there."""
  if point.name == sweep.START:
    return warm.start(countdown.get_config('pretrain'), size, seed=seed, folder=folder)
  if point.name in SOFT:
    config = countdown.get_config(SOFT[point.name])
    config.temperature.update(alpha=0.0, alpha_control='fixed', beta=0.1, beta_control='fixed')
  else:
    config = methods.get_config(POLICY_GRADIENTS[point.name][0])
  warm.run(config, size, name=point.name, seed=seed, init=init)
  config.update_from_flattened_dict(dict(point.changes))
  return config


def get_sweep(arg: str = 'cpu') -> sweep.Sweep:
  """`arg`: PRESET[,FOLDER]."""
  size, folder = warm.parsed(arg, PRESETS, 'entropy_law')
  changes = {name: changes for name, (_, changes) in POLICY_GRADIENTS.items()}
  return sweep.Sweep(
    name='entropy_law',
    config=functools.partial(make_config, size, folder),
    points=sweep.listed({**changes, **{name: {} for name in SOFT}}),
    seeds=size.seeds,
    measured=('pass@1', f'coverage@{size.samples}', 'entropy', 'kl'),
    plane=('entropy', 'pass@1'),
    note='Accuracy over entropy.',
  )
