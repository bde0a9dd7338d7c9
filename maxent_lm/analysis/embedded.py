"""What a page embeds of a run, within bounds, and the sentences that say what it left out."""

import bisect
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maxent_lm.analysis.runs import Row, Run

POINTS = 500  # steps of a curve
# name, label, unit, whether it has a sign, what it means; in the order of their keys 1, 2, ...
FIELDS: tuple[tuple[str, str, str, bool, str], ...] = (
  ('entropy', 'entropy', 'nats', False, 'H(π(·|s)), entropy of the next token'),
  ('value', 'value', 'reward units', True, 'V(s), value of the state before the token'),
  ('advantage', 'advantage', '', True, 'advantage that the transforms made'),
  (
    *('soft_advantage', 'soft advantage', 'reward units', True),
    'κ (log π − log ρ), the policy’s own Q − V',
  ),
)
PLAIN = {
  **{'name': 'none', 'label': 'nothing', 'unit': '', 'signed': False, 'meaning': ''},
  **{'top': 1, 'largest': 1},
}
NUMBERS = (*(field[0] for field in FIELDS), 'logp')  # of a token
VALUES = {
  'lse': 'κ LSE(logits)',
  'lse_minus_ref': 'κ (LSE(logits) − LSE(reference’s logits))',
  'head': 'of the value head',
}


def curves(rows: Sequence[Row]) -> tuple[dict[str, Any], str]:
  """({steps: [...], metrics: {name: {values, steps}}}, how they were thinned).

  Values are those of the rows, to six digits; `steps` is None where a metric is in every row.
  """
  kept = thinned(len(rows), POINTS)
  chosen = [rows[place] for place in kept]
  steps = [row['step'] for row in chosen]
  names = dict.fromkeys(name for row in chosen for name in row if name != 'step')
  metrics = {}
  for name in names:
    own = [row for row in chosen if name in row]
    metrics[name] = {
      'values': [rounded(row[name], 6) for row in own],
      'steps': None if len(own) == len(chosen) else [row['step'] for row in own],
    }
  said = f'curves of all {len(rows)} steps'
  if len(kept) < len(rows):
    said = f'curves of {len(kept)} of {len(rows)} steps, evenly spaced, with the first and the last'
  return {'steps': steps, 'metrics': metrics}, f'{said}, from metrics.jsonl.'


def rollouts(run: Run, *, budget: int) -> tuple[list[dict[str, Any]], str]:
  """(groups of responses, in the order of the steps, how they were thinned).

  As many steps, evenly spaced, as have at most `budget` bytes; of the last step alone, as many
  groups as do. Of a run without rollouts its samples, as responses of one token without numbers.
  """
  source = 'rollouts.jsonl' if run.rollouts else 'samples.jsonl'
  groups = _groups(run.rollouts or [_untold(row) for row in run.samples])
  steps = [list(each) for _, each in itertools.groupby(groups, key=lambda group: group['step'])]
  if not steps:
    return [], 'no responses: none were recorded.'
  sizes = [sum(len(json_in_html(group)) for group in step) for step in steps]
  count = _most(sizes, budget)
  kept = [group for place in thinned(len(steps), count) for group in steps[place]]
  if count == 0:
    kept = _fitting(steps[-1], budget)
  responses, of = (sum(len(group['rows']) for group in each) for each in (kept, groups))
  said = f'{responses} of {of} responses'
  if responses == of:
    said = f'all {of} responses, of {len(steps)} steps'
  elif count:
    said += f', of {count} of {len(steps)} steps, evenly spaced, with the first and the last'
  return kept, f'{said}, from {source}.'


def thinned(length: int, most: int) -> list[int]:
  """At most so many places of a list, evenly spaced, the first and the last among them.

  Where there is room for one it is the last.
  """
  if length <= most:
    return list(range(length))
  if most < 2:
    return [length - 1] * most
  return [round(place) for place in np.linspace(0, length - 1, most)]


def fields(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """The shadings that some response has, each with its scale.

  `top`: 99% of the numbers are not larger, in size; `largest` is the largest size of all. The last
  one shades nothing.
  """
  found = []
  for name, label, unit, signed, meaning in FIELDS:
    values = [x for group in groups for row in group['rows'] for x in row.get(name, ())]
    sizes = np.abs([x for x in values if x is not None])
    if not len(sizes):
      continue
    top = float(np.quantile(sizes, 0.99)) or float(sizes.max()) or 1.0
    about = {'label': label, 'unit': unit, 'signed': signed, 'meaning': meaning}
    largest = rounded(float(sizes.max()), 4)
    found.append({'name': name, **about, 'top': rounded(top, 4), 'largest': largest})
  return [*found, PLAIN]


def value_of(run: Run) -> str | None:
  """Where the values of the run's tokens come from, in words."""
  name = run.rollouts[-1].get('value_of') if run.rollouts else None
  return VALUES.get(name, name) if name else None


def numbers(row: Mapping[str, Any]) -> dict[str, Any]:
  """The finite numbers of an evaluation, to six digits."""
  return {
    name: rounded(value, 6)
    for name, value in row.items()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
  }


def rounded(value: float | None, digits: int) -> float | int | None:
  """To so many digits; what is not finite is None, and whole numbers have no point."""
  if value is None or not math.isfinite(value):
    return None
  found = float(f'{value:.{digits}g}')
  return int(found) if found.is_integer() and abs(found) < 1e15 else found


def json_in_html(value: Any) -> str:
  """JSON in ASCII that no HTML parser sees a tag, a comment or an entity in."""
  text = json.dumps(value, separators=(',', ':'), allow_nan=False)
  for sign in '<>&':
    text = text.replace(sign, f'\\u{ord(sign):04x}')
  return text


def _groups(rows: Sequence[Row]) -> list[dict[str, Any]]:
  """Rows that follow each other and answer the same prompt in the same step."""

  def asked(row: Row) -> list[Any]:
    return [row.get(key) for key in ('step', 'group', 'prompt')]

  found = []
  for (step, _, prompt), each in itertools.groupby(rows, asked):
    found.append({'step': step, 'prompt': str(prompt), 'rows': [_response(row) for row in each]})
  return found


def _response(row: Row) -> dict[str, Any]:
  head = {'tokens': row['tokens'], 'class': row.get('class'), 'finished': row.get('finished')}
  told = {name: [rounded(x, 4) for x in row[name]] for name in NUMBERS if name in row}
  return {**head, 'reward': rounded(row.get('reward'), 6), **told}


def _untold(row: Row) -> Row:
  """A sample as a rollout of one token that nothing is known of."""
  return {**row, 'tokens': [str(row.get('response', ''))], 'finished': None}


def _most(sizes: Sequence[int], budget: int) -> int:
  """How many evenly spaced ones have at most `budget` together; fewer have less, nearly always."""

  def too_many(count: int) -> bool:
    return sum(sizes[place] for place in thinned(len(sizes), count)) > budget

  count = bisect.bisect_left(range(1, len(sizes) + 1), True, key=too_many)
  while too_many(count):
    count -= 1
  return count


def _fitting(groups: Sequence[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
  """The first groups, the last one of them cut, that have at most `budget` bytes."""
  kept, left = [], budget
  for group in groups:
    left -= len(json_in_html({**group, 'rows': []}))
    sizes = np.cumsum([len(json_in_html(row)) + 1 for row in group['rows']])
    rows = group['rows'][: int((sizes <= left).sum())]
    if rows:
      kept.append({**group, 'rows': rows})
    left -= int(sizes[-1])
    if left < 0:
      break
  return kept
