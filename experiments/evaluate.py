"""Evaluates a run's newest checkpoint, or a Hugging Face folder, on the test split.

python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/countdown

Prints the numbers and writes `workdir/evaluation.json`, and `workdir/evaluation.jsonl` with a line
a problem (`evaluate.problem_row`). In a folder without checkpoints, the policy
that `--config.init` names is evaluated.
"""

import pathlib
import time

import ml_collections

from maxent_lm import build, cli
from maxent_lm.evaluation import summary
from maxent_lm.train import folder


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates and writes one row, and one for every problem."""
  with cli.user_errors():
    policy, params, step = build.trained_policy(config, workdir)
    evaluation = build.make_evaluation(config, policy)
  began = time.perf_counter()
  problems = evaluation.measure(params, policy.params)
  seconds = round(time.perf_counter() - began, 1)
  row = {'name': config.name, 'step': step, **summary(problems), 'seconds': seconds}
  workdir.mkdir(parents=True, exist_ok=True)
  folder.write_lines(workdir / 'evaluation.jsonl', problems)
  folder.write_json(workdir / 'evaluation.json', row)
  for name, value in row.items():
    print(f'{name:>29}  {value:.4g}' if isinstance(value, float) else f'{name:>29}  {value}')


if __name__ == '__main__':
  cli.run(main)
