"""How the cost of a step grows: batch, length of responses, vocabulary, group size; and memory.

  python experiments/tables/growth.py --preset=cpu --workdir=runs/tables/growth --check

Every point is a process of its own, experiments/benchmark.py with the work of preset S changed in
one thing, so that peaks are peaks. Two more compare an update at a vocabulary of 151,936, width 512
and 4,096 response tokens with one that has all logits at once. About an hour on two cores that do
nothing else; points that are finished are not measured again while the commit is the same. The
curves are in `growth.png`.
"""

import functools
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from maxent_lm.analysis import benchmarks, plots, tables
from maxent_lm.train import folder

if TYPE_CHECKING:
  from matplotlib.axes import Axes

ROOT = pathlib.Path(__file__).parents[2]
FLAT = 1.15  # costs that are called equal differ by no more than this factor
COLUMNS = (
  *('varied', 'value', 'rows', 'tokens', 'rollout s', 'update s', 'rollout us a token'),
  *('update us a token', 'update ms a GFLOP', 'peak MB', 'first step s'),
)
NOTE = (
  'Preset S of experiments/benchmark.py (4 layers of width 128, vocabulary 512, prompts of 32 '
  'tokens, groups of 8, responses of 64), changed in one thing at a time: batch, in rows, by the '
  'number of prompts; response length and vocabulary with 16 prompts; group size with 512 rows. '
  'Scorer: M (8 layers of width 512) with a vocabulary of 151,936, 8 prompts x 8 x 64 tokens; '
  '`naive` has the logits [64, 64, 151,936] at once. Medians over {rounds} steps after the first; '
  'GFLOP are those that have to be done (prompts once, no padding), attention among them.'
)


class Curve(NamedTuple):
  """What is varied: a preset, flags of every point, a flag and its values for each point."""

  name: str
  preset: str
  fixed: Sequence[str]
  points: Mapping[Any, Sequence[str]]


class Plan(NamedTuple):
  """Curves, and steps that are timed at each point."""

  curves: Sequence[Curve]
  rounds: int


def curve(name: str, preset: str, flag: str, values: Sequence[Any], *fixed: str) -> Curve:
  """One flag takes the values."""
  return Curve(name, preset, fixed, {value: [f'--{flag}={value}'] for value in values})


def batch(preset: str, rows: Sequence[int], group_size: int) -> Curve:
  """Prompts so that there are as many rows."""
  return Curve('batch', preset, (), {n: [f'--prompts={n // group_size}'] for n in rows})


def groups(preset: str, sizes: Sequence[int], rows: int) -> Curve:
  """Groups of different sizes in a batch of one size."""
  points = {size: [f'--group_size={size}', f'--prompts={rows // size}'] for size in sizes}
  return Curve('group size', preset, (), points)


SCORERS = ('groups', 'naive')
PRESETS = {
  'smoke': Plan(
    (
      batch('smoke', (4, 8), 4),
      curve('scorer', 'smoke', 'scorer', SCORERS),
    ),
    1,
  ),
  'cpu': Plan(
    (
      batch('S', (8, 16, 32, 64, 128, 256, 512), 8),
      curve('response', 'S', 'response', (16, 32, 64, 128, 256, 512), '--prompts=16'),
      curve('vocabulary', 'S', 'vocab_size', (1024, 4096, 16_384, 65_536, 151_936), '--prompts=16'),
      groups('S', (2, 4, 8, 16, 32, 64), 512),
      curve('scorer', 'M', 'scorer', SCORERS, '--vocab_size=151936', '--prompts=8'),
    ),
    3,
  ),
}
Row = dict[str, Any]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Measures the points that are missing."""
  plan = PRESETS[preset]
  rows = [row for each in plan.curves for row in measured(each, plan.rounds, workdir)]
  drawn = [each for each in plan.curves if each.name != 'scorer']
  draw = (functools.partial(panel, rows=rows, varied=each.name) for each in drawn)
  plots.panels(workdir / 'growth.png', *draw)
  note = NOTE.format(rounds=plan.rounds)
  return tables.Table(COLUMNS, rows, note, gates(rows) if preset != 'smoke' else [])


def measured(curve: Curve, rounds: int, workdir: pathlib.Path) -> Iterator[Row]:
  """A row for every point."""
  commit = folder.commit()
  for value, options in curve.points.items():
    command = ['experiments/benchmark.py', f'--preset={curve.preset}', f'--rounds={rounds}']
    command += [*curve.fixed, *options]
    path = workdir / 'points' / f'{curve.name}_{value}.json'.replace(' ', '_')
    settings = {'command': command, 'commit': commit}
    told = tables.stored(path, settings, functools.partial(measure, command))
    yield {
      'varied': curve.name,
      'value': value,
      'rows': told['prompts'] * told['group_size'],
      'tokens': told['tokens'],
      'rollout s': told['rollout_s'],
      'update s': told['update_s'],
      'rollout us a token': 1e6 * told['rollout_s'] / told['tokens'],
      'update us a token': 1e6 * told['update_s'] / told['tokens'],
      'update ms a GFLOP': 1e3 * told['update_s'] / told['update_gflop'],
      'peak MB': told['peak_mb'],
      'first step s': told['first_step_s'],
    }


def measure(command: Sequence[str]) -> Row:
  """The line that the benchmark prints last; it compiles everything."""
  return benchmarks.measure([sys.executable, *command], cwd=ROOT, settings={})


def panel(axes: 'Axes', rows: Sequence[Row], varied: str) -> None:
  """Microseconds a token over what is varied, and megabytes on an axis of their own."""
  points = [row for row in rows if row['varied'] == varied]
  values = [row['value'] for row in points]
  memory = axes.twinx()
  lines = []
  for place, key, style in (
    (axes, 'rollout us a token', plots.STYLES[0]),
    (axes, 'update us a token', plots.STYLES[1]),
    (memory, 'peak MB', plots.STYLES[2]),
  ):
    colour, marker, line = style
    lines += place.plot(
      values, [row[key] for row in points], line, color=colour, marker=marker, label=key
    )
  axes.set_xscale('log', base=2)
  axes.xaxis.set_major_formatter('{x:.0f}')
  axes.set(xlabel=varied, ylabel='microseconds a token')
  for place in (axes, memory):
    place.set_ylim(bottom=0)
  axes.legend(handles=lines, fontsize=8)


def gates(rows: Sequence[Row]) -> list[tables.Gate]:
  """Flat in the batch, linear in the length but for attention, a quarter of the naive memory."""
  costs = {
    'batch': ('update us a token', 'cost of a token in an update, batch 8 to 512'),
    'response': ('update ms a GFLOP', 'cost of the arithmetic of an update, responses 16 to 512'),
  }
  held = []
  for varied, (key, what) in costs.items():
    values = [row[key] for row in rows if row['varied'] == varied]
    factor = max(values) / min(values)
    held.append(tables.Gate(f'{what}: differs by a factor of {factor:.2f}', factor <= FLAT))
  ours, naive = (
    next(row for row in rows if row['varied'] == 'scorer' and row['value'] == name)
    for name in SCORERS
  )
  memory, time = (ours[key] / naive[key] for key in ('peak MB', 'update s'))
  return [
    *held,
    tables.Gate(f'memory by the naive one, at most 1/4: {memory:.3f}', memory <= 0.25),
    tables.Gate(f'time by the naive one, at most 1: {time:.3f}', time <= 1),
  ]


if __name__ == '__main__':
  tables.script('growth', build, tuple(PRESETS))
