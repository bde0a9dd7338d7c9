"""How long a program takes at least on a pod of TPUs: arithmetic, memory, interconnect.

Peaks of a chip as Google publishes them (cloud.google.com/tpu/docs, pages v4, v5e, v5p, v6e, tpu7x,
read in November 2026); the interconnect is given there as the sum over all links of a chip, both
directions, and in [Jouppi et al. 2023, TPU v4] for v4.
"""

from collections.abc import Sequence
from typing import NamedTuple

from maxent_lm.analysis.cost import Collective

GIB = 2**30


class Chip(NamedTuple):
  """Peaks of one chip.

  Attributes:
    hbm: bytes of memory.
    flops: bfloat16 FLOP/s.
    bandwidth: bytes/s between chip and memory.
    link: bytes/s of one link in one direction.
    axes: of the torus: a chip has two links along each.
    devices: that JAX sees in a chip; they share the peaks.
  """

  hbm: float
  flops: float
  bandwidth: float
  link: float
  axes: int
  devices: int = 1


CHIPS = {
  'v4': Chip(32 * GIB, 275e12, 1200e9, 50e9, 3),
  'v5e': Chip(16 * GIB, 197e12, 819e9, 50e9, 2),
  'v5p': Chip(95 * GIB, 459e12, 2765e9, 100e9, 3),
  'v6e': Chip(32 * GIB, 918e12, 1600e9, 100e9, 2),
  'tpu7x': Chip(192 * GIB, 2307e12, 7380e9, 100e9, 3, devices=2),
}


class Slice(NamedTuple):
  """A slice of a pod: its chips, their number along each axis, coordinates of devices in a mesh."""

  chip: Chip
  shape: tuple[int, ...]
  coords: tuple[tuple[int, ...], ...]

  @property
  def hbm(self) -> float:
    """Bytes of a device."""
    return self.chip.hbm / self.chip.devices


class Roofline(NamedTuple):
  """Seconds that each resource needs, if it never waits; the longest bounds the program."""

  compute: float
  memory: float
  interconnect: float

  @property
  def seconds(self) -> float:
    """If all three overlap."""
    return max(self)

  @property
  def bound(self) -> str:
    """The resource that takes longest."""
    return max(self._fields, key=lambda name: getattr(self, name))


def slice_shape(topology: str) -> tuple[Chip, tuple[int, ...]]:
  """('v5p:4x4x4') -> its chip and (4, 4, 4).

  Raises:
    ValueError: no such chip, or another number of axes.
  """
  name, _, sizes = topology.partition(':')
  if name not in CHIPS:
    raise ValueError(f'topology {topology!r} has an unknown chip; choose {", ".join(CHIPS)}')
  chip = CHIPS[name]
  parts = sizes.split('x')
  if len(parts) != chip.axes or not all(part.isdigit() and int(part) for part in parts):
    raise ValueError(
      f'topology {topology!r} is not a slice of {name}; write {chip.axes} numbers of chips, as in '
      f'{name}:{"x".join(["4"] * chip.axes)}'
    )
  return chip, tuple(map(int, parts))


def roofline(
  slice_: Slice, *, flops: float, traffic: float, collectives: Sequence[Collective]
) -> Roofline:
  """Of what one device does (`analysis/cost.py`)."""
  chip = slice_.chip
  return Roofline(
    compute=flops * chip.devices / chip.flops,
    memory=traffic * chip.devices / chip.bandwidth,
    interconnect=sum(each.times * exchange_seconds(each, slice_) for each in collectives),
  )


def exchange_seconds(collective: Collective, slice_: Slice) -> float:
  """One execution, by its bytes alone: latency, below which a small exchange cannot go, is not in.

  On a ring of n devices all-gather and reduce-scatter pass (n - 1) / n of the whole array over the
  links, all-reduce twice that, all-to-all a quarter of n times what a device has. Where the group
  lies along several axes of the torus, all of their links work at a time, and all-to-all passes a
  quarter of the longest axis times what a device has, or all of that.
  """
  n = len(collective.group)
  if n < 2:
    return 0.0
  places = [slice_.coords[device] for device in collective.group]
  extents = [len(set(along)) for along in zip(*places, strict=True)]
  size = collective.bytes
  if collective.kind == 'collective-permute':
    return size / slice_.chip.link
  if max(extents) == 1:  # the devices of one chip
    return size / (2 * slice_.chip.link)
  links = sum(_links(slice_, axis, extent) for axis, extent in enumerate(extents) if extent > 1)
  wire = {
    'all-gather': size * (n - 1) / n,
    'reduce-scatter': size * (n - 1) / n,
    'all-reduce': 2 * size * (n - 1) / n,
    'all-to-all': size * (n / 4 if max(extents) == n else max(1.0, max(extents) / 4)),
  }[collective.kind]
  return wire / (links * slice_.chip.link)


def _links(slice_: Slice, axis: int, extent: int) -> int:
  """Links of a device that a group of `extent` devices along `axis` can use: 2 in a ring, else 1.

  Slices of three axes are tori where all are multiples of 4, those of two where an axis has 16.
  """
  shape = slice_.shape
  torus = all(size % 4 == 0 for size in shape) if len(shape) == 3 else shape[axis] == 16
  return 2 if torus and extent == shape[axis] else 1
