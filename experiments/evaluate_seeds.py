"""One table over the evaluations of several runs, with intervals over seeds and problems.

python experiments/evaluate_seeds.py --runs=runs/soft_q_0,runs/soft_q_1,runs/soft_q_2 \
  --workdir=runs/soft_q

Every folder has been evaluated (experiments/evaluate.py, experiments/evaluate_samples.py) on the
same problems with the same number of samples. Written are evaluation.json and evaluation.png.
"""

import json
import pathlib
from collections.abc import Sequence

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import evaluated
from maxent_lm.evaluation import Row

RUNS = flags.DEFINE_list('runs', None, 'Evaluated folders, joined by commas.', required=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder to write to.', required=True)


def main(_: Sequence[str]) -> None:
  """Reads the rows of all problems and pools them."""
  workdir = pathlib.Path(WORKDIR.value)
  with cli.user_errors():
    runs = [_rows(pathlib.Path(run)) for run in RUNS.value]
    row = evaluated.write(workdir, {'name': workdir.name, 'runs': RUNS.value}, runs)
  print(evaluated.text(row))
  print(f'written: {workdir}/evaluation.json and .png')


def _rows(run: pathlib.Path) -> list[Row]:
  path = run / 'evaluation.jsonl'
  if not path.exists():
    raise FileNotFoundError(f'{path} is missing: evaluate the run with experiments/evaluate.py')
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  if not rows:
    raise ValueError(f'{path} is empty: evaluate the run with experiments/evaluate.py')
  return rows


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
