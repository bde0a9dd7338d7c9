"""Supervised warm start: maximum likelihood on a task's demonstrations.

python experiments/pretrain.py --config=configs/countdown.py:pretrain --workdir=runs/warm_start

The result is the Hugging Face folder `workdir/model`, which `--config.init` of the other scripts
takes.
"""

import pathlib

import ml_collections

from maxent_lm import build, cli


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Builds the run and takes it to `config.steps`."""
  with cli.user_errors():
    run = build.demonstration_run(config, workdir)
  run.train()


if __name__ == '__main__':
  cli.train(main)
