"""Run folders as training leaves them, with numbers that are made up: for what reads them."""

import json
import random

from tiny_runs import tiny_config

METRICS = (
  *('success', 'reward', 'solved', 'distinct', 'loss', 'entropy', 'semantic_entropy', 'kl'),
  *('alpha', 'beta', 'kappa', 'length', 'grad_norm', 'finished', 'off_policy', 'residual'),
  *(f'other_{number}' for number in range(24)),
)
TOKEN = ('entropy', 'logp', 'value', 'soft_advantage')


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


def response(rng, *, length, text=None, **changes):
  """A row of rollouts.jsonl, without its step."""
  tokens = text or [rng.choice('0123456789+-*/') for _ in range(length - 1)] + ['<eos>']
  numbers = {name: [round(rng.gauss(0, 1), 4) for _ in tokens] for name in TOKEN}
  numbers['entropy'] = [abs(x) for x in numbers['entropy']]
  head = {'problem': 'p', 'group': 0, 'prompt': '1,2,3=6:', 'tokens': tokens, 'reward': 1.0}
  return {**head, 'class': 'a', 'finished': True, 'value_of': 'lse', **numbers, **changes}


def make(folder, *, steps, variant='soft_q', seed=0, length=6, every=10, changes=None):
  """Config, metrics and rollouts of a run of so many steps, the last of them finished."""
  rng = random.Random(seed)
  folder.mkdir(parents=True)
  config = tiny_config(variant, steps=steps, seed=seed, **(changes or {}))
  (folder / 'config.json').write_text(json.dumps(config.to_dict()))
  (folder / 'versions.json').write_text(json.dumps({'jax': '0.10.2', 'commit': 'f00'}))
  write(
    folder / 'metrics.jsonl',
    [{'step': step, **{name: rng.random() * 3 for name in METRICS}} for step in range(steps)],
  )
  rows = [
    {
      'step': step,
      **response(rng, length=length),
      **{'group': group, 'prompt': f'{step},{group}=6:', 'reward': float(row % 2)},
      'class': None if row == 7 else 'ab'[row % 2],
    }
    for step in range(0, steps, every)
    for group in range(2)
    for row in range(8)
  ]
  write(folder / 'rollouts.jsonl', rows)
  return folder


def evaluate(folder, **figures):
  """An evaluation.json and .jsonl."""
  row = {'name': 'x', 'pass@1': 0.25, 'pass@1_low': 0.2, 'pass@1_high': 0.3, 'samples': 4}
  row |= {'coverage@4': 0.5, 'coverage@4_low': 0.4, 'coverage@4_high': 0.625, **figures}
  (folder / 'evaluation.json').write_text(json.dumps(row))
  write(folder / 'evaluation.jsonl', [{'id': 'p', 'samples': 4, 'correct': 1}])
