"""Pictures of planes: what is in them, whatever it looks like."""

import matplotlib
import numpy as np
import pytest

from maxent_lm.analysis import planes

matplotlib.use('Agg')


@pytest.fixture
def axes():
  import matplotlib.pyplot as plt

  figure, place = plt.subplots()
  yield place
  plt.close(figure)


def cloud(axes, rows, names):
  planes.cloud(axes, rows, by='name', names=names, x='x', y='y', title='t')
  return [tuple(marker.get_offsets()[0]) for marker in axes.collections]


def test_a_marker_is_the_mean_and_a_line_leads_to_every_row(axes):
  rows = [{'name': 'a', 'x': 0.0, 'y': 1.0}, {'name': 'a', 'x': 1.0, 'y': 3.0}]
  rows += [{'name': 'b', 'x': 5.0, 'y': 5.0}, {'name': 'b', 'x': None, 'y': 1.0}, {'name': 'c'}]
  assert cloud(axes, rows, ['a', 'b', 'c']) == [(0.5, 2.0), (5.0, 5.0)]
  assert len(axes.lines) == 3


def test_a_name_looks_the_same_in_every_panel_and_in_the_key(axes):
  import matplotlib.pyplot as plt

  figure, other = plt.subplots()
  names = [str(number) for number in range(20)]
  cloud(axes, [{'name': '9', 'x': 1.0, 'y': 1.0}], names)
  planes.key(other, names)
  (marker,) = axes.collections
  assert (marker.get_edgecolor() == other.collections[9].get_edgecolor()).all()
  looks = {
    (*each.get_edgecolor()[0], *each.get_facecolor().ravel(), each.get_paths()[0].vertices.shape)
    for each in other.collections
  }
  assert len(looks) == 20
  plt.close(figure)


@pytest.mark.parametrize(
  ('entropy', 'accuracy', 'where'),
  [
    (0.19, 0.9, 'collapse'),
    (0.19, 0.1, 'collapse'),
    (0.21, 0.1, None),  # less sure than that, whatever it knows
    (0.41, 0.29, 'babble'),
    (0.41, 0.31, None),  # it explores, and gains
    (0.4, 0.3, None),  # the start itself
  ],
)
def test_regions_are_told_from_the_start(entropy, accuracy, where):
  start = {'entropy': 0.4, 'pass@1': 0.3}
  assert planes.region({'entropy': entropy, 'pass@1': accuracy}, start) == where


def test_a_heat_map_shows_its_numbers_and_hatches_its_regions(axes):
  values = np.array([[np.nan, 0.25], [0.5, 1.0]])
  regions = {
    'collapse': np.array([[False, True], [False, False]]),
    'babble': np.zeros((2, 2), bool),
  }
  planes.heat_map(
    axes, values, x=('beta', [0.0, 0.1]), y=('alpha', [0.0, 0.5]), title='t', regions=regions
  )
  assert [text.get_text() for text in axes.texts] == ['0.25', '0.50', '1.00']
  assert [tuple(text.get_position()) for text in axes.texts] == [(1, 0), (0, 1), (1, 1)]
  (cell,) = axes.patches
  assert cell.get_xy() == (0.5, -0.5) and cell.get_hatch() == planes.MARKS['collapse']
  assert [tick.get_text() for tick in axes.get_xticklabels()] == ['0', '0.1']


def shades(axes, values):
  nowhere = {name: np.zeros(values.shape, bool) for name in planes.MARKS}
  ticks = [list(range(size)) for size in values.shape]
  planes.heat_map(axes, values, x=('x', ticks[1]), y=('y', ticks[0]), title='t', regions=nowhere)
  axes.figure.canvas.draw()
  (image,) = axes.images
  return image.norm(values)


def test_one_large_value_leaves_the_others_apart(axes):
  small, middle, other, large = shades(axes, np.array([[0.3, 0.9], [1.6, 46.0]])).ravel()
  assert small == 0 and large == 1
  assert min(middle - small, other - middle) > 0.08  # 0.013 and 0.015 on a linear scale


@pytest.mark.parametrize('value', [np.nan, 0.0, -1.5, 0.7])
def test_a_plane_of_one_value_or_none_is_drawn(axes, value):
  shades(axes, np.array([[value, np.nan]]))
