"""Off-policy replay on Countdown: which share of a batch is replayed, and how old it is.

python experiments/sweep.py --sweep=configs/sweeps/replay_staleness.py:cpu --workdir=runs/replay

The argument is PRESET[,FOLDER], FOLDER a model that all seeds start from. An update always has as
many groups; a ring that holds the fresh groups of `window` steps makes what is drawn from it
window / 2 steps old on average.
"""

import functools

import ml_collections

from configs import countdown
from configs.sweeps import warm
from maxent_lm.analysis import sweep

SHARES = (0.25, 0.5, 0.75)  # of the groups of a batch that are replayed
WINDOWS = (2, 8, 32)  # steps
OBJECTIVES = {'VarGrad': 'vargrad', 'GRPO': 'grpo'}
PRESETS = {
  'smoke': warm.Size(seeds=1, steps=3, prompts=4, warm_steps=4, problems=8, samples=4, layers=1),
  'cpu': warm.Size(seeds=1, steps=60, prompts=32, warm_steps=0, problems=128, samples=16),
  'full': warm.Size(seeds=3, steps=200, prompts=64, warm_steps=0, problems=256, samples=16),
}


def replayed(groups: int) -> sweep.Points:
  """On-policy, and every share with every window, of batches of so many groups."""
  points = {'on-policy': {}}
  for share in SHARES:
    old = round(share * groups)
    for window in WINDOWS:
      points[f'{share:g} from {window} steps'] = {
        **{'replay.kind': 'fifo', 'replay.prompts': old, 'batch.prompts': groups - old},
        'replay.capacity': (groups - old) * window,
      }
  return sweep.listed(points)


def make_config(
  size: warm.Size, folder: str, point: sweep.Point, seed: int, init: str
) -> ml_collections.ConfigDict:
  """The warm start of a seed, or an objective with its replay from there."""
  if point.name == sweep.START:
    return warm.start(countdown.get_config('pretrain'), size, seed=seed, folder=folder)
  objective, _, _ = point.name.partition(', ')
  config = countdown.get_config(OBJECTIVES[objective])
  warm.run(config, size, name=point.name, seed=seed, init=init)
  if objective == 'VarGrad':
    config.temperature.update(alpha=0.0, alpha_control='fixed', beta=0.1, beta_control='fixed')
  config.update_from_flattened_dict(dict(point.changes))
  return config


def get_sweep(arg: str = 'cpu') -> sweep.Sweep:
  """`arg`: PRESET[,FOLDER]."""
  size, folder = warm.parsed(arg, PRESETS, 'replay_staleness')
  objectives = sweep.listed({name: {} for name in OBJECTIVES})
  return sweep.Sweep(
    name='replay_staleness',
    config=functools.partial(make_config, size, folder),
    points=sweep.product(objectives, replayed(size.prompts)),
    seeds=size.seeds,
    measured=('pass@1', f'coverage@{size.samples}', 'entropy', 'kl'),
    plane=('pass@1', f'coverage@{size.samples}'),
    note='Off-policy replay.',
  )
