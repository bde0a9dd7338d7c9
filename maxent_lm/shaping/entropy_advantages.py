"""Advantages shaped by entropy; each changes `batch.advantage`, which an earlier transform made.

H_t is the policy's exact token entropy in nats, H_i its mean over the response tokens of row i; the
views come with stopped gradients, so none of these is differentiated. Rows without a response
token do not count. Shapes: B sequences, T tokens.
"""

from collections.abc import Callable

import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean, masked_sum, quotient
from maxent_lm.soft import semantic
from maxent_lm.types import Array, Batch, Views

POOLS: dict[str, Callable[..., Array]] = {'sum': masked_sum, 'mean': masked_mean}
DISCOUNTS: dict[str, Callable[[Array, float], Array]] = {
  'linear': lambda share, strength: 1 - strength * share,
  'exp': lambda share, strength: jnp.exp(-strength * share),
  'focal': lambda share, strength: (1 - share) ** strength,
}


def entropy_bonus_advantage(batch: Batch, views: Views, *, strength: float, kappa: float) -> Batch:
  """A_t <- A_t + min(strength H_t, |A_t| / kappa): with kappa > 1 no sign changes.

  strength 0.4; kappa 2 in the paper, 1 in SIREN's version. [Cheng et al. 2025, Reasoning with
  Exploration]
  """
  return _with_bonus(batch, strength * clean(views.policy.entropy, batch.mask), kappa)


def disagreement_advantage(batch: Batch, views: Views, *, strength: float, kappa: float) -> Batch:
  """A_t <- A_t + min(strength std_k V_k(s_t), |A_t| / kappa): with kappa > 1 no sign changes.

  The standard deviation (of K, not K - 1) of an ensemble of value heads, reward units.
  [Dai et al. 2025, CDE, the critics]

  Raises:
    ValueError: there is no ensemble of value heads.
  """
  if views.critic is None or views.critic.ensemble is None:
    raise ValueError(
      "disagreement_advantage reads Critic.ensemble: set config.curiosity.kind='ensemble'"
    )
  spread = clean(jnp.std(views.critic.ensemble, axis=-1), batch.mask)
  return _with_bonus(batch, strength * spread, kappa)


def edge(batch: Batch, views: Views, *, floor: float) -> Batch:
  """A_i <- A_i mean_j(H_j) / max(H_i, floor): certain rows move more; the mean over the batch.

  Means over response tokens and detached; the original averages over the padding too, lets the
  gradient through and has no floor (nats). [Zhang et al. 2025, EDGE-GRPO]
  """
  entropy = masked_mean(views.policy.entropy, batch.mask, axis=1)
  scale = masked_mean(entropy, batch.mask.any(axis=1)) / jnp.maximum(entropy, floor)
  return _scaled(batch, scale)


def gtpo(batch: Batch, views: Views, *, highest: float, strength: float) -> Batch:
  """A_i <- A_i - strength H_i where H_i <= `highest` (nats), else 0.

  The original has 0.1 and 0.7 (about ln 2). Its weights on tokens that right and wrong rows share
  are not here. [Simoni et al. 2025, GTPO]
  """
  entropy = masked_mean(views.policy.entropy, batch.mask, axis=1)[:, None]
  shaped = clean(batch.advantage, batch.mask) - strength * entropy
  return batch._replace(advantage=jnp.where(batch.mask & (entropy <= highest), shaped, 0))


def ucas(
  batch: Batch,
  views: Views,
  *,
  positive: float,
  negative: float,
  logit_weight: float,
  pool: str,
  eps: float,
) -> Batch:
  """Rows by their certainty, then tokens by their logit.

      A_t <- A_t exp(-positive z_i) where A_t > 0, else A_t exp(negative z_i)
      A_t <- A_t - logit_weight u_t, at least 0 where it was positive

  z_i is the certainty of the row, normalised over its group (n - 1; 0 in a group of one), u_t the
  logit of the taken token, from 0 to 1 over the batch's response tokens. Certainty is
  `views.policy.measure` (config.measure='self_certainty', KL(U || pi) + log V, in the original)
  pooled over the row: `pool` sum, as in the original, also measures length; mean does not.
  Original: 0.25, 0.35, 0.05, eps 1e-6. [Xie et al. 2025, UCAS]

  Raises:
    ValueError: there is no measure, or `pool` is unknown.
  """
  if views.policy.measure is None:
    raise ValueError("ucas needs a measure of certainty: set config.measure='self_certainty'")
  if pool not in POOLS:
    raise ValueError(f'ucas: unknown pool {pool!r}; choose one of {", ".join(sorted(POOLS))}')
  z = _group_score(POOLS[pool](views.policy.measure, batch.mask, axis=1), batch, eps)[:, None]
  advantage = clean(batch.advantage, batch.mask)
  shaped = advantage * jnp.exp(jnp.where(advantage > 0, -positive, negative) * z)
  logit = clean(views.policy.logit, batch.mask)
  least = jnp.min(logit, where=batch.mask, initial=jnp.inf)
  most = jnp.max(logit, where=batch.mask, initial=-jnp.inf)
  lowered = shaped - logit_weight * (logit - least) / (most - least + eps)
  lowered = jnp.where(shaped > 0, jnp.maximum(lowered, 0), lowered)
  return batch._replace(advantage=jnp.where(batch.mask, lowered, 0))


def seed_grpo(batch: Batch, views: Views, *, discount: str, strength: float) -> Batch:
  """A_i <- A_i f(S / ln n): groups that disagree move less; S the group's semantic entropy.

  n is the number of the group's rows; S the discrete entropy of their clusters, at most ln n, with
  a row of cluster -1 as a class of its own; a group of one row keeps its advantage. f(u), by
  `discount`: linear 1 - strength u; exp exp(-strength u); focal (1 - u)^strength. The paper's S
  weighs responses by their likelihood; it has no public code, and its f and strength were not
  compared. [Chen et al. 2025, SEED-GRPO]

  Raises:
    ValueError: `discount` is unknown.
  """
  del views
  if discount not in DISCOUNTS:
    known = ', '.join(sorted(DISCOUNTS))
    raise ValueError(f'seed_grpo: unknown discount {discount!r}; choose one of {known}')
  classes = semantic.batch_classes(batch, missing='own')
  share = semantic.discrete(classes) / jnp.log(jnp.maximum(semantic.sizes(classes), 2))
  return _scaled(batch, DISCOUNTS[discount](jnp.clip(share, 0, 1), strength))


def _with_bonus(batch: Batch, bonus: Array, kappa: float) -> Batch:
  """A_t <- A_t + min(bonus_t, |A_t| / kappa)."""
  advantage = clean(batch.advantage, batch.mask)
  return batch._replace(advantage=advantage + jnp.minimum(bonus, jnp.abs(advantage) / kappa))


def _group_score(values: Array, batch: Batch, eps: float) -> Array:
  """[B] (values - mean) / (std + eps) over the group, std over n - 1; 0 for an empty row."""
  present = batch.mask.any(axis=1)
  together = (batch.group[:, None] == batch.group[None, :]) & present[None, :]
  count = jnp.sum(together, axis=1)
  mean = jnp.sum(jnp.where(together, values[None, :], 0), axis=1) / jnp.maximum(count, 1)
  centred = jnp.where(present, values - mean, 0)
  square = jnp.sum(jnp.where(together, centred[None, :] ** 2, 0), axis=1)
  return quotient(centred, jnp.sqrt(square / jnp.maximum(count - 1, 1)) + eps)


def _scaled(batch: Batch, scale: Array) -> Batch:
  """`batch` with the advantages of row i times scale [B]."""
  return batch._replace(advantage=clean(batch.advantage, batch.mask) * scale[:, None])
