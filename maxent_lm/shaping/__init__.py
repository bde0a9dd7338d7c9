"""Transforms of a batch, `Batch -> Batch`: TRANSFORMS is the only list of them."""

from collections.abc import Callable, Mapping

from maxent_lm.shaping.advantages import group_centred, group_normalised
from maxent_lm.types import Batch, Transform

TRANSFORMS: Mapping[str, Callable[..., Batch]] = {
  'group_normalised': group_normalised,
  'group_centred': group_centred,
}


def chain(*transforms: Transform) -> Transform:
  """The transforms one after the other, the first first; none at all is the identity."""

  def apply(batch: Batch) -> Batch:
    for transform in transforms:
      batch = transform(batch)
    return batch

  return apply
