"""Clipped policy gradients with entropy and KL regularisers: PPO, GRPO and relatives.

Shapes: B sequences, T tokens. Which algorithm it is depends on the advantage transform and on the
reduction; the surrogate is the same.
"""

import chex
import jax
import jax.numpy as jnp

from maxent_lm.algorithms import values
from maxent_lm.masked import clean, masked_mean
from maxent_lm.soft import divergence, residual
from maxent_lm.types import Array, Batch, Temperature, Views

# exp(20) is far beyond any clip and still finite, so that no 0 * inf reaches the backward pass.
LOG_RATIO_BOUND = 20.0


def grpo(
  views: Views, batch: Batch, temperature: Temperature, *, clip_low: float, clip_high: float
) -> tuple[Array, dict[str, Array]]:
  """Clipped surrogate with both regularisers, [B, T], 0 outside the mask, reward units.

      -min(w A, clip(w, 1 - clip_low, 1 + clip_high) A) - alpha H(pi(.|s_t)) + beta k3(ref : pi)

  w = pi / behaviour of the taken token; A = `batch.advantage`; H the exact token entropy; k3 the
  estimator of KL(pi || ref), 0 without a reference view; all log-ratios are clipped to +-20 nats.
  [Schulman et al. 2017; Shao et al. 2024, GRPO; Yu et al. 2025, DAPO]
  """
  chex.assert_equal_shape([views.policy.logp, batch.logp, batch.advantage, batch.mask])
  alpha, beta = (jnp.where(batch.mask, jax.lax.stop_gradient(knob), 0) for knob in temperature)
  logp, entropy = clean(views.policy.logp, batch.mask), clean(views.policy.entropy, batch.mask)
  behaviour, advantage = clean(batch.logp, batch.mask), clean(batch.advantage, batch.mask)
  ratio = jnp.exp(_bounded(logp - behaviour))
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  surrogate = jnp.minimum(ratio * advantage, clipped * advantage)
  kl = jnp.zeros_like(logp)
  if views.reference is not None:
    reference = jax.lax.stop_gradient(clean(views.reference.logp, batch.mask))
    kl = divergence.k3(_bounded(logp - reference))
  metrics = {
    'surrogate': masked_mean(surrogate, batch.mask),
    'ratio': masked_mean(ratio, batch.mask),
    'clip_share': masked_mean(clipped * advantage < ratio * advantage, batch.mask),
    'kl_k3': masked_mean(kl, batch.mask),
  }
  return -surrogate - alpha * entropy + beta * kl, jax.lax.stop_gradient(metrics)


def ppo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  lam: float,
  value_weight: float,
) -> tuple[Array, dict[str, Array]]:
  """`grpo` with advantages from the value head, and the head's own error, [B, T].

      A_t = sum_k lam^k (r + V(s') - V(s))_{t+k}, whitened over the batch's tokens
      ... + value_weight 0.5 (V(s_t) - sg(V(s_t) + A_t))^2          (A before whitening)

  Generalised advantage estimation at discount 1 [Schulman et al. 2016]; `batch.advantage` is not
  read. The value of a bootstrapped cut is the head's. [Schulman et al. 2017]

  Raises:
    ValueError: there is no value head.
  """
  steps = values.trained('ppo', views, batch, temperature, 'head')
  plain = jax.lax.stop_gradient(steps._replace(log_ratio=jnp.zeros_like(steps.log_ratio)))
  advantage = residual.suffix(-residual.one_step(plain), batch.mask, lam)
  error = jnp.where(batch.mask, steps.value - plain.value - advantage, 0)
  centred = advantage - masked_mean(advantage, batch.mask)
  deviation = jnp.sqrt(masked_mean(centred**2, batch.mask))
  white = batch._replace(advantage=centred / (deviation + 1e-6))
  loss, metrics = grpo(views, white, temperature, clip_low=clip_low, clip_high=clip_high)
  seen = {
    'value': masked_mean(steps.value, batch.mask),
    'value_error': masked_mean(jnp.abs(error), batch.mask),
  }
  return loss + value_weight * 0.5 * error**2, metrics | jax.lax.stop_gradient(seen)


def _bounded(log_ratio: Array) -> Array:
  """`log_ratio` within +-LOG_RATIO_BOUND nats."""
  return jnp.clip(log_ratio, -LOG_RATIO_BOUND, LOG_RATIO_BOUND)
