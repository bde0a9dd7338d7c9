"""Accuracy against mode coverage on Countdown: the quickstart over seeds, and along kappa.

python experiments/tables/countdown.py --preset=cpu --workdir=runs/tables/countdown

Each seed has its own warm start. From it start GRPO, VarGrad with both temperatures learned, and
VarGrad at fixed kappa = beta. Killed and started again it goes on; runs that are finished are not
repeated.
"""

import pathlib

import ml_collections

from maxent_lm.analysis import compare, tables

KAPPAS = {'kappa_0.4': 0.4, 'kappa_0.025': 0.025}  # VarGrad at a fixed temperature beta
MEASURED = ('pass@1', 'pass@16', 'coverage@16', 'distinct@16', 'entropy', 'kl', 'alpha', 'beta')
NOTE = 'Mean ± standard deviation over seeds; entropy in nats a token, KL in nats a response.'


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing."""
  rows = []
  for name in ('warm_start', 'grpo', 'vargrad', *KAPPAS):
    for seed in range(1 if preset == 'smoke' else 3):
      config = make_config(name, seed, workdir, preset)
      rows.append(compare.finished_row(config, workdir / f'{name}_{seed}'))
  merged = tables.over_seeds(rows, by=('name', 'objective'), measured=MEASURED)
  return tables.Table(('name', 'objective', 'seeds', *MEASURED), merged, NOTE, [])


def make_config(
  name: str, seed: int, workdir: pathlib.Path, preset: str
) -> ml_collections.ConfigDict:
  """The run `name` of a seed; all runs of a seed start from its warm start."""
  from configs import countdown

  variant = 'vargrad' if name in KAPPAS else {'warm_start': 'pretrain'}.get(name, name)
  config = countdown.get_config(variant)
  config.update(name=name, seed=seed)
  if name != 'warm_start':
    config.init = str(workdir / f'warm_start_{seed}' / 'model')
  if name in KAPPAS:
    config.temperature.update(alpha_control='fixed', alpha=0.0)
    config.temperature.update(beta_control='fixed', beta=KAPPAS[name])
  if preset == 'smoke':
    config.steps = 2
    config.eval.update(problems=8, prompts=8)
  return config


if __name__ == '__main__':
  tables.script('countdown', build, presets=('smoke', 'cpu'))
