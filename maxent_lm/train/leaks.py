"""Two calls of tensorstore (0.1.86) never free what they give; Orbax makes both at every save.

`experimental_collect_matching_metrics` keeps a reference to each list of values. Orbax asks for
them only to log a rate: here there are none. `KvStore.Spec.to_json` keeps one to each of its
strings, and Orbax asks once per array: here the same question is answered once, some 300 bytes a
save.
"""

import copy
from typing import Any

import tensorstore

METRICS = 'experimental_collect_matching_metrics'
REMEMBERED = 256  # answers


def mend() -> None:
  """For all of this process, from here on; calling it again changes nothing."""
  setattr(tensorstore, METRICS, _no_metrics)
  setattr(tensorstore.KvStore.Spec, 'to_json', _to_json)  # noqa: B010


def _no_metrics(metric_prefix: str = '', include_zero_metrics: bool = False) -> list[Any]:
  del metric_prefix, include_zero_metrics
  return []


_leaking = tensorstore.KvStore.Spec.to_json
_answers: dict[tuple[str, bool], Any] = {}  # by what a specification shows of itself


def _to_json(self: tensorstore.KvStore.Spec, include_defaults: bool = False) -> Any:
  asked = repr(self), include_defaults
  answer = _answers.get(asked)
  if answer is None:
    if len(_answers) >= REMEMBERED:
      _answers.clear()
    answer = _answers[asked] = _leaking(self, include_defaults=include_defaults)
  return copy.deepcopy(answer)
