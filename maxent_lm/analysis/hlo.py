"""Reads what XLA compiled: the text of an HLO module as instructions, and how often each runs.

Only what costs are counted from (`analysis/cost.py`): shapes, operands, called computations, loops.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

BITS = {
  **{'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16, 'u16': 16, 's32': 32, 'u32': 32},
  **{'s64': 64, 'u64': 64, 'f16': 16, 'bf16': 16, 'f32': 32, 'f64': 64, 'c64': 64, 'c128': 128},
  **{'f8e4m3fn': 8, 'f8e5m2': 8, 'token': 0},
}
ARRAY = re.compile(r'\b(\w+)\[([\d,]*)\](?:\{([^}]*)\})?')
HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
LINE = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = ')
CALLED = re.compile(r'\b(calls|body|condition|to_apply|branch_computations)=(\{[^}]*\}|%[\w.\-]+)')
KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
OP_NAME = re.compile(r'op_name="([^"]*)"')


class Buffer(NamedTuple):
  """An array; `in_hbm` is False where the layout puts it into memory on the chip."""

  dtype: str
  dims: tuple[int, ...]
  in_hbm: bool

  @property
  def elements(self) -> int:
    """Their number."""
    return math.prod(self.dims)

  @property
  def bytes(self) -> int:
    """Without padding."""
    return self.elements * BITS[self.dtype] // 8

  def __str__(self) -> str:
    return f'{self.dtype}[{",".join(map(str, self.dims))}]'


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line: `outputs` of its type (several for a tuple), names of operands, other attributes."""

  name: str
  opcode: str
  outputs: tuple[Buffer, ...]
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  def called(self, *kinds: str) -> list[str]:
    """Names of the computations that are called as one of `kinds`, 'body' for instance."""
    found = CALLED.findall(self.attributes)
    names = [re.findall(r'%([\w.\-]+)', value) for kind, value in found if kind in kinds]
    return [name for each in names for name in each]

  @property
  def op_name(self) -> str:
    """Where in the traced program it comes from; '' if XLA does not say."""
    match = OP_NAME.search(self.attributes)
    return match.group(1) if match else ''


Computation = Mapping[str, Instruction]


class Program(NamedTuple):
  """Computations by name; `entry` is the one that is run."""

  computations: Mapping[str, Computation]
  entry: str


class Times(NamedTuple):
  """How often a computation runs, and whether inside a fusion, where nothing goes to memory."""

  count: int
  is_fused: bool


def parse(text: str) -> Program:
  """The module of `compiled.as_text()`; raises ValueError if there is no entry computation."""
  computations: dict[str, dict[str, Instruction]] = {}
  current: dict[str, Instruction] = {}
  entry = ''
  for line in text.splitlines():
    if header := HEADER.match(line):
      current = computations[header.group(2)] = {}
      entry = header.group(2) if header.group(1) else entry
    elif LINE.match(line):
      instruction = _instruction(re.sub(r'/\*.*?\*/', '', line))
      current[instruction.name] = instruction
  if not entry:
    raise ValueError('the text has no ENTRY computation; give the text of a compiled HLO module')
  return Program(computations, entry)


def _instruction(line: str) -> Instruction:
  match = LINE.match(line)
  assert match is not None
  rest = line[match.end() :]
  end = _closing(rest, 0) + 1 if rest.startswith('(') else rest.index(' ')
  kind, rest = rest[:end], rest[end:].strip()
  opens = rest.index('(')
  opcode = rest[:opens]
  closes = _closing(rest, opens)
  return Instruction(
    name=match.group(2),
    opcode=opcode,
    outputs=tuple(buffers(kind)),
    operands=tuple(re.findall(r'%([\w.\-]+)', rest[opens:closes])),
    attributes=rest[opens:] if opcode in ('constant', 'parameter') else rest[closes + 1 :],
    is_root=bool(match.group(1)),
  )


def _closing(text: str, opens: int) -> int:
  """Index of the parenthesis that closes the one at `opens`."""
  depth = 0
  for i in range(opens, len(text)):
    depth += {'(': 1, ')': -1}.get(text[i], 0)
    if depth == 0:
      return i
  raise ValueError(f'a parenthesis is not closed: {text[:80]}')


def buffers(kind: str) -> Iterator[Buffer]:
  """The arrays in the text of a type, in order."""
  for dtype, dims, layout in ARRAY.findall(kind):
    if dtype in BITS:
      space = re.search(r'S\((\d+)\)', layout)
      yield Buffer(
        dtype, tuple(int(size) for size in dims.split(',') if size), not space or space[1] == '0'
      )


def executions(program: Program, *, unknown: Sequence[int] = (1,)) -> dict[str, Times]:
  """How often each computation that runs is run.

  A loop runs as often as XLA knows, or as its condition says (a counter below a constant). Those
  that end when the data say so run `unknown` times, in the order of the program, and all after them
  as often as the last; inside another such loop, once.
  """
  found: dict[str, Times] = {}
  told = itertools.chain(unknown, itertools.repeat(unknown[-1]))

  def visit(name: str, count: int, is_fused: bool, is_open: bool) -> None:
    old = found.get(name, Times(0, True))
    found[name] = Times(old.count + count, old.is_fused and is_fused)
    for each in program.computations[name].values():
      if each.opcode == 'while':
        trips = trip_count(program, each)
        times = trips if trips is not None else 1 if is_open else next(told)
        for called in each.called('body', 'condition'):
          visit(called, count * times, is_fused, is_open or trips is None)
      elif each.opcode in ('call', 'conditional', 'async-start'):
        for called in each.called('to_apply', 'branch_computations', 'calls'):
          visit(called, count, is_fused, is_open)
      elif each.opcode == 'fusion':
        for called in each.called('calls'):
          visit(called, count, True, is_open)

  visit(program.entry, 1, False, False)
  return found


def trip_count(program: Program, loop: Instruction) -> int | None:
  """How often a `while` runs; None if only the data say."""
  if known := KNOWN_TRIPS.search(loop.attributes):
    return int(known.group(1))
  [condition], [body] = loop.called('condition'), loop.called('body')
  seen = list(program.computations[condition].values())
  for each in tuple(seen):
    if each.opcode == 'fusion':
      seen += [inner for called in each.called('calls') for inner in _all(program, called)]
  compares = [each for each in seen if each.opcode == 'compare']
  limits = [each for each in seen if each.opcode == 'constant']
  if len(compares) != 1 or len(limits) != 1 or 'direction=LT' not in compares[0].attributes:
    return None
  limit = _value(limits[0])
  counters = [each for each in seen if each.opcode == 'get-tuple-element']
  if limit is None or len(counters) != 1:
    return None
  start, step = _start_and_step(program, loop, program.computations[body], counters[0])
  return max(0, -((start - limit) // step))


def _start_and_step(
  program: Program, loop: Instruction, body: Computation, counter: Instruction
) -> tuple[int, int]:
  """Of a loop's counter; 0 and 1, as of all of JAX's loops, where the text does not show them.

  XLA unrolls loops that it makes itself, and then steps by more.
  """
  place = re.search(r'index=(\d+)', counter.attributes)
  outside = next(each for each in program.computations.values() if each.get(loop.name) is loop)
  begins = outside.get(loop.operands[0])
  [ends] = [each for each in body.values() if each.is_root]
  start, step = None, None
  if place and begins is not None and begins.opcode == 'tuple':
    start = _constant(outside, begins.operands[int(place.group(1))])
  if place and ends.opcode == 'tuple':
    added = body[ends.operands[int(place.group(1))]]
    if added.opcode == 'add':
      steps = [_constant(body, name) for name in added.operands]
      step = next((each for each in steps if each), None)
  return start or 0, step or 1


def _constant(computation: Computation, name: str) -> int | None:
  """The number that an instruction is a copy of, if the text says which."""
  each = computation[name]
  while each.opcode in ('copy', 'bitcast', 'copy-done', 'copy-start') and each.operands:
    each = computation[each.operands[0]]
  return _value(each) if each.opcode == 'constant' else None


def _value(constant: Instruction) -> int | None:
  found = re.match(r'\((\d+)\)', constant.attributes)
  return int(found.group(1)) if found and not constant.outputs[0].dims else None


def _all(program: Program, name: str) -> list[Instruction]:
  return list(program.computations[name].values())
