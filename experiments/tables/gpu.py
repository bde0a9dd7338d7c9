"""A step on one GPU: how attention and layers are computed, lengths, pieces; and what bounds it.

  python experiments/tables/gpu.py --preset=gpu --workdir=runs/tables/gpu

Every row is a process of its own, experiments/benchmark.py --preset=gpu with the options that the
row names: a model of 82 M parameters in bfloat16, 128 prompts x 16 responses of up to 256 tokens.
It wants a GPU of 80 GB and some minutes a row, most of them compilation. A row that is finished is
not measured again; it names the device and the commit that it was measured at.
"""

import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from maxent_lm.analysis import benchmarks, tables
from maxent_lm.train import folder

ROOT = pathlib.Path(__file__).parents[2]
COLUMNS = (
  *('lengths', 'attention', 'layers', 'widths', 'slots', 'piece', 'step s', 'rollout s'),
  *('update s', 'rollout tokens/s', 'update tokens/s', 'rollout share', 'update share'),
  *('rollout bound', 'update bound', 'device MB', 'device', 'commit'),
)
NOTE = (
  'Medians over {rounds} steps after the first. Layers: unrolled, or a loop over them (scanned). '
  'Widths: of the pieces of an update, each compiled; piece: its tokens. Share: FLOP/s that the '
  "model's arithmetic needs (prompts once, no padding, nothing twice) of the rate of bfloat16 "
  'products of 8192 x 8192 random matrices measured in the same process. Bound: what takes most of '
  'the time, and its part of it: these products, or the bytes that have to move at the measured '
  'bandwidth of a copy, or the rest, which is work between products, products too small for the '
  'peak, and waiting. Variable lengths: a response ends with probability 1/64 at every token. Rows '
  'are of the device and the commit that they name; the line below tells of the last call only.'
)


class Plan(NamedTuple):
  """What is measured: a preset of the benchmark, steps that are timed, options of every row."""

  preset: str
  rounds: int
  options: Sequence[Sequence[str]]


FIXED, VARIABLE = '--lengths=fixed', '--lengths=geometric'
XLA, CUDNN = '--attention=xla', '--attention=cudnn'
UNROLLED, SCANNED = '--noscan_layers', '--scan_layers'
PRESETS = {
  'smoke': Plan('smoke', 1, ((FIXED, XLA, UNROLLED), (VARIABLE, XLA, SCANNED, '--widths=2'))),
  'gpu': Plan(
    'gpu',
    3,
    (
      (FIXED, CUDNN, UNROLLED, '--widths=1'),
      (FIXED, XLA, UNROLLED, '--widths=1'),
      (FIXED, CUDNN, SCANNED, '--widths=7'),
      (FIXED, XLA, SCANNED, '--widths=7'),
      (VARIABLE, XLA, SCANNED, '--widths=7'),
      (VARIABLE, XLA, SCANNED, '--widths=7', '--slots=512'),
      (VARIABLE, CUDNN, SCANNED, '--widths=4', '--microbatch=8192'),
    ),
  ),
}
Row = dict[str, Any]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Measures the rows that are missing."""
  plan = PRESETS[preset]
  rows = []
  for number, options in enumerate(plan.options):
    command = ['experiments/benchmark.py', f'--preset={plan.preset}', f'--rounds={plan.rounds}']
    command += options
    path = workdir / 'rows' / f'{number}.json'
    told = tables.stored(path, {'command': command}, functools.partial(measure, command))
    rows.append(shown(told))
  return tables.Table(COLUMNS, rows, NOTE.format(rounds=plan.rounds), [])


def measure(command: Sequence[str]) -> Row:
  """What the benchmark prints last, with the commit."""
  commit = folder.short(folder.commit())
  told = benchmarks.measure([sys.executable, *command], cwd=ROOT, settings={})
  return {**told, 'commit': commit}


def shown(told: Row) -> Row:
  """A row of the table."""
  row = {
    'lengths': {'fixed': 'fixed', 'geometric': 'variable'}[told['lengths']],
    'attention': told['attention'],
    'layers': 'scanned' if told['scan_layers'] else 'unrolled',
    'widths': told['widths'],
    'slots': told['slots'] or 'all',
    'piece': told['microbatch'],
    'step s': told['step_s'],
    'device MB': told['device_peak_mb'],
    'device': told['device'],
    'commit': told['commit'],
  }
  for name in ('rollout', 'update'):
    row |= {f'{name} s': told[f'{name}_s'], f'{name} tokens/s': told[f'{name}_tokens_per_s']}
  return row | benchmarks.bounds(told)


if __name__ == '__main__':
  tables.script('gpu', build, tuple(PRESETS))
