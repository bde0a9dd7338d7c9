"""Accuracy against mode coverage on Countdown: the quickstart over seeds, and along kappa.

python experiments/tables/countdown.py --preset=cpu --workdir=runs/tables/countdown

Each seed has its own warm start. From it start GRPO, VarGrad with both temperatures learned, and
VarGrad at fixed kappa = beta. Writes `countdown.csv` (one line a run) and
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

KAPPAS = {'kappa_0.4': 0.4, 'kappa_0.025': 0.025}  # VarGrad at a fixed temperature beta
MEASURED = ('pass@1', 'pass@16', 'coverage@16', 'distinct@16', 'entropy', 'kl', 'alpha', 'beta')


def main(_: list[str]) -> None:
  """Runs what is missing; the table is written anew after every run."""
  workdir = pathlib.Path(WORKDIR.value)
  seeds = range(1 if PRESET.value == 'smoke' else 3)
  commit = folder.commit()[:12]  # of the code that runs, not of a later one
  rows = []
  for name in ('warm_start', 'grpo', 'vargrad', *KAPPAS):
    for seed in seeds:
      config = make_config(name, seed, workdir)
      rows.append({'seed': seed, **compare.finished_row(config, workdir / f'{name}_{seed}')})
      text = write(rows, workdir, commit)
  print(text)


def make_config(name: str, seed: int, workdir: pathlib.Path) -> ml_collections.ConfigDict:
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
  if PRESET.value == 'smoke':
    config.steps = 2
    config.eval.update(problems=8, prompts=8)
  return config


def write(rows: Sequence[dict[str, Any]], workdir: pathlib.Path, commit: str) -> str:
  """Writes both files; returns the Markdown."""
  columns = ('seed', 'name', 'objective', *MEASURED, 'steps', 'train_seconds')
  with (workdir / 'countdown.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, columns, extrasaction='ignore')
    writer.writeheader()
    writer.writerows(rows)
  seeds = len({row['seed'] for row in rows})
  note = f'{seeds} seeds, mean ± standard deviation; commit {commit}.\n'
  text = tables.markdown(over_seeds(rows), ('name', 'objective', *MEASURED)) + '\n\n' + note
  (workdir / 'countdown.md').write_text(text)
  return text


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
