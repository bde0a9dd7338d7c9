"""Schedules of alpha on several tasks: accuracy, coverage, entropies, KL, detection and time.

python experiments/tables/alpha_schedules.py --preset=smoke --workdir=runs/tables/alpha_schedules

The schedules are in configs/sweeps/alpha_schedules.py; each task is a sweep in a folder of its
own, and all of them share one pool of processes (`--workers`). Killed and started again it
finishes without repeating finished runs. `--warm_start=TASK=FOLDER` begins from a model that is
there, for all seeds; GSM8K and MBPP (`--preset=h200`) need it, and `--data=TASK=FOLDER`.

Written are alpha_schedules.md, .csv, .tex (booktabs) and .png, and alpha_schedules_runs.csv with
a line a run.
"""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from absl import flags

from maxent_lm.analysis import planes, plots, swept, tables
from maxent_lm.train import folder

NAME = 'alpha_schedules'
TASKS = flags.DEFINE_list('tasks', None, "Some tasks, instead of the preset's.")
SWEPT = swept.options()

SMALL = ('countdown', 'graph_coloring', 'list_functions', 'arithmetic')
PRESETS = {'smoke': SMALL, 'cpu': SMALL, 'h200': ('gsm8k', 'mbpp')}
NOTE = (
  'VarGrad with a fixed beta; `alpha` is its value at the end. Mean ± half the width of the 95% '
  'interval (Student, over seeds); entropy in nats a token, semantic entropy in nats a problem, KL '
  'to the start in nats a response; AUROC: how well high entropy tells a wrong majority answer; '
  'train_seconds: of one run, with what was compiled, unknown where it was interrupted.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing, all tasks in one pool, and shows the rows over seeds."""
  sources = {
    task: f'configs/sweeps/{NAME}.py:{task},{preset}' for task in TASKS.value or PRESETS[preset]
  }
  found = SWEPT(sources, workdir)
  rows = [
    {**row, 'task': row['sweep'], 'schedule': row['point'], 'alpha': settled(row['alpha'])}
    for row in found.rows
  ]
  shown = measured(rows)
  merged = tables.over_seeds(rows, by=('task', 'schedule'), measured=shown, spread=tables.student)
  columns = ('task', 'schedule', 'seeds', *shown)
  folder.write_text(workdir / f'{NAME}.tex', tables.latex(merged, columns))
  write_runs(workdir / f'{NAME}_runs.csv', rows, ('task', 'schedule', 'seed', *shown))
  draw(workdir / f'{NAME}.png', rows, accuracy=shown[0], coverage=shown[2])
  return tables.Table(columns, merged, NOTE, found.gates())


def settled(alpha: float) -> float:
  """To six digits: a schedule that ends at 0 misses it by a rounding of float32."""
  return round(alpha, 6) + 0.0  # and no -0


def measured(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
  """The columns, accuracy first; k is the number of samples of the evaluations."""
  k = max((row['samples'] for row in rows), default=1)
  return (
    *('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'semantic_entropy', 'kl'),
    *('auroc_semantic', 'auroc_token', 'alpha', 'train_seconds'),
  )


def write_runs(
  path: pathlib.Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
  """A line a run, all digits."""
  text = io.StringIO(newline='')
  writer = csv.DictWriter(text, columns, extrasaction='ignore', lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  folder.write_text(path, text.getvalue())


def draw(
  path: pathlib.Path, rows: Sequence[Mapping[str, Any]], *, accuracy: str, coverage: str
) -> None:
  """A panel a task, and what the markers mean."""
  names = list(dict.fromkeys(row['schedule'] for row in rows))
  panel = partial(planes.cloud, by='schedule', names=names, x=accuracy, y=coverage)
  panels = [
    partial(panel, rows=[row for row in rows if row['task'] == task], title=task)
    for task in dict.fromkeys(row['task'] for row in rows)
  ]
  plots.panels(path, *panels, partial(planes.key, names=names))


if __name__ == '__main__':
  tables.script(NAME, build, presets=tuple(PRESETS))
