"""Trains a policy on its own samples: soft-Q, VarGrad, GRPO.

python experiments/train.py --config=configs/countdown.py:soft_q --workdir=runs/countdown

Killed and started again with the same command, it goes on from its newest checkpoint.
"""

import pathlib

import ml_collections

from maxent_lm import build, cli, hosts


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Says what it needs of memory, builds the run and takes it to `config.steps`."""
  with cli.user_errors():
    memory = build.memory_plan(config, workdir)
    if hosts.is_first():
      print('\n'.join(build.memory_lines(memory)), flush=True)
    run = build.rollout_run(config, workdir)
  run.train()


if __name__ == '__main__':
  cli.train(main)
