"""Trains a policy on preferences: DPO, IPO, KTO, SimPO and relatives.

python experiments/preference.py --config=configs/methods.py:dpo --workdir=runs/dpo \
  --config.init=runs/warm_start/model [--config.offline.path=FILE]

With a file (train/offline.py has its form; experiments/make_pairs.py makes one) its pairs are
learned from; without one the policy's own samples are, graded by the task (online DPO). Killed and
started again with the same command, it goes on from its newest checkpoint.
"""

import pathlib

import ml_collections

from maxent_lm import build, cli


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Builds the run and takes it to `config.steps`."""
  make_run = build.offline_run if config.offline.path else build.rollout_run
  with cli.user_errors():
    run = make_run(config, workdir)
  run.train()


if __name__ == '__main__':
  cli.train(main)
