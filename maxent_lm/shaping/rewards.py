"""Transforms of the reward: rewards without a verifier, and what is added to a reward.

Shapes: B sequences, T tokens, K value heads. What concerns a whole response is put on its last
action; what concerns tokens, on each of them. The first four replace the reward that the task gave,
all others add to it. Classes are those of `batch.cluster` within `batch.group`; `missing` says what
rows without a class are: own | shared | dropped, see `soft.semantic.classes`. Rows without a
response token get nothing and do not count. Written rewards are 0 outside the mask.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, last_action, masked_mean, masked_sum
from maxent_lm.soft import divergence, residual, semantic
from maxent_lm.types import Array, Batch, Views

# A share of log n is 1 or at most 1 - 2 log 2 / (n log n); float32 tells these apart to here.
ROUNDING = 1e-5
ESTIMATORS = {'k1': divergence.k1, 'k2': divergence.k2, 'k3': divergence.k3}


def answer_frequency(batch: Batch, *, missing: str, low: float, high: float) -> Batch:
  """Reward = the share of the group's responses in the row's own class. [Zhang et al. 2025, EMPO]

  Groups whose semantic entropy is not within low <= H / log n < high get 0: high = 1 leaves out
  those in which all classes differ (the published rule), anything above 1 none. A group of one has
  H / log n = 1.
  """
  these = semantic.batch_classes(batch, missing=missing)
  n = semantic.sizes(these)
  share = jnp.where(n > 1, semantic.discrete(these) / jnp.log(jnp.maximum(n, 2)), 1)
  kept = (share >= low - ROUNDING) & (share < high - ROUNDING)
  return _instead(batch, jnp.where(kept, semantic.frequency(these), 0))


def majority_label(batch: Batch, *, missing: str, ties: str) -> Batch:
  """Reward = 1 for the group's most frequent class and 0 for the others. [Zuo et al. 2025, TTRL]

  `ties`, where several classes are the most frequent: 'all' get 1 | 'none' does | 'first', the one
  with the first row, as published; only that depends on the order of the rows. Published runs let
  responses without an answer vote (missing = 'shared'): if they win, no answer is rewarded.

  Raises:
    ValueError: `ties` is none of these.
  """
  rows = len(batch.group)
  these = semantic.batch_classes(batch, missing=missing)
  votes = jnp.where(these.counted, semantic.counts(these), 0)
  most = jax.ops.segment_max(votes, batch.group, num_segments=rows)[batch.group]
  best = these.counted & (votes == most)
  place = jnp.where(best, jnp.arange(rows), rows)
  first = jax.ops.segment_min(place, batch.group, num_segments=rows)[batch.group]
  leader = these.number[jnp.minimum(first, rows - 1)]
  rules = {
    'all': best,
    'none': best & (semantic.over_classes(these, best.astype(float)) < 1.5),
    'first': best & (these.number == leader),
  }
  return _instead(batch, _choose('ties', ties, rules).astype(float))


def negative_entropy(batch: Batch, views: Views) -> Batch:
  """Reward = -mean_t H(pi(.|s_t)), nats per token. [Prabhudesai et al. 2025, RENT]"""
  return _instead(batch, -masked_mean(views.policy.entropy, batch.mask, axis=1))


def self_certainty_reward(batch: Batch, views: Views) -> Batch:
  """Reward = mean_t self-certainty(s_t), nats per token. [Zhao et al. 2025, Intuitor]

  It is not shifted by log V, see `soft.entropy.self_certainty`; differences within a group are the
  same.

  Raises:
    ValueError: the scores have no measure.
  """
  if views.policy.measure is None:
    raise ValueError(
      'self_certainty_reward reads Scores.measure, which is empty: set '
      "config.measure='self_certainty'"
    )
  return _instead(batch, masked_mean(views.policy.measure, batch.mask, axis=1))


def semantic_bonus(batch: Batch, *, coefficient: float, of: str, missing: str) -> Batch:
  """Reward + coefficient x semantic surprise, nats; negative coefficients punish it.

  of = 'row': -log p(c) of the row's own class, p the group's frequencies; its mean over the group
  is the semantic entropy. of = 'group': that semantic entropy, the same for all rows of the group,
  which an advantage relative to the group cancels.

  Raises:
    ValueError: `of` is neither.
  """
  these = semantic.batch_classes(batch, missing=missing)
  mass = jnp.where(these.counted, semantic.frequency(these), 1)
  amounts = {'row': -jnp.log(mass), 'group': semantic.discrete(these)}
  return _plus(batch, coefficient * _choose('of', of, amounts))


def count_bonus(batch: Batch, *, coefficient: float, missing: str) -> Batch:
  """Reward + coefficient / sqrt(rows of the group in the row's own class); 0 for rows not counted.

  A count-based exploration bonus with the group as its memory. [Bellemare et al. 2016]
  """
  these = semantic.batch_classes(batch, missing=missing)
  count = jnp.maximum(semantic.counts(these), 1)
  return _plus(batch, jnp.where(these.counted, coefficient / jnp.sqrt(count), 0))


def perplexity_bonus(batch: Batch, *, coefficient: float, cap: float) -> Batch:
  """Reward + coefficient x mean_t(-log behaviour), nats per token, at most cap x |return|.

  The actor's curiosity: the log-perplexity of the response under the policy that sampled it. With
  a finite cap a return of 0 gets no bonus; cap = inf has no cap. [Dai et al. 2025, CDE]
  """
  bonus = -coefficient * masked_mean(batch.logp, batch.mask, axis=1)
  size = jnp.abs(masked_sum(batch.reward, batch.mask, axis=1))
  limit = jnp.where(jnp.isinf(cap), jnp.inf, cap * size)
  return _plus(batch, jnp.clip(bonus, -limit, limit))


def novelty_bonus(batch: Batch, views: Views, *, coefficient: float) -> Batch:
  """reward_t + coefficient x novelty of the state that the token leads to, on every token.

  [Burda et al. 2019, random network distillation]

  Raises:
    ValueError: no network measures novelty.
  """
  if views.critic is None or views.critic.novelty is None:
    raise ValueError("novelty_bonus reads Critic.novelty: set config.curiosity.kind='rnd'")
  return _plus_tokens(batch, coefficient * views.critic.novelty)


def disagreement_bonus(batch: Batch, views: Views, *, coefficient: float) -> Batch:
  """reward_t + coefficient x std_k V_k(s_{t+1}), on every token, reward units.

  The standard deviation (of K, not K - 1) of the ensemble at the state that the token leads to: 0
  where the episode ends, the state at the cut where it is bootstrapped. Summed, it grows with the
  length of a response; `disagreement_advantage` does not. [Pathak et al. 2019, Disagreement]

  Raises:
    ValueError: there is no ensemble of value heads.
  """
  if views.critic is None or views.critic.ensemble is None:
    raise ValueError(
      "disagreement_bonus reads Critic.ensemble: set config.curiosity.kind='ensemble'"
    )
  spread = jnp.std(views.critic.ensemble, axis=-1)
  return _plus_tokens(batch, coefficient * residual.next_value(spread, batch.mask, batch.bootstrap))


def kl_in_reward(batch: Batch, views: Views, *, coefficient: float, kl: str) -> Batch:
  """reward_t - coefficient x KL_t, on every token: the KL to the reference as part of the reward.

  kl = 'k1' | 'k2' | 'k3' of log behaviour - log ref of the token, clipped to +-20 nats, or 'exact',
  KL(pi(.|s_t) || ref(.|s_t)) of the present policy. [Ziegler et al. 2019; Schulman 2020]

  Raises:
    ValueError: an unknown `kl`, or no reference.
  """
  estimator = _choose('kl', kl, {**ESTIMATORS, 'exact': None})
  if views.reference is None:
    raise ValueError("kl_in_reward needs a reference: set config.reference='start'")
  if estimator is not None:
    log_ratio = clean(batch.logp, batch.mask) - clean(views.reference.logp, batch.mask)
    amount = estimator(divergence.bounded(log_ratio))
  elif views.kl is not None:
    amount = views.kl
  else:
    raise ValueError("kl_in_reward with kl='exact' reads Views.kl, which nobody measured")
  return _plus_tokens(batch, -coefficient * amount)


def entropy_in_reward(batch: Batch, views: Views, *, coefficient: float) -> Batch:
  """reward_t + coefficient x H(pi(.|s_t)), reward units per nat, on every token.

  The entropy counts in the return and so in the advantage, unlike a bonus in the loss. Each further
  token is worth up to coefficient x log V. A soft objective has alpha for it: never use both.
  """
  return _plus_tokens(batch, coefficient * views.policy.entropy)


def overlong(batch: Batch, *, coefficient: float, limit: int, buffer: int) -> Batch:
  """Reward - coefficient x min(max(L - (limit - buffer), 0) / buffer, 1), L the response's tokens.

  Nothing up to limit - buffer tokens, then linearly down to -coefficient at `limit` and beyond.
  [Yu et al. 2025, DAPO, soft overlong punishment]

  Raises:
    ValueError: buffer is not in 1..limit.
  """
  if not 1 <= buffer <= limit:
    raise ValueError(f'config.overlong: buffer={buffer} must be between 1 and limit={limit} tokens')
  excess = jnp.sum(batch.mask, axis=1) - (limit - buffer)
  return _plus(batch, -coefficient * jnp.clip(excess / buffer, 0, 1))


def _at_end(batch: Batch, amount: Array) -> Array:
  """[B] amounts as [B, T], on each row's last action and 0 elsewhere."""
  return jnp.where(last_action(batch.mask), amount[:, None], 0).astype(batch.reward.dtype)


def _instead(batch: Batch, amount: Array) -> Batch:
  """`batch` with `amount` [B] as the only reward."""
  return batch._replace(reward=_at_end(batch, amount))


def _plus(batch: Batch, amount: Array) -> Batch:
  """`batch` with `amount` [B] more reward on the last action."""
  return _plus_tokens(batch, _at_end(batch, amount))


def _plus_tokens(batch: Batch, amount: Array) -> Batch:
  """`batch` with `amount` [B, T] more reward on every token under the mask."""
  return batch._replace(reward=clean(batch.reward, batch.mask) + clean(amount, batch.mask))


def _choose(key: str, name: str, table: Mapping[str, Any]) -> Any:
  if name not in table:
    raise ValueError(f'{key}={name!r} is unknown; choose one of {", ".join(table)}')
  return table[name]
