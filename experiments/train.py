"""Trains a policy on its own samples: soft-Q, VarGrad, GRPO.

python experiments/train.py --config=configs/countdown.py:soft_q --workdir=runs/countdown

Killed and started again with the same command, it goes on from its newest checkpoint.
"""

import pathlib

import ml_collections

from maxent_lm import build, cli


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Builds the run and takes it to `config.steps`."""
  with cli.user_errors():
    run = build.rollout_run(config, workdir)
  run.train()


if __name__ == '__main__':
  cli.run(main)
