"""Mode coverage on Countdown and graph colouring, beside what ModeBench reports for 0.5B.

python experiments/tables/mode_coverage.py --preset=cpu --workdir=runs/tables/mode_coverage

The sweep is configs/sweeps/mode_coverage.py. Published: [Daliberti 2026, maxent-grpo], a fine-tuned
Qwen2.5-0.5B-Instruct, pass@8 / mean@8 / coverage@8 / distinct@8; mean@8 is pass@1.
"""

import pathlib

from maxent_lm.analysis import swept, tables

SWEPT = swept.options()
TASKS = ('countdown', 'graph_coloring')
MEASURED = ('pass@8', 'pass@1', 'coverage@8', 'distinct@8', 'entropy', 'kl')
MAXENT = 'VarGrad, beta = 0.05'  # a Boltzmann distribution over responses at temperature .05, too
PUBLISHED = {
  ('countdown', 'Dr. GRPO'): '.401 / .297 / .124 / .496',
  ('countdown', MAXENT): '.491 / .302 / .175 / .703',
  ('countdown', 'Dr. GRPO, entropy bonus'): '.000 (pass@8)',
  ('countdown', 'SEED-GRPO'): '.378 (pass@8)',
  ('graph_coloring', 'Dr. GRPO'): '.649 / .341 / .123 / .770',
  ('graph_coloring', MAXENT): '.713 / .316 / .166 / 1.043',
}
REMARK = {
  'start': 'imitation of random solutions, from random weights',
  MAXENT: 'theirs: xDr.GRPO at tau = .05, targets over a group',
  'Dr. GRPO, entropy bonus': 'theirs: "token-MaxEnt"; ours: alpha = .01',
}
NOTE = (
  'Theirs: Qwen2.5-0.5B-Instruct, 3 training x 3 evaluation seeds; ours: 0.3M parameters from '
  'random weights, a warm start on random solutions, so that what compares is the direction from '
  'one method to the next and not a number. Mean ± half the width of the 95% interval (Student) '
  'over seeds, or the one seed there is.'
)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Runs what is missing."""
  sources = {task: f'configs/sweeps/mode_coverage.py:{task},{preset}' for task in TASKS}
  found = SWEPT(sources, workdir)
  rows = [{**row, 'task': row['sweep'], 'method': row['point']} for row in found.rows]
  merged = tables.over_seeds(rows, by=('task', 'method'), measured=MEASURED, spread=tables.student)
  for row in merged:
    row.update(
      published=PUBLISHED.get((row['task'], row['method'])), remark=REMARK.get(row['method'])
    )
  columns = ('task', 'method', 'seeds', *MEASURED, 'published', 'remark')
  return tables.Table(columns, merged, NOTE, found.gates())


if __name__ == '__main__':
  tables.script('mode_coverage', build)
