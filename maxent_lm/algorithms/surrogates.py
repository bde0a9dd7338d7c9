"""Surrogates of the policy gradient: what a token's probability ratio and advantage are worth.

Each is a pure function of `Actions` and gives ([B, T] surrogate, metrics): the surrogate is to be
maximised, in units of the advantage, 0 outside the mask, and not yet reduced. Which surrogates
divide by lengths, and how, is said in each docstring; the reduction itself is the caller's.

w_t = pi / behaviour of the taken token, s = the geometric mean of w_t over a row, A = advantage.
Log-ratios are bounded to +-20 nats. `Actions.clip` multiplies both widths of every clip range.
Shapes: B sequences, T tokens.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean, masked_sum
from maxent_lm.soft.divergence import LOG_RATIO_BOUND, bounded
from maxent_lm.types import Array, Batch, Views

Surrogate = tuple[Array, dict[str, Array]]


class Actions(NamedTuple):
  """The taken tokens, all [B, T] and 0 outside the mask.

  Attributes:
    logp, behaviour: log-probability under the policy and under what was sampled from, nats.
    advantage: A, reward units or whitened.
    mask: bool, the response tokens.
    clip: factor on the widths of the clip range, 1 where nobody changed it.
  """

  logp: Array
  behaviour: Array
  advantage: Array
  mask: Array
  clip: Array


def actions(views: Views, batch: Batch) -> Actions:
  """What surrogates see of a batch."""
  chex.assert_equal_shape([views.policy.logp, batch.logp, batch.advantage, batch.mask])
  logp, mask = clean(views.policy.logp, batch.mask), batch.mask
  clip = jnp.ones_like(logp) if batch.clip is None else clean(batch.clip, mask)
  return Actions(logp, clean(batch.logp, mask), clean(batch.advantage, mask), mask, clip)


def log_likelihood(a: Actions) -> Surrogate:
  """A log pi, without any ratio: REINFORCE, also the loss of GPG.

  Right on-policy only. [Williams 1992; Chu et al. 2025, GPG]
  """
  return a.advantage * a.logp, _means(a, {'ratio': jnp.exp(_log_ratio(a))})


def clipped(a: Actions, *, clip_low: float, clip_high: float, clip_dual: float) -> Surrogate:
  """min(w A, clip(w, 1 - clip_low, 1 + clip_high) A), and at most clip_dual |A| is lost.

  The dual clip bounds w by `clip_dual` where A < 0: verl's clip_ratio_c and, for clip_dual >=
  1 + clip_high, TRL's delta; a huge number is none. DAPO: clip_high > clip_low.
  [Schulman et al. 2017; Ye et al. 2020, dual clip; Yu et al. 2025, DAPO]
  """
  ratio = jnp.exp(_log_ratio(a))
  return _pessimistic(a, ratio, 1 - clip_low * a.clip, 1 + clip_high * a.clip, clip_dual)


def sequence_clipped(a: Actions, *, clip_low: float, clip_high: float) -> Surrogate:
  """min(s A, clip(s, 1 - clip_low, 1 + clip_high) A) on every token of the row.

  s = exp(mean_t log w_t); a token's value is s, its gradient s grad log w_t, so that under
  `sequence_mean` the gradient is that of s, whatever the advantages of the tokens. Clip widths are
  far smaller than a token's: the paper uses 3e-4 and 4e-4. [Zheng et al. 2025, GSPO]
  """
  ratio = _sequence_ratio(_log_ratio(a), a.mask)
  return _pessimistic(a, ratio, 1 - clip_low * a.clip, 1 + clip_high * a.clip, jnp.inf)


def clipped_weight(a: Actions, *, clip_low: float, clip_high: float) -> Surrogate:
  """sg(clip(w, 1 - clip_low, 1 + clip_high)) A log pi: the weight is clipped, not the gradient.

  No token loses its gradient. The paper clips above only: clip_low = 1. TRL's epsilon_high is the
  bound itself: clip_high = epsilon_high - 1. [MiniMax 2025, CISPO]
  """
  ratio = jnp.exp(_log_ratio(a))
  low, high = 1 - clip_low * a.clip, 1 + clip_high * a.clip
  weight = jax.lax.stop_gradient(jnp.clip(ratio, low, high))
  seen = {'ratio': ratio, 'clip_share': (ratio < low) | (ratio > high)}
  return weight * a.advantage * a.logp, _means(a, seen)


def geometric_mean(a: Actions, *, clip_low: float, clip_high: float) -> Surrogate:
  """exp(mean_t x_t) A with x_t = log w_t clipped on the side where it would gain too much.

  x = min(log w, clip_high) where A > 0, max(log w, -clip_low) where A < 0, 0 where A = 0: widths
  are in nats. A token's value is the row's, its gradient its own share, as in `sequence_clipped`;
  under `sequence_mean` this is the published loss. [Zhao et al. 2025, GMPO]
  """
  log_ratio = _log_ratio(a)
  low, high = -clip_low * a.clip, clip_high * a.clip
  up, down = jnp.minimum(log_ratio, high), jnp.maximum(log_ratio, low)
  bounded = jnp.where(a.advantage > 0, up, jnp.where(a.advantage < 0, down, 0))
  ratio = _sequence_ratio(bounded, a.mask)
  out = jnp.where(a.advantage > 0, log_ratio > high, (a.advantage < 0) & (log_ratio < low))
  return ratio * a.advantage, _means(a, {'ratio': ratio, 'clip_share': out})


def soft_gate(a: Actions, *, positive: float, negative: float) -> Surrogate:
  """(4 / tau) sigmoid(tau (w - 1)) A with tau = `positive` where A > 0, else `negative`.

  A smooth clip: slope 1 at w = 1, falling on both sides. The paper reduces by `sequence_mean`.
  [Gao et al. 2025, SAPO]
  """
  ratio = jnp.exp(_log_ratio(a))
  tau = jnp.where(a.advantage > 0, positive, negative).astype(ratio.dtype)
  gate = 4 / tau * jax.nn.sigmoid(tau * (ratio - 1))
  return gate * a.advantage, _means(a, {'ratio': ratio})


def gamma_weight(
  a: Actions,
  *,
  shape_positive: float,
  rate_positive: float,
  shape_negative: float,
  rate_negative: float,
) -> Surrogate:
  """sg(phi(W)) A log pi with phi(W) = W^k exp(lam (1 - W)), W = prod_t w_t of the row.

  k and lam are `shape_` and `rate_positive` where A >= 0, else `_negative`; phi(1) = 1 and phi is
  largest at W = k / lam. log W is bounded to [log 1e-8, 20] as in TRL, whose reduction is
  `token_mean`. [Shen et al. 2026, VESPO]
  """
  log_weight = masked_sum(_log_ratio(a), a.mask, axis=1)[:, None]
  log_weight = jnp.clip(log_weight, jnp.log(1e-8), LOG_RATIO_BOUND)
  shape = jnp.where(a.advantage >= 0, shape_positive, shape_negative)
  rate = jnp.where(a.advantage >= 0, rate_positive, rate_negative)
  phi = jnp.exp(shape * log_weight + rate * (1 - jnp.exp(log_weight)))
  phi = jax.lax.stop_gradient(phi.astype(a.logp.dtype))
  seen = {'ratio': jnp.exp(_log_ratio(a)), 'phi': phi}
  return phi * a.advantage * a.logp, _means(a, seen)


def dynamic_bounds(
  behaviour: Array, clip_low: float | Array, clip_high: float | Array, ratio_max: float
) -> tuple[Array, Array]:
  """Lower and upper bound of w, each further from 1 the less likely the token was, q = behaviour.

      low = (1 + sqrt(max(1 - 4 clip_low / q, 0))) / 2
      high = min((1 + sqrt(1 + 4 clip_high / q)) / 2, ratio_max)

  The solutions of |w - 1| w q <= clip; below, every w < 1 solves it where 4 clip_low > q, and low
  is 1/2 by convention. `behaviour` is log q.
  """
  inverse = jnp.exp(jnp.minimum(-behaviour, 4 * LOG_RATIO_BOUND))
  low = (1 + jnp.sqrt(jnp.maximum(1 - 4 * clip_low * inverse, 0))) / 2
  high = (1 + jnp.sqrt(1 + 4 * clip_high * inverse)) / 2
  return low, jnp.minimum(high, ratio_max)


def dynamically_clipped(
  a: Actions, *, clip_low: float, clip_high: float, clip_dual: float
) -> Surrogate:
  """`clipped` between `dynamic_bounds`; `clip_dual` bounds w on both sides of A = 0.

  [Yang et al. 2025, DCPO]
  """
  ratio = jnp.exp(_log_ratio(a))
  low, high = dynamic_bounds(a.behaviour, clip_low * a.clip, clip_high * a.clip, clip_dual)
  return _pessimistic(a, ratio, low, high, clip_dual)


def covariance_penalised(a: Actions, *, share: float, penalty: float) -> Surrogate:
  """w A, minus penalty |log w| on the tokens of largest covariance; no clip anywhere.

  cov_t = (A - mean A) (log pi - mean log pi), means over the batch's n response tokens; the
  penalty holds the max(1, floor(share n)) tokens with the largest (all that tie with the last).
  Nothing happens strictly on-policy, where log w = 0. verl's kl_cov_ratio is `share`, the original
  repository's k_percent is 100 `share`. [Cui et al. 2025, KL-Cov]
  """
  log_ratio = _log_ratio(a)
  advantage = a.advantage - masked_mean(a.advantage, a.mask)
  logp = jax.lax.stop_gradient(a.logp)
  covariance = jnp.where(a.mask, advantage * (logp - masked_mean(logp, a.mask)), -jnp.inf)
  count = jnp.maximum(jnp.floor(share * masked_sum(a.mask, a.mask)), 1).astype(jnp.int32)
  least = jnp.sort(covariance, axis=None, descending=True)[count - 1]
  chosen = a.mask & (covariance >= least)
  # Not jnp.abs: its derivative at 0 is 1, which would push the chosen tokens down on-policy.
  distance = log_ratio * jax.lax.stop_gradient(jnp.sign(log_ratio))
  surrogate = jnp.exp(log_ratio) * a.advantage - penalty * chosen * distance
  return surrogate, _means(a, {'ratio': jnp.exp(log_ratio), 'penalty_share': chosen})


def balanced_bounds(
  a: Actions,
  *,
  low: float,
  low_max: float,
  low_step: float,
  high: float,
  high_max: float,
  high_step: float,
  target: float,
) -> tuple[Array, Array, Array]:
  """Bounds of w, moved until gains >= target x losses: first `low` by steps, then `high`.

  gains = sum of min(w, high) A over A > 0, losses = sum of max(w, low) |A| over A < 0, both of the
  whole batch. Scalars `low` and `high`, and the balance gains / losses that they give; where there
  are no losses, or both stand at their `_max`, the search ends. As in its code; the paper also
  weighs every term by the behaviour's probability. [Xi et al. 2025, BAPO]

  Raises:
    ValueError: a step is not positive.
  """
  if min(low_step, high_step) <= 0:
    raise ValueError(f'bapo: steps must be positive, but are {low_step} and {high_step}')
  ratio = jax.lax.stop_gradient(jnp.exp(_log_ratio(a)))

  def contributions(low: Array, high: Array) -> tuple[Array, Array]:
    lower, upper = _widened(a, low, high)
    gains = masked_sum(jnp.minimum(ratio, upper) * a.advantage, a.mask & (a.advantage > 0))
    losses = masked_sum(jnp.maximum(ratio, lower) * -a.advantage, a.mask & (a.advantage < 0))
    return gains, losses

  def searching(bounds: tuple[Array, Array]) -> Array:
    gains, losses = contributions(*bounds)
    wanting = (losses > 0) & (gains < target * (losses + 1e-8))
    return wanting & ((bounds[0] < low_max) | (bounds[1] < high_max))

  def move(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
    low, high = bounds
    higher = jnp.where(low < low_max, high, jnp.minimum(high + high_step, high_max))
    return jnp.minimum(low + low_step, low_max), higher

  start = (jnp.asarray(low, ratio.dtype), jnp.asarray(high, ratio.dtype))
  low_end, high_end = jax.lax.while_loop(searching, move, start)
  gains, losses = contributions(low_end, high_end)
  return low_end, high_end, gains / (losses + 1e-8)


def balance_clipped(
  a: Actions,
  *,
  low: float,
  low_max: float,
  low_step: float,
  high: float,
  high_max: float,
  high_step: float,
  target: float,
  clip_dual: float,
) -> Surrogate:
  """`clipped` between `balanced_bounds`, which are ratios, not widths.

  `Actions.clip` widens the distance of each bound from 1, during the search too.
  """
  bounds = balanced_bounds(
    a,
    low=low,
    low_max=low_max,
    low_step=low_step,
    high=high,
    high_max=high_max,
    high_step=high_step,
    target=target,
  )
  lower, upper = _widened(a, *bounds[:2])
  surrogate, metrics = _pessimistic(a, jnp.exp(_log_ratio(a)), lower, upper, clip_dual)
  return surrogate, metrics | dict(zip(('clip_low', 'clip_high', 'balance'), bounds, strict=True))


def _log_ratio(a: Actions) -> Array:
  return bounded(a.logp - a.behaviour)


def _widened(a: Actions, low: Array, high: Array) -> tuple[Array, Array]:
  """[B, T] ratio bounds whose distance from 1 is multiplied by the clip factor."""
  return 1 - (1 - low) * a.clip, 1 + (high - 1) * a.clip


def _sequence_ratio(log_ratio: Array, mask: Array) -> Array:
  """[B, T] exp(mean over the row); the gradient of a token is that of its own log-ratio."""
  mean = jax.lax.stop_gradient(masked_mean(log_ratio, mask, axis=1))[:, None]
  return jnp.exp(bounded(mean + log_ratio - jax.lax.stop_gradient(log_ratio)))


def _pessimistic(
  a: Actions, ratio: Array, low: Array, high: Array, dual: float | Array
) -> Surrogate:
  """A times min(ratio, high) where A >= 0, times min(max(ratio, low), dual) where A < 0."""
  harm = jnp.maximum(ratio, low)
  weight = jnp.where(a.advantage < 0, jnp.minimum(harm, dual), jnp.minimum(ratio, high))
  up, down = (a.advantage > 0) & (ratio > high), (a.advantage < 0) & (ratio < low)
  seen = {
    'ratio': ratio,
    'clip_share': up | down,
    'dual_share': (a.advantage < 0) & (harm > dual),
  }
  return weight * a.advantage, _means(a, seen)


def _means(a: Actions, values: dict[str, Array]) -> dict[str, Array]:
  """Means over the response tokens of the batch."""
  return {name: masked_mean(each, a.mask) for name, each in values.items()}
