import itertools

import pytest

from maxent_lm.analysis import roofline
from maxent_lm.analysis.cost import Collective
from maxent_lm.analysis.hlo import Buffer
from maxent_lm.analysis.roofline import CHIPS, Slice


def torus(topology):
  """Devices in the order of their coordinates."""
  chip, shape = roofline.slice_shape(topology)
  return Slice(chip, shape, tuple(itertools.product(*map(range, shape))))


def collective(kind, group, megabytes=64, times=1):
  return Collective(kind, (Buffer('f32', (megabytes * 250_000,), True),), tuple(group), times, '')


def seconds(kind, group, topology='v5p:4x4x4', **sizes):
  return roofline.exchange_seconds(collective(kind, group, **sizes), torus(topology))


LAST_AXIS, PLANE = range(4), range(16)  # of 4 x 4 x 4


@pytest.mark.parametrize('group', [LAST_AXIS, PLANE, range(64)])
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(group):
  parts = seconds('reduce-scatter', group) + seconds('all-gather', group)
  assert seconds('all-reduce', group) == pytest.approx(parts)


def test_a_gather_over_a_ring_of_the_torus():
  """3/4 of 64 MB over two links of 100 GB/s."""
  assert seconds('all-gather', LAST_AXIS) == pytest.approx(0.75 * 64e6 / 200e9)


def test_a_plane_has_the_links_of_two_axes():
  assert seconds('all-gather', PLANE) == pytest.approx(15 / 16 * 64e6 / 400e9)


def test_without_a_ring_there_is_one_link():
  """4 x 4 chips of v5e are no torus, nor are two neighbours, nor 2 x 4 x 4 of v5p."""
  assert seconds('all-gather', range(4), 'v5e:4x4') == pytest.approx(0.75 * 64e6 / 50e9)
  assert seconds('all-gather', range(16), 'v5e:16x16') == pytest.approx(15 / 16 * 64e6 / 100e9)
  assert seconds('all-gather', range(2)) == pytest.approx(0.5 * 64e6 / 100e9)
  assert seconds('all-gather', range(4), 'v5p:2x4x4') == pytest.approx(0.75 * 64e6 / 100e9)


def test_all_to_all_is_a_quarter_of_gathering_everything():
  """Each of 16 devices has 4 MB: a gather of the whole passes 64 MB."""
  whole = seconds('all-gather', range(16), 'v5e:16x16', megabytes=64)
  parts = seconds('all-to-all', range(16), 'v5e:16x16', megabytes=4)
  assert parts == pytest.approx(whole * 16 / 15 / 4)
  halves = seconds('all-to-all', range(2), megabytes=64)  # each keeps one and sends the other
  assert halves == pytest.approx(32e6 / 100e9)
  assert seconds('all-to-all', [0, 1, 4, 5], 'v5e:4x4') == pytest.approx(64e6 / 2 / 50e9)


def test_alone_there_is_nothing_to_exchange():
  assert seconds('all-reduce', [5]) == 0


def test_the_longest_of_three_bounds():
  slice_ = torus('v5e:2x2')
  one = roofline.roofline(slice_, flops=197e12, traffic=819e9 / 2, collectives=[])
  assert (one.compute, one.memory, one.interconnect) == (1, 0.5, 0)
  assert (one.seconds, one.bound) == (1, 'compute')
  often = [collective('all-gather', [0, 1], times=10_000)]
  more = roofline.roofline(slice_, flops=197e12, traffic=0, collectives=often)
  assert more.bound == 'interconnect'
  assert more.interconnect == pytest.approx(10_000 * 0.5 * 64e6 / 50e9)


def test_links_add_up_to_what_is_published():
  """Bidirectional GB/s of a chip: v5e 400, v5p 1200, v6e 800, tpu7x 1200."""
  for name, total in (('v5e', 400), ('v5p', 1200), ('v6e', 800), ('tpu7x', 1200)):
    assert CHIPS[name].link * 2 * CHIPS[name].axes * 2 == total * 1e9


def test_a_device_of_a_chip_with_two_has_half():
  chip, _ = roofline.slice_shape('tpu7x:4x4x4')
  slice_ = Slice(chip, (4, 4, 4), ())
  assert slice_.hbm == 96 * 2**30
  half = roofline.roofline(slice_, flops=2307e12, traffic=0, collectives=[])
  assert half.compute == 2


@pytest.mark.parametrize(
  ('topology', 'sentence'),
  [
    ('v9:2x2', "'v9:2x2' has an unknown chip; choose v4, v5e, v5p"),
    ('v5p:4x4', 'write 3 numbers of chips, as in v5p:4x4x4'),
    ('v5e:4xfour', 'write 2 numbers of chips, as in v5e:4x4'),
    ('v5e:0x4', 'is not a slice of v5e'),
  ],
)
def test_wrong_topologies_are_told(topology, sentence):
  with pytest.raises(ValueError, match=sentence):
    roofline.slice_shape(topology)
