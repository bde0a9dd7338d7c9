"""Run folders as pandas data frames, several runs in one.

Every frame begins with the columns `run` (the folder's name), `seed` and the config keys that are
asked for, by default those in which the runs differ; then come the columns of the files, with the
very values that stand there.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from maxent_lm.analysis import runs
from maxent_lm.analysis.runs import TOKEN, Row, Run

if TYPE_CHECKING:
  import pandas as pd


def metrics(*workdirs: pathlib.Path | str, keys: Sequence[str] | None = None) -> 'pd.DataFrame':
  """A row a step of every run."""
  return _frame(workdirs, keys, lambda run: run.metrics)


def samples(*workdirs: pathlib.Path | str, keys: Sequence[str] | None = None) -> 'pd.DataFrame':
  """A row a response of samples.jsonl."""
  return _frame(workdirs, keys, lambda run: run.samples)


def tokens(*workdirs: pathlib.Path | str, keys: Sequence[str] | None = None) -> 'pd.DataFrame':
  """A row a token of rollouts.jsonl: `response` numbers its rows, `token` those of a response."""
  return _frame(workdirs, keys, _tokens)


def evaluations(*workdirs: pathlib.Path | str, keys: Sequence[str] | None = None) -> 'pd.DataFrame':
  """A row a run: evaluation.json; a run that was not evaluated has none."""
  return _frame(workdirs, keys, lambda run: [run.evaluation] if run.evaluation else [])


def problems(*workdirs: pathlib.Path | str, keys: Sequence[str] | None = None) -> 'pd.DataFrame':
  """A row a problem of evaluation.jsonl."""
  return _frame(workdirs, keys, lambda run: run.problems)


def _frame(
  workdirs: Sequence[pathlib.Path | str],
  keys: Sequence[str] | None,
  rows: Callable[[Run], list[Row]],
) -> 'pd.DataFrame':
  pd = _pandas()
  found = [runs.read(pathlib.Path(each)) for each in workdirs]
  configs = [run.flat_config for run in found]
  if keys is None:
    named = {str(number): config for number, config in enumerate(configs)}
    # Where a run begins and what it is called differs without changing what it is.
    keys = [key for key in runs.differences(named) if key not in ('seed', 'name')]
  unknown = [key for key in keys if not any(key in config for config in configs)]
  if unknown:
    raise ValueError(f'keys={unknown}: no run has them in its config.json; e.g. temperature.beta')
  lines: list[Row] = []
  for run, config in zip(found, configs, strict=True):
    head = {'run': run.name, 'seed': config.get('seed')}
    head |= {key: _plain(config.get(key)) for key in keys}
    for row in rows(run):
      own = {name: value for name, value in row.items() if name not in head}
      lines.append({**head, **own})
  return pd.DataFrame(lines, columns=None if lines else ['run', 'seed', *keys])


def _tokens(run: Run) -> list[Row]:
  found = []
  for number, row in enumerate(run.rollouts):
    shared = {name: value for name, value in row.items() if name not in ('tokens', *TOKEN)}
    for place, text in enumerate(row['tokens']):
      numbers = {name: row[name][place] for name in TOKEN if name in row}
      found.append({**shared, 'response': number, 'token': place, 'text': text, **numbers})
  return found


def _plain(value: Any) -> Any:
  """A list as text: columns are to be grouped by."""
  return json.dumps(value) if isinstance(value, list) else value


def _pandas() -> Any:
  try:
    import pandas
  except ImportError as error:
    raise ImportError(
      "data frames need pandas, which is not installed: pip install -e '.[notebooks]'"
    ) from error
  return pandas
