"""The composition table: every published method, what it is made of, and its config.

python experiments/list_methods.py [--markdown=docs/methods.md]

The parts are read from the configs themselves, so the table cannot say what the code does not do.
"""

import pathlib
from collections.abc import Sequence

import ml_collections
from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import tables

MARKDOWN = flags.DEFINE_string('markdown', None, 'Write the table into this file.')

COLUMNS = ('method', 'paper', 'parts', 'config')
HEAD = """# Methods as compositions of parts

Written by `python experiments/list_methods.py --markdown=docs/methods.md` from the configs. A part
is named as its function or config key; estimate -> select -> site is one token importance. Each is
trained with `--config=` and its config; `configs/methods.py:NAME,PROJECT` takes the conventions of
another project (PARITY there).
"""


def parts(config: ml_collections.ConfigDict) -> str:
  """What a config is made of, in the order of the data."""
  found = [f'task reward, {config.batch.rounds} rounds' if config.batch.rounds > 1 else '']
  found += [_transform(config, name) for name in config.transforms]
  found.append(f'{config.algorithm} / {config.reduction}')
  found += [_knob(config, knob) for knob in ('alpha', 'beta', 'sampler')]
  found += [f'{key} {config[key]}' for key in ('measure', 'saliency') if config[key] != 'none']
  found += [
    f'{key} {config[key].kind}' for key in ('critic', 'curiosity') if config[key].kind != 'none'
  ]
  if config.count_novelty.coefficient:
    found.append('counts of answers in the reward')
  return '; '.join(part for part in found if part)


def _transform(config: ml_collections.ConfigDict, name: str) -> str:
  """A transform; of an importance also what it looks at, chooses, and changes."""
  if not name.startswith('importance'):
    return name
  section = config[name]
  sites = [
    f'{site} {low:g} to {high:g}'
    for site, (low, high) in section.sites.items()
    if low != 1 or high != 1
  ]
  select = f'{section.select} ({section.scope}, {section.denominator})'
  return f'{section.estimate} -> {select} -> {", ".join(sites)}'


def _knob(config: ml_collections.ConfigDict, knob: str) -> str:
  """A temperature with its controller, '' where it is off."""
  start, control = config.temperature[knob], config.temperature[f'{knob}_control']
  if control == 'fixed':
    return '' if start == (knob == 'sampler') else f'{knob} {start:g}'
  observed = config[knob][control].get('observe', '')
  return f'{knob} by {control}' + (f' on {observed}' if observed else '')


def rows() -> list[dict[str, str]]:
  """One row a method."""
  from configs import methods

  return [
    {
      'method': name,
      'paper': method.paper + (f' ({method.differs})' if method.differs else ''),
      'parts': parts(methods.get_config(name)),
      'config': f'configs/methods.py:{name}',
    }
    for name, method in methods.METHODS.items()
  ]


def main(_: Sequence[str]) -> None:
  """Prints the table, or writes it."""
  text = tables.markdown(rows(), COLUMNS)
  if MARKDOWN.value:
    pathlib.Path(MARKDOWN.value).write_text(f'{HEAD}\n{text}\n')
  else:
    print(text)


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
