"""Tables that scripts make: rows as text that people read, files, gates, resuming.

A script calls `script(name, build)`; `build(preset, workdir)` gives a `Table`. Written are
`<name>.csv` (the rows) and `<name>.md` (rows, note, gates, and how they were made).
"""

import csv
import io
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy
from absl import app, flags

from maxent_lm import cli
from maxent_lm.train import folder


class Gate(NamedTuple):
  """Something that a table has to show."""

  what: str
  holds: bool


class Table(NamedTuple):
  """Rows with the columns that are shown, a note for the reader, and what has to hold."""

  columns: Sequence[str]
  rows: Sequence[Mapping[str, Any]]
  note: str
  gates: Sequence[Gate]


Build = Callable[[str, pathlib.Path], Table]


def script(name: str, build: Build, presets: Sequence[str] = ('smoke', 'cpu', 'full')) -> None:
  """The main program of a table: --preset, --workdir, --check (exit 1 when a gate fails)."""
  preset = flags.DEFINE_enum('preset', presets[-1 if len(presets) < 2 else 1], presets, 'Size.')
  workdir = flags.DEFINE_string('workdir', f'runs/tables/{name}', 'Folder of the table.')
  check = flags.DEFINE_bool('check', False, 'Exit with 1 if a gate fails.')
  cli.prepare()

  def main(_: Sequence[str]) -> None:
    path = pathlib.Path(workdir.value)
    path.mkdir(parents=True, exist_ok=True)
    commit = folder.short(folder.commit())  # of the code that runs, not of a later one
    began = time.perf_counter()
    with cli.user_errors():
      table = build(preset.value, path)
    seconds = time.perf_counter() - began
    command = f'tables/{name}.py --preset={preset.value}'
    text = write(path, name, table, made=made(command, commit, seconds))
    print(text)
    failed = [gate.what for gate in table.gates if not gate.holds]
    if check.value and failed:
      sys.exit(f'error: {len(failed)} of {len(table.gates)} gates fail: {"; ".join(failed)}')

  app.run(main)


def write(workdir: pathlib.Path, name: str, table: Table, *, made: str) -> str:
  """Writes both files, each in one go; returns the Markdown."""
  rows = io.StringIO(newline='')
  writer = csv.DictWriter(rows, table.columns, extrasaction='ignore', lineterminator='\n')
  writer.writeheader()
  writer.writerows(table.rows)
  parts = [f'# {name}', markdown(table.rows, table.columns), table.note]
  if table.gates:
    parts.append(
      '\n'.join(f'- {"holds" if gate.holds else "FAILS"}: {gate.what}' for gate in table.gates)
    )
  text = '\n\n'.join([*parts, made]) + '\n'
  for suffix, content in (('csv', rows.getvalue()), ('md', text)):
    folder.write_text(workdir / f'{name}.{suffix}', content)
  return text


def stored(
  path: pathlib.Path, settings: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
  """`compute()`, or what it gave when the file `path` was written with the same `settings`.

  So a table that was interrupted goes on where it was; both are kept as JSON.
  """
  wanted = json.loads(json.dumps(settings))
  if path.exists():
    known = folder.read_json(path)
    if known.get('settings') == wanted and isinstance(known.get('row'), dict):
      return known['row']
  row = json.loads(json.dumps(compute()))
  path.parent.mkdir(parents=True, exist_ok=True)
  folder.write_json(path, {'settings': wanted, 'row': row})
  return row


def deviation(values: Sequence[float]) -> float | None:
  """The standard deviation, n - 1 in its denominator; 0 of one value."""
  return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def student(values: Sequence[float]) -> float | None:
  """Half the width of the mean's 95% interval, t(.975, n - 1) s / sqrt(n); None of one value.

  For values that are independent and normal, as means over many problems nearly are; with two or
  three seeds t is 12.7 or 4.3, so the interval is wide.
  """
  if len(values) < 2:
    return None
  quantile = scipy.stats.t.ppf(0.975, len(values) - 1)
  return float(quantile * np.std(values, ddof=1) / len(values) ** 0.5)


def over_seeds(
  rows: Sequence[Mapping[str, Any]],
  *,
  by: Sequence[str],
  measured: Sequence[str],
  spread: Callable[[Sequence[float]], float | None] = deviation,
) -> list[dict[str, Any]]:
  """One row for every value of `by`, in order of appearance: 'mean ± spread', or the mean alone."""
  groups: dict[tuple, list[Mapping[str, Any]]] = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in by), []).append(row)
  return [
    {
      **dict(zip(by, key, strict=True)),
      'seeds': len(group),
      **{name: _mean(group, name, spread) for name in measured},
    }
    for key, group in groups.items()
  ]


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """A Markdown table with one line a row; numbers to three digits, missing entries blank."""
  cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
  cells = [[text.replace('|', '\\|') for text in line] for line in cells]
  widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
  lines = [
    '| ' + ' | '.join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + ' |'
    for line in cells
  ]
  rule = '|' + '|'.join('-' * (width + 1) + ':' for width in widths) + '|'
  return '\n'.join([lines[0], rule, *lines[1:]])


def latex(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """The same cells as `markdown`, as a LaTeX tabular with the rules of booktabs.

  A rule more wherever the first column changes: texts on the left, numbers on the right.
  """
  texts = [all(isinstance(row.get(name), str) for row in rows) for name in columns]
  numbers = [any('±' in str(row.get(name)) for row in rows) for name in columns]
  places = ['l' if text and not sums else 'r' for text, sums in zip(texts, numbers, strict=True)]
  lines = [f'\\begin{{tabular}}{{{"".join(places)}}}', '\\toprule']
  lines += [_tex_line(columns), '\\midrule']
  for before, row in zip([None, *rows], rows, strict=False):
    if before is not None and before.get(columns[0]) != row.get(columns[0]):
      lines.append('\\midrule')
    lines.append(_tex_line([_cell(row.get(column)) for column in columns]))
  return '\n'.join([*lines, '\\bottomrule', '\\end{tabular}']) + '\n'


def _tex_line(cells: Sequence[str]) -> str:
  return ' & '.join(map(_tex, cells)) + ' \\\\'


def _tex(text: str) -> str:
  special = {'\\': '\\textbackslash{}', '±': '$\\pm$', '~': '\\textasciitilde{}'}
  special |= {'^': '\\textasciicircum{}', **{letter: f'\\{letter}' for letter in '&%$#_{}'}}
  return ''.join(special.get(letter, letter) for letter in text)


def number(value: float) -> str:
  """Three digits after the point, or an exponent where they would say nothing."""
  if value == 0 or 1e-3 <= abs(value) < 1e4:
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3f}'
  return f'{value:.1e}'


def _mean(
  rows: Sequence[Mapping[str, Any]],
  name: str,
  spread: Callable[[Sequence[float]], float | None],
) -> str | None:
  values = [row[name] for row in rows if row.get(name) is not None]
  if not values:
    return None
  mean, around = number(float(np.mean(values))), spread(values)
  return mean if around is None else f'{mean} ± {number(around)}'


def _cell(value: Any) -> str:
  if value is None:
    return ''
  return number(value) if isinstance(value, float) else str(value)


def made(command: str, commit: str, seconds: float) -> str:
  """How a table was made: the script in experiments/ with its arguments, date, commit, machine."""
  return (
    f'`python experiments/{command}`, {time.strftime("%Y-%m-%d")}, '
    f'commit {commit}, {seconds:.0f} s in the last call on {os.cpu_count()} cores, '
    f'{jax.device_count()} x {jax.devices()[0].device_kind}, jax {jax.__version__}.'
  )
