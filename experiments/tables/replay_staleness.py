"""Off-policy replay: share of a batch that is replayed x how many steps it may be old.

python experiments/tables/replay_staleness.py --preset=cpu --workdir=runs/tables/replay_staleness

VarGrad's residual holds for any behaviour, GRPO's ratio is clipped. The sweep is
configs/sweeps/replay_staleness.py; an update has as many groups in every row, so that more replay
is less sampling. Published: [Wang et al. 2026, ReVal] reuses every rollout once, on other tasks.
"""

import pathlib
from typing import Any

import numpy as np

from maxent_lm.analysis import swept, tables
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
    rows.append({**row, 'objective': objective, 'replayed': replay, **observed(row['workdir'])})
  k = max((row['samples'] for row in rows), default=1)
  shown = (
    *('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'kl'),
    *('replayed share', 'age', 'off policy'),
  )
  merged = tables.over_seeds(
    rows, by=('objective', 'replayed'), measured=shown, spread=tables.student
  )
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


if __name__ == '__main__':
  tables.script('replay_staleness', build)
