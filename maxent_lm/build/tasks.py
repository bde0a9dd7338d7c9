"""Tasks from a config: by name, and tasks of tasks."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from maxent_lm.build.names import NAMES, Config, Names, choose
from maxent_lm.tasks import Task
from maxent_lm.tasks.curriculum import Curriculum
from maxent_lm.tasks.mixture import Mixture

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})


def make_task(
  config: Config,
  *,
  split: str,
  key: str = 'config.task',
  name: str | None = None,
  changes: Mapping[str, Any] = NO_CHANGES,
  names: Names = NAMES,
) -> Task:
  """The split of the task `name` (None: config.task) by its section, with `changes` to it.

  Raises:
    ValueError: an unknown task, with the `key` that names it, or what the task refuses.
  """
  name = config.task if name is None else name
  if name in COMBINED:
    return COMBINED[name](config, split, Config({**config[name], **changes}), names)
  factory = choose(key, name, {**names.tasks, **COMBINED})
  return factory(split=split, **{**config[name], **changes})


def _mixture(config: Config, split: str, section: Config, names: Names) -> Task:
  if set(COMBINED) & set(section.tasks):
    raise ValueError(
      f'config.mixture.tasks={section.tasks} may not have {" or ".join(COMBINED)} among them'
    )
  parts = {
    name: make_task(config, split=split, key='config.mixture.tasks', name=name, names=names)
    for name in section.tasks
  }
  return Mixture(parts, section.weights)


def _curriculum(config: Config, split: str, section: Config, names: Names) -> Task:
  """Training walks through the stages; tests are always those of the last one."""
  key, name = 'config.curriculum.task', section.task
  if name == 'curriculum':
    raise ValueError("config.curriculum.task='curriculum' would never end; name another task")
  choose(key, name, {**names.tasks, **COMBINED})
  if section.key not in config[name]:
    raise ValueError(
      f'config.curriculum.key={section.key!r} is no key of config.{name}; choose one of '
      f'{", ".join(config[name])}'
    )
  stages = [
    make_task(config, split=split, key=key, name=name, changes={section.key: value}, names=names)
    for value in (section.settings[-1:] if split == 'test' else section.settings)
  ]
  if split == 'test':
    return stages[0]
  return Curriculum(stages, starts=section.starts, keep=section.keep)


COMBINED: dict[str, Callable[[Config, str, Config, Names], Task]] = {
  'curriculum': _curriculum,
  'mixture': _mixture,
}
