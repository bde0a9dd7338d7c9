"""Tables that are made of sweeps: what is missing is run in one pool, then all rows are read.

SWEPT = swept.options()

def build(preset, workdir):
  found = SWEPT({'countdown': f'configs/sweeps/alpha_beta.py:{preset}'}, workdir)
  return tables.Table(columns, merged(found.rows), NOTE, found.gates())
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

import maxent_lm
from maxent_lm.analysis import pool, sweep, tables

ROOT = pathlib.Path(maxent_lm.__file__).parents[1]


class Found(NamedTuple):
  """Rows of the finished runs, and what failed.

  Attributes:
    rows: what `compare.finished_row` gave, with `sweep`, `point`, `seed` and `workdir`.
    failed: a sentence for each run that did.
  """

  rows: list[dict[str, Any]]
  failed: list[str]

  def gates(self) -> list[tables.Gate]:
    """That all runs finished, or which did not."""
    return [
      tables.Gate('every run finished', not self.failed),
      *(tables.Gate(f'finished: {each}', False) for each in self.failed),
    ]


Swept = Callable[[Mapping[str, str], pathlib.Path], Found]


def options() -> Swept:
  """Defines --seeds, --workers, --points, --warm_start and --data, which the result reads."""
  seeds = flags.DEFINE_integer('seeds', None, "Number of seeds, instead of the preset's.")
  workers = flags.DEFINE_integer('workers', 0, 'Runs at a time; 0: one a GPU or core.')
  points = flags.DEFINE_multi_string('points', [], 'One of the points to run; all without.')
  starts = flags.DEFINE_multi_string('warm_start', [], 'SWEEP=FOLDER of a model to start from.')
  data = flags.DEFINE_multi_string('data', [], 'SWEEP=FOLDER of the files of its task.')

  def swept(sources: Mapping[str, str], workdir: pathlib.Path) -> Found:
    given = [folders(flag.name, flag.value, sources) for flag in (starts, data)]
    full = {
      name: ','.join([source, *(each.get(name, '') for each in given)]).rstrip(',')
      for name, source in sources.items()
    }
    return run(full, workdir, seeds=seeds.value, workers=workers.value, wanted=points.value)

  return swept


def folders(flag: str, values: Sequence[str], names: Iterable[str]) -> dict[str, str]:
  """NAME=FOLDER, ... as a mapping.

  Raises:
    ValueError: something is not of this form, no folder that is there, or of an unknown name.
  """
  for value in values:
    name, _, folder = value.partition('=')
    if name not in names or not pathlib.Path(folder or 'none').is_dir():
      raise ValueError(
        f'--{flag}={value} must be NAME=FOLDER with a folder that is there and a name of '
        f'{", ".join(names)}'
      )
  return dict(value.split('=', 1) for value in values)


def run(
  sources: Mapping[str, str],
  workdir: pathlib.Path,
  *,
  seeds: int | None,
  workers: int,
  wanted: Sequence[str] = (),
) -> Found:
  """Runs what is missing of all sweeps in one pool; a plan is printed before.

  `sources` is {folder in `workdir`: FILE[:ARG] in the repository}. Points that are not `wanted` are
  left out, unless none is named.

  Raises:
    ValueError: a point is wanted that no sweep has.
  """
  slots = pool.slots(workers)
  what = {name: (file := str(ROOT / source), sweep.load(file)) for name, source in sources.items()}
  every = {
    name: sweep.jobs(of, workdir / name, seeds or of.seeds) for name, (_, of) in what.items()
  }
  every = _wanted(every, wanted)
  chains = []
  for name, (file, of) in what.items():
    known = [sweep.row(of, job) for job in every[name]]
    print(sweep.plan(name, known, workers=len(slots)), flush=True)
    left = [job for job, row in zip(every[name], known, strict=True) if row is None]
    chains += [
      [[_work(name, file, job, seeds) for job in stage] for stage in chain]
      for chain in sweep.chains(left)
    ]
  failed = pool.run(chains, slots)
  rows = [
    {**row, 'sweep': name, 'point': job.point.name, 'seed': job.seed, 'workdir': job.workdir}
    for name, (_, of) in what.items()
    for job in every[name]
    if (row := sweep.row(of, job)) is not None
  ]
  return Found(rows, failed)


def _wanted(
  every: Mapping[str, Sequence[sweep.Job]], wanted: Sequence[str]
) -> dict[str, list[sweep.Job]]:
  names = dict.fromkeys(job.point.name for jobs in every.values() for job in jobs)
  names.pop(sweep.START, None)
  if unknown := [name for name in wanted if name not in names]:
    raise ValueError(f'--points={unknown[0]} is unknown; choose some of {", ".join(names)}')
  kept = {sweep.START, *(wanted or names)}
  return {name: [job for job in jobs if job.point.name in kept] for name, jobs in every.items()}


def _work(name: str, file: str, job: sweep.Job, seeds: int | None) -> pool.Work:
  command = sweep.command(str(ROOT / 'experiments' / 'sweep.py'), file, job, seeds=seeds)
  return pool.Work(f'{name}: {job.title}', command, job.workdir)
