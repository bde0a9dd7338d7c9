"""Accuracy as a function of entropy, R = -a exp(H) + b, fitted over training; who leaves it.

python experiments/tables/entropy_law.py --preset=cpu --workdir=runs/tables/entropy_law

[Cui et al. 2025] find it for policy gradients without an entropy term: accuracy is bought with
entropy and ends at b - a. The sweep is configs/sweeps/entropy_law.py; every point of a fit is the
mean over a twentieth of a run, of its samples' accuracy and entropy. Points over the law of
GRPO have more accuracy than GRPO for the same entropy. The curves are in entropy_law.png.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maxent_lm.analysis import entropy_law, plots, sweep, swept, tables
from maxent_lm.train import metrics

if TYPE_CHECKING:
  from matplotlib.axes import Axes

SWEPT = swept.options()
LAW = 'GRPO'  # whose law the others are held against
PARTS = 20  # of a run, a point each; one step a part where it is shorter
PUBLISHED = {LAW: 'holds'}  # [Cui et al. 2025], a law for every model of 0.5B to 32B
COLUMNS = (
  *('objective', 'points', 'a', 'b', 'ceiling b - a', 'rms residual', 'R^2'),
  *('over GRPO, mean', 'seed by seed', 'second half', 'published'),
)
NOTE = (
  'Each point is the mean over a twentieth of a run: accuracy of the training samples and entropy, '
  "nats a token. a, b: the least squares of the objective's own points, all seeds together. Over "
  "GRPO: accuracy minus what GRPO's law says for the same entropy, also where GRPO has not been: "
  'the mean of all points, of each seed, and of the second half of each seed.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing, and fits."""
  found = SWEPT({'countdown': f'configs/sweeps/entropy_law.py:{preset}'}, workdir)
  curves: dict[str, list[np.ndarray]] = {}
  for row in found.rows:
    if row['point'] != sweep.START:
      curves.setdefault(row['point'], []).append(curve(row['workdir']))
  points = {name: np.concatenate(each, axis=1) for name, each in curves.items()}
  laws = {name: entropy_law.fit(*each) for name, each in points.items()}
  rows = [fitted(name, laws, curves[name]) for name in laws]
  if points:
    plots.panels(workdir / 'entropy_law.png', lambda axes: draw(axes, points, laws))
  return tables.Table(COLUMNS, rows, NOTE, found.gates())


def curve(workdir: pathlib.Path) -> np.ndarray:
  """[2, parts] entropy and accuracy over a run."""
  lines = metrics.read_metrics(workdir / 'metrics.jsonl')
  width = max(1, len(lines) // PARTS)
  return np.stack(
    [
      entropy_law.averaged(np.array([line[name] for line in lines]), width)
      for name in ('entropy', 'success')
    ]
  )


def fitted(
  name: str, laws: Mapping[str, entropy_law.Law], curves: Sequence[np.ndarray]
) -> dict[str, Any]:
  """A row: the objective's own law, and how far each seed is over GRPO's."""
  law, points = laws[name], np.concatenate(curves, axis=1)
  own = law.residuals(*points)
  row = {
    'objective': name,
    'points': points.shape[1],
    **{'a': law.a, 'b': law.b, 'ceiling b - a': law.ceiling},
    **{'rms residual': entropy_law.rms(own), 'R^2': entropy_law.explained(own, points[1])},
    'published': PUBLISHED.get(name),
  }
  if LAW not in laws:
    return row
  over = [laws[LAW].residuals(*each) for each in curves]
  return row | {
    'over GRPO, mean': float(np.mean(np.concatenate(over))),
    'seed by seed': ', '.join(f'{np.mean(each):.3f}' for each in over),
    'second half': ', '.join(f'{np.mean(each[len(each) // 2 :]):.3f}' for each in over),
  }


def draw(
  axes: 'Axes', points: Mapping[str, np.ndarray], laws: Mapping[str, entropy_law.Law]
) -> None:
  """The points of every objective, with its law as a line."""
  for (name, each), (colour, marker, line) in zip(points.items(), plots.STYLES, strict=False):
    axes.scatter(*each, s=18, color=colour, marker=marker, label=name)
    across = np.linspace(each[0].min(), each[0].max(), 50)
    axes.plot(across, laws[name](across), line, color=colour)
  axes.set(xlabel='entropy, nats a token', ylabel='accuracy of the samples')
  axes.grid(alpha=0.3)
  axes.legend(fontsize=8)


if __name__ == '__main__':
  tables.script('entropy_law', build)
