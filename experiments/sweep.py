"""Runs a sweep: a pool of processes, a plan before anything starts, a table and a figure after.

python experiments/sweep.py --sweep=configs/sweeps/mechanisms.py --workdir=runs/mechanisms

The file is Python and has `get_sweep()`, see maxent_lm/analysis/sweep.py; `FILE:ARG` calls
`get_sweep(ARG)`. `--seeds=N` is a grid over N seeds.

Each run is a process of its own on its own cores (or its own GPU), and writes `log.txt` into its
folder. Killed and started again the sweep goes on where it was: finished runs are read back,
others resume from their checkpoints. Failed runs are listed, and tried again next time.
`--plan` only says what would be done and how long it takes where runs are finished already;
`--commands` prints one command a run for another launcher, and `--slurm` an array job. Both print
what can begin: of a seed whose start is missing only that; when they are over, call again.
"""

import pathlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import compare, plots, pool, sweep, tables
from maxent_lm.train import folder

SWEEP = flags.DEFINE_string('sweep', None, 'File with get_sweep(), or FILE:ARG.', required=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all runs.', required=True)
SEEDS = flags.DEFINE_integer('seeds', None, "Number of seeds, instead of the sweep's.")
WORKERS = flags.DEFINE_integer('workers', 0, 'Runs at a time; 0: one a GPU or core.')
PLAN = flags.DEFINE_bool('plan', False, 'Say what would be done, and stop.')
COMMANDS = flags.DEFINE_bool('commands', False, 'Print one command a run, and stop.')
SLURM = flags.DEFINE_bool('slurm', False, 'Print a SLURM array job, and stop.')
ONLY = flags.DEFINE_string('only', None, 'Run this one, POINT/SEED, in this process.')


def main(_: Sequence[str]) -> None:
  """Plans, runs what is missing, and writes the table."""
  workdir = pathlib.Path(WORKDIR.value)
  with cli.user_errors():
    what = sweep.load(SWEEP.value)
    every = sweep.jobs(what, workdir, SEEDS.value or what.seeds)
    only = one(what, every, ONLY.value) if ONLY.value else None
  if only is not None:
    with pool.alone(only[1]):
      compare.finished_row(*only)  # its log wants the whole traceback
    return
  rows = [sweep.row(what, job) for job in every]
  left = [job for job, row in zip(every, rows, strict=True) if row is None]
  chains = [[list(map(work, stage)) for stage in chain] for chain in sweep.chains(left)]
  if COMMANDS.value or SLURM.value:
    lines = [shlex.join(each.command) for stages in chains for each in stages[0]]
    if lines:
      print('\n'.join((slurm if SLURM.value else list)(lines)))
    return
  print(sweep.plan(what.name, rows, workers=len(pool.slots(WORKERS.value))), flush=True)
  if PLAN.value:
    print('\n'.join(job.title for job in left))
    return
  commit = folder.commit()[:12]  # of the code that runs, not of a later one
  began = time.perf_counter()
  failed = pool.run(chains, pool.slots(WORKERS.value))
  made = tables.made(f'sweep.py --sweep={SWEEP.value}', commit, time.perf_counter() - began)
  report(what, every, workdir, made=made)
  if failed:
    sys.exit(f'error: {len(failed)} runs failed: {"; ".join(failed)}; start again to retry them')


def one(what: sweep.Sweep, every: list[sweep.Job], title: str) -> tuple[Any, pathlib.Path]:
  """Config and folder of the run with this title."""
  titles = {job.title: job for job in every}
  if title not in titles:
    raise ValueError(f'--only={title} is unknown; choose one of {", ".join(titles)}')
  return sweep.config(what, titles[title]), titles[title].workdir


def work(job: sweep.Job) -> pool.Work:
  """This script on one run."""
  parts = sweep.command(sys.argv[0], SWEEP.value, job, seeds=SEEDS.value)
  return pool.Work(job.title, parts, job.workdir)


def slurm(lines: list[str]) -> list[str]:
  """A script for sbatch, one array task a run."""
  cases = [f'  {number}) {line} ;;' for number, line in enumerate(lines)]
  head = ['#!/bin/bash', f'#SBATCH --array=0-{len(lines) - 1}', 'case $SLURM_ARRAY_TASK_ID in']
  return [*head, *cases, 'esac']


def report(what: sweep.Sweep, every: list[sweep.Job], workdir: pathlib.Path, *, made: str) -> None:
  """Writes <name>.md, <name>.csv and <name>.png about the runs that are finished."""
  found = [(job, sweep.row(what, job)) for job in every]
  rows = [{'method': job.point.name, **row} for job, row in found if row is not None]
  if not rows:
    return
  merged = tables.over_seeds(rows, by=('method',), measured=what.measured)
  table = tables.Table(('method', 'seeds', *what.measured), merged, what.note, [])
  print(tables.write(workdir, what.name, table, made=made))
  plots.cloud(workdir / f'{what.name}.png', rows, by='method', x=what.plane[0], y=what.plane[1])


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
