"""Preferences: which of two responses is better, told to the path residual. DPO and relatives.

The implicit reward of a response is the policy's part of its path residual,

    r(y) = sum_t kappa_t (log pi - log rho)(a_t|s_t) = sum_t [kappa_t log pi - beta_t log ref],

in reward units; at the soft optimum r(y) = R(y) - V(s_0), so that in a difference of two responses
to one prompt nothing is left but the rewards. With alpha = 0 it is that of DPO. With alpha != 0 it
is that of H-DPO, whose own alpha is kappa / beta = 1 + alpha / beta [Omura et al. 2024]: below 1,
for a sharper optimum than DPO's, is alpha < 0, sound as long as kappa stays above 0. beta = 0 is
reference-free.

Pairs: within a group, every two rows whose returns differ; the one with the larger return won.
Values stand on the winner's last action and are scaled by B / (number of pairs), so that with
reduction 'sequence_sum' the loss is the mean over pairs. Without any pair everything is 0. A
bootstrapped row is judged by what it received; the value at the cut is not read.

Shapes: B sequences, T tokens; [B, B] has the winner in the row, the loser in the column.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.algorithms import links
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Temperature, Views

LENGTHS = ('sum', 'mean')
CERTAIN = -1e-6  # mean log-probabilities above it count as this in the odds


def dpo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  link: str,
  score: str,
  strength: float,
  length: str,
  offset: float,
  smoothing: float,
  cloning: float,
) -> tuple[Array, dict[str, Array]]:
  """link(r(winner), r(loser)) - cloning mean_t log pi(winner), for every pair, [B, T].

  `link`: see links.py. `score`, with `strength` where it has one: the f-divergence. `length`: r is
  the 'sum' over the tokens or their 'mean'. `offset`: taken off the margin, reward units.
  `smoothing`: how often labels are wrong, for the links that ask. `cloning`: weight of the mean
  negative log-probability of the winner's tokens [Pang et al. 2024].

  DPO: sigmoid, reverse_kl, sum. cDPO: with smoothing. IPO: ipo; as TRL and HALOs have it: length
  'mean'. SLiC: hinge. f-DPO: score. SimPO [Meng et al. 2024]: beta = 0, length 'mean', offset.
  AlphaPO: SimPO with score 'alpha'. CPO [Xu et al. 2024]: beta = 0, sum, cloning.

  Raises:
    ValueError: an unknown name, or options that do not go together.
  """
  pair_loss = links.make_link(link, score=score, offset=offset, smoothing=smoothing)
  reward = implicit_reward(views, batch, temperature, score=score, strength=strength, length=length)
  exists = find_pairs(batch)
  values = pair_loss(reward[:, None], reward[None, :])
  values = values - cloning * _mean_logp(views, batch)[:, None]
  return _on_winners(values, exists, batch), _watch(reward, exists, views, batch)


def aot(
  views: Views, batch: Batch, temperature: Temperature, *, smoothing: float
) -> tuple[Array, dict[str, Array]]:
  """DPO (cDPO) whose reference margin is not the pair's own but the one of the same rank, [B, T].

  The pairs' margins under the policy and under the reference are sorted, and the k-th smallest of
  one is compared with the k-th smallest of the other: one distribution of margins is pushed above
  the other, not each pair above its own reference. [Melnyk et al. 2024, AOT, paired]

  Raises:
    ValueError: a smoothing outside [0, 1/2).
  """
  if not 0 <= smoothing < 0.5:
    raise ValueError(f'config.aot.smoothing={smoothing} must be from 0 to below 0.5')
  steps = residual.read(views.policy, views.reference, batch, temperature)
  logp = masked.clean(views.policy.logp, batch.mask)
  policy = masked.masked_sum(steps.kappa * logp, batch.mask, axis=1)
  prior = masked.masked_sum(steps.kappa * (logp - steps.log_ratio), batch.mask, axis=1)
  exists = find_pairs(batch)
  ours, theirs = _differences(policy), jax.lax.stop_gradient(_differences(prior))
  rank = jnp.argsort(jnp.argsort(jnp.where(exists, jax.lax.stop_gradient(ours), jnp.inf).ravel()))
  matched = jnp.sort(jnp.where(exists, theirs, jnp.inf).ravel())[rank].reshape(exists.shape)
  margin = ours - jnp.where(exists, matched, 0)
  values = links.smooth_sigmoid(margin, smoothing)
  return _on_winners(values, exists, batch), _watch(policy - prior, exists, views, batch)


def orpo(
  views: Views, batch: Batch, temperature: Temperature, *, weight: float
) -> tuple[Array, dict[str, Array]]:
  """-mean_t log pi(winner) - weight log sigmoid(log odds(winner) - log odds(loser)), [B, T].

  odds(y) = p / (1 - p) with log p = mean_t log pi(a_t|s_t). No reference, and `temperature` plays
  no part; the rewards in the metrics are the log odds. [Hong et al. 2024, ORPO]
  """
  del temperature
  logp = _mean_logp(views, batch)
  below = jnp.minimum(logp, CERTAIN)
  odds = below - jnp.log(-jnp.expm1(below))
  exists = find_pairs(batch)
  values = weight * links.log_sigmoid_loss(_differences(odds)) - logp[:, None]
  return _on_winners(values, exists, batch), _watch(odds, exists, views, batch)


def kto(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  link: str,
  baseline: str,
  threshold: float,
  desirable: float,
  undesirable: float,
) -> tuple[Array, dict[str, Array]]:
  """Every row by itself: `unpaired_values` of r(y) on the last action of each row, [B, T].

  A row is desirable if its return is above `threshold`. KTO: link 'probability', baseline 'kl'.
  APO-zero, unpaired: 'probability', 'zero'. BCO [Jung et al. 2024]: 'logistic', 'mean'.

  Baselines are detached means over the rows that have actions, reward units: 'mean' is the mean of
  r, 'kl' the same but at least 0, 'zero' is 0. On samples of the policy itself the mean of r is an
  unbiased estimate of kappa KL(pi || rho), which is what KTO asks for. On other rows (a file) it is
  only their mean implicit reward. The originals estimate the KL from responses that were
  written for other prompts, and BCO follows a running mean.

  Raises:
    ValueError: an unknown link or baseline.
  """
  for what, name, known in (('link', link, UNPAIRED), ('baseline', baseline, BASELINES)):
    if name not in known:
      raise ValueError(f"kto: unknown {what} '{name}'; choose one of {', '.join(known)}")
  reward = implicit_reward(
    views, batch, temperature, score='reverse_kl', strength=0.0, length='sum'
  )
  present = batch.mask.any(axis=1)
  good = (_returns(batch) > threshold) & present
  level = jax.lax.stop_gradient(BASELINES[baseline](masked.masked_mean(reward, present)))
  losses = unpaired_values(
    reward, good, level, link=link, desirable=desirable, undesirable=undesirable
  )
  logp, bad = _mean_logp(views, batch), present & ~good
  metrics = {
    'accuracy': masked.masked_mean((reward > level) == good, present),
    'baseline': level,
    'chosen_reward': masked.masked_mean(reward, good),
    'rejected_reward': masked.masked_mean(reward, bad),
    'chosen_logp': masked.masked_mean(logp, good),
    'rejected_logp': masked.masked_mean(logp, bad),
    'desirable': masked.masked_mean(good, present),
  }
  metrics['margin'] = metrics['chosen_reward'] - metrics['rejected_reward']
  values = jnp.where(masked.last_action(batch.mask), losses[:, None], 0)
  return values, jax.lax.stop_gradient(metrics)


def unpaired_values(
  reward: Array,
  good: Array,
  baseline: Array,
  *,
  link: str,
  desirable: float,
  undesirable: float,
) -> Array:
  """desirable f(r - baseline) where `good`, undesirable f(baseline - r) elsewhere, [B].

  f(z) is 1 - sigmoid(z) for link 'probability' and -log sigmoid(z) for 'logistic'; all of `reward`
  and the scalar `baseline` in reward units. [Ethayarajh et al. 2024, KTO]
  """
  signed = jnp.where(good, reward - baseline, baseline - reward)
  return jnp.where(good, desirable, undesirable) * UNPAIRED[link](signed)


UNPAIRED: Mapping[str, Callable[[Array], Array]] = {
  'probability': lambda z: jax.nn.sigmoid(-z),
  'logistic': lambda z: jax.nn.softplus(-z),
}
BASELINES: Mapping[str, Callable[[Array], Array]] = {
  'kl': lambda mean: jnp.maximum(mean, 0),
  'mean': lambda mean: mean,
  'zero': jnp.zeros_like,
}


def implicit_reward(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  score: str,
  strength: float,
  length: str,
) -> Array:
  """[B] r(y), reward units; 0 for an empty row.

  With length 'mean' over the number of the row's actions. With another score f than reverse_kl,
  kappa f(r / kappa) with kappa the mean over the row's actions: one temperature a response is
  meant. The divergence is that to rho, so to the reference where alpha = 0.

  Raises:
    ValueError: an unknown length, or the alpha divergence without a strength.
  """
  if length not in LENGTHS:
    raise ValueError(f"dpo: unknown length '{length}'; choose one of {', '.join(LENGTHS)}")
  if score == 'alpha' and not strength:
    raise ValueError("dpo: score 'alpha' needs config.dpo.strength other than 0")
  steps = residual.read(views.policy, views.reference, batch, temperature)
  kappa = jnp.broadcast_to(steps.kappa, batch.mask.shape)
  reduce = {'sum': masked.masked_sum, 'mean': masked.masked_mean}[length]
  reward = reduce(kappa * steps.log_ratio, batch.mask, axis=1)
  if score == 'reverse_kl':
    return reward
  mean = masked.masked_mean(kappa, batch.mask, axis=1)
  mean = jnp.where(mean > 0, mean, 1)
  return mean * links.SCORES[score](reward / mean, strength)


def find_pairs(batch: Batch) -> Array:
  """[B, B] bool: row i and row j answer the same prompt, and i has the larger return.

  Empty rows are in no pair.
  """
  returns, present = _returns(batch), batch.mask.any(axis=1)
  together = batch.group[:, None] == batch.group[None, :]
  both = present[:, None] & present[None, :]
  return together & both & (returns[:, None] > returns[None, :])


def _returns(batch: Batch) -> Array:
  """[B] what each row received, reward units."""
  return masked.masked_sum(batch.reward, batch.mask, axis=1)


def _mean_logp(views: Views, batch: Batch) -> Array:
  """[B] mean log-probability of the row's tokens, nats; 0 for an empty row."""
  return masked.masked_mean(views.policy.logp, batch.mask, axis=1)


def _differences(values: Array) -> Array:
  """[B, B] values_i - values_j."""
  return values[:, None] - values[None, :]


def _on_winners(values: Array, exists: Array, batch: Batch) -> Array:
  """[B, T]: the sum over losers on the winner's last action, times B / (number of pairs)."""
  count = jnp.maximum(masked.masked_sum(exists, exists), 1)
  rows = masked.masked_sum(values, exists, axis=1) * (len(values) / count)
  return jnp.where(masked.last_action(batch.mask), rows[:, None], 0)


def _watch(reward: Array, exists: Array, views: Views, batch: Batch) -> dict[str, Array]:
  """Means over pairs, and `paired`: the share of the rows with actions that are in a pair.

  `chosen_logp` and `rejected_logp` are per token, nats: often both fall while the margin grows.
  """
  margin, logp = _differences(reward), _mean_logp(views, batch)

  def mean(values: Array) -> Array:
    return masked.masked_mean(jnp.broadcast_to(values, exists.shape), exists)

  metrics = {
    'margin': mean(margin),
    'accuracy': mean(margin > 0),
    'chosen_reward': mean(reward[:, None]),
    'rejected_reward': mean(reward[None, :]),
    'chosen_logp': mean(logp[:, None]),
    'rejected_logp': mean(logp[None, :]),
    'paired': masked.masked_mean(exists.any(axis=0) | exists.any(axis=1), batch.mask.any(axis=1)),
  }
  return jax.lax.stop_gradient(metrics)
