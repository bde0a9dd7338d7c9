"""The long forms: so many kills, so many minutes of all faults, so many steps left alone.

Each takes a folder, how much, and a seed, and gives a table; what is finished is not done again.
"""

import collections
import contextlib
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from maxent_lm.analysis import pool, tables
from maxent_lm.analysis.chaos import cycles, damage, growth, schedule
from maxent_lm.analysis.chaos.attempts import RESUMABLE, Lab, watched
from maxent_lm.analysis.chaos.cycles import Book
from maxent_lm.analysis.chaos.subjects import COUNTDOWN, PROGRAMS, command, warm_start
from maxent_lm.analysis.tables import Gate, Table

Rows = Sequence[Mapping[str, Any]]

KINDS = ('kill', 'term', 'pause', 'second', *damage.WAYS)
COUNTED = ('faults', 'there', 'equal', 'stopped', 'wrong')
ALONE = {'countdown': COUNTDOWN, 'programs': PROGRAMS}
SMALL = 12 << 20  # bytes of a disk that is to be full
SLOPE = 1024.0  # bytes a step that a run may grow
FEW = 2  # that a pool may still start; a save that leaves one behind is seen twenty times
TRAINING = {'rollout', 'grading', 'update'}
IDLE = 20  # runs without a fault, after which those that are left cannot strike


def kills(workdir: pathlib.Path, count: float, *, seed: int) -> Table:
  """kill -9 at `count` moments."""
  total = int(count)
  book = Book(
    workdir / f'kills_{seed}',
    iter(schedule.kills(seed, total)),
    lambda done, seconds: f'{done}/{total}, {pool.estimate(seconds, done, total)}',
  )
  _run(workdir, workdir / f'kills_{seed}', book, lambda: len(book.strikes()) < total)
  strikes, done = book.strikes(), book.cycles()
  rows = [{'point': name, **tally(strikes, done, 'point', name)} for name in schedule.POINTS]
  everywhere = all(row['there'] for row in rows)
  gates = [
    Gate(f'{len(strikes)} of {total} kills struck', len(strikes) == total),
    Gate('every point was truly struck', everywhere or total < 2 * len(rows)),
    Gate('every run ended as the undisturbed one', all(c['verdict'] == 'equal' for c in done)),
  ]
  rows.append({'point': 'all', **tally(strikes, done)})
  return Table(('point', *COUNTED), rows, _note(done), gates)


def soak(workdir: pathlib.Path, minutes: float, *, seed: int) -> Table:
  """All kinds of faults for so many minutes; runs are on a small disk where one can be mounted."""
  folder = workdir / f'minutes_{seed}'
  with _small_disk(folder / 'disk') as mounted:
    kinds = (*KINDS, *(('full',) if mounted else ()))
    book = Book(
      folder,
      schedule.soak(seed, kinds),
      lambda done, seconds: f'{done} faults, {seconds / 60:.1f} of {minutes:g} min',
    )
    scratch = folder / 'disk' if mounted else folder
    _run(workdir, scratch, book, lambda: book.seconds() < 60 * minutes)
  strikes, done = book.strikes(), book.cycles()
  rows = [{'fault': name, **tally(strikes, done, 'kind', name)} for name in kinds]
  rows.append({'fault': 'all', **tally(strikes, done)})
  gates = [
    Gate('every run ended as the undisturbed one, or with a reason', all(c['right'] for c in done)),
    Gate('SIGTERM in a step: status 143, and the step was saved', _terms_are_right(strikes)),
    Gate('a second run in the same folder was refused', _seconds_are_refused(strikes)),
  ]
  note = '' if mounted else ' No small disk could be mounted, so none was ever full.'
  return Table(('fault', *COUNTED), rows, _note(done) + note, gates)


def alone(workdir: pathlib.Path, steps: float, *, seed: int) -> Table:
  """What so many steps leave behind in the process, with a save in every 50th."""
  rows = []
  for name, subject in ALONE.items():
    settings = {'steps': int(steps), 'seed': seed, 'subject': subject}
    path = workdir / f'steps_{name}.json'
    rows.append(tables.stored(path, settings, lambda n=name: _grown(workdir, n, int(steps), seed)))
  gates = []
  for row in rows:
    more = f'{row["run"]}: at most {FEW} more descriptors, threads, processes or zombies'
    gates += [
      Gate(f'{row["run"]}: less than {SLOPE:.0f} bytes a step', row['bytes a step'] < SLOPE),
      Gate(more, max(row[name] for name in growth.COUNTED) <= FEW),
    ]
  columns = ('run', 'steps', 'MB', 'bytes a step', '95%', *growth.COUNTED)
  note = (
    'MB: resident at the end. Bytes a step: the median of the slopes between all pairs of looks '
    'after the first quarter of the steps. The last columns: the least that there was in the last '
    'third of these looks, less the least in their first third.'
  )
  return Table(columns, rows, note, gates)


CAMPAIGNS: Mapping[str, Callable[..., Table]] = {'kills': kills, 'minutes': soak, 'steps': alone}


def _run(
  workdir: pathlib.Path, scratch: pathlib.Path, book: Book, goes_on: Callable[[], bool]
) -> None:
  """Runs as long as that holds, and as faults strike."""
  cache = workdir / 'cache'
  warm_start(COUNTDOWN, workdir, cache)
  lab = Lab(command(COUNTDOWN, workdir), workdir, scratch, cache)
  reference = cycles.make_reference(lab)
  idle = 0
  while goes_on() and idle < IDLE:
    before = len(book.strikes())
    book.end(cycles.cycle(lab, book, reference))
    keep(scratch, workdir / 'kept' / scratch.relative_to(workdir))
    idle = 0 if len(book.strikes()) > before else idle + 1


def keep(scratch: pathlib.Path, kept: pathlib.Path) -> None:
  """Moves the runs that did not end as the reference: on a small disk they are in the way."""
  kept.mkdir(parents=True, exist_ok=True)
  for folder in scratch.glob('cycle_*'):
    shutil.move(folder, kept / folder.name)


def tally(strikes: Rows, done: Rows, column: str = '', value: str = '') -> dict[str, int]:
  """Of the faults that have the value in that column, or of all."""
  chosen = [row for row in strikes if not column or row[column] == value]
  ends = {row['cycle']: _end(row) for row in done}
  counts = collections.Counter(ends.get(row['cycle']) for row in chosen)
  there = sum(row['hit'] for row in chosen)
  return {'faults': len(chosen), 'there': there, **{name: counts[name] for name in COUNTED[2:]}}


def _end(cycle: Mapping[str, Any]) -> str:
  if not cycle['right']:
    return 'wrong'
  return 'equal' if cycle['verdict'] == 'equal' else 'stopped'


def _note(done: Rows) -> str:
  """What the columns are, of how many runs, and all that was not plainly equal."""
  starts = sum(row['starts'] for row in done)
  root = re.compile(r'/\S*/(?=cycle_)')  # says nothing elsewhere
  reasons = sorted({root.sub('', row['verdict']) for row in done} - {'equal'})
  return (
    f'{len(done)} runs in {starts} processes. `there`: the process was in that part of the run '
    'when it was struck. `equal`, `stopped`, `wrong`: how the run ended that the fault was part of.'
    + ''.join(f'\n\n`{reason}`' for reason in reasons)
  )


def _terms_are_right(strikes: Rows) -> bool:
  terms = [row for row in strikes if row['kind'] == 'term' and TRAINING & {*row['inside']}]
  return all(row['status'] == RESUMABLE and row['saved'] == row['step'] for row in terms)


def _seconds_are_refused(strikes: Rows) -> bool:
  said = [row['noticed'] for row in strikes if row['kind'] == 'second']
  return all(each.startswith('status 1: error: ') for each in said)


@contextlib.contextmanager
def _small_disk(path: pathlib.Path) -> Generator[bool, None, None]:
  """A file system of `SMALL` bytes in memory, if this user may mount one; whether it is there."""
  path.mkdir(parents=True, exist_ok=True)
  mount = ['mount', '-t', 'tmpfs', '-o', f'size={SMALL}', 'tmpfs', str(path)]
  try:
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
  except OSError:
    mounted = False
  try:
    yield mounted
  finally:
    if mounted:
      subprocess.run(['umount', str(path)], check=True)


def _grown(workdir: pathlib.Path, name: str, steps: int, seed: int) -> dict[str, Any]:
  """The row of one run."""
  subject, folder = ALONE[name], workdir / f'steps_{name}'
  warm_start(subject, folder, workdir / 'cache')
  shutil.rmtree(folder / 'run', ignore_errors=True)
  flags = (f'--config.steps={steps}', f'--config.seed={seed}', '--config.checkpoint.every=50')
  flags += ('--config.samples_every=50',)
  lab = Lab((*command(subject, folder), *flags), workdir, folder, workdir / 'cache')
  ended, seen = watched(lab, folder / 'run')
  if ended.status:
    raise RuntimeError(f'the run that was left alone ended with {ended.status}: {ended.said}')
  found = growth.of(seen)
  return {
    'run': name,
    'steps': seen[-1].step,
    'MB': round(seen[-1].resident / 1e6),
    'bytes a step': found.slope,
    '95%': f'{found.low:.0f} to {found.high:.0f}',
    **found.more,
  }
