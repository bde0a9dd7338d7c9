"""What a published method is here: a paper, and the keys of configs/base.py that it sets."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Method(NamedTuple):
  """A composition of parts.

  Attributes:
    paper: where it was published.
    changes: config keys, on top of those of configs/methods.py.
    differs: what is not as published, in a few words; '' for nothing known. Not counted: targets,
      boxes and start values of controllers, and lengths, which are Countdown's; the optimiser.
  """

  paper: str
  changes: Mapping[str, Any]
  differs: str = ''


def weighted(
  select: str, site: tuple[float, float], *, at: str = 'loss', estimate: str = 'entropy'
) -> dict[str, Any]:
  """The keys of one token importance: estimate -> select -> site (low, high), no other site."""
  return {
    'importance.sites.loss': (1.0, 1.0),
    'importance.estimate': estimate,
    'importance.select': select,
    f'importance.sites.{at}': site,
  }
