"""How the cost of a step grows: batch, responses, vocabulary, groups, devices; and what bounds it.

  python experiments/tables/growth.py --preset=cpu --workdir=runs/tables/growth --check

Every point is a process of its own, experiments/benchmark.py with the work of preset S changed in
one thing, so that peaks are peaks; four are M with different batches, one of them its own. Two more
compare an update at a vocabulary of 151,936, width 512 and 4,096 response tokens with one that has
all logits at once. More than an hour on two cores that do nothing else; points that are finished
are not measured again while the commit is the same. The curves are in `growth.png`.
"""

import functools
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maxent_lm.analysis import benchmarks, plots, tables
from maxent_lm.train import folder

if TYPE_CHECKING:
  from matplotlib.axes import Axes

ROOT = pathlib.Path(__file__).parents[2]
FLAT = 0.15  # costs that are called equal, or on a line, differ by no more than this part
COLUMNS = (
  *('varied', 'value', 'rows', 'tokens', 'rollout s', 'update s', 'rollout us a token'),
  *('update us a token', 'update GFLOP', 'rollout share', 'rollout bound', 'update share'),
  *('update bound', 'peak MB', 'first step s'),
)
NOTE = (
  'Preset S of experiments/benchmark.py (4 layers of width 128, vocabulary 512, prompts of 32 '
  'tokens, groups of 8, responses of 64), changed in one thing at a time: batch, in rows, by the '
  'number of prompts; response length and vocabulary with 16 prompts; group size with 512 rows; '
  'devices are simulated, share the rows and these cores. '
  'Batch of M: 8 layers of width 512, vocabulary 4,096, the rest as S; its preset has 128 rows. '
  'Scorer: M with a vocabulary of 151,936, 8 prompts x 8 x 64 tokens '
  '(300 at a time); `naive` has the logits [64, 65, 151,936] at once. Medians over {rounds} steps '
  'after the first, or more, until {seconds} s are over; GFLOP are those that have to be done '
  '(prompts once, no padding), attention among them. '
  'Share: of the rate of products of 2,048 x 2,048 measured in the same process; bound: what takes '
  'most of the time, these products, bytes at the measured rate of a copy, or the rest (work '
  'between products, products too small for the peak, waiting). A line through costs has a part '
  'for every update (the optimiser, products of few rows) and one for every token.'
)


class Curve(NamedTuple):
  """What is varied: a preset, flags of every point, a flag and its values for each point."""

  name: str
  preset: str
  fixed: Sequence[str]
  points: Mapping[Any, Sequence[str]]


class Plan(NamedTuple):
  """Curves; steps that are timed at each point, and seconds, at least."""

  curves: Sequence[Curve]
  rounds: int
  least_s: float


def curve(name: str, preset: str, flag: str, values: Sequence[Any], *fixed: str) -> Curve:
  """One flag takes the values."""
  return Curve(name, preset, fixed, {value: [f'--{flag}={value}'] for value in values})


def batch(name: str, preset: str, rows: Sequence[int], group_size: int) -> Curve:
  """Prompts so that there are as many rows."""
  return Curve(name, preset, (), {n: [f'--prompts={n // group_size}'] for n in rows})


def groups(preset: str, sizes: Sequence[int], rows: int) -> Curve:
  """Groups of different sizes in a batch of one size."""
  points = {size: [f'--group_size={size}', f'--prompts={rows // size}'] for size in sizes}
  return Curve('group size', preset, (), points)


SCORERS = ('groups', 'naive')
LARGE = ('--vocab_size=151936', '--prompts=8', '--microbatch=300')
DRAWN = ('batch', 'batch of M', 'response', 'vocabulary', 'group size', 'devices')
PRESETS = {
  'smoke': Plan(
    (
      batch('batch', 'smoke', (4, 8), 4),
      curve('devices', 'smoke', 'devices', (1, 2)),
      curve('scorer', 'smoke', 'scorer', SCORERS),
    ),
    1,
    0,
  ),
  'cpu': Plan(
    (
      batch('batch', 'S', (8, 16, 32, 64, 128, 256, 512), 8),
      batch('batch of M', 'M', (8, 32, 128, 512), 8),
      curve('response', 'S', 'response', (16, 32, 64, 128, 256, 512), '--prompts=16'),
      curve('vocabulary', 'S', 'vocab_size', (1024, 4096, 16_384, 65_536, 151_936), '--prompts=16'),
      groups('S', (2, 4, 8, 16, 32, 64), 512),
      curve('devices', 'S', 'devices', (1, 2, 4, 8)),
      curve('scorer', 'M', 'scorer', SCORERS, *LARGE),
    ),
    3,
    10,
  ),
}
Row = dict[str, Any]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Measures the points that are missing."""
  plan, commit = PRESETS[preset], folder.commit()  # once: what is edited meanwhile is another run
  rows = [row for each in plan.curves for row in measured(each, plan, workdir, commit)]
  drawn = [each.name for each in plan.curves if each.name in DRAWN]
  draw = (functools.partial(panel, rows=rows, varied=name) for name in drawn)
  plots.panels(workdir / 'growth.png', *draw)
  note = NOTE.format(rounds=plan.rounds, seconds=plan.least_s)
  return tables.Table(COLUMNS, rows, note, gates(rows) if preset != 'smoke' else [])


def measured(curve: Curve, plan: Plan, workdir: pathlib.Path, commit: str) -> Iterator[Row]:
  """A row for every point."""
  for value, options in curve.points.items():
    command = ['experiments/benchmark.py', f'--preset={curve.preset}', f'--rounds={plan.rounds}']
    command += [f'--least_s={plan.least_s}', *curve.fixed, *options]
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
      'update GFLOP': told['update_gflop'],
      'peak MB': told['peak_mb'],
      'first step s': told['first_step_s'],
      **benchmarks.bounds(told),
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
  """Costs that are flat and on a line, a quarter of the naive memory in no more time."""

  def of(varied: str, key: str) -> np.ndarray:
    return np.array([row[key] for row in rows if row['varied'] == varied])

  batch = Line.through(of('batch', 'tokens'), of('batch', 'update s'))
  response = Line.through(of('response', 'update GFLOP'), of('response', 'update s'))
  memory, time = (float(np.divide(*of('scorer', key))) for key in ('peak MB', 'update s'))
  return [
    flat('a token in an update, batch 8 to 512', of('batch', 'update us a token')),
    flat('a token in an update of M, batch 8 to 512', of('batch of M', 'update us a token')),
    flat(
      'the arithmetic of an update, responses 16 to 512',
      of('response', 'update s') / of('response', 'update GFLOP'),
    ),
    batch.gate('an update, batch 8 to 512', 'token'),
    response.gate('an update, responses 16 to 512', 'GFLOP'),
    tables.Gate(f'memory by the naive one, at most 1/4: {memory:.3f}', memory <= 0.25),
    tables.Gate(f'time by the naive one, at most 1: {time:.3f}', time <= 1),
  ]


def flat(what: str, costs: np.ndarray) -> tables.Gate:
  """Whether costs are equal, what every update costs among them."""
  factor = float(costs.max() / costs.min())
  return tables.Gate(f'cost of {what}: differs by a factor of {factor:.2f}', factor <= 1 + FLAT)


class Line(NamedTuple):
  """Seconds = constant + slope * amount, and the most that a point is off, as a part of it."""

  constant: float
  slope: float
  worst: float

  @classmethod
  def through(cls, amounts: np.ndarray, seconds: np.ndarray) -> 'Line':
    """Least squares of the parts by which points are off."""
    terms = np.stack([np.ones(len(amounts)), amounts], axis=1) / seconds[:, None]
    fitted = np.linalg.lstsq(terms, np.ones(len(amounts)))[0]
    return cls(*map(float, fitted), float(np.max(np.abs(terms @ fitted - 1))))

  def gate(self, what: str, unit: str) -> tables.Gate:
    """Whether all points lie on it."""
    costs = f'{1e3 * self.constant:.3g} ms and {1e6 * self.slope:.3g} us a {unit}'
    said = f'cost of {what}: {costs}, which no point is off by more than {self.worst:.0%}'
    return tables.Gate(f'{said}; at most {FLAT:.0%}', self.worst <= FLAT)


if __name__ == '__main__':
  tables.script('growth', build, tuple(PRESETS))
