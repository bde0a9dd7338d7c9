"""One run, or two side by side, as one HTML file that needs nothing else.

The page (page/) has the numbers once, as JSON, and draws them itself. Its policy forbids it every
request and every script but its own, by their hashes, and its script sets text only as text: what
a model wrote is shown and never run. What is embedded is bounded: `POINTS` steps, `BUDGET` bytes of
responses, and the page says what was left out.
"""

import base64
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from maxent_lm.analysis import embedded, runs
from maxent_lm.analysis.runs import Run
from maxent_lm.train import folder

PAGE = pathlib.Path(__file__).parent / 'page'
BUDGET = 3_000_000  # bytes of responses, of all runs together
FAMILIES: Mapping[str, Sequence[tuple[str, str, str]]] = {
  'Learning': (
    ('success', 'Right responses', 'share'),
    ('reward', 'Reward', 'mean'),
    ('solved', 'Prompts with a right response', 'share'),
    ('distinct', 'Different right responses', 'a prompt'),
    ('nll', 'Negative log-likelihood', 'nats a token'),
    ('loss', 'Loss', ''),
    ('length', 'Length', 'tokens a response'),
    ('grad_norm', 'Gradient norm', ''),
  ),
  'Temperature, entropy, divergence': (
    ('alpha', 'alpha, on the entropy', 'reward units a nat'),
    ('beta', 'beta, on the KL', 'reward units a nat'),
    ('entropy', 'Entropy', 'nats a token'),
    ('semantic_entropy', 'Entropy over meanings', 'nats a prompt'),
    ('kl', 'KL to the reference', 'nats a response'),
  ),
}
MAIN = (
  *('reward', 'entropy', 'semantic_entropy', 'kl', 'length', 'finished', 'ece', 'brier'),
  *('auroc_semantic', 'auroc_token', 'boltzmann_slope', 'problems', 'samples', 'faults'),
)
PACKAGES = ('jax', 'flax', 'device', 'commit')


def write(
  path: pathlib.Path, found: Sequence[Run], *, defaults: Mapping[str, Any], budget: int = BUDGET
) -> int:
  """Writes the page of one run or two, and gives its size in bytes.

  `defaults`: the flat config that a run's is told apart from.
  """
  text = page(found, defaults=defaults, budget=budget)
  path.parent.mkdir(parents=True, exist_ok=True)
  folder.write_text(path, text)
  return path.stat().st_size


def page(found: Sequence[Run], *, defaults: Mapping[str, Any], budget: int = BUDGET) -> str:
  """The HTML of one run or two.

  Raises:
    ValueError: more runs than there are styles that can be told apart without colour.
  """
  if not 1 <= len(found) <= 2:
    raise ValueError(f'a report is of one run or two, not of {len(found)}')
  import jinja2

  named = _with_names(found)
  style = (PAGE / 'page.css').read_text(encoding='utf-8')
  script = '\n'.join(
    (PAGE / name).read_text(encoding='utf-8') for name in ('charts.js', 'rollouts.js', 'report.js')
  )
  data, said = contents(named, budget=budget)
  template = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined
  ).get_template('page.html.jinja')
  mark = jinja2.utils.markupsafe.Markup
  return template.render(
    title=' and '.join(named),
    lead=_lead(found),
    runs=[
      {'name': name, 'facts': _facts(run), 'missing': runs.missing(run)}
      for name, run in named.items()
    ],
    tables=_tables(named, defaults),
    embedded=said,
    data=mark(embedded.json_in_html(data)),
    style=mark(style),
    style_hash=_hash(style),
    script=mark(script),
    script_hash=_hash(script),
  )


def contents(named: Mapping[str, Run], *, budget: int) -> tuple[dict[str, Any], list[str]]:
  """(the page's data, what is to be said of it: what was left out)."""
  data, said = [], []
  for name, run in named.items():
    curves, about_curves = embedded.curves(run.metrics)
    rollouts, about_rollouts = embedded.rollouts(run, budget=budget // len(named))
    said += [f'{name}: {line}' for line in (about_curves, about_rollouts)]
    data.append(
      {
        'name': name,
        **curves,
        'evaluation': embedded.numbers(run.evaluation) or None,
        'rollouts': rollouts,
        'value_of': embedded.value_of(run),
      }
    )
  said += [
    'Numbers of steps and of the evaluation have six digits, those of tokens four.',
    'One file: no request is made, and its security policy forbids any.',
  ]
  sizes = sorted({int(run.evaluation['samples']) for run in named.values() if run.evaluation})
  return {
    'runs': data,
    'families': [{'title': title, 'charts': charts} for title, charts in FAMILIES.items()],
    'fields': embedded.fields([group for run in data for group in run['rollouts']]),
    'plane': _plane(data, sizes),
    'main': _main(sizes),
  }, said


def _with_names(found: Sequence[Run]) -> dict[str, Run]:
  """By their folders' names, which may be the same."""
  first, *rest = found
  named = {first.name: first}
  for run in rest:
    named[run.name if run.name not in named else f'{run.name} (compared)'] = run
  return named


def _plane(data: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, str]:
  """Accuracy against coverage, or against what comes next to it where that is not known."""
  rows = [run['evaluation'] for run in data if run['evaluation']]
  names = [f'{family}@{k}' for family in ('coverage', 'distinct', 'pass') for k in sizes[::-1]]
  known = [name for name in names if rows and all(name in row for row in rows)]
  return {'x': 'pass@1', 'y': known[0] if known else 'coverage@16'}


def _main(sizes: Sequence[int]) -> list[str]:
  """The figures that the evaluation's table begins with."""
  families = ('pass', 'coverage', 'distinct', 'maj')
  return ['pass@1', *[f'{family}@{k}' for family in families for k in sizes if k > 1], *MAIN]


def _lead(found: Sequence[Run]) -> str:
  """What the runs are, in a line."""
  known = [run.config for run in found if run.config]
  told = [f'{config["algorithm"]} on {config["task"]}' for config in known]
  return '; '.join(dict.fromkeys(told)) or 'run folder without a config'


def _facts(run: Run) -> list[tuple[str, str]]:
  """Where the run stands, for its card."""
  config, last = run.flat_config, run.metrics[-1] if run.metrics else {}
  planned = f' of {config["steps"]}' if config else ''
  facts = [('steps', f'{run.steps}{planned}')]
  facts += [(key, str(config[key])) for key in ('algorithm', 'task', 'seed') if key in config]
  labels = {'success': 'right, last step', 'entropy': 'entropy, nats', 'kl': 'KL, nats'}
  facts += [(label, _short(last[name])) for name, label in labels.items() if name in last]
  facts += [(name, _short(last[name])) for name in ('alpha', 'beta') if name in last]
  for name in PACKAGES:
    if name in run.versions:
      text = str(run.versions[name])
      facts.append((name, text[:10] + ('+' if '+' in text else '') if name == 'commit' else text))
  return facts


def _tables(named: Mapping[str, Run], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Config keys that differ between the runs, from the defaults, and all of them."""
  configs = {name: run.flat_config for name, run in named.items() if run.config}
  tables = []
  if len(configs) > 1:
    rows = runs.differences(configs)
    tables.append(_table('Keys in which the runs differ', list(configs), rows, opened=True))
  if configs and defaults:
    rows = {
      key: values
      for key, values in runs.differences({'default': defaults, **configs}).items()
      if any(value != values[0] for value in values[1:])
    }
    columns = ['default', *configs]
    tables.append(_table('Keys that are not the default', columns, rows, opened=len(configs) == 1))
  all_keys = dict.fromkeys(key for config in configs.values() for key in config)
  keys = {key: [config.get(key) for config in configs.values()] for key in all_keys}
  tables.append(_table('All keys', list(configs), keys, opened=False))
  return tables


def _table(
  title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Any]], *, opened: bool
) -> dict[str, Any]:
  cells = [(key, [json.dumps(value) for value in values]) for key, values in rows.items()]
  return {'title': title, 'columns': columns, 'rows': cells, 'open': opened}


def _short(value: float | None) -> str:
  return 'not finite' if value is None or not math.isfinite(value) else f'{value:.3g}'


def _hash(text: str) -> str:
  return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
