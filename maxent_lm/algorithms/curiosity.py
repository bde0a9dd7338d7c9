"""What networks of intrinsic motivation minimise for themselves: losses for `Parts.auxiliary`.

Only `views.critic` gets a gradient from them. Shapes: B sequences, T tokens, K heads.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, last_action, masked_mean
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Temperature, Views


def distillation(
  views: Views, batch: Batch, temperature: Temperature
) -> tuple[Array, dict[str, Array]]:
  """The novelty of the states that the response's tokens lead to, [B, T], 0 outside the mask.

  The mean of it over the tokens is the loss of the predictor, and the metric `novelty`.
  [Burda et al. 2019]

  Raises:
    ValueError: no network measures novelty.
  """
  del temperature
  if views.critic is None or views.critic.novelty is None:
    raise ValueError("distillation: needs a measure of novelty; set config.curiosity.kind='rnd'")
  novelty = clean(views.critic.novelty, batch.mask)
  return novelty, jax.lax.stop_gradient({'novelty': masked_mean(novelty, batch.mask)})


def ensemble_regression(
  views: Views, batch: Batch, temperature: Temperature, *, keep: float, seed: int
) -> tuple[Array, dict[str, Array]]:
  """mean_k w_k 0.5 (V_k(s_t) - R_t)^2, [B, T], 0 outside the mask, squared reward units.

  R_t is the undiscounted return to go; where a cut response is bootstrapped, plus head k's own
  value at the cut, held fixed. w_k of a row is 1 / keep with probability `keep` and else 0, see
  `bootstrap_weight`. Metric `ensemble_std`: mean over the tokens of std_k V_k(s_t), of K, not
  K - 1. [Osband et al. 2016, bootstrapped DQN]

  Raises:
    ValueError: there is no ensemble, or `keep` is not in (0, 1].
  """
  del temperature
  if views.critic is None or views.critic.ensemble is None:
    raise ValueError("ensemble_regression: needs heads; set config.curiosity.kind='ensemble'")
  values = views.critic.ensemble
  weight = bootstrap_weight(batch, heads=values.shape[-1], keep=keep, seed=seed)

  def one(value: Array, weight: Array) -> Array:
    target = return_to_go(batch, jax.lax.stop_gradient(value))
    return weight[:, None] * 0.5 * (clean(value, batch.mask) - target) ** 2

  error = jnp.mean(jax.vmap(one, in_axes=(2, 1))(values, weight), axis=0)
  spread = jnp.std(jax.lax.stop_gradient(clean(values, batch.mask[:, :, None])), axis=-1)
  return error, {'ensemble_std': masked_mean(spread, batch.mask)}


def return_to_go(batch: Batch, value: Array) -> Array:
  """[B, T] R_t = sum_{u >= t} r_u, plus `value` at a bootstrapped cut; 0 outside the mask."""
  cut = residual.next_value(value, batch.mask, batch.bootstrap)
  reward = clean(batch.reward, batch.mask) + jnp.where(last_action(batch.mask), cut, 0)
  return residual.suffix(reward, batch.mask, 1.0)


def bootstrap_weight(batch: Batch, *, heads: int, keep: float, seed: int) -> Array:
  """[B, K] 1 / keep with probability `keep`, else 0: which rows a head learns from.

  A hash of the seed, the head and the response's tokens in order: it depends neither on the place
  of the row or of its columns nor on the prompt, and the same response has the same weights in
  every step, as a row of a data set would. So a head never learns from 1 - keep of the different
  responses.

  Raises:
    ValueError: `keep` is not in (0, 1].
  """
  if not 0 < keep <= 1:
    raise ValueError(f'ensemble_regression: keep={keep} must be above 0 and at most 1')
  place = jnp.cumsum(batch.mask, axis=1).astype(jnp.uint32)
  words = _mixed(batch.tokens.astype(jnp.uint32) + _mixed(place))
  rows = jnp.sum(jnp.where(batch.mask, words, 0), axis=1, dtype=jnp.uint32)
  salt = _mixed(jnp.arange(heads, dtype=jnp.uint32) + _mixed(jnp.asarray(seed, jnp.uint32)))
  bits = _mixed(_mixed(rows)[:, None] + salt[None, :])
  uniform = (bits >> 8).astype(jnp.float32) / 2**24
  return jnp.where(uniform < keep, 1 / keep, 0.0)


def _mixed(bits: Array) -> Array:
  """Every bit of the result depends on every bit of a uint32 (the finaliser of MurmurHash3)."""
  bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
  bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
  return bits ^ (bits >> 16)


AUXILIARY: Mapping[str, Callable[..., tuple[Array, dict[str, Array]]]] = {
  'distillation': distillation,
  'ensemble_regression': ensemble_regression,
}
