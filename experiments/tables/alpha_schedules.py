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

from maxent_lm.analysis import planes, plots, pool, sweep, tables

NAME = 'alpha_schedules'
ROOT = pathlib.Path(__file__).parents[2]
TASKS = flags.DEFINE_list('tasks', None, "Some of the preset's tasks; all without.")
SCHEDULES = flags.DEFINE_list('schedules', None, 'Some of the schedules, by name; all without.')
WARM_START = flags.DEFINE_multi_string('warm_start', [], 'TASK=FOLDER of a model to start from.')
DATA = flags.DEFINE_multi_string('data', [], 'TASK=FOLDER of the files of a task.')
SEEDS = flags.DEFINE_integer('seeds', None, "Number of seeds, instead of the preset's.")
WORKERS = flags.DEFINE_integer('workers', 0, 'Runs at a time; 0: one a GPU, else one a core.')

SMALL = ('countdown', 'graph_coloring', 'list_functions', 'arithmetic')
PRESETS = {'smoke': SMALL, 'cpu': SMALL, 'h200': ('gsm8k', 'mbpp')}
NOTE = (
  'VarGrad with a fixed beta; `alpha` is its value at the end. Mean ± half the width of the 95% '
  'interval (Student, over seeds); entropy in nats a token, semantic entropy in nats a problem, KL '
  'to the start in nats a response; AUROC: how well high entropy tells a wrong majority answer; '
  'train_seconds: of one run, with what was compiled, unknown where it was interrupted.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing, all tasks in one pool, and reads the rows."""
  what = {task: (source := sweep_of(task, preset), sweep.load(source)) for task in tasks(preset)}
  every = {
    task: [job for job in sweep.jobs(of, workdir / task, SEEDS.value or of.seeds) if asked(job)]
    for task, (_, of) in what.items()
  }
  slots = pool.slots(WORKERS.value)
  works: list[list[pool.Work]] = [[], []]  # the starts, and what begins from them
  for task, (source, of) in what.items():
    rows = [sweep.row(of, job) for job in every[task]]
    print(sweep.plan(task, rows, workers=len(slots)), flush=True)
    for job, row in zip(every[task], rows, strict=True):
      if row is None:
        works[job.point.name != sweep.START].append(work(task, source, job))
  failed = pool.run(works, slots)
  rows = [
    {**row, 'task': task, 'schedule': job.point.name, 'seed': job.seed}
    for task, (_, of) in what.items()
    for job in every[task]
    if (row := sweep.row(of, job)) is not None
  ]
  return table(rows, workdir, failed)


def tasks(preset: str) -> Sequence[str]:
  """Those that are asked for."""
  chosen = TASKS.value or PRESETS[preset]
  if unknown := sorted({*chosen} - {task for tasks in PRESETS.values() for task in tasks}):
    raise ValueError(f'--tasks={unknown[0]} is unknown; choose some of {", ".join(SMALL)}')
  return chosen


def sweep_of(task: str, preset: str) -> str:
  """The sweep of a task as `experiments/sweep.py --sweep` takes it."""
  parts = [task, preset, folders('warm_start', WARM_START.value).get(task, '')]
  parts.append(folders('data', DATA.value).get(task, ''))
  return f'{ROOT}/configs/sweeps/{NAME}.py:{",".join(parts).rstrip(",")}'


def folders(flag: str, values: Sequence[str]) -> dict[str, str]:
  """TASK=FOLDER, ... as a mapping; raises ValueError for what is not of this form."""
  for value in values:
    task, _, folder = value.partition('=')
    if not folder or not pathlib.Path(folder).is_dir():
      raise ValueError(f'--{flag}={value} must be TASK=FOLDER, of a folder that is there')
  return dict(value.split('=', 1) for value in values)


def asked(job: sweep.Job) -> bool:
  """Whether `--schedules` leaves it in."""
  return job.point.name in (sweep.START, *(SCHEDULES.value or [job.point.name]))


def work(task: str, source: str, job: sweep.Job) -> pool.Work:
  """The process of one run."""
  script = str(ROOT / 'experiments' / 'sweep.py')
  command = sweep.command(script, source, job, seeds=SEEDS.value)
  return pool.Work(f'{task}: {job.title}', command, job.workdir)


def table(
  rows: Sequence[Mapping[str, Any]], workdir: pathlib.Path, failed: Sequence[str]
) -> tables.Table:
  """The rows over seeds, written as LaTeX and drawn, too."""
  k = max((int(name.split('@')[1]) for row in rows for name in row if is_pass(name)), default=1)
  shown = (
    *('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'semantic_entropy', 'kl'),
    *('auroc_semantic', 'auroc_token', 'alpha', 'train_seconds'),
  )
  merged = tables.over_seeds(rows, by=('task', 'schedule'), measured=shown, spread=tables.student)
  columns = ('task', 'schedule', 'seeds', *shown)
  tables.write_text(workdir / f'{NAME}.tex', tables.latex(merged, columns))
  write_runs(workdir / f'{NAME}_runs.csv', rows, ('task', 'schedule', 'seed', *shown))
  names = list(dict.fromkeys(row['schedule'] for row in rows))
  panel = partial(planes.cloud, by='schedule', names=names, x='pass@1', y=f'coverage@{k}')
  draw = [
    partial(panel, rows=[row for row in rows if row['task'] == task], title=task)
    for task in dict.fromkeys(row['task'] for row in rows)
  ]
  plots.panels(workdir / f'{NAME}.png', *draw, partial(planes.key, names=names))
  gates = [tables.Gate('every run finished', not failed)]
  gates += [tables.Gate(f'finished: {each}', False) for each in failed]
  return tables.Table(columns, merged, NOTE, gates)


def is_pass(name: str) -> bool:
  """Whether it is pass@k and no end of an interval."""
  return name.startswith('pass@') and name.split('@')[1].isdecimal()


def write_runs(
  path: pathlib.Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
  """A line a run, all digits."""
  text = io.StringIO(newline='')
  writer = csv.DictWriter(text, columns, extrasaction='ignore', lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  tables.write_text(path, text.getvalue())


if __name__ == '__main__':
  tables.script(NAME, build, presets=tuple(PRESETS))
