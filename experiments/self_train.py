"""Self-training in rounds: sample, filter, train on what was kept, evaluate (STaR, ReST, RAFT).

python experiments/self_train.py --config=configs/countdown.py:star --workdir=runs/star \
    --config.init=runs/warm_start/model

Prints a table with one line a round, which `workdir/rounds.jsonl` holds too. Killed and started
again with the same command, it goes on where it was.
"""

import pathlib
import sys

import ml_collections

from maxent_lm import build, cli, hosts
from maxent_lm.analysis import tables


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Takes the loop to `config.self_training.rounds` rounds."""
  with cli.user_errors():
    hosts.check_alone('experiments/self_train.py')
    loop = build.self_training(config, workdir)
  k = config.eval.samples
  columns = (
    *('round', 'kept', 'covered', 'hinted', 'train_pass@1', 'pass@1', f'pass@{k}'),
    *(f'coverage@{k}', f'distinct@{k}', 'entropy', 'kl'),
  )
  rows = []
  try:
    for row in loop.rounds():
      rows.append(row)
      print('\n' + tables.markdown(rows, columns), flush=True)
  except build.NothingKept as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  cli.train(main)
