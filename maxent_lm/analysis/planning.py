"""A plan judged and told: what fits, what is whole that should be split, how fast it could be.

`examine.py` has what is judged.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from maxent_lm.analysis.examine import Examined, Report
from maxent_lm.analysis.roofline import GIB
from maxent_lm.build.plan import Plan
from maxent_lm.lm import partition

SHOWN = 8  # collectives and buffers that are listed


class Verdict(NamedTuple):
  """Something that a plan has to show, and what was seen."""

  what: str
  holds: bool
  seen: str


def verdicts(report: Report) -> list[Verdict]:
  """The plan fits, and nothing is replicated that should be split."""
  found = [_fits(report, name) for name in report.programs]
  if any(each.refused for each in report.programs.values()):
    return found
  found += [_no_logits(report, name) for name in report.programs]
  found += [_no_whole_parameter(report, name) for name in report.programs]
  return [*found, _state_in_place(report)]


def _fits(report: Report, name: str) -> Verdict:
  what, hbm = f'the {name} fits', report.slice.hbm
  if refused := report.programs[name].refused:
    return Verdict(what, False, refused)
  needed, stays = report.memory(name), report.stays
  sign = '<=' if needed <= hbm else '>'
  return Verdict(
    what,
    needed <= hbm,
    f'{needed / GIB:.2f} GiB {sign} {hbm / GIB:.0f} GiB a device: {stays / GIB:.2f} that stay, '
    f'{(needed - stays) / GIB:.2f} while it runs',
  )


def _no_logits(report: Report, name: str) -> Verdict:
  """No buffer has a vocabulary axis and as many elements as its device's share of all logits."""
  share = report.plan.logits // report.plan.policy.mesh.size
  sizes = _vocabulary_sizes(report.plan)
  wide = [each for each in report.programs[name].made if sizes & set(each.buffer.dims)]
  parameters = _parameters(report.plan)
  wide = [each for each in wide if _canonical(each.buffer.dims) not in parameters]
  largest = max(wide, key=lambda each: each.buffer.elements, default=None)
  seen = 'none has that axis'
  if largest is not None:
    ratio = largest.buffer.elements / share
    seen = f'the largest with that axis is {largest.buffer}, {ratio:.2g} of it'
  return Verdict(
    f'the {name} makes no buffer of B x R x V / devices = {share:.3g} elements',
    largest is None or largest.buffer.elements < share,
    seen,
  )


def _vocabulary_sizes(plan: Plan) -> set[int]:
  vocabulary, mesh = plan.policy.lm.config.vocab_size, plan.policy.mesh
  shards = {math.prod(mesh.shape[name] for name in partition.RULES['vocab']), 1}
  return {vocabulary // each for each in shards}


def _parameters(plan: Plan) -> set[tuple[int, ...]]:
  """The dims of parameters, whole or split in the way that the table says, wholly or in part."""
  leaves = jax.tree.leaves(plan.policy.params)
  whole = {_canonical(leaf.shape) for leaf in leaves}
  gathered = {shape for leaf in leaves for shape in _gathered(leaf)}
  return whole | _shards(plan) | gathered


def _shards(plan: Plan) -> set[tuple[int, ...]]:
  """The dims of what a device holds of each parameter."""
  leaves = jax.tree.leaves(plan.policy.params)
  return {_canonical(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves}


def _no_whole_parameter(report: Report, name: str) -> Verdict:
  """No buffer is a parameter that was split and now is whole, nor all layers of one over fsdp."""
  shards = _shards(report.plan)
  # Shapes tell parameters: one that another has where it is split tells nothing.
  forbidden = {
    shape: label for shape, label in _whole_parameters(report.plan) if shape not in shards
  }
  examined = report.programs[name]
  buffers = [each.buffer for each in examined.made]
  buffers += [buffer for each in examined.collectives for buffer in each.buffers]
  seen = [(b, forbidden[_canonical(b.dims)]) for b in buffers if _canonical(b.dims) in forbidden]
  gathers = [
    (sum(b.bytes for b in each.buffers), each)
    for each in examined.collectives
    if each.kind == 'all-gather'
  ]
  size, largest = max(gathers, key=lambda each: each[0], default=(0, None))
  if seen:
    told = ', '.join(f'{buffer} is {parameter}' for buffer, parameter in seen[:3])
  elif largest is not None:
    told = f'the largest gather is {" ".join(map(str, largest.buffers))}, {size / GIB:.2g} GiB'
  else:
    told = 'nothing is gathered'
  return Verdict(f'the {name} gathers no whole parameter', not seen, told)


def _whole_parameters(plan: Plan) -> Iterator[tuple[tuple[int, ...], str]]:
  for path, leaf in jax.tree_util.tree_flatten_with_path(plan.policy.params)[0]:
    names = partition.path_names(path)
    label = '/'.join(names)
    own = leaf.sharding.shard_shape(leaf.shape)
    if own == leaf.shape:
      continue
    yield _canonical(leaf.shape), f'{label}, whole'
    if names[0] == 'layers':
      yield from ((shape, f'all layers of {label}') for shape in _gathered(leaf))


def _gathered(leaf: jax.ShapeDtypeStruct) -> Iterator[tuple[int, ...]]:
  """Its shapes with one of the axes that are split put together, and others still split."""
  own = leaf.sharding.shard_shape(leaf.shape)
  split = [axis for axis, size in enumerate(leaf.shape) if own[axis] != size]
  if len(split) > 1:
    for axis in split:
      yield _canonical([leaf.shape[i] if i == axis else size for i, size in enumerate(own)])


def _canonical(dims: Sequence[int]) -> tuple[int, ...]:
  """Dims without ones, in an order of their own: XLA transposes freely."""
  return tuple(sorted(size for size in dims if size > 1))


def _state_in_place(report: Report) -> Verdict:
  """The new state is written over the old one, and so is laid out as it was."""
  size = partition.device_bytes(report.plan.state)
  aliased = report.programs['update'].aliased
  return Verdict(
    'the new state takes the place of the old one',
    aliased >= 0.999 * size,
    f'{aliased / GIB:.2f} of {size / GIB:.2f} GiB',
  )


def lines(report: Report) -> list[str]:
  """The report as people read it."""
  found = []
  for name, each in report.programs.items():
    if not each.refused:
      found += _program_lines(report, name, each)
  judged = verdicts(report)
  found += [f'{"holds" if v.holds else "FAILS"}: {v.what}: {v.seen}' for v in judged]
  fits = [v for v in judged if v.what.endswith('fits')]
  wrong = [v for v in fits if not v.holds]
  because = '; '.join(f'{v.what[4:].split()[0]}: {v.seen}' for v in (wrong or fits))
  return [*found, f'{"does not fit" if wrong else "fits"}, because {because}']


def _program_lines(report: Report, name: str, each: Examined) -> list[str]:
  least = report.roofline(name)
  head = [
    f'{name}: {report.memory(name) / GIB:.2f} GiB a device ({each.temporary / GIB:.2f} temporary), '
    f'{each.flops / 1e12:.4g} TFLOP, {each.traffic / 1e9:.4g} GB moved, compiled in '
    f'{each.compile_seconds:.0f} s',
    f'  at least {least.seconds:.3g} s, bound by {least.bound}: compute {least.compute:.3g}, '
    f'memory {least.memory:.3g}, interconnect {least.interconnect:.3g}',
  ]
  exchanged = [
    f'  {c.kind} x {c.times} of {c.bytes / 1e6:.4g} MB among {len(c.group)}: '
    f'{" ".join(map(str, c.buffers))[:90]}  {c.op_name[-70:]}'
    for c in each.collectives[:SHOWN]
  ]
  made = [
    f'  {m.buffer.bytes / GIB:.3f} GiB {m.buffer} {m.opcode}  {m.op_name[-70:]}'
    for m in each.made[:SHOWN]
  ]
  count_ = sum(c.times for c in each.collectives)
  return [
    *head,
    f' collectives ({len(each.collectives)} in the program, {count_} executions), largest:',
    *exchanged,
    ' buffers, largest:',
    *made,
  ]
