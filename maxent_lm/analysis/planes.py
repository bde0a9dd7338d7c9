"""Pictures of a plane: runs in the plane of two measures, and measures over a plane of settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maxent_lm.analysis.plots import markers

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.colors import Normalize

MARKS = {'collapse': '//', 'babble': '..'}  # hatches of the regions of a heat map


def cloud(
  axes: 'Axes',
  rows: Sequence[Mapping[str, Any]],
  *,
  by: str,
  names: Sequence[str],
  x: str,
  y: str,
  title: str,
) -> None:
  """A marker for each of `names`, the mean of its rows in column `by`, with a line to each row.

  Hollow after the eighth name. Rows without one of the columns are left out.
  """
  known = [row for row in rows if row.get(x) is not None and row.get(y) is not None]
  for name, look in markers(names).items():
    points = np.array([(row[x], row[y]) for row in known if row[by] == name])
    if not len(points):
      continue
    middle = points.mean(axis=0)
    for point in points:
      axes.plot(*np.stack([middle, point]).T, color=look['edgecolors'], alpha=0.35, linewidth=1)
    axes.scatter(*middle, s=70, zorder=3, **look)
  axes.set(xlabel=x, ylabel=y, title=title)
  axes.grid(alpha=0.3)


def key(axes: 'Axes', names: Sequence[str]) -> None:
  """A panel with nothing but what the markers of `cloud` mean."""
  for name, look in markers(names).items():
    axes.scatter([], [], s=70, label=name, **look)
  axes.legend(loc='center left')
  axes.set_axis_off()


def region(row: Mapping[str, float], start: Mapping[str, float]) -> str | None:
  """Where a policy is by its `entropy` and `pass@1`: 'collapse', 'babble' or neither.

  It collapses with less than half of the start's entropy, and babbles with more entropy than the
  start while it is right less often.
  """
  if row['entropy'] < start['entropy'] / 2:
    return 'collapse'
  babbles = row['entropy'] > start['entropy'] and row['pass@1'] < start['pass@1']
  return 'babble' if babbles else None


def heat_map(
  axes: 'Axes',
  values: np.ndarray,
  *,
  x: tuple[str, Sequence[Any]],
  y: tuple[str, Sequence[Any]],
  title: str,
  regions: Mapping[str, np.ndarray],
) -> None:
  """values [Y, X] as shades with their numbers; `x` and `y` are a label and the ticks.

  `regions` [Y, X] bool by a name in MARKS are hatched. Cells that are nan stay white. Shades are
  linear up to about the median and logarithmic beyond, so that one large value leaves the others
  apart.
  """
  norm = _shades(values)
  axes.imshow(values, origin='lower', cmap='cividis', aspect='auto', norm=norm)
  for (row, column), value in np.ndenumerate(values):
    if np.isfinite(value):
      colour = 'white' if norm(value) < 0.55 else 'black'
      axes.text(column, row, f'{value:.2f}', ha='center', va='center', color=colour, zorder=4)
  for name, cells in regions.items():
    _hatch(axes, cells, name)
  axes.set_xticks(range(len(x[1])), [f'{tick:g}' for tick in x[1]])
  axes.set_yticks(range(len(y[1])), [f'{tick:g}' for tick in y[1]])
  axes.set(xlabel=x[0], ylabel=y[0], title=title)
  axes.grid(visible=False)
  if any(cells.any() for cells in regions.values()):
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1.08), ncols=2, fontsize=8)


def _shades(values: np.ndarray) -> 'Normalize':
  """From values to [0, 1]; a plane without two different values has nothing to shade."""
  from matplotlib.colors import AsinhNorm, Normalize

  known = values[np.isfinite(values)]
  if not len(known) or known.min() == known.max():
    return Normalize(vmin=0.0, vmax=1.0)
  width = float(np.median(np.abs(known))) or 1.0
  return AsinhNorm(linear_width=width, vmin=float(known.min()), vmax=float(known.max()))


def _hatch(axes: 'Axes', cells: np.ndarray, name: str) -> None:
  """Hatches the cells, with one entry in the legend."""
  from matplotlib.patches import Rectangle

  for number, (row, column) in enumerate(np.argwhere(cells)):
    label = name if number == 0 else None
    corner = (column - 0.5, row - 0.5)
    cell = Rectangle(corner, 1, 1, fill=False, edgecolor='tab:red', linewidth=0, zorder=3)
    cell.set(hatch=MARKS[name], label=label)
    axes.add_patch(cell)
