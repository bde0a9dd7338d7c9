"""Qwen3 shapes on slices of TPUs that are not there: do they fit, and how fast could they be?

  pip install -e '.[plan]'
  python experiments/tables/plan.py --preset=tpu --workdir=runs/tables/plan

Each row is a program of a training step of configs/qwen3.py, compiled on the CPU for the slice
(`experiments/plan.py`). 32B is tried on larger and larger slices until it fits. Ten minutes on two
CPU cores; plans that are finished are not compiled again.
"""

import pathlib
from typing import Any, NamedTuple

import ml_collections

from maxent_lm.analysis import examine, planning, tables
from maxent_lm.analysis.examine import Report
from maxent_lm.analysis.roofline import GIB, Slice, slice_shape
from maxent_lm.analysis.tables import Gate, Table
from maxent_lm.build.plan import make_plan, simulated_devices

COLUMNS = (
  *('model', 'topology', 'mesh', 'program', 'GiB', 'of', 'fits', 'TFLOP', 'GB moved'),
  *(
    'collectives',
    'GB exchanged',
    'compute s',
    'memory s',
    'interconnect s',
    'least s',
    'bound by',
  ),
)


class Case(NamedTuple):
  """A model of configs/qwen3.py on a mesh."""

  model: str
  topology: str
  mesh: str


PRESETS = {
  'smoke': [[Case('0.6b', 'v5e:2x2', 'fsdp:2,tensor:2')]],
  # Cases of one list are tried until one fits.
  'tpu': [
    [Case('0.6b', 'v5e:4x4', 'fsdp:4,tensor:4')],
    [Case('8b', 'v5p:4x4x4', 'fsdp:16,tensor:4')],
    [
      Case('32b', 'v5p:2x2x1', 'fsdp:1,tensor:4'),
      Case('32b', 'v5p:2x2x2', 'fsdp:2,tensor:4'),
      Case('32b', 'v5p:2x2x2', 'fsdp:1,tensor:8'),
      Case('32b', 'v5p:2x2x4', 'fsdp:4,tensor:4'),
      Case('32b', 'v5p:2x4x4', 'fsdp:8,tensor:4'),
    ],
  ],
}


def build(preset: str, workdir: pathlib.Path) -> Table:
  """Every plan, and whether it holds."""
  plans = []
  for cases in PRESETS[preset]:
    for case in cases:
      path = workdir / 'plans' / f'{case.model}_{case.topology}_{case.mesh}.json'.replace(':', '')
      plans.append(tables.stored(path, case._asdict(), lambda case=case: plan(case)))
      if plans[-1]['fits']:
        break
  rows = [row for each in plans for row in each['rows']]
  gates = [
    Gate(f'{each["name"]}: {what}: {seen}', holds)
    for each in plans
    if each['fits']
    for what, holds, seen in each['verdicts']
  ]
  fitting = [each['name'] for each in plans if each['fits']]
  for cases in PRESETS[preset]:
    name = cases[0].model
    smallest = next((each for each in fitting if each.startswith(f'{name} ')), None)
    gates.append(
      Gate(f'{name} fits on {smallest or "none of the slices that were tried"}', bool(smallest))
    )
  return Table(COLUMNS, rows, note(), gates)


def note() -> str:
  """What the numbers are of."""
  config = model_config('0.6b')
  batch = config.batch
  return (
    f'{batch.prompts} prompts of {batch.max_prompt_tokens} tokens x {batch.group_size} responses '
    f'of {batch.max_new_tokens}; soft-Q with a reference, AdamW, parameters and moments in '
    f'float32, computed in {config.compute.dtype}, layers scanned and computed again in the '
    'backward pass. All of one device: GiB while the program runs, with state and reference; '
    'products as FLOP; bytes that instructions move to and from memory; bytes of the arrays that '
    "are exchanged. Seconds are what the chip's published peaks allow, each by itself; the least "
    'is the longest of them. They are bounds of the compiled program, not measured times.'
  )


def model_config(model: str) -> ml_collections.ConfigDict:
  """The configuration of one size."""
  from configs import qwen3

  return qwen3.get_config(model)


def plan(case: Case) -> dict[str, Any]:
  """Compiles one case."""
  chip, shape = slice_shape(case.topology)
  config = model_config(case.model)
  config.mesh.update(examine.mesh_sizes(case.mesh))
  made = make_plan(config, simulated_devices(case.topology))
  coords = tuple(tuple(device.coords) for device in made.policy.mesh.devices.flat)
  report = examine.examine(made, Slice(chip, shape, coords))
  print('\n'.join([' '.join(case), *planning.lines(report), '']), flush=True)
  verdicts = planning.verdicts(report)
  return {
    'name': f'{case.model} {case.topology} {case.mesh}',
    'fits': all(each.holds for each in verdicts if each.what.endswith('fits')),
    'verdicts': [[each.what, each.holds, each.seen] for each in verdicts],
    'rows': [{**case._asdict(), **row(report, name)} for name in report.programs],
  }


def row(report: Report, name: str) -> dict[str, Any]:
  """The columns of one program; few where it was not compiled."""
  each = report.programs[name]
  told = {'program': name, 'of': round(report.slice.hbm / GIB)}
  if each.refused:
    return {**told, 'fits': f'no: {each.refused}'}
  least = report.roofline(name)
  needed = report.memory(name)
  return {
    **told,
    'GiB': round(needed / GIB, 2),
    'fits': 'yes' if needed <= report.slice.hbm else 'no',
    'TFLOP': each.flops / 1e12,
    'GB moved': each.traffic / 1e9,
    'collectives': sum(c.times for c in each.collectives),
    'GB exchanged': sum(c.times * c.bytes for c in each.collectives) / 1e9,
    'compute s': least.compute,
    'memory s': least.memory,
    'interconnect s': least.interconnect,
    'least s': least.seconds,
    'bound by': least.bound,
  }


if __name__ == '__main__':
  tables.script('plan', build, tuple(PRESETS))
