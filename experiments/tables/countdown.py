"""Accuracy against mode coverage on Countdown: the quickstart over seeds, and along kappa.

python experiments/tables/countdown.py --preset=cpu --workdir=runs/tables/countdown

Each seed has its own warm start. From it start GRPO, VarGrad and soft Q(0.9) with both temperatures
learned, and VarGrad at fixed kappa = beta. Writes `countdown.csv` (one line a run) and
`countdown.md` (mean and standard deviation over seeds). Killed and started again it goes on; runs
that are finished are not repeated.
"""

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import compare, tables
from maxent_lm.train import folder

WORKDIR = flags.DEFINE_string('workdir', 'runs/tables/countdown', 'Folder for all runs.')
PRESET = flags.DEFINE_enum('preset', 'cpu', ['smoke', 'cpu'], 'smoke: two steps a run, one seed.')

KAPPAS = (0.4, 0.1, 0.025)
MEASURED = ('pass@1', 'pass@16', 'coverage@16', 'distinct@16', 'entropy', 'kl', 'alpha', 'beta')


def main(_: list[str]) -> None:
  """Runs what is missing and writes the table."""
  workdir = pathlib.Path(WORKDIR.value)
  seeds = range(1 if PRESET.value == 'smoke' else 3)
  rows = [{'seed': seed, **row} for seed in seeds for row in one_seed(workdir, seed)]
  columns = ('seed', 'name', 'objective', *MEASURED, 'steps', 'train_seconds')
  with (workdir / 'countdown.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, columns, extrasaction='ignore')
    writer.writeheader()
    writer.writerows(rows)
  text = tables.markdown(over_seeds(rows), ('name', 'objective', *MEASURED))
  note = f'\n\n{len(seeds)} seeds, mean ± standard deviation; commit {folder.commit()[:12]}.\n'
  (workdir / 'countdown.md').write_text(text + note)
  print(text + note)


def one_seed(workdir: pathlib.Path, seed: int) -> list[dict[str, Any]]:
  """The rows of one seed, all from the same warm start."""
  from configs import countdown

  start = workdir / f'warm_start_{seed}'
  configs = {'warm_start': countdown.get_config('pretrain')}
  configs |= {name: countdown.get_config(name) for name in ('grpo', 'vargrad', 'soft_q')}
  configs |= {f'kappa_{kappa:g}': fixed_kappa(kappa) for kappa in KAPPAS}
  rows = []
  for name, config in configs.items():
    config.update(name=name, seed=seed)
    config.init = '' if name == 'warm_start' else str(start / 'model')
    if PRESET.value == 'smoke':
      config.steps = 2
      config.eval.update(problems=8, prompts=8)
    rows.append(compare.finished_row(config, workdir / f'{name}_{seed}'))
  return rows


def fixed_kappa(kappa: float) -> ml_collections.ConfigDict:
  """VarGrad with a fixed KL temperature and no entropy bonus."""
  from configs import countdown

  config = countdown.get_config('vargrad')
  config.temperature.update(alpha=0.0, alpha_control='fixed', beta=kappa, beta_control='fixed')
  return config


def over_seeds(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """One row a name: 'mean ± standard deviation' of what was measured."""
  names = dict.fromkeys(row['name'] for row in rows)
  return [_summary([row for row in rows if row['name'] == name]) for name in names]


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
  summary = {'name': rows[0]['name'], 'objective': rows[0]['objective']}
  for key in MEASURED:
    values = np.array([row[key] for row in rows])
    summary[key] = f'{values.mean():.3f} ± {values.std(ddof=len(values) > 1):.3f}'
  return summary


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
