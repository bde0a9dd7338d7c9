"""Rollouts of responses of different lengths: rows that wait for the longest, and slots refilled.

  python experiments/tables/refill.py --preset=cpu --workdir=runs/tables/refill --check

Every row is a process of its own, experiments/benchmark.py with --lengths=geometric and one way to
decode; the samples are the same but for rounding (tests/test_benchmark.py). Some minutes a row on
two cores that do nothing else; a row that is finished is not measured again while the commit is the
same.
"""

import functools
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from maxent_lm.analysis import benchmarks, tables
from maxent_lm.train import folder

ROOT = pathlib.Path(__file__).parents[2]
AT_LEAST = 1.8  # times the tokens/s of rows that wait for the longest response
WAITING, DROPPED, REFILLED = 'rows wait', 'rows dropped', 'slots refilled'
COLUMNS = (
  *('preset', 'decoding', 'slots', 'tokens', 'rollout s', 'tokens/s', 'times', 'rollout share'),
  *('rollout bound', 'peak MB', 'first step s'),
)
NOTE = (
  'Presets S and M of experiments/benchmark.py: 512 and 128 rows, prompts of 32 tokens, a response '
  'ends with probability 1/64 at every token and after 256. Rows wait: all of them are decoded for '
  '256 tokens and cut where they have ended. Rows dropped: all begin together, half of the rows '
  'are dropped whenever half are enough, and the last one to end ends it. Slots refilled: so many '
  'rows are decoded at a time, the next ones begin where some have ended, and at the end rows are '
  'dropped. Medians over {rounds} steps after the first; tokens/s are of tokens up to the ends; '
  'times: those of rows that wait. Share: what the tokens up to the ends need of the rate of '
  'products of 2,048 x 2,048 measured in the same process; bound: what takes most of the time, '
  'these products, bytes at the measured rate of a copy, or the rest, which is decoding of what '
  'has ended, work between products, products too small for the peak, and waiting.'
)


class Plan(NamedTuple):
  """Slots to try in each preset of the benchmark, the best last; steps that are timed."""

  slots: Mapping[str, Sequence[int]]
  rounds: int


PRESETS = {
  'smoke': Plan({'smoke': (4,)}, 1),
  'cpu': Plan({'S': (64, 192), 'M': (64,)}, 2),
}
Row = dict[str, Any]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Measures the rows that are missing."""
  plan, commit = PRESETS[preset], folder.commit()  # once: what is edited meanwhile is another run
  rows: list[Row] = []
  gates = []
  for name, tried in plan.slots.items():
    found = []
    for decoding, slots in ((WAITING, 0), (DROPPED, 0), *((REFILLED, each) for each in tried)):
      command = ['experiments/benchmark.py', f'--preset={name}', '--lengths=geometric']
      command += [f'--rounds={plan.rounds}', f'--slots={slots}']
      command += ['--decoder=plain'] if decoding == WAITING else []
      path = workdir / 'rows' / f'{name}_{decoding}_{slots}.json'.replace(' ', '_')
      settings = {'command': command, 'commit': commit}
      told = tables.stored(path, settings, functools.partial(measure, command))
      found.append(shown(told, decoding, waiting=found[0]['tokens/s'] if found else None))
    rows += found
    times = found[-1]['times']
    what = f'{name}: tokens/s with {tried[-1]} slots {times:.2f} times those of rows that wait'
    gates.append(tables.Gate(f'{what}; at least {AT_LEAST}', times >= AT_LEAST))
  note = NOTE.format(rounds=plan.rounds)
  return tables.Table(COLUMNS, rows, note, gates if preset != 'smoke' else [])


def measure(command: Sequence[str]) -> Row:
  """The line that the benchmark prints last; it compiles everything."""
  return benchmarks.measure([sys.executable, *command], cwd=ROOT, settings={})


def shown(told: Row, decoding: str, *, waiting: float | None) -> Row:
  """A row of the table, against the tokens/s of rows that wait if it is not theirs."""
  speed = told['rollout_tokens_per_s']
  bounds = benchmarks.bounds(told)
  return {
    'preset': told['preset'],
    'decoding': decoding,
    'slots': told['slots'] or 'all',
    'tokens': told['tokens'],
    'rollout s': told['rollout_s'],
    'tokens/s': speed,
    'times': speed / (waiting or speed),
    **{key: bounds[key] for key in ('rollout share', 'rollout bound')},
    'peak MB': told['peak_mb'],
    'first step s': told['first_step_s'],
  }


if __name__ == '__main__':
  tables.script('refill', build, tuple(PRESETS))
