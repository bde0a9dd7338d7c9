"""Sampling a factor graph of 4,096 states with a language model [Deleu et al. 2024].

python experiments/tables/treesample.py --preset=cpu --workdir=runs/tables/treesample --check

Six variables of four categories, written in a fixed order: strings form a tree, the backward policy
P_B is 1 and its term vanishes, and every objective of the soft family has pi(x) = exp(-E(x)) / Z as
its optimum. Distances are exact, over all 4,096 assignments; a seed is another graph. The curves
are in `treesample.png`.
"""

import pathlib

import ml_collections
import numpy as np

from maxent_lm import build as runs
from maxent_lm.analysis import compare, plots, tables

SEEDS = {'smoke': 1, 'cpu': 3, 'full': 10}
EVERY = 100  # steps between two measurements
NAMES = {
  'tb': 'TB, learned log Z',
  'subtb': 'SubTB(0.9), value head',
  'vargrad': 'VarGrad',
  'soft_q': 'soft_q(0.9)',
  'one_step': 'soft_q(0)',
  'one_step_target': 'soft_q(0), polyak target',
  'pcl': 'PCL, unified',
  'sac': 'SAC',
}
# At most this share of the start's distance is left after 1,500 steps.
REACH = {'TB, learned log Z': 0.1, 'VarGrad': 0.1, 'soft_q(0.9)': 0.5, 'PCL, unified': 0.5}
THEIRS = 'theirs: any order of the variables, 100,000 steps, target reset every 1,000'
REMARK = dict.fromkeys(('TB, learned log Z', 'PCL, unified', 'SAC', 'soft_q(0)'), THEIRS)
MEASURED = ('kl', 'reverse_kl', 'jsd', 'total_variation', 'outside')
COLUMNS = ('policy', 'seeds', *MEASURED, 'published', 'remark')
LABELS = {'kl': 'KL(target || policy), nats', 'jsd': 'Jensen-Shannon divergence, nats'}


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains what is missing: a start a seed, and every objective from there."""
  rows, curves = [], {}
  for seed in range(SEEDS[preset]):
    start = workdir / f'start_{seed}'
    if not (start / 'model').exists():
      runs.demonstration_run(make_config(preset, seed, 'pretrain'), start).train()
    for name, shown in NAMES.items():
      config = make_config(preset, seed, name, init=str(start / 'model'))
      curve = compare.finished_curve(config, workdir / f'{name}_{seed}', every=EVERY)
      curves.setdefault(shown, curve)
      if name == 'tb':
        rows.append({'policy': 'start', **curve[0]})
      rows.append({'policy': shown, **curve[-1]})
  plots.distances(workdir / 'treesample.png', curves, LABELS)
  merged = tables.over_seeds(rows, by=('policy',), measured=MEASURED)
  for line in merged:
    known = line['policy'] in REMARK
    line.update(published='curves only' if known else None, remark=REMARK.get(line['policy']))
  note = (
    'Exact, in nats: KL(target || policy), KL(policy || target) among the assignments, '
    'Jensen-Shannon divergence, total variation, probability of no assignment (optimum: 1e-6). '
    'Mean ± standard deviation over seeds.'
  )
  return tables.Table(COLUMNS, merged, note, gates(rows) if preset != 'smoke' else [])


def gates(rows: list[dict]) -> list[tables.Gate]:
  """Whole responses come near the target, values from the logits get on their way."""

  def mean(name: str) -> float:
    return float(np.mean([row['kl'] for row in rows if row['policy'] == name]))

  return [
    tables.Gate(
      f'{name}: at most {share:g} of the distance of the start', mean(name) < share * mean('start')
    )
    for name, share in REACH.items()
  ]


def make_config(preset: str, seed: int, name: str, *, init: str = '') -> ml_collections.ConfigDict:
  """The uniform start, or an objective from there, on the graph that the seed draws."""
  from configs import treesample

  config = treesample.get_config(name)
  config.update(seed=seed, init=init)
  config.treesample.seed = seed
  if preset == 'smoke':
    config.update(steps=3)
  return config


if __name__ == '__main__':
  tables.script('treesample', build)
