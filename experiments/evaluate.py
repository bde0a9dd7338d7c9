"""Evaluates a run's newest checkpoint, or a Hugging Face folder, on the test split.

python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/countdown

Prints the numbers and writes `workdir/evaluation.json`. In a folder without checkpoints, the policy
that `--config.init` names is evaluated.
"""

import pathlib

import ml_collections

from maxent_lm import build, cli
from maxent_lm.train import folder


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates and writes one row."""
  with cli.user_errors():
    policy, params, step = build.trained_policy(config, workdir)
    evaluation = build.make_evaluation(config, policy)
  row = {'name': config.name, 'step': step, **evaluation(params, policy.params)}
  workdir.mkdir(parents=True, exist_ok=True)
  folder.write_json(workdir / 'evaluation.json', row)
  for name, value in row.items():
    print(f'{name:>12}  {value:.4g}' if isinstance(value, float) else f'{name:>12}  {value}')


if __name__ == '__main__':
  cli.run(main)
