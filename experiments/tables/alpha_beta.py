"""The plane of alpha and beta on Countdown: where a policy collapses, and where it babbles.

python experiments/tables/alpha_beta.py --preset=cpu --workdir=runs/tables/alpha_beta

Heat maps of accuracy, coverage and KL (alpha_beta.png); the sweep is configs/sweeps/alpha_beta.py.
"""

import pathlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from maxent_lm.analysis import planes, plots, sweep, swept, tables

SWEPT = swept.options()
NOTE = (
  'VarGrad at fixed alpha and beta from one warm start a seed. A policy collapses with less than '
  "half of the start's entropy, and babbles where it has more entropy than the start and is "
  'right less often. Mean ± half the width of the 95% interval (Student) over seeds, or the one '
  'seed there is; entropy in nats a token, KL to the start in nats a response.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing and draws the plane."""
  found = SWEPT({'countdown': f'configs/sweeps/alpha_beta.py:{preset}'}, workdir)
  k = max((row['samples'] for row in found.rows), default=1)
  shown = ('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'semantic_entropy', 'kl')
  merged = tables.over_seeds(
    found.rows, by=('point', 'alpha', 'beta'), measured=shown, spread=tables.student
  )
  start = means([row for row in found.rows if row['point'] == sweep.START])
  runs = [row for row in found.rows if row['point'] != sweep.START]
  for row in merged:
    same = [each for each in runs if each['point'] == row['point']]
    row['region'] = planes.region(means(same), start) if same and start else None
  if runs and start:
    draw(workdir / 'alpha_beta.png', runs, start, ('pass@1', f'coverage@{k}', 'kl'))
  columns = ('point', 'seeds', *shown, 'region')
  return tables.Table(columns, merged, NOTE, found.gates())


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """The mean of every number."""
  if not rows:
    return {}
  numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
  return {name: float(np.mean([row[name] for row in rows if name in row])) for name in numbers}


def draw(
  path: pathlib.Path,
  rows: Sequence[Mapping[str, Any]],
  start: Mapping[str, float],
  measures: Sequence[str],
) -> None:
  """A heat map a measure, beta to the right and alpha upwards."""
  alphas, betas = (sorted({round(row[knob], 6) for row in rows}) for knob in ('alpha', 'beta'))
  cells = {
    (i, j): means([row for row in rows if close(row, alpha, beta)])
    for i, alpha in enumerate(alphas)
    for j, beta in enumerate(betas)
  }
  panels = []
  for measure in measures:
    values = np.full((len(alphas), len(betas)), np.nan)
    regions = {name: np.zeros(values.shape, bool) for name in planes.MARKS}
    for cell, mean in cells.items():
      values[cell] = mean.get(measure, np.nan)
      if mean and (name := planes.region(mean, start)):
        regions[name][cell] = True
    shown = {'x': ('beta', betas), 'y': ('alpha', alphas), 'title': measure, 'regions': regions}
    panels.append(partial(planes.heat_map, values=values, **shown))
  plots.panels(path, *panels)


def close(row: Mapping[str, Any], alpha: float, beta: float) -> bool:
  """Whether the run is at this point."""
  return abs(row['alpha'] - alpha) < 1e-6 and abs(row['beta'] - beta) < 1e-6


if __name__ == '__main__':
  tables.script('alpha_beta', build)
