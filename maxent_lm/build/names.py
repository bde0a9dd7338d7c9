"""Names in a config, and what they stand for."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_collections

from maxent_lm.algorithms import LOSSES
from maxent_lm.shaping import TRANSFORMS
from maxent_lm.tasks import TASKS
from maxent_lm.temperature import CONTROLLERS

Config = ml_collections.ConfigDict


class Names(NamedTuple):
  """The tables in which a run looks up the names of its config.

  To bring something of your own, hand a run a table that has it under a new name, and give its
  keyword arguments as a config section of that name:

      rollout_run(config, workdir, names=NAMES._replace(tasks={**TASKS, 'mine': Mine}))

  `tasks` make a Task of (split=..., **section), `losses` and `transforms` are called with the
  section beside their arguments, `controllers` with it after the value that they start from.
  """

  tasks: Mapping[str, Callable[..., Any]] = TASKS
  losses: Mapping[str, Callable[..., Any]] = LOSSES
  transforms: Mapping[str, Callable[..., Any]] = TRANSFORMS
  controllers: Mapping[str, Callable[..., Any]] = CONTROLLERS


NAMES = Names()


def choose(key: str, name: str, table: Mapping[str, Any]) -> Any:
  """table[name]; an unknown name is told with the known ones."""
  if name not in table:
    raise ValueError(f'{key}={name!r} is unknown; choose one of {", ".join(sorted(table))}')
  return table[name]
