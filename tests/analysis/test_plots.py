"""One style for all pictures, which reads without colour."""

import functools
import itertools
import pathlib

import numpy as np
import pytest

from maxent_lm.analysis import plots, report


def test_two_series_differ_in_more_than_colour():
  for one, other in itertools.combinations(plots.STYLES, 2):
    assert one[0] != other[0] and one[1] != other[1]
  assert all(a[2] != b[2] for a, b in itertools.pairwise(plots.STYLES))
  assert len(set(plots.HATCHES)) == len(plots.HATCHES)


@pytest.mark.parametrize(
  'draw',
  [
    functools.partial(plots.at_k, table={'pass@1': 0.2, 'pass@2': 0.3}, families={'pass': 'p'}),
    functools.partial(
      plots.reliability,
      confidence=np.array([0.2, 0.8]),
      accuracy=np.array([0.1, 0.9]),
      count=np.array([3, 4]),
    ),
    functools.partial(plots.slope, x=np.arange(3.0), y=np.arange(3.0), fitted=0.9),
    functools.partial(plots.bars, bars={'a': {'x': 1.0}, 'b': {'y': 2.0}}, label='l'),
  ],
  ids=['at_k', 'reliability', 'slope', 'bars'],
)
def test_panels_look_alike(tmp_path, draw):
  seen = []
  plots.panels(tmp_path / 'x.png', draw, seen.append)
  axes = seen[0]
  assert not axes.spines['top'].get_visible() and axes.xaxis.get_gridlines()[0].get_visible()
  drawn = axes.figure.axes[0]
  assert not drawn.spines['right'].get_visible()
  assert drawn.yaxis.get_gridlines()[0].get_visible()
  assert (tmp_path / 'x.png').read_bytes()[:4] == b'\x89PNG'


def test_the_report_has_the_colours_of_the_pictures():
  css = (pathlib.Path(report.PAGE) / 'page.css').read_text()
  for number, (colour, _, _) in enumerate(plots.STYLES[:2]):
    assert f'--s{number}: {colour.lower()}' in css
