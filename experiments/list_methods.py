"""The composition table: every published method, what it is made of, and its config.

python experiments/list_methods.py [--markdown=docs/methods.md]

The parts are read from the configs themselves, so the table cannot say what the code does not do.
"""

import pathlib
from collections.abc import Mapping, Sequence

import ml_collections
from absl import app, flags

from maxent_lm import cli
from maxent_lm.shaping import IMPORTANCE

MARKDOWN = flags.DEFINE_string('markdown', None, 'Write the table into this file.')

COLUMNS = ('method', 'paper', 'parts', 'not as published', 'parity', 'config')
NO_CLIP = 1e9  # configs.base.NO_CLIP
HEAD = """# Methods as compositions of parts

Written by `python experiments/list_methods.py --markdown=docs/methods.md` from the configs. A part
is named as its function or config key, with all of its options; estimate -> select -> site is one
token importance. What is behind the slash is the reduction: its denominator, and how it treats
lengths. Each is trained with `--config=` and its config; `configs/methods.py:NAME,PROJECT` takes
the conventions of another project where its name stands under parity.
"""


def parts(config: ml_collections.ConfigDict) -> str:
  """What a config is made of, in the order of the data, with every option."""
  found = [f'{config.batch.rounds} rounds of sampling' if config.batch.rounds > 1 else '']
  found.append('sampled one step ahead' if config.batch.ahead else '')
  if config.count_novelty.coefficient:
    found.append(_call('count_novelty', config.count_novelty))
  found += [_transform(config, name) for name in config.transforms]
  found.append(f'{_call(config.algorithm, config[config.algorithm])} / {config.reduction}')
  found.append('' if config.loss_units == 'reward' else f'in {config.loss_units}')
  found += [_knob(config, knob) for knob in ('alpha', 'beta', 'sampler')]
  if config.measure != 'none':
    found.append(_call(f'measure {config.measure}', config.measures[config.measure]))
  found.append('' if config.bonus == 'entropy' else f'bonus on {config.bonus}')
  found.append('' if config.saliency == 'none' else f'saliency {config.saliency}')
  found += [
    f'{key} {config[key].kind}' for key in ('critic', 'curiosity') if config[key].kind != 'none'
  ]
  return '; '.join(part for part in found if part)


def _call(name: str, options: Mapping[str, object]) -> str:
  """A part with its options."""
  told = ', '.join(f'{key} {_value(value)}' for key, value in options.items())
  return f'{name}({told})' if told else name


def _value(value: object) -> str:
  if isinstance(value, ml_collections.ConfigDict):
    return _call('', value.to_dict())
  if isinstance(value, tuple):
    return ' '.join(map(_value, value))
  if isinstance(value, float):
    return 'none' if value >= NO_CLIP else f'{value:g}'
  return str(value)


def _transform(config: ml_collections.ConfigDict, name: str) -> str:
  """A transform; of an importance also what it looks at, chooses, and changes."""
  section = config[name]
  if name not in IMPORTANCE:
    return _call(name, section)
  sites = [
    f'{site} {low:g} to {high:g}'
    for site, (low, high) in section.sites.items()
    if low != 1 or high != 1
  ]
  select = _call(section.select, section[section.select])
  estimate = section.estimate
  if estimate == 'lexicon':
    estimate = _call(estimate, config.lexicon)
  scope = f'(of the {section.scope}, divided by {section.denominator})'
  return f'{estimate} -> {select} {scope} -> {", ".join(sites)}'


def _knob(config: ml_collections.ConfigDict, knob: str) -> str:
  """A temperature with its controller, '' where it is off."""
  start, control = config.temperature[knob], config.temperature[f'{knob}_control']
  if control == 'fixed':
    return '' if start == (knob == 'sampler') else f'{knob} {start:g}'
  return f'{knob} from {start:g} by {_call(control, config[knob][control])}'


def rows() -> list[dict[str, str]]:
  """One row a method."""
  from configs import methods

  return [
    {
      'method': name,
      'paper': method.paper,
      'parts': parts(methods.get_config(name)),
      'not as published': method.differs,
      'parity': ', '.join(each for each, changes in methods.PARITY.items() if name in changes),
      'config': f'configs/methods.py:{name}',
    }
    for name, method in methods.METHODS.items()
  ]


def main(_: Sequence[str]) -> None:
  """Prints the table, or writes it."""
  lines = [COLUMNS, ['---'] * len(COLUMNS), *([row[name] for name in COLUMNS] for row in rows())]
  text = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
  if MARKDOWN.value:
    pathlib.Path(MARKDOWN.value).write_text(f'{HEAD}\n{text}\n')
  else:
    print(text)


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
