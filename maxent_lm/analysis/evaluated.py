"""What an evaluation leaves in its folder: the table, the rows, a picture.

evaluation.json   what `head` says, then `evaluation.summary`      evaluation.png
evaluation.jsonl  a line a problem, `evaluation.problem_row`

The same rows give the same bytes.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from maxent_lm.analysis import plots
from maxent_lm.evaluation import BINS, Row, boltzmann, detection, pooled, shares, table
from maxent_lm.train import folder

FAMILIES = {
  'pass': 'pass@k',
  'coverage': 'coverage@k',
  'maj': 'maj@k',
  'best_logp': 'likeliest of k',
}


def write(
  workdir: pathlib.Path,
  head: Mapping[str, Any],
  runs: Sequence[Sequence[Row]],
  points: boltzmann.Points | None = None,
) -> dict[str, Any]:
  """Writes the files for one run, or for several pooled; returns what is in evaluation.json.

  `points`: of the Boltzmann calibration, where it was measured. Rows are written of a single run
  only, as several have files of their own.
  """
  found = boltzmann_figures(points)
  row = {**head, **pooled(runs), **found}
  workdir.mkdir(parents=True, exist_ok=True)
  if len(runs) == 1:
    folder.write_lines(workdir / 'evaluation.jsonl', runs[0])
  folder.write_json(workdir / 'evaluation.json', row)
  bins = detection.reliability(*shares([each for rows in runs for each in rows]), bins=BINS)
  panels = [
    functools.partial(plots.at_k, table=row, families=FAMILIES),
    functools.partial(plots.reliability, **bins._asdict()),
  ]
  if points is not None and found:
    fitted = found['boltzmann_slope']
    panels.append(functools.partial(plots.slope, x=points.reward, y=points.policy, fitted=fitted))
  plots.panels(workdir / 'evaluation.png', *panels)
  return row


def boltzmann_figures(points: boltzmann.Points | None) -> dict[str, float]:
  """`boltzmann_slope` with its interval, `_correlation`, `_problems`, `_left_out`, `_responses`.

  Nothing where it was not measured, or no problem has responses of different rewards.
  """
  if points is None:
    return {}
  found = boltzmann.calibrate(points, resamples=table.RESAMPLES, seed=table.SEED)
  if found is None:
    return {}
  ends = zip(('', '_low', '_high'), found.slope, strict=True)
  return {
    **{f'boltzmann_slope{end}': number for end, number in ends},
    'boltzmann_correlation': found.correlation,
    'boltzmann_problems': found.problems,
    'boltzmann_left_out': found.left_out,
    'boltzmann_responses': found.responses,
  }


def text(row: Mapping[str, Any]) -> str:
  """A line a number, with its interval where it has one."""
  lines = []
  for name, value in row.items():
    if name.endswith(('_low', '_high')) and name.rpartition('_')[0] in row:
      continue
    shown = _number(value)
    if f'{name}_low' in row:
      shown += f'  [{_number(row[f"{name}_low"])}, {_number(row[f"{name}_high"])}]'
    lines.append(f'{name:>29}  {shown}')
  return '\n'.join(lines)


def _number(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)
