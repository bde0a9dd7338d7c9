"""Tasks from a config: by name, and tasks of tasks."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from maxent_lm.build.names import Config, choose
from maxent_lm.tasks import TASKS, Task
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
) -> Task:
  """The split of the task `name` (None: config.task) by its section, with `changes` to it.

  Raises:
    ValueError: an unknown task, with the `key` that names it, or what the task refuses.
  """
  name = config.task if name is None else name
  if name in COMBINED:
    return COMBINED[name](config, split, Config({**config[name], **changes}))
  factory = choose(key, name, {**TASKS, **COMBINED})
  return factory(split=split, **{**config[name], **changes})


def _mixture(config: Config, split: str, section: Config) -> Task:
  if set(COMBINED) & set(section.tasks):
    raise ValueError(
      f'config.mixture.tasks={section.tasks} may not have {" or ".join(COMBINED)} among them'
    )
  parts = {
    name: make_task(config, split=split, key='config.mixture.tasks', name=name)
    for name in section.tasks
  }
  return Mixture(parts, section.weights)


def _curriculum(config: Config, split: str, section: Config) -> Task:
  """Training walks through the stages; tests are always those of the last one."""
  key, name = 'config.curriculum.task', section.task
  if name == 'curriculum':
    raise ValueError("config.curriculum.task='curriculum' would never end; name another task")
  choose(key, name, {**TASKS, **COMBINED})
  if section.key not in config[name]:
    raise ValueError(
      f'config.curriculum.key={section.key!r} is no key of config.{name}; choose one of '
      f'{", ".join(config[name])}'
    )
  stages = [
    make_task(config, split=split, key=key, name=name, changes={section.key: value})
    for value in (section.settings[-1:] if split == 'test' else section.settings)
  ]
  if split == 'test':
    return stages[0]
  return Curriculum(stages, starts=section.starts, keep=section.keep)


COMBINED: dict[str, Callable[[Config, str, Config], Task]] = {
  'curriculum': _curriculum,
  'mixture': _mixture,
}
