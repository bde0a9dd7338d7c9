"""Policy gradients with entropy and KL regularisers: REINFORCE, PPO, GRPO and relatives.

Every loss is, [B, T], 0 outside the mask, reward units:

    -surrogate - alpha H(pi(.|s_t)) + beta KL(pi || ref)

with a surrogate of `surrogates` over `batch.advantage` (PPO makes its own), H the exact token
entropy, and the KL named by `kl`:

| `kl`           | term on each token                                                           |
|----------------|------------------------------------------------------------------------------|
| `none`         | 0, whatever beta is                                                          |
| `k1`           | log pi - log ref. Under fixed samples its expected gradient is 0: it shows up |
|                | in the loss and trains nothing                                               |
| `k2`           | (log pi - log ref)^2 / 2                                                     |
| `k3`           | ref / pi - 1 - log(ref / pi)                                                 |
| `exact`        | `views.kl`, the sum over the vocabulary                                      |

k1, k2 and k3 are 0 without a reference view; see `soft.divergence` for what they estimate.
Which algorithm it is depends on the advantage transform and the reduction too: DAPO is `grpo` with
clip_high > clip_low, `group_normalised`, `mixed_groups` and `token_mean`; Dr. GRPO is `grpo` with
`group_centred` and `constant_length`; GPG is `reinforce` with the transform `gpg`; LUSPO is `gspo`
reduced by `sequence_sum`. Shapes: B sequences, T tokens.
"""

import jax
import jax.numpy as jnp

from maxent_lm.algorithms import surrogates, values
from maxent_lm.masked import clean, masked_mean
from maxent_lm.soft import divergence, residual
from maxent_lm.types import Array, Batch, Loss, Temperature, Views

ESTIMATORS = {'k1': divergence.k1, 'k2': divergence.k2, 'k3': divergence.k3}
KL = ('none', *ESTIMATORS, 'exact')

Result = tuple[Array, dict[str, Array]]


def reinforce(views: Views, batch: Batch, temperature: Temperature, *, kl: str) -> Result:
  """A log pi, no ratio and no clip: on-policy data only; `surrogates.log_likelihood`."""
  surrogate = surrogates.log_likelihood(surrogates.actions(views, batch))
  return regularised(surrogate, views, batch, temperature, kl=kl)


def grpo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  clip_dual: float,
  kl: str,
) -> Result:
  """min(w A, clip(w) A) with a dual clip; `surrogates.clipped`.

  [Schulman et al. 2017; Shao et al. 2024, GRPO; Yu et al. 2025, DAPO]
  """
  surrogate = surrogates.clipped(
    surrogates.actions(views, batch),
    clip_low=clip_low,
    clip_high=clip_high,
    clip_dual=clip_dual,
  )
  return regularised(surrogate, views, batch, temperature, kl=kl)


def gspo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  kl: str,
) -> Result:
  """The clipped surrogate of the row's mean log-ratio; `surrogates.sequence_clipped`.

  Reduce by `sequence_mean` (GSPO) or `sequence_sum` (LUSPO). [Zheng et al. 2025, GSPO]
  """
  taken = surrogates.actions(views, batch)
  surrogate = surrogates.sequence_clipped(taken, clip_low=clip_low, clip_high=clip_high)
  return regularised(surrogate, views, batch, temperature, kl=kl)


def cispo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  kl: str,
) -> Result:
  """sg(clip(w)) A log pi; `surrogates.clipped_weight`. [MiniMax 2025, CISPO]"""
  taken = surrogates.actions(views, batch)
  surrogate = surrogates.clipped_weight(taken, clip_low=clip_low, clip_high=clip_high)
  return regularised(surrogate, views, batch, temperature, kl=kl)


def gmpo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  kl: str,
) -> Result:
  """The geometric mean of ratios clipped in nats; `surrogates.geometric_mean`.

  Reduce by `sequence_mean`. [Zhao et al. 2025, GMPO]
  """
  taken = surrogates.actions(views, batch)
  surrogate = surrogates.geometric_mean(taken, clip_low=clip_low, clip_high=clip_high)
  return regularised(surrogate, views, batch, temperature, kl=kl)


def sapo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  positive: float,
  negative: float,
  kl: str,
) -> Result:
  """(4 / tau) sigmoid(tau (w - 1)) A; `surrogates.soft_gate`. [Gao et al. 2025, SAPO]"""
  taken = surrogates.actions(views, batch)
  surrogate = surrogates.soft_gate(taken, positive=positive, negative=negative)
  return regularised(surrogate, views, batch, temperature, kl=kl)


def vespo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  shape_positive: float,
  rate_positive: float,
  shape_negative: float,
  rate_negative: float,
  kl: str,
) -> Result:
  """sg(phi(prod w)) A log pi, phi a gamma density; `surrogates.gamma_weight`.

  [Shen et al. 2026, VESPO]
  """
  surrogate = surrogates.gamma_weight(
    surrogates.actions(views, batch),
    shape_positive=shape_positive,
    rate_positive=rate_positive,
    shape_negative=shape_negative,
    rate_negative=rate_negative,
  )
  return regularised(surrogate, views, batch, temperature, kl=kl)


def dcpo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  clip_dual: float,
  kl: str,
) -> Result:
  """Clip bounds that widen for unlikely tokens; `surrogates.dynamically_clipped`.

  [Yang et al. 2025, DCPO]
  """
  surrogate = surrogates.dynamically_clipped(
    surrogates.actions(views, batch),
    clip_low=clip_low,
    clip_high=clip_high,
    clip_dual=clip_dual,
  )
  return regularised(surrogate, views, batch, temperature, kl=kl)


def bapo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  low: float,
  low_max: float,
  low_step: float,
  high: float,
  high_max: float,
  high_step: float,
  target: float,
  clip_dual: float,
  kl: str,
) -> Result:
  """Ratio bounds moved until gains balance losses; `surrogates.balance_clipped`.

  [Xi et al. 2025, BAPO]
  """
  surrogate = surrogates.balance_clipped(
    surrogates.actions(views, batch),
    low=low,
    low_max=low_max,
    low_step=low_step,
    high=high,
    high_max=high_max,
    high_step=high_step,
    target=target,
    clip_dual=clip_dual,
  )
  return regularised(surrogate, views, batch, temperature, kl=kl)


def kl_cov(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  share: float,
  penalty: float,
  kl: str,
) -> Result:
  """w A, with |log w| penalised where A and log pi covary most; `surrogates.covariance_penalised`.

  [Cui et al. 2025, KL-Cov]
  """
  taken = surrogates.actions(views, batch)
  surrogate = surrogates.covariance_penalised(taken, share=share, penalty=penalty)
  return regularised(surrogate, views, batch, temperature, kl=kl)


def ppo(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  clip_low: float,
  clip_high: float,
  clip_dual: float,
  kl: str,
  lam: float,
  value_weight: float,
  value_clip: float,
) -> Result:
  """`grpo` with advantages from the value head, and the head's own error, [B, T].

      A_t = sum_k lam^k (r + V(s') - V(s))_{t+k}, whitened over the batch's tokens
      ... + value_weight `clipped_error`(V(s_t), sg(V(s_t) + A_t))         (A before whitening)

  Generalised advantage estimation at discount 1 [Schulman et al. 2016]; `batch.advantage` is not
  read. The value of a bootstrapped cut is the head's. Values are clipped around those of the lagged
  critic; without one there is nothing to clip around. [Schulman et al. 2017]

  Raises:
    ValueError: there is no value head.
  """
  steps = values.trained('ppo', views, batch, temperature, 'head')
  before = values.lagged(views, batch, temperature, 'head').value
  plain = jax.lax.stop_gradient(steps._replace(log_ratio=jnp.zeros_like(steps.log_ratio)))
  advantage = residual.suffix(-residual.one_step(plain), batch.mask, lam)
  error = clipped_error(steps.value, before, plain.value + advantage, value_clip)
  centred = advantage - masked_mean(advantage, batch.mask)
  deviation = jnp.sqrt(masked_mean(centred**2, batch.mask))
  white = batch._replace(advantage=centred / (deviation + 1e-6))
  loss, metrics = grpo(
    views,
    white,
    temperature,
    clip_low=clip_low,
    clip_high=clip_high,
    clip_dual=clip_dual,
    kl=kl,
  )
  seen = {
    'value': masked_mean(steps.value, batch.mask),
    'value_error': masked_mean(jnp.abs(advantage), batch.mask),
  }
  value_loss = value_weight * jnp.where(batch.mask, error, 0)
  return loss + value_loss, metrics | jax.lax.stop_gradient(seen)


def clipped_error(value: Array, before: Array, target: Array, width: float) -> Array:
  """0.5 max((V - G)^2, (V_c - G)^2), V_c = V within +-`width` of its old value.

  Elementwise; reward units squared. A huge `width` is the squared error. [Schulman et al. 2017]
  """
  near = jnp.clip(value, before - width, before + width)
  return 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2)


def regularised(
  surrogate: surrogates.Surrogate,
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  kl: str,
) -> Result:
  """-surrogate - alpha H + beta KL, and the metrics of both.

  Raises:
    ValueError: `kl` is unknown, or 'exact' without `views.kl`.
  """
  gain, metrics = surrogate
  alpha, beta = (jnp.where(batch.mask, jax.lax.stop_gradient(knob), 0) for knob in temperature)
  entropy, penalty = clean(views.policy.entropy, batch.mask), _divergence(views, batch, kl)
  metrics = metrics | {
    'surrogate': masked_mean(gain, batch.mask),
    'kl_penalty': masked_mean(penalty, batch.mask),
  }
  return -gain - alpha * entropy + beta * penalty, jax.lax.stop_gradient(metrics)


def bonus_on_measure(loss: Loss) -> Loss:
  """The loss whose entropy bonus is `Scores.measure` instead of the exact entropy.

  For entropies of a part of the vocabulary, or any other number of the state. Raises ValueError if
  the scorer measures nothing.
  """

  def measured(views: Views, batch: Batch, temperature: Temperature) -> Result:
    policy = views.policy
    if policy.measure is None:
      raise ValueError("config.bonus='measure' needs a measure of the policy: set config.measure")
    views = views._replace(policy=policy._replace(entropy=policy.measure))
    return loss(views, batch, temperature)

  return measured


def _divergence(views: Views, batch: Batch, kl: str) -> Array:
  """[B, T] the KL term, nats, 0 outside the mask."""
  if kl not in KL:
    raise ValueError(f'unknown kl {kl!r}; choose one of {", ".join(KL)}')
  if kl == 'exact':
    if views.kl is None:
      raise ValueError("kl 'exact' needs the exact KL view, which is missing; choose 'k2' or 'k3'")
    return clean(views.kl, batch.mask)
  logp = clean(views.policy.logp, batch.mask)
  if kl == 'none' or views.reference is None:
    return jnp.zeros_like(logp)
  reference = jax.lax.stop_gradient(clean(views.reference.logp, batch.mask))
  return ESTIMATORS[kl](divergence.bounded(logp - reference))
