"""Evaluates responses that are stored in a file, without a model.

python experiments/evaluate_samples.py --samples=FILE --workdir=runs/samples \
  --config=configs/base.py --config.task=game24 --config.game24.data_dir=FOLDER [--rewards=FIELD]
python experiments/evaluate_samples.py --samples=FILE --workdir=runs/samples \
  --answer=FIELD [--rewards=FIELD]
python experiments/evaluate_samples.py --samples=FILE --workdir=runs/samples \
  --rewards=FIELD [--classes=FIELD]

FILE is .jsonl or .jsonl.gz with a line a problem and a list of its responses (`--field`); other
flags name what else a line has. The first form grades by the test split of a task, line i being an
answer to its problem i; the second by equality with the answer in the line (tasks/equivalence).
Both compare with the rewards of the file, if these are named: differences.jsonl lists the samples
that differ. The third takes rewards, and classes, as they are. Written are the files of
experiments/evaluate.py; lengths are in words.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from maxent_lm import cli
from maxent_lm.analysis import evaluated
from maxent_lm.build.tasks import make_task
from maxent_lm.evaluation import stored
from maxent_lm.tasks import Task
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
    'answer': 'right answer',
    'rewards': 'rewards of the responses',
    'classes': 'semantic classes of the responses',
    'finished': 'marks of responses that were not cut',
    'logp': 'log-probabilities of the responses',
    'scores': 'scores for the best of n',
  }.items()
}


def main(_: Sequence[str]) -> None:
  """Reads, grades, measures and writes."""
  workdir = pathlib.Path(WORKDIR.value)
  names = {name: flag.value for name, flag in OTHERS.items()}
  head: dict[str, Any] = {'name': pathlib.Path(SAMPLES.value).name, 'graded_by': _grader()}
  with cli.user_errors():
    given = list(stored.read(SAMPLES.value, stored.Columns(FIELD.value, **names)))
    lines, task = _graded(given)
    if not lines:
      raise ValueError(f"'{SAMPLES.value}' has no lines: name a file with responses")
    rows = stored.measure(lines, task)
  if names['rewards'] and lines is not given:
    differ = stored.differences(lines, given)
    head['differences'] = len(differ)
    workdir.mkdir(parents=True, exist_ok=True)
    folder.write_lines(workdir / 'differences.jsonl', differ)
  with cli.user_errors():
    row = evaluated.write(workdir, head, [rows])
  print(evaluated.text(row))
  print(f'written: {workdir}/evaluation.json, .jsonl and .png')


def _grader() -> str:
  """What the flags name: a task, or a field of the file."""
  if CONFIG.value is not None:
    return CONFIG.value.task
  return OTHERS['answer'].value or OTHERS['rewards'].value


def _graded(lines: list[stored.Line]) -> tuple[list[stored.Line], Task | None]:
  """The lines as they are graded by what the flags name, with the task if that is one."""
  if CONFIG.value is not None:
    task = make_task(CONFIG.value, split=SPLIT.value)
    return stored.graded(lines, task), task
  if OTHERS['answer'].value:
    return stored.compared(lines), None
  return lines, None


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
