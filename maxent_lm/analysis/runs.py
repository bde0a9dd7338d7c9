"""Run folders, read back: what is in their files, whether the run is finished, killed or old."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from maxent_lm import reading
from maxent_lm.train import folder
from maxent_lm.train.metrics import read_metrics

Row = dict[str, Any]

TOKEN = ('entropy', 'logp', 'value', 'soft_advantage', 'advantage')  # lists of a rollout's row


class Run(NamedTuple):
  """A run folder; a file that is not there is empty here.

  Attributes:
    name: of the folder.
    config: the resolved config, nested.
    versions: packages, device, commit.
    metrics: a row a step.
    samples: responses, some of some steps.
    rollouts: responses with numbers for every token, see `train.look`.
    evaluation: the row of the newest evaluation.
    problems: a row for each of its problems.
  """

  name: str
  config: Row
  versions: Row
  metrics: list[Row]
  samples: list[Row]
  rollouts: list[Row]
  evaluation: Row
  problems: list[Row]

  @property
  def flat_config(self) -> dict[str, Any]:
    """Keys joined by dots, without the 'config.' in front."""
    return flat(self.config)

  @property
  def steps(self) -> int:
    """Steps that are finished."""
    return self.metrics[-1]['step'] + 1 if self.metrics else 0


def read(workdir: pathlib.Path) -> Run:
  """The files of a run folder; a torn last line, of a run that was killed, is left out.

  Raises:
    FileNotFoundError: there is no such folder, or it holds no run.
    ValueError: a file of the folder is damaged.
  """
  if not workdir.is_dir():
    raise FileNotFoundError(f'{workdir} is not a folder: give the --workdir of a run')
  if not any((workdir / name).exists() for name in ('config.json', 'metrics.jsonl')):
    raise FileNotFoundError(
      f'{workdir} has neither config.json nor metrics.jsonl: give the --workdir of a run'
    )
  return Run(
    name=workdir.resolve().name,
    config=_object(workdir / 'config.json', {'steps': int, 'algorithm': str, 'task': str}),
    versions=_object(workdir / 'versions.json', {}),
    metrics=_rows(workdir / 'metrics.jsonl', _metrics_fault),
    samples=_rows(workdir / 'samples.jsonl', _sample_fault),
    rollouts=_rows(workdir / 'rollouts.jsonl', _rollout_fault),
    evaluation=_object(workdir / 'evaluation.json', {'samples': int}),
    problems=reading.appended(workdir / 'evaluation.jsonl'),
  )


def missing(run: Run) -> list[str]:
  """What the folder lacks of what a finished and evaluated run has, a sentence each."""
  found = []
  planned = run.config.get('steps', 0)
  if not run.config:
    found.append('config.json is missing: what the run was is not known.')
  elif run.steps < planned:
    found.append(f'Not finished: {run.steps} of {planned} steps. The same command goes on.')
  if not run.metrics:
    found.append('metrics.jsonl has no rows: no step has been finished.')
  if not run.rollouts:
    found.append(
      'No rollouts.jsonl: entropy, value and advantage of tokens were not recorded (older runs, '
      'config.look.problems=0, or no rollouts at all).'
      + (' Its samples are shown without.' if run.samples else '')
    )
  if not run.evaluation:
    found.append('No evaluation.json: evaluate the run with experiments/evaluate.py.')
  return found


def flat(config: Row) -> dict[str, Any]:
  """Nested keys joined by dots, values as JSON gives them back."""
  plain = json.loads(json.dumps(config))
  return {key.removeprefix('config.'): value for key, value in folder.flat(plain).items()}


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
  """{key: its value in every config}, of the keys whose values are not all the same.

  A key that a config lacks is None there.
  """
  keys = sorted({key for config in configs.values() for key in config})
  rows = {key: [config.get(key) for config in configs.values()] for key in keys}
  return {key: values for key, values in rows.items() if any(each != values[0] for each in values)}


def _object(path: pathlib.Path, needs: Mapping[str, type]) -> Row:
  if not path.exists():
    return {}
  found = folder.read_json(path)
  for name, kind in needs.items():
    if type(found.get(name)) is not kind:
      raise ValueError(f'{path} has no {kind.__name__} as its {name!r}: restore or remove it')
  return found


def _rows(path: pathlib.Path, fault: Callable[[Row], str]) -> list[Row]:
  """Rows of steps, in order; `fault` says what is wrong with one, '' if nothing."""
  rows = read_metrics(path)
  for number, row in enumerate(rows, start=1):
    if found := fault(row):
      raise ValueError(f'row {number} of {path} {found}: restore or remove the file')
  return rows


def _is_number(value: Any) -> bool:
  return value is None or type(value) in (int, float)


def _metrics_fault(row: Row) -> str:
  bad = [name for name, value in row.items() if not _is_number(value)]
  return f'has something else than a number as its {bad[0][:60]!r}' if bad else ''


def _sample_fault(row: Row) -> str:
  return '' if _is_number(row.get('reward')) else "has a 'reward' that is no number"


def _rollout_fault(row: Row) -> str:
  tokens = row.get('tokens')
  if not isinstance(tokens, list) or not all(isinstance(each, str) for each in tokens):
    return "has no list of texts as its 'tokens'"
  for name in TOKEN:
    values = row.get(name, [None] * len(tokens))
    if not isinstance(values, list) or not all(map(_is_number, values)):
      return f'has something else than numbers as its {name!r}'
    if len(values) != len(tokens):
      return f'has {len(tokens)} tokens and {len(values)} numbers as its {name!r}'
  if not isinstance(row.get('value_of', ''), str):
    return "has no text as its 'value_of'"
  return _sample_fault(row)
