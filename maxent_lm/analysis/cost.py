"""Counts a compiled program's work, per device: FLOPs, bytes of memory, collectives, buffers.

XLA's own `cost_analysis` counts the body of a loop once; these count it as often as it runs.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from maxent_lm.analysis.hlo import Buffer, Computation, Instruction, Program, Times

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')
FREE = (  # moves nothing by itself
  *('parameter', 'constant', 'get-tuple-element', 'tuple', 'bitcast', 'while', 'conditional'),
  *('call', 'after-all', 'partition-id', 'replica-id', 'opt-barrier', 'async-start'),
)
SLICES = ('dynamic-slice', 'slice', 'gather')
Executions = Mapping[str, Times]


class Collective(NamedTuple):
  """One collective of the program.

  Attributes:
    kind: one of `KINDS`.
    buffers: what one device has afterwards; before, for reduce-scatter.
    group: the devices, by their place in the mesh, that the first of them exchanges with.
    times: how often it runs.
    op_name: where it comes from.
  """

  kind: str
  buffers: tuple[Buffer, ...]
  group: tuple[int, ...]
  times: int
  op_name: str

  @property
  def bytes(self) -> int:
    """Of one execution."""
    return sum(each.bytes for each in self.buffers)


def flops(program: Program, runs: Executions) -> float:
  """2 a b c for every product of [a, b] and [b, c]; other arithmetic is not counted."""
  total = 0.0
  for name, times in runs.items():
    computation = program.computations[name]
    for each in computation.values():
      if each.opcode == 'dot':
        total += times.count * _dot_flops(each, computation)
      elif each.opcode == 'convolution':
        total += times.count * _convolution_flops(each, computation)
  return total


def _dot_flops(dot: Instruction, computation: Computation) -> float:
  left = computation[dot.operands[0]].outputs[0]
  axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', dot.attributes)
  contracted = [left.dims[int(axis)] for axis in axes.group(1).split(',')] if axes else []
  return 2.0 * dot.outputs[0].elements * math.prod(contracted)


def _convolution_flops(convolution: Instruction, computation: Computation) -> float:
  """TPUs have batched products as convolutions: padding and dilation are not work."""
  left, right = (computation[name].outputs[0].dims for name in convolution.operands[:2])
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', convolution.attributes)
  assert labels is not None, convolution.name
  of_left, of_right, of_out = labels.groups()
  out = convolution.outputs[0].dims
  pairs = 1.0
  for place, digit in enumerate(sorted(filter(str.isdigit, of_left))):
    window = {
      key: _window(convolution, key, place) for key in ('stride', 'lhs_dilate', 'rhs_dilate')
    }
    low = _window(convolution, 'pad', place)
    pairs *= _valid_pairs(
      left[of_left.index(digit)],
      right[of_right.index(digit)],
      out[of_out.index(digit)],
      low=low,
      **window,
    )
  size = out[of_out.index('b')] * out[of_out.index('f')] * right[of_right.index('i')]
  return 2.0 * size * pairs


def _window(convolution: Instruction, key: str, place: int) -> int:
  """The entry `place` of a window's attribute such as pad=7_7x0_0: the low end, of a pair."""
  found = re.search(rf'window=\{{[^}}]*\b{key}=([\d_x\-]+)', convolution.attributes)
  if not found:
    return 0 if key == 'pad' else 1
  return int(found.group(1).split('x')[place].split('_')[0])


def _valid_pairs(
  size: int, kernel: int, out: int, *, low: int, stride: int, lhs_dilate: int, rhs_dilate: int
) -> int:
  """Pairs (position of the output, of the kernel) that meet an entry of the input."""
  starts = np.arange(out)[:, None] * stride - low
  at = starts + np.arange(kernel)[None, :] * rhs_dilate
  inside = (at >= 0) & (at <= (size - 1) * lhs_dilate) & (at % lhs_dilate == 0)
  return int(inside.sum())


def traffic(program: Program, runs: Executions) -> float:
  """Bytes read from and written to the device's memory by instructions, one after the other.

  Buffers that XLA keeps on the chip count nothing, and of an operand that is only sliced, or
  updated in place, only that part. What a fusion does inside stays on the chip.
  """
  total = 0.0
  for name, times in runs.items():
    if not times.is_fused:
      computation = program.computations[name]
      total += times.count * sum(
        _moved(program, computation, each) for each in computation.values()
      )
  return total


def _moved(program: Program, computation: Computation, each: Instruction) -> float:
  if each.opcode in FREE or each.opcode.endswith(('-done', '-update')):
    return 0.0
  if each.opcode == 'copy-start':
    return _hbm(each.outputs[:2])
  if each.opcode == 'slice-start':
    source = _operand(computation, each, 0)
    moved = each.outputs[-2:-1]
    return _hbm(moved) + (sum(b.bytes for b in moved) if _hbm(source) else 0.0)
  if each.opcode == 'fusion':
    return _fusion(program, each, computation)
  if each.opcode in SLICES:
    return 2 * _hbm(each.outputs)
  if each.opcode == 'dynamic-update-slice':
    return 2 * _hbm(_operand(computation, each, 1))
  if each.opcode == 'scatter':
    return 3 * _hbm(_operand(computation, each, 2))
  read = sum(_hbm(_operand(computation, each, i)) for i in range(len(each.operands)))
  return read + _hbm(each.outputs)


def _fusion(program: Program, each: Instruction, computation: Computation) -> float:
  """Operands as far as they are read, and outputs as far as they are written."""
  [called] = each.called('calls')
  inside = program.computations[called]
  total = 0.0
  for parameter in inside.values():
    if parameter.opcode == 'parameter':
      size = _hbm(_operand(computation, each, _number(parameter)))
      total += min(size, _read(program, inside, parameter))
  [root] = [i for i in inside.values() if i.is_root]
  roots = [inside[name] for name in root.operands] if root.opcode == 'tuple' else [root]
  if len(roots) != len(each.outputs):
    return total + _hbm(each.outputs)
  return total + sum(_written(inside, i, b) for i, b in zip(roots, each.outputs, strict=True))


def _number(parameter: Instruction) -> int:
  """Which operand of the fusion it is."""
  found = re.match(r'\((\d+)\)', parameter.attributes)
  assert found is not None, parameter.name
  return int(found.group(1))


def _read(program: Program, inside: Computation, parameter: Instruction) -> float:
  """Bytes of a fusion's parameter that are used, also in fusions inside it."""
  total = 0.0
  for user in inside.values():
    places = [i for i, name in enumerate(user.operands) if name == parameter.name]
    if not places:
      continue
    if user.opcode in SLICES and places == [0]:
      total += sum(b.bytes for b in user.outputs)
    elif user.opcode == 'fusion':
      [called] = user.called('calls')
      inner = program.computations[called]
      named = {_number(i): i for i in inner.values() if i.opcode == 'parameter'}
      total += sum(_read(program, inner, named[place]) for place in places)
    elif user.opcode != 'dynamic-update-slice' or places != [0]:
      return math.inf
  return total


def _written(inside: Computation, root: Instruction, output: Buffer) -> float:
  while root.opcode in ('bitcast', 'copy', 'convert') and root.operands[0] in inside:
    root = inside[root.operands[0]]
  if root.opcode == 'dynamic-update-slice' and output.in_hbm:
    return float(inside[root.operands[1]].outputs[0].bytes)
  return _hbm((output,))


def _operand(computation: Computation, each: Instruction, place: int) -> tuple[Buffer, ...]:
  if place >= len(each.operands):
    return ()
  return computation[each.operands[place]].outputs


def _hbm(outputs: tuple[Buffer, ...]) -> float:
  return float(sum(each.bytes for each in outputs if each.in_hbm))


def collectives(program: Program, runs: Executions) -> list[Collective]:
  """Every collective that runs, by bytes times executions, largest first.

  XLA may split one over several fusions: those that share a channel are one.
  """
  found: dict[str, Collective] = {}
  for name, times in runs.items():
    for each in program.computations[name].values():
      kind = each.opcode.removesuffix('-start')
      if kind in KINDS:
        if name.startswith('all-reduce-scatter'):  # a fusion that keeps its part of the sum
          kind = 'reduce-scatter'
        channel = re.search(r'channel_id=(\d+)', each.attributes)
        key = channel.group(1) if channel else f'{name}/{each.name}'
        found[key] = Collective(
          kind,
          _exchanged(kind, each, program.computations[name]),
          replica_group(each.attributes),
          times.count,
          each.op_name,
        )
  return sorted(found.values(), key=lambda each: -each.bytes * each.times)


def _exchanged(kind: str, each: Instruction, computation: Computation) -> tuple[Buffer, ...]:
  if kind == 'reduce-scatter':
    return tuple(b for name in each.operands for b in computation[name].outputs)
  if each.opcode in ('all-gather-start', 'collective-permute-start'):
    return each.outputs[1:2] if len(each.operands) == 1 else each.outputs[len(each.operands) :]
  return each.outputs


def replica_group(attributes: str) -> tuple[int, ...]:
  """The group of the first device, from any of the ways in which XLA writes replica groups.

  Raises:
    ValueError: a way that is not known.
  """
  if pairs := re.search(r'source_target_pairs=\{\{(\d+),(\d+)\}', attributes):
    return tuple(map(int, pairs.groups()))
  if listed := re.search(r'replica_groups=\{\{([\d,]*)\}', attributes):
    return tuple(int(each) for each in listed.group(1).split(',') if each)
  if iota := re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', attributes):
    shape, reshaped, order = (_numbers(each) for each in iota.groups())
    devices = np.arange(math.prod(shape)).reshape(reshaped)
    devices = devices.transpose(order) if order else devices
    return tuple(devices.reshape(shape)[0].tolist())
  if named := re.search(
    r'replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^()]*(?:\([\d,]*\))?)\))?\s*\{([^}]*)\}',
    attributes,
  ):
    return _mesh_group(*named.groups())
  raise ValueError(f'replica groups are written in a way that is not known: {attributes[:200]}')


def _mesh_group(axes: str, order: str | None, along: str) -> tuple[int, ...]:
  """Over axes of a mesh of devices, which are in the order of an iota that is transposed."""
  sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", axes)}
  devices = np.arange(math.prod(sizes.values()))
  if order:
    shape, *transposed = (_numbers(each) for each in re.findall(r'[\d,]+', order))
    devices = devices.reshape(shape).transpose(*transposed)
  devices = devices.reshape(tuple(sizes.values()))
  if ':(' in along:
    raise ValueError(f'replica groups over parts of an axis are not known: {along}')
  names = re.findall(r"'(\w+)'", along)
  index = tuple(slice(None) if name in names else 0 for name in sizes)
  return tuple(np.ravel(devices[index]).tolist())


def _numbers(text: str | None) -> tuple[int, ...]:
  return tuple(int(each) for each in text.split(',')) if text else ()


def made_buffers(program: Program, runs: Executions) -> Iterator[tuple[Buffer, Instruction]]:
  """What instructions outside of fusions put into memory, or on the chip: one array at a time."""
  for name, times in runs.items():
    if not times.is_fused:
      for each in program.computations[name].values():
        if each.opcode not in FREE and not each.opcode.endswith('-done'):
          # A slice that is begun has in its type also what it is cut from.
          made = each.outputs[1:] if each.opcode == 'slice-start' else each.outputs
          yield from ((buffer, each) for buffer in made)
