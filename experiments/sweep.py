"""Runs a sweep: a pool of processes, a plan before anything starts, a table and a figure after.

python experiments/sweep.py --sweep=configs/sweeps/mechanisms.py --workdir=runs/mechanisms

The file is Python and has `get_sweep()`, see maxent_lm/analysis/sweep.py.

Each run is a process of its own on its own cores (or its own GPU), and writes `log.txt` into its
folder. Killed and started again the sweep goes on where it was: finished runs are read back,
others resume from their checkpoints. Failed runs are listed, and tried again next time.
`--plan` only says what would be done; `--commands` prints one command a run for another launcher,
and `--slurm` an array job.
"""

import concurrent.futures
import importlib.util
import os
import pathlib
import queue
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import compare, plots, sweep, tables
from maxent_lm.train import folder

SWEEP = flags.DEFINE_string('sweep', None, 'File with get_sweep().', required=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all runs.', required=True)
SEEDS = flags.DEFINE_integer('seeds', None, "Number of seeds, instead of the sweep's.")
WORKERS = flags.DEFINE_integer('workers', 0, 'Runs at a time; 0: one a GPU, else one a core.')
PLAN = flags.DEFINE_bool('plan', False, 'Say what would be done, and stop.')
COMMANDS = flags.DEFINE_bool('commands', False, 'Print one command a run, and stop.')
SLURM = flags.DEFINE_bool('slurm', False, 'Print a SLURM array job, and stop.')
ONLY = flags.DEFINE_string('only', None, 'Run this one, POINT/SEED, in this process.')

Lines = list[str]


def main(_: Sequence[str]) -> None:
  """Plans, runs what is missing, and writes the table."""
  workdir = pathlib.Path(WORKDIR.value)
  with cli.user_errors():
    what = load(pathlib.Path(SWEEP.value))
    every = sweep.jobs(what, workdir, SEEDS.value or what.seeds)
    only = one(what, every, ONLY.value) if ONLY.value else None
  if only is not None:
    compare.finished_row(*only)  # its log wants the whole traceback
    return
  left = [job for job in every if sweep.row(what, job) is None]
  if COMMANDS.value or SLURM.value:
    if left:
      print('\n'.join((slurm if SLURM.value else commands)(left)))
    return
  print(f'{what.name}: {len(every)} runs, {len(every) - len(left)} finished, {len(left)} to do')
  if PLAN.value:
    print('\n'.join(job.title for job in left))
    return
  commit = folder.commit()[:12]  # of the code that runs, not of a later one
  began = time.perf_counter()
  failed = run_all(what, left)
  made = tables.made(f'sweep.py --sweep={SWEEP.value}', commit, time.perf_counter() - began)
  report(what, every, workdir, made=made)
  if failed:
    sys.exit(f'error: {len(failed)} runs failed: {"; ".join(failed)}; start again to retry them')


def load(path: pathlib.Path) -> sweep.Sweep:
  """The sweep of a file."""
  specification = importlib.util.spec_from_file_location('the_sweep', path)
  if specification is None or specification.loader is None or not path.exists():
    raise FileNotFoundError(f'--sweep={path} is no Python file')
  module = importlib.util.module_from_spec(specification)
  specification.loader.exec_module(module)
  return module.get_sweep()


def one(what: sweep.Sweep, every: list[sweep.Job], title: str) -> tuple[Any, pathlib.Path]:
  """Config and folder of the run with this title."""
  titles = {job.title: job for job in every}
  if title not in titles:
    raise ValueError(f'--only={title} is unknown; choose one of {", ".join(titles)}')
  return sweep.config(what, titles[title]), titles[title].workdir


def run_all(what: sweep.Sweep, left: list[sweep.Job]) -> Lines:
  """Runs what is left, the starts before the rest; returns what failed, and why."""
  slots = devices()
  free: queue.Queue[dict[str, str]] = queue.Queue()
  for slot in slots:
    free.put(slot)
  starts = [job for job in left if job.point.name == sweep.START]
  rest = [job for job in left if job.point.name != sweep.START]
  failed: Lines = []
  began, done = time.perf_counter(), 0
  with concurrent.futures.ThreadPoolExecutor(len(slots)) as pool:
    for stage in (starts, rest):
      waiting = {pool.submit(launch, job, free): job for job in stage}
      for future in concurrent.futures.as_completed(waiting):
        job, error, done = waiting[future], future.result(), done + 1
        failed += [f'{job.title} ({error})'] if error else []
        seconds = time.perf_counter() - began
        still = seconds / done * (len(left) - done)
        result = f'FAILED: {error}' if error else 'finished'
        text = f'{done}/{len(left)} {job.title} {result}; {seconds / 60:.0f} min so far'
        print(f'{text}, about {still / 60:.0f} min left', flush=True)
  return failed


def launch(job: sweep.Job, free: 'queue.Queue[dict[str, str]]') -> str | None:
  """Runs one job on free devices; the reason if it fails."""
  slot = free.get()
  try:
    job.workdir.mkdir(parents=True, exist_ok=True)
    log = job.workdir / 'log.txt'
    with log.open('w') as file:
      status = subprocess.run(
        shlex.split(command(job)), env=os.environ | slot, stdout=file, stderr=file, check=False
      ).returncode
    if not status:
      return None
    last = [line for line in log.read_text().splitlines() if line.strip()][-1:]
    return f'status {status}, {log}: {"".join(last)[:200]}'
  finally:
    free.put(slot)


def devices() -> list[dict[str, str]]:
  """What each worker's environment says of its devices: a GPU each, else a share of the cores."""
  gpus = visible_gpus()
  if gpus:
    return [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in gpus[: WORKERS.value or len(gpus)]]
  cores = sorted(os.sched_getaffinity(0))
  count = min(WORKERS.value or len(cores), len(cores))
  shares = [cores[number::count] for number in range(count)]
  return [{cli.CORES: ','.join(map(str, share))} for share in shares]


def visible_gpus() -> Lines:
  """Numbers of the NVIDIA GPUs, asked of the driver so that this process takes none of them."""
  if 'CUDA_VISIBLE_DEVICES' in os.environ:
    return [gpu for gpu in os.environ['CUDA_VISIBLE_DEVICES'].split(',') if gpu]
  if shutil.which('nvidia-smi') is None:
    return []
  listed = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True, check=False).stdout
  return [str(number) for number, _ in enumerate(listed.splitlines())]


def command(job: sweep.Job) -> str:
  """The command of one run."""
  parts = [sys.executable, sys.argv[0], f'--sweep={SWEEP.value}', f'--workdir={WORKDIR.value}']
  parts += [f'--seeds={SEEDS.value}'] if SEEDS.value else []
  return shlex.join([*parts, f'--only={job.title}'])


def commands(left: list[sweep.Job]) -> Lines:
  """One line a run; a point needs its seed's start, which comes first."""
  return [command(job) for job in left]


def slurm(left: list[sweep.Job]) -> Lines:
  """A script for sbatch, one array task a run; run the starts first if they are missing."""
  cases = [f'  {number}) {command(job)} ;;' for number, job in enumerate(left)]
  head = ['#!/bin/bash', f'#SBATCH --array=0-{len(left) - 1}', 'case $SLURM_ARRAY_TASK_ID in']
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
