"""Advantages from groups of responses to one prompt. Shapes: B sequences, T tokens.

The return R of a row is the sum of its rewards under the mask; the rows of a group are those that
share `batch.group`, in any order. Rows without a response token are left out of the statistics.
All but `returns` and `batch_whitened` give every response token of a row the same advantage, and 0
elsewhere. A group of one row has nothing to be compared with and gets 0, where verl keeps R; so do
rows whose returns are all the same, with an `eps` of 0 as with any other.

REINFORCE++ is `returns` then `batch_whitened`; its baseline variant `group_centred` then
`batch_whitened`. ReMax is not here: a batch does not know a greedy response's return.
"""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch

SCALES = ('none', 'std')
COUNTS = ('mixed', 'rewarded')


def group_normalised(batch: Batch, *, eps: float, ddof: int) -> Batch:
  """advantage = (R - mean) / (std + eps), mean and std of the group, std over n - `ddof`.

  verl: eps 1e-6, ddof 1; TRL: 1e-4, 1; HALOs: 1e-2, 0. [Shao et al. 2024, GRPO]
  """
  centred, count = _centred(batch)
  scale = _group_std(batch, centred, count, ddof) + eps
  return _with_advantage(batch, masked.quotient(centred, scale))


def group_centred(batch: Batch) -> Batch:
  """advantage = R - mean over the group. [Liu et al. 2025, Dr. GRPO]"""
  return _with_advantage(batch, _centred(batch)[0])


def batch_scaled(batch: Batch, *, eps: float, ddof: int) -> Batch:
  """advantage = (R - mean over the group) / (std of R over the batch + eps), std over n - `ddof`.

  TRL's scale_rewards='batch' has eps 1e-4 and ddof 1. [Liu et al. 2025, Tricks or Traps]
  """
  returns, present = _returns(batch)
  deviation = jnp.where(present, returns - masked.masked_mean(returns, present), 0)
  freedom = jnp.maximum(jnp.sum(present) - ddof, 1)
  std = jnp.sqrt(jnp.sum(deviation**2) / freedom)
  return _with_advantage(batch, masked.quotient(_centred(batch)[0], std + eps))


def leave_one_out(batch: Batch) -> Batch:
  """advantage = R - mean over the other rows of the group. [Ahmadian et al. 2024, RLOO]"""
  centred, count = _centred(batch)
  return _with_advantage(batch, centred * count / jnp.maximum(count - 1, 1))


def returns(batch: Batch, *, discount: float) -> Batch:
  """advantage_t = sum_{k >= t} discount^(k - t) r_k over the response tokens, no baseline.

  [Williams 1992, REINFORCE]
  """
  reward = masked.clean(batch.reward, batch.mask)
  return batch._replace(advantage=residual.suffix(reward, batch.mask, discount))


def batch_whitened(batch: Batch, *, eps: float) -> Batch:
  """advantage <- (advantage - mean) / sqrt(variance + eps) over the n response tokens of the batch.

  Of the advantages that an earlier transform made; variance over n - 1; long responses count more.
  verl: eps 1e-8. [Hu 2025, REINFORCE++]
  """
  advantage = masked.clean(batch.advantage, batch.mask)
  centred = jnp.where(batch.mask, advantage - masked.masked_mean(advantage, batch.mask), 0)
  freedom = jnp.maximum(masked.masked_sum(batch.mask, batch.mask) - 1, 1)
  scale = jnp.sqrt(jnp.sum(centred**2) / freedom + eps)
  return batch._replace(advantage=masked.quotient(centred, scale))


def opo(batch: Batch) -> Batch:
  """advantage = R - sum(L R) / sum(L) over the group, L the response lengths.

  The baseline of least variance if a row's squared gradient grows like its length.
  [Hao et al. 2025, OPO]
  """
  total, present = _returns(batch)
  length = masked.masked_sum(batch.mask, batch.mask, axis=1)
  weight = jnp.maximum(_group_sum(length, batch.group), 1)
  baseline = _group_sum(length * total, batch.group) / weight
  return _with_advantage(batch, jnp.where(present, total - baseline, 0))


def gpg(batch: Batch, *, count: str) -> Batch:
  """advantage = (R - mean over the group) n / m, n rows in the batch, m those that `count`.

  `count` mixed: rows of groups whose returns are not all the same, which makes up for the groups
  that say nothing; rewarded: rows with R != 0, as verl has it (its f_norm is 1). Goes with the loss
  `reinforce`. [Chu et al. 2025, GPG]

  Raises:
    ValueError: `count` is unknown.
  """
  if count not in COUNTS:
    raise ValueError(f'gpg: unknown count {count!r}; choose one of {", ".join(COUNTS)}')
  total, present = _returns(batch)
  differs = present & (_group_max(total, batch) > -_group_max(-total, batch))
  counted = {'mixed': differs, 'rewarded': total != 0}[count]
  scale = jnp.sum(present) / jnp.maximum(jnp.sum(counted), 1)
  return _with_advantage(batch, scale * _centred(batch)[0])


def pass_at_k_max(batch: Batch, *, scale: str, eps: float) -> Batch:
  """advantage = R - (largest R of the others) for the best row of the group, 0 for all others.

  Ties for the best give 0. `scale` none | std: divide by (std over n - 1 of the group + `eps`).
  verl's grpo_passk is 'std' with eps 1e-6; another thing than `pass_at_k`.

  Raises:
    ValueError: `scale` is unknown.
  """
  if scale not in SCALES:
    raise ValueError(f'pass_at_k_max: unknown scale {scale!r}; choose one of {", ".join(SCALES)}')
  total, present = _returns(batch)
  others = _same_group(batch) & ~jnp.eye(len(total), dtype=bool)
  best_other = jnp.max(jnp.where(others, total[None, :], -jnp.inf), axis=1)
  alone = ~(others.any(axis=1) & present)
  advantage = jnp.where(alone, 0, jnp.maximum(total - jnp.where(alone, 0, best_other), 0))
  if scale == 'std':
    centred, count = _centred(batch)
    advantage = masked.quotient(advantage, _group_std(batch, centred, count, 1) + eps)
  return _with_advantage(batch, advantage)


def pass_at_k(batch: Batch, *, k: int, threshold: float) -> Batch:
  """The mean advantage over all subsets of k rows whose reward is the best of the subset.

  With c of n rows right (R >= `threshold`), rho = 1 - C(n-c, k) / C(n, k) and sigma^2 =
  rho (1 - rho): (1 - rho) / sigma for right rows, (1 - rho - C(n-c-1, k-1) / C(n-1, k-1)) / sigma
  for wrong ones, 0 where sigma = 0 (all right, none right, fewer than k wrong) or n < k.
  [Chen et al. 2025, Pass@k Training]
  """
  total, present = _returns(batch)
  right = present & (total >= threshold)
  rows = _group_sum(present.astype(total.dtype), batch.group)
  wrong = rows - _group_sum(right.astype(total.dtype), batch.group)
  failing = _choose_ratio(wrong, rows, k)
  sigma = jnp.sqrt(failing * (1 - failing))
  gain = failing - jnp.where(right, 0, _choose_ratio(wrong - 1, rows - 1, k - 1))
  useful = present & (sigma > 0) & (rows >= k)
  return _with_advantage(batch, jnp.where(useful, gain / jnp.where(useful, sigma, 1), 0))


def positive_negative(batch: Batch, *, positive: float, negative: float, threshold: float) -> Batch:
  """advantage = `positive` on rows with R >= `threshold`, -`negative` on all others.

  PSR is (1, 0), NSR (0, 1), W-REINFORCE (0.1, 1). Rows that weigh 0 still count in the reduction's
  denominator; the original leaves them out of the batch. [Zhu et al. 2025, RLVR-Decomposed]
  """
  total, present = _returns(batch)
  advantage = jnp.where(total >= threshold, positive, -negative).astype(total.dtype)
  return _with_advantage(batch, jnp.where(present, advantage, 0))


def quantile_baseline(batch: Batch, *, quantile: float, eps: float, ddof: int) -> Batch:
  """advantage = (R - Q) / (std + eps), Q the smallest return of the group with F(Q) >= `quantile`.

  F is the group's empirical distribution, std over n - `ddof`. With rewards 0 and 1 and success
  rate p: Q = 0 and only right rows move where p <= 1 - quantile, else Q = 1 and only wrong ones.
  The paper's definition; its code interpolates the quantile linearly. [Wu et al. 2025, QAE]
  """
  total, present = _returns(batch)
  centred, count = _centred(batch)
  below = _same_group(batch) & (total[None, :] <= total[:, None])
  reached = jnp.sum(below, axis=1) >= quantile * count - 1e-4  # 0.3 x 10 must not exceed 3
  candidates = jnp.where(_same_group(batch) & reached[None, :], total[None, :], jnp.inf)
  baseline = jnp.where(present, jnp.min(candidates, axis=1), 0)
  advantage = jnp.where(present, total - baseline, 0)
  scale = _group_std(batch, centred, count, ddof) + eps
  return _with_advantage(batch, masked.quotient(advantage, scale))


def _returns(batch: Batch) -> tuple[Array, Array]:
  """[B] R, 0 for an empty row, and [B] bool, which rows have a response token."""
  return masked.masked_sum(batch.reward, batch.mask, axis=1), batch.mask.any(axis=1)


def _centred(batch: Batch) -> tuple[Array, Array]:
  """[B] R - mean of the group (0 for an empty row), and [B] the number of rows in the group."""
  total, present = _returns(batch)
  count = _group_sum(present.astype(total.dtype), batch.group)
  mean = _group_sum(total, batch.group) / jnp.maximum(count, 1)
  return jnp.where(present, total - mean, 0), count


def _group_std(batch: Batch, centred: Array, count: Array, ddof: int) -> Array:
  """[B] standard deviation of the group, over count - ddof."""
  return jnp.sqrt(_group_sum(centred**2, batch.group) / jnp.maximum(count - ddof, 1))


def _same_group(batch: Batch) -> Array:
  """[B, B] bool: column j is a row with a response in the group of row i."""
  return (batch.group[:, None] == batch.group[None, :]) & batch.mask.any(axis=1)[None, :]


def _choose_ratio(few: Array, many: Array, k: int) -> Array:
  """C(few, k) / C(many, k) as a product of k fractions; 0 where few < k."""
  drawn = jnp.arange(k, dtype=few.dtype)[None, :]
  left, right = few[:, None] - drawn, many[:, None] - drawn
  return jnp.prod(jnp.maximum(left, 0) / jnp.maximum(right, 1), axis=1)


def _group_sum(values: Array, group: Array) -> Array:
  """[B] sum of `values` over the rows of the same group."""
  return jax.ops.segment_sum(values, group, num_segments=values.shape[0])[group]


def _group_max(values: Array, batch: Batch) -> Array:
  """[B] the largest of `values` over the rows with a response of the same group."""
  known = jnp.where(batch.mask.any(axis=1), values, -jnp.inf)
  return jax.ops.segment_max(known, batch.group, num_segments=len(values))[batch.group]


def _with_advantage(batch: Batch, advantage: Array) -> Batch:
  """`batch` with a [B] advantage on every response token."""
  return batch._replace(advantage=jnp.where(batch.mask, advantage[:, None], 0))
