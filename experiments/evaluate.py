"""Evaluates a run's newest checkpoint, or a Hugging Face folder, on the test split.

python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/countdown

Prints the numbers and writes `workdir/evaluation.json`, `workdir/evaluation.jsonl` with a line a
problem, and `workdir/evaluation.png` (analysis/evaluated.py). In a folder without checkpoints, the
policy that `--config.init` names is evaluated. The same folder gives the same bytes again.

The slope of the log-probabilities in the rewards (`boltzmann_slope`) is 1 at the soft optimum of
the task's reward for the run's last alpha and beta, with the policy that the run started from as
reference; for a run that was after something else it says nothing.
"""

import pathlib
import time

import ml_collections

from maxent_lm import build, cli, hosts
from maxent_lm.analysis import evaluated
from maxent_lm.evaluation import boltzmann


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates and writes one row, and one for every problem."""
  hosts.stop_at_once()
  with cli.user_errors():
    policy, params, step = build.trained_policy(config, workdir)
    alpha, beta = build.trained_knobs(config, workdir)
    evaluation = build.make_evaluation(config, policy)
  began = time.perf_counter()
  rows = evaluation.measure(params, policy.params)
  points = None
  if step and alpha + beta > 0 and config.eval.temperature == 1:
    points = boltzmann.of_rows(rows, alpha=alpha, beta=beta)
  if not hosts.is_first():
    return
  head = {'name': config.name, 'step': step, 'alpha': alpha, 'beta': beta}
  print(evaluated.text(evaluated.write(workdir, head, [rows], points)))
  print(f'{time.perf_counter() - began:.1f} s; written: {workdir}/evaluation.json, .jsonl and .png')


if __name__ == '__main__':
  cli.run(main)
