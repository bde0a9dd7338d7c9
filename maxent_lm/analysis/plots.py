"""Pictures of runs, in one style that also reads without colour.

Series differ in colour, marker and line (`STYLES`), bars in colour and hatching; everything else is
`LOOK`, for all pictures. The report's page has the same two colours, markers and lines.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
  from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

# Okabe-Ito colours: distinct in the common kinds of colour blindness, and dark to light in print.
Style = tuple[str, str, str]  # colour, marker, line
STYLES: tuple[Style, ...] = (
  ('#0072B2', 'o', '-'),
  ('#D55E00', 's', '--'),
  ('#009E73', '^', '-.'),
  ('#CC79A7', 'D', ':'),
  ('#E69F00', 'v', '-'),
  ('#56B4E9', 'P', '--'),
  ('#000000', 'X', '-.'),
  ('#999999', '*', ':'),
)
LOOK: dict[Any, Any] = {
  **{'axes.grid': True, 'axes.axisbelow': True, 'grid.color': '#dfe3e6', 'grid.linewidth': 0.8},
  **{'axes.spines.top': False, 'axes.spines.right': False, 'axes.edgecolor': '#5b6670'},
  **{'axes.labelcolor': '#1d2329', 'text.color': '#1d2329'},
  **{'xtick.color': '#5b6670', 'ytick.color': '#5b6670', 'font.size': 9.5},
  **{'lines.linewidth': 1.6, 'lines.markersize': 5, 'legend.frameon': False},
  **{'savefig.dpi': 120, 'figure.constrained_layout.use': True},
}
HATCHES = ('', '//', '..', 'xx')
FILLS = (1.0, 0.0, 0.35)  # how opaque markers are filled, each time the styles have run out


def learning_curve(
  axes: 'Axes', runs: Mapping[str, Rows], styles: Mapping[str, Style], metric: str, label: str
) -> None:
  """`metric` over steps for each run, smoothed over about a twentieth of the run."""
  for name, rows in runs.items():
    colour, marker, line = styles[name]
    points = [(row['step'], row[metric]) for row in rows if row.get(metric) is not None]
    if points:
      steps, values = np.array(points).T
      axes.plot(
        steps,
        _smooth(values, max(1, len(values) // 20)),
        line,
        color=colour,
        marker=marker,
        markevery=max(1, len(values) // 8),
        label=name,
      )
  axes.set(xlabel='step', ylabel=label)


def plane(axes: 'Axes', rows: Rows, styles: Mapping[str, Style], x: str, y: str) -> None:
  """One marker a row in the plane of two columns: accuracy against coverage, say."""
  for row in rows:
    colour, marker, _ = styles[row['name']]
    axes.scatter(row[x], row[y], s=90, color=colour, marker=marker, zorder=3)
    axes.annotate(
      row['name'], (row[x], row[y]), xytext=(0, 9), textcoords='offset points', ha='center'
    )
  widest, highest = (1.25 * max(row[key] for row in rows) or 1.0 for key in (x, y))
  axes.set(xlabel=x, ylabel=y, xlim=(0, widest), ylim=(0, highest))


def markers(names: Sequence[str]) -> dict[str, dict[str, Any]]:
  """How the marker of each name looks, for `scatter`; hollow and then pale where styles run out."""
  looks = {}
  for number, name in enumerate(names):
    colour, marker, _ = STYLES[number % len(STYLES)]
    fill = (colour, FILLS[number // len(STYLES) % len(FILLS)])
    looks[name] = {'marker': marker, 'edgecolors': colour, 'facecolors': fill}
  return looks


def cloud(path: pathlib.Path, rows: Rows, *, by: str, x: str, y: str) -> None:
  """Means over the rows with the same `by` in the plane of two columns, with every row, as a PNG.

  Hollow markers after the eighth name, pale ones after the sixteenth. Rows without a column are
  left out.
  """
  plt = _pyplot()
  figure, axes = plt.subplots(figsize=(10, 7))
  rows = [row for row in rows if x in row and y in row]
  for name, look in markers(list(dict.fromkeys(row[by] for row in rows))).items():
    points = np.array([(row[x], row[y]) for row in rows if row[by] == name])
    small = {'color': look['edgecolors'], 'marker': look['marker'], 'linewidths': 0}
    axes.scatter(*points.T, s=14, alpha=0.45, **small)
    axes.scatter(*points.mean(axis=0), s=90, label=name, zorder=3, **look)
  axes.set(xlabel=x, ylabel=y)
  figure.legend(loc='outside right upper')
  figure.savefig(path)
  plt.close(figure)


def at_k(axes: 'Axes', table: Mapping[str, Any], families: Mapping[str, str]) -> None:
  """Figures `<family>@<k>` of a table over k, with their intervals as bands where it has them."""
  styles = zip(families.items(), STYLES, strict=False)
  for (family, label), (colour, marker, line) in styles:
    prefix = f'{family}@'
    tails = [name.removeprefix(prefix) for name in table if name.startswith(prefix)]
    ks = sorted(int(tail) for tail in tails if tail.isdecimal())
    if not ks:
      continue
    axes.plot(
      ks, [table[f'{prefix}{k}'] for k in ks], line, color=colour, marker=marker, label=label
    )
    if all(f'{prefix}{k}_low' in table for k in ks):
      low, high = ([table[f'{prefix}{k}{end}'] for k in ks] for end in ('_low', '_high'))
      axes.fill_between(ks, low, high, color=colour, alpha=0.15, linewidth=0)
  axes.set_xscale('log', base=2)
  axes.xaxis.set_major_formatter('{x:.0f}')
  axes.set(xlabel='samples k', ylabel='mean over problems', ylim=(-0.02, 1.02))
  axes.legend()


def reliability(
  axes: 'Axes', confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray
) -> None:
  """A reliability diagram: share of right answers over confidence, a marker a bin, [bins] each.

  The area of a marker is proportional to the answers in its bin; what is calibrated lies on the
  diagonal.
  """
  colour, marker, _ = STYLES[0]
  axes.plot([0, 1], [0, 1], ':', color=STYLES[-1][0], label='calibrated')
  axes.plot(confidence, accuracy, '-', color=colour, alpha=0.5)
  size = 30 + 300 * count / count.sum()
  axes.scatter(confidence, accuracy, s=size, color=colour, marker=marker, zorder=3)
  limits = (-0.03, 1.03)
  axes.set(xlabel='share of the majority', ylabel='share of right majorities')
  axes.set(xlim=limits, ylim=limits, aspect='equal')
  axes.legend()


def slope(axes: 'Axes', x: np.ndarray, y: np.ndarray, fitted: float) -> None:
  """Log-probabilities over rewards, both less their means in the problem, with slope 1 and ours."""
  colour, marker, _ = STYLES[0]
  axes.scatter(x, y, s=12, color=colour, marker=marker, alpha=0.4, linewidths=0)
  ends = np.array([x.min(), x.max()])
  axes.plot(ends, ends, ':', color=STYLES[-1][0], label='soft optimum, slope 1')
  axes.plot(ends, fitted * ends, '--', color=STYLES[1][0], label=f'fitted, slope {fitted:.3g}')
  axes.set(xlabel='R / kappa, within problems', ylabel='log pi - log prior, within problems, nats')
  axes.legend()


def bars(axes: 'Axes', bars: Mapping[str, Mapping[str, float]], label: str) -> None:
  """Bars side by side and a line at 1; `bars` is {series: {group: height}}, some may be missing."""
  groups = list(dict.fromkeys(group for heights in bars.values() for group in heights))
  width = 0.8 / max(1, len(bars))
  for number, (name, heights) in enumerate(bars.items()):
    places = [groups.index(group) + (number + 0.5) * width - 0.4 for group in heights]
    colour, hatch = STYLES[number % len(STYLES)][0], HATCHES[number % len(HATCHES)]
    drawn = axes.bar(
      places,
      list(heights.values()),
      width,
      color=colour,
      hatch=hatch,
      edgecolor='white',
      label=name,
    )
    axes.bar_label(drawn, fmt='%.3g', fontsize=7)
  axes.axhline(1, color=STYLES[6][0], linewidth=1)
  axes.set_xticks(range(len(groups)), groups)
  axes.set(ylabel=label)
  axes.grid(visible=False, axis='x')
  if bars:
    axes.legend(fontsize=8)


def panels(path: pathlib.Path, *draw: Callable[['Axes'], None]) -> None:
  """One panel beside the other, each drawn by a function of its axes, as a PNG."""
  plt = _pyplot()
  figure, axes = plt.subplots(1, len(draw), figsize=(5 * len(draw), 4.5), squeeze=False)
  for place, each in zip(axes.flat, draw, strict=True):
    each(place)
  figure.savefig(path)
  plt.close(figure)


def report(path: pathlib.Path, rows: Rows, runs: Mapping[str, Rows], *, samples: int) -> None:
  """The quickstart's figure: learning curves and the accuracy-coverage plane, as a PNG."""
  plt = _pyplot()
  names = dict.fromkeys([*runs, *(row['name'] for row in rows)])
  styles = dict(zip(names, STYLES, strict=False))
  figure, axes = plt.subplots(2, 3, figsize=(13, 7.2))
  curves = {
    'success': 'accuracy of the samples',
    'distinct': 'different solutions in a group',
    'entropy': 'entropy, nats per token',
    'kl': 'KL to the start, nats per response',
    'kappa': 'temperature alpha + beta',
  }
  for place, (metric, label) in zip(axes.flat, curves.items(), strict=False):
    learning_curve(place, runs, styles, metric, label)
  axes.flat[0].legend()
  plane(axes.flat[5], rows, styles, 'pass@1', f'coverage@{samples}')
  figure.savefig(path)
  plt.close(figure)


def distances(path: pathlib.Path, curves: Mapping[str, Rows], labels: Mapping[str, str]) -> None:
  """One panel a metric of `labels`, on a logarithmic scale; a series for every run, as a PNG."""
  plt = _pyplot()
  styles = dict(zip(curves, STYLES, strict=False))
  figure, axes = plt.subplots(1, len(labels), figsize=(5.5 * len(labels), 4.5), squeeze=False)
  for place, (metric, label) in zip(axes.flat, labels.items(), strict=True):
    learning_curve(place, curves, styles, metric, label)
    place.set_yscale('log')
  axes.flat[0].legend()
  figure.savefig(path)
  plt.close(figure)


def _pyplot() -> Any:
  """matplotlib.pyplot in the one style; needs no display, and is imported only to draw."""
  import matplotlib

  matplotlib.use('Agg')
  import matplotlib.pyplot as plt

  plt.rcParams.update(LOOK)
  return plt


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
  """Running mean over the last `width` values (fewer at the start)."""
  total = np.cumsum(np.concatenate([[0.0], values]))
  ends = np.arange(1, len(values) + 1)
  starts = np.maximum(ends - width, 0)
  return (total[ends] - total[starts]) / (ends - starts)
