"""tensorstore's metrics are not collected: it never frees what it has given of them.

`experimental_collect_matching_metrics` (tensorstore 0.1.86) keeps a reference to each list of
values. Orbax asks for them at every save, only to log a rate, and a run would grow with each.
"""

from typing import Any

import tensorstore

ASKED = 'experimental_collect_matching_metrics'


def stop() -> None:
  """From here on there are none, whoever asks."""
  setattr(tensorstore, ASKED, _none)


def _none(metric_prefix: str = '', include_zero_metrics: bool = False) -> list[Any]:
  del metric_prefix, include_zero_metrics
  return []
