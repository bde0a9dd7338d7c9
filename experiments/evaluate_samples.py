"""Evaluates responses that are stored in a file, without a model.

python experiments/evaluate_samples.py --samples=FILE --workdir=runs/samples \
  --config=configs/base.py --config.task=game24 --config.game24.data_dir=FOLDER [--rewards=FIELD]
python experiments/evaluate_samples.py --samples=FILE --workdir=runs/samples \
  --rewards=FIELD [--classes=FIELD]

FILE is .jsonl or .jsonl.gz with a line a problem and a list of its responses (`--field`); other
flags name what else a line has. With a task its test split grades them, and line i answers its
problem i; rewards of the file are then only compared with the task's. Without a task the rewards
and classes (what votes and semantic entropy are about) are those of the file. Written are the files
of experiments/evaluate.py; lengths are in words.
"""

import pathlib
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from maxent_lm import cli
from maxent_lm.analysis import evaluated
from maxent_lm.build.tasks import make_task
from maxent_lm.evaluation import stored
from maxent_lm.train import folder

SAMPLES = flags.DEFINE_string('samples', None, 'File of responses.', required=True)
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder to write to.', required=True)
CONFIG = config_flags.DEFINE_config_file('config', None, 'With the task that grades.')
SPLIT = flags.DEFINE_string('split', 'test', "The task's problems.")
FIELD = flags.DEFINE_string('field', 'samples', 'Field of the responses.')
OTHERS = {
  name: flags.DEFINE_string(name, '', f'Field of the {what}.')
  for name, what in {
    'id': "problem's name",
    'prompt': 'prompt, to be compared with that of the task',
    'rewards': 'rewards of the responses',
    'classes': 'semantic classes of the responses',
    'finished': 'responses that were not cut',
    'logp': 'log-probabilities of the responses',
    'scores': 'scores for the best of n',
  }.items()
}


def main(_: list[str]) -> None:
  """Reads, grades, measures and writes."""
  workdir = pathlib.Path(WORKDIR.value)
  columns = stored.Columns(
    samples=FIELD.value, **{name: flag.value for name, flag in OTHERS.items()}
  )
  head: dict[str, Any] = {'name': pathlib.Path(SAMPLES.value).name}
  with cli.user_errors():
    lines, task = list(stored.read(SAMPLES.value, columns)), None
    if CONFIG.value is not None:
      task = make_task(CONFIG.value, split=SPLIT.value)
      head['task'] = CONFIG.value.task
      given, lines = lines, stored.graded(lines, task)
      if columns.rewards:
        differ = stored.differences(lines, given)
        head['differences'] = len(differ)
        workdir.mkdir(parents=True, exist_ok=True)
        folder.write_lines(workdir / 'differences.jsonl', differ)
    rows = stored.measure(lines, task)
  print(evaluated.text(evaluated.write(workdir, head, [rows])))
  print(f'written: {workdir}/evaluation.json, .jsonl and .png')


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
