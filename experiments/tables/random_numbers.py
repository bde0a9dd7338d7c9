"""Uniform random numbers from a model that prefers some [Hu et al. 2024, section 3].

python experiments/tables/random_numbers.py --preset=cpu --workdir=runs/random_numbers --check

A model with a habit, KL(uniform || habit) = 3.37 nats as theirs had, is asked for a number from 0
to 100. All of the soft family have the uniform distribution as their optimum; PPO and GRPO have
every distribution over valid numbers. The distance is exact: all 101 responses are scored. The
curves are in `random_numbers.png`.
"""

import pathlib

import ml_collections
import numpy as np

from maxent_lm import build as runs
from maxent_lm.analysis import compare, plots, tables

SEEDS = {'smoke': 1, 'cpu': 3, 'full': 5}
EVERY = 50  # steps between two measurements
NAMES = {
  'tb': 'TB, learned log Z',
  'subtb': 'SubTB(0.9), value head',
  'vargrad': 'VarGrad',
  'soft_q': 'soft_q(0.9)',
  'one_step': 'soft_q(0)',
  'one_step_target': 'soft_q(0), polyak target',
  'ppo': 'PPO',
  'grpo': 'GRPO',
}
PUBLISHED = {
  'habit': 'KL 3.37',
  'SubTB(0.9), value head': 'KL 9.75e-5',
  'PPO': '95.8% valid, skewed',
}
THEIRS = 'theirs: GPT-J, 20,480 samples; ours: 0.1M parameters, 128,000 samples'
REMARK = {
  'habit': 'ours is made to be as far from uniform as theirs',
  'SubTB(0.9), value head': f'{THEIRS}; KL exact in ours',
  'PPO': THEIRS,
}
MEASURED = ('kl', 'valid', 'entropy', 'total_variation')
COLUMNS = ('policy', 'seeds', *MEASURED, 'published', 'remark')
LABELS = {'kl': 'KL(uniform || policy), nats', 'outside': 'probability of no number'}


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains what is missing: a habit a seed, and every objective from there."""
  rows, curves = [], {}
  for seed in range(SEEDS[preset]):
    habit = workdir / f'habit_{seed}'
    if not (habit / 'model').exists():
      runs.demonstration_run(make_config(preset, seed, 'pretrain'), habit).train()
    for name, shown in NAMES.items():
      config = make_config(preset, seed, name, init=str(habit / 'model'))
      curve = compare.finished_curve(config, workdir / f'{name}_{seed}', every=EVERY)
      curves.setdefault(shown, curve)
      if name == 'tb':
        rows.append({'policy': 'habit', **row(curve[0])})
      rows.append({'policy': shown, **row(curve[-1])})
  plots.distances(workdir / 'random_numbers.png', curves, LABELS)
  merged = tables.over_seeds(rows, by=('policy',), measured=MEASURED)
  for line in merged:
    line.update(published=PUBLISHED.get(line['policy']), remark=REMARK.get(line['policy']))
  note = (
    'Exact, in nats: KL(uniform || policy), probability of a valid number, entropy among the valid '
    f'ones (uniform: {np.log(101):.3f}), total variation. Mean ± standard deviation over seeds.'
  )
  return tables.Table(COLUMNS, merged, note, gates(rows) if preset != 'smoke' else [])


def row(point: dict[str, float]) -> dict[str, float]:
  """What is shown of a point of a curve."""
  return {**point, 'valid': 1 - point['outside']}


def gates(rows: list[dict]) -> list[tables.Gate]:
  """Whole responses and suffixes reach uniform; reward alone does not."""

  def mean(name: str, key: str = 'kl') -> float:
    return float(np.mean([row[key] for row in rows if row['policy'] == name]))

  near = [
    tables.Gate(f'{name}: KL below 0.05', mean(name) < 0.05)
    for name in ('TB, learned log Z', 'VarGrad', 'soft_q(0.9)')
  ]
  far = [
    tables.Gate(f'{name}: valid, and KL above 1', mean(name, 'valid') > 0.95 and mean(name) > 1)
    for name in ('PPO', 'GRPO')
  ]
  return [*near, *far]


def make_config(preset: str, seed: int, name: str, *, init: str = '') -> ml_collections.ConfigDict:
  """The habit, or an objective that starts from it."""
  from configs import random_numbers

  config = random_numbers.get_config(name)
  config.update(seed=seed, init=init)
  if preset == 'smoke':
    config.update(steps=3)
  return config


if __name__ == '__main__':
  tables.script('random_numbers', build)
