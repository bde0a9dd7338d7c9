"""Makes a file of preferences for experiments/preference.py.

python experiments/make_pairs.py --output=pairs.jsonl --solutions=FILE
python experiments/make_pairs.py --output=pairs.jsonl --config=configs/countdown.py:soft_q \
  --workdir=runs/warm_start [--batches=100]

The first form turns graded solutions (GSM8K's example_model_solutions.jsonl; they answer its TEST
problems) into groups; the second samples the policy of a run folder on the training problems and
grades it. Only problems with responses of different rewards are written.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from maxent_lm import build, cli
from maxent_lm.tasks import gsm8k
from maxent_lm.train import offline

OUTPUT = flags.DEFINE_string('output', None, 'File to write.', required=True)
SOLUTIONS = flags.DEFINE_string('solutions', '', 'File of graded solutions.')
CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment, to sample a policy.')
WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run whose policy is sampled.')
BATCHES = flags.DEFINE_integer('batches', 10, 'Batches of config.batch.prompts problems.')


def main(_: list[str]) -> None:
  """Writes the file."""
  with cli.user_errors():
    count = offline.write_examples(pathlib.Path(OUTPUT.value), filter(offline.has_pair, _rows()))
  print(f'{count} prompts with pairs; written: {OUTPUT.value}')


def _rows() -> Iterator[dict[str, Any]]:
  if SOLUTIONS.value:
    return gsm8k.model_solutions(SOLUTIONS.value)
  if CONFIG.value is None or not WORKDIR.value:
    raise ValueError('nothing to make pairs from: give --solutions, or --config and --workdir')
  return build.sampled_rows(CONFIG.value, pathlib.Path(WORKDIR.value), batches=BATCHES.value)


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
