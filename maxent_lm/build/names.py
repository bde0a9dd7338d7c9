"""Names in a config."""

from collections.abc import Mapping
from typing import Any

import ml_collections

Config = ml_collections.ConfigDict


def choose(key: str, name: str, table: Mapping[str, Any]) -> Any:
  """table[name]; an unknown name is told with the known ones."""
  if name not in table:
    raise ValueError(f'{key}={name!r} is unknown; choose one of {", ".join(sorted(table))}')
  return table[name]
