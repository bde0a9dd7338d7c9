"""The plane of the two knobs on Countdown: VarGrad at fixed alpha and beta.

python experiments/sweep.py --sweep=configs/sweeps/alpha_beta.py:cpu --workdir=runs/alpha_beta

The argument is PRESET[,FOLDER], FOLDER a model that all seeds start from.
"""

import functools

import ml_collections

from configs import countdown
from configs.sweeps import warm
from maxent_lm.analysis import sweep

ALPHAS = (0.0, 0.01, 0.03, 0.1)  # reward units per nat
BETAS = (0.0, 0.02, 0.05, 0.1, 0.2)
PRESETS = {
  'smoke': warm.Size(seeds=1, steps=2, prompts=4, warm_steps=4, problems=8, samples=4, layers=1),
  'cpu': warm.Size(seeds=1, steps=40, prompts=32, warm_steps=0, problems=128, samples=16),
  'full': warm.Size(seeds=3, steps=150, prompts=32, warm_steps=0, problems=256, samples=16),
}


def make_config(
  size: warm.Size, folder: str, point: sweep.Point, seed: int, init: str
) -> ml_collections.ConfigDict:
  """The warm start of a seed, or a point of the plane from there."""
  if point.name == sweep.START:
    return warm.start(countdown.get_config('pretrain'), size, seed=seed, folder=folder)
  config = countdown.get_config('vargrad')
  warm.run(config, size, name=point.name, seed=seed, init=init)
  config.temperature.update(alpha_control='fixed', beta_control='fixed')
  config.update_from_flattened_dict(dict(point.changes))
  return config


def get_sweep(arg: str = 'cpu') -> sweep.Sweep:
  """`arg`: PRESET[,FOLDER]. Without the corner of no temperature at all, where nothing is learned.

  (The residual of VarGrad is r - kappa log pi: at kappa = 0 it does not depend on the policy.)
  """
  size, folder = warm.parsed(arg, PRESETS, 'alpha_beta')
  plane = sweep.product(
    sweep.over('temperature.alpha', ALPHAS), sweep.over('temperature.beta', BETAS)
  )
  return sweep.Sweep(
    name='alpha_beta',
    config=functools.partial(make_config, size, folder),
    points=tuple(point for point in plane if any(point.changes.values())),
    seeds=size.seeds,
    measured=('pass@1', f'coverage@{size.samples}', 'entropy', 'kl'),
    plane=('pass@1', f'coverage@{size.samples}'),
    note='VarGrad at fixed alpha and beta.',
  )
