"""Transforms of a batch, `(Batch, Views) -> Batch`: TRANSFORMS lists them all.

Most read the batch alone: those are written as `Batch -> Batch` and listed through `batch_only`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from maxent_lm.shaping import advantages, entropy_advantages, filters, rewards
from maxent_lm.shaping.importance import importance
from maxent_lm.types import Batch, Transform, Views


def batch_only(transform: Callable[..., Batch]) -> Callable[..., Batch]:
  """The Transform of a function of the batch alone."""

  @functools.wraps(transform)
  def apply(batch: Batch, views: Views, **options: Any) -> Batch:
    del views
    return transform(batch, **options)

  return apply


REWARDS: Mapping[str, Callable[..., Batch]] = {
  'answer_frequency': batch_only(rewards.answer_frequency),
  'majority_label': batch_only(rewards.majority_label),
  'negative_entropy': rewards.negative_entropy,
  'self_certainty_reward': rewards.self_certainty_reward,
  'semantic_bonus': batch_only(rewards.semantic_bonus),
  'count_bonus': batch_only(rewards.count_bonus),
  'perplexity_bonus': batch_only(rewards.perplexity_bonus),
  'novelty_bonus': rewards.novelty_bonus,
  'disagreement_bonus': rewards.disagreement_bonus,
  'kl_in_reward': rewards.kl_in_reward,
  'entropy_in_reward': rewards.entropy_in_reward,
  'overlong': batch_only(rewards.overlong),
}
ADVANTAGES: Mapping[str, Callable[..., Batch]] = {  # made from rewards
  'group_normalised': batch_only(advantages.group_normalised),
  'group_centred': batch_only(advantages.group_centred),
  'batch_scaled': batch_only(advantages.batch_scaled),
  'leave_one_out': batch_only(advantages.leave_one_out),
  'returns': batch_only(advantages.returns),
  'opo': batch_only(advantages.opo),
  'gpg': batch_only(advantages.gpg),
  'pass_at_k_max': batch_only(advantages.pass_at_k_max),
  'pass_at_k': batch_only(advantages.pass_at_k),
  'positive_negative': batch_only(advantages.positive_negative),
  'quantile_baseline': batch_only(advantages.quantile_baseline),
}
SHAPED: Mapping[str, Callable[..., Batch]] = {  # made from advantages
  'batch_whitened': batch_only(advantages.batch_whitened),
  'entropy_bonus_advantage': entropy_advantages.entropy_bonus_advantage,
  'disagreement_advantage': entropy_advantages.disagreement_advantage,
  'edge': entropy_advantages.edge,
  'gtpo': entropy_advantages.gtpo,
  'ucas': entropy_advantages.ucas,
  'seed_grpo': entropy_advantages.seed_grpo,
}
FILTERS: Mapping[str, Callable[..., Batch]] = {
  'mixed_groups': batch_only(filters.mixed_groups),
  'drop_truncated': batch_only(filters.drop_truncated),
  'positive_rows': batch_only(filters.positive_rows),
  'entropy_band': filters.entropy_band,
  'semantic_entropy_band': batch_only(filters.semantic_entropy_band),
}
IMPORTANCE: Mapping[str, Callable[..., Batch]] = {
  'importance': importance,
  'importance_2': importance,  # a second one in the same run
}
TRANSFORMS = {**REWARDS, **ADVANTAGES, **SHAPED, **FILTERS, **IMPORTANCE}
# Those that look at neither the policy's scores nor the networks beside it.
BLIND = frozenset(
  {
    *('answer_frequency', 'majority_label', 'semantic_bonus', 'count_bonus', 'perplexity_bonus'),
    *('kl_in_reward', 'overlong', *ADVANTAGES, 'batch_whitened', 'seed_grpo'),
    *('mixed_groups', 'drop_truncated', 'positive_rows', 'semantic_entropy_band'),
  }
)


def chain(*transforms: Transform) -> Transform:
  """The transforms one after the other, the first first; none at all is the identity."""

  def apply(batch: Batch, views: Views) -> Batch:
    for transform in transforms:
      batch = transform(batch, views)
    return batch

  return apply
