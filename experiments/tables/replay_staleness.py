"""Off-policy replay: share of a batch that is replayed x how many steps it may be old.

python experiments/tables/replay_staleness.py --preset=cpu --workdir=runs/tables/replay_staleness

VarGrad's residual holds for any behaviour, GRPO's ratio is clipped. The sweep is
configs/sweeps/replay_staleness.py; an update has as many groups in every row, so that more replay
is less sampling. Published: [Wang et al. 2026, ReVal] reuses every rollout once, on other tasks.
Heat maps of accuracy and coverage are in replay_staleness.png.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from maxent_lm.analysis import planes, plots, sweep, swept, tables
from maxent_lm.train import metrics

SWEPT = swept.options()
NOTE = (
  'An update has as many groups in every row: more replay is less sampling. age: mean steps since '
  'a replayed group was sampled; off policy: mean |log pi - log behaviour| per token of a batch; '
  'both over the second half of a run. Mean ± half the width of the 95% interval (Student) over '
  'seeds, or the one seed there is; entropy in nats a token, KL in nats a response.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing."""
  found = SWEPT({'countdown': f'configs/sweeps/replay_staleness.py:{preset}'}, workdir)
  rows = []
  for row in found.rows:
    objective, _, replay = row['point'].partition(', ')
    replays = {} if row['point'] == sweep.START else observed(row['workdir'])
    rows.append({**row, 'objective': objective, 'replayed': replay, **replays})
  k = max((row['samples'] for row in rows), default=1)
  shown = (
    *('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'kl'),
    *('replayed share', 'age', 'off policy'),
  )
  merged = tables.over_seeds(
    rows, by=('objective', 'replayed'), measured=shown, spread=tables.student
  )
  if any(replay_of(row) for row in rows):
    draw(workdir / 'replay_staleness.png', rows, ('pass@1', f'coverage@{k}'))
  return tables.Table(('objective', 'replayed', 'seeds', *shown), merged, NOTE, found.gates())


def observed(workdir: pathlib.Path) -> dict[str, Any]:
  """Means over the second half of a run, of what it has measured."""
  path = workdir / 'metrics.jsonl'
  lines = metrics.read_metrics(path) if path.exists() else []
  late = lines[len(lines) // 2 :]
  names = {'replayed share': 'replayed', 'age': 'replay_age', 'off policy': 'off_policy'}
  return {
    shown: float(np.mean([line[name] for line in late]))
    for shown, name in names.items()
    if late and name in late[0]
  }


def replay_of(row: Mapping[str, Any]) -> tuple[float, int] | None:
  """The share that is replayed and from how many steps, None of what is not replayed."""
  found = re.fullmatch(r'([.\d]+) from (\d+) steps', row['replayed'])
  return found and (float(found[1]), int(found[2]))


def draw(path: pathlib.Path, rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> None:
  """Heat maps for each objective: steps to the right, share upwards; what is on-policy in words."""
  points = sorted({found for row in rows if (found := replay_of(row))})
  shares, windows = (sorted(set(each)) for each in zip(*points, strict=True))
  axes = {'x': ('replayed from the last steps', windows), 'y': ('replayed share', shares)}
  panels = []
  for objective in dict.fromkeys(row['objective'] for row in rows if replay_of(row)):
    own = [row for row in rows if row['objective'] == objective]
    for measure in measures:
      cells = [[mean(own, (share, window), measure) for window in windows] for share in shares]
      fresh = mean(own, None, measure)
      told = f'; {fresh:.2f} on-policy' if np.isfinite(fresh) else ''
      title = f'{objective}, {measure}{told}'
      shown = {'values': np.array(cells), 'title': title, 'regions': {}, **axes}
      panels.append(partial(planes.heat_map, **shown))
  plots.panels(path, *panels)


def mean(
  rows: Sequence[Mapping[str, Any]], replay: tuple[float, int] | None, measure: str
) -> float:
  """Of a measure over the runs with this replay, nan without any."""
  found = [row[measure] for row in rows if replay_of(row) == replay]
  return float(np.mean(found)) if found else float('nan')


if __name__ == '__main__':
  tables.script('replay_staleness', build)
