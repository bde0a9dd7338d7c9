"""What a run would need on devices that are not there: its programs, compiled and judged.

`build.plan` lowers a rollout and an update; here they are compiled for a slice of TPUs, and memory,
work, collectives and the largest buffers of one device are read from what XLA made.
"""

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax

from maxent_lm.analysis import cost, hlo
from maxent_lm.analysis.cost import Collective
from maxent_lm.analysis.hlo import Buffer
from maxent_lm.analysis.roofline import GIB, Roofline, Slice, roofline
from maxent_lm.build.plan import Plan
from maxent_lm.lm import partition


class Made(NamedTuple):
  """A buffer that a program makes, and where in the code."""

  buffer: Buffer
  opcode: str
  op_name: str


@dataclasses.dataclass(frozen=True)
class Examined:
  """One program on one device: bytes of memory, work of one execution, what it exchanges and makes.

  `refused` is why it was not compiled: memory; then there is nothing else.
  """

  refused: str = ''
  compile_seconds: float = 0.0
  arguments: int = 0
  temporary: int = 0
  outputs: int = 0
  aliased: int = 0
  flops: float = 0.0
  traffic: float = 0.0
  collectives: Sequence[Collective] = ()
  made: Sequence[Made] = ()

  @property
  def added(self) -> int:
    """Bytes that it needs beside its arguments."""
    return self.temporary + self.outputs - self.aliased


class Report(NamedTuple):
  """A plan with its programs 'rollout' and 'update', examined."""

  plan: Plan
  slice: Slice
  programs: Mapping[str, Examined]

  @property
  def stays(self) -> int:
    """Bytes of state and reference, and of a batch where the update was compiled."""
    return self.programs['update'].arguments or resident(self.plan)

  def memory(self, name: str) -> int:
    """Bytes of a device while the program runs: what stays, and what it adds."""
    return self.stays + self.programs[name].added

  def roofline(self, name: str) -> Roofline:
    """Least seconds of the program."""
    each = self.programs[name]
    return roofline(
      self.slice, flops=each.flops, traffic=each.traffic, collectives=each.collectives
    )


def mesh_sizes(text: str) -> dict[str, int]:
  """'fsdp:16,tensor:4' -> the sizes of all axes, 1 where none is given.

  Raises:
    ValueError: an axis is not known, or its size is not a number.
  """
  sizes = dict.fromkeys(partition.MESH_AXES, 1)
  for part in text.split(','):
    name, _, size = part.partition(':')
    if name not in sizes or not re.fullmatch(r'-1|\d+', size):
      raise ValueError(
        f'mesh {text!r}: {part!r} is no axis with its size; the axes are {", ".join(sizes)}'
      )
    sizes[name] = int(size)
  return sizes


def examine(plan: Plan, slice_: Slice) -> Report:
  """Compiles both programs; minutes, and gigabytes of this machine's memory, for a large model.

  Where the state alone does not fit nothing is compiled.
  """
  state = resident(plan)
  if state > slice_.hbm:
    refused = f'state and reference alone are {state / GIB:.1f} GiB a device'
    programs = dict.fromkeys(('update', 'rollout'), Examined(refused=refused))
    return Report(plan, slice_, programs)
  programs = {
    'update': _examine(plan.update, unknown=(plan.pieces,)),
    'rollout': _examine(plan.rollout, unknown=plan.decode_steps),
  }
  return Report(plan, slice_, programs)


def resident(plan: Plan) -> int:
  """Bytes of state and reference on a device."""
  return partition.device_bytes((plan.state, plan.policy.params if plan.has_reference else None))


def _examine(lowered: jax.stages.Lowered, *, unknown: Sequence[int]) -> Examined:
  began = time.perf_counter()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return Examined(refused=f'XLA: {refusal(str(error))}')
  seconds = time.perf_counter() - began
  memory, text = compiled.memory_analysis(), compiled.as_text()
  assert memory is not None and text is not None  # CPUs and TPUs have both
  return dataclasses.replace(
    count(text, unknown=unknown),
    compile_seconds=seconds,
    arguments=memory.argument_size_in_bytes,
    temporary=memory.temp_size_in_bytes + memory.generated_code_size_in_bytes,
    outputs=memory.output_size_in_bytes,
    aliased=memory.alias_size_in_bytes,
  )


def count(text: str, *, unknown: Sequence[int] = (1,)) -> Examined:
  """What the text of a compiled module says of work, collectives and buffers."""
  program = hlo.parse(text)
  runs = hlo.executions(program, unknown=unknown)
  made: dict[str, Made] = {}
  for buffer, each in cost.made_buffers(program, runs):
    made.setdefault(str(buffer), Made(buffer, each.opcode, each.op_name))
  return Examined(
    flops=cost.flops(program, runs),
    traffic=cost.traffic(program, runs),
    collectives=cost.collectives(program, runs),
    made=sorted(made.values(), key=lambda each: -each.buffer.bytes),
  )


def refusal(message: str) -> str:
  """Of a long message about memory, the sentence that says how much is missing."""
  found = re.search(r'Used [\d.]+\w+ of [\d.]+\w+ hbm\. Exceeded[^.]*\.\d+\w+', message)
  return found.group(0) if found else ' '.join(message.split())[:300]
