"""Soft actor-critic on sequences: a policy and critics of their own, exact over the vocabulary.

Shapes: B sequences, T tokens, V vocabulary.
"""

import functools

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Critic, Scores, Temperature, Views


def sac(
  views: Views, batch: Batch, temperature: Temperature, *, policy_weight: float
) -> tuple[Array, dict[str, Array]]:
  """Critic error and actor divergence, [B, T], 0 outside the mask.

      critic   sum_i 0.5 (Q_i(s_t, a_t) - r_t - V(s_{t+1}))^2
      actor    policy_weight kappa (E_{a~pi}[log pi - q] (s_t)) = policy_weight kappa KL(pi || e^q)
      V(s)     kappa (E_{a~pi}[q'] + H(pi))(s),      Q_i = kappa (q_i - log rho)

  q = min_i q_i of `views.critic.q`, folded logits like the policy's own, q' the same of the lagged
  critics if there are any. The expectations are exact sums over the vocabulary
  (`critic.expected`), so no action is sampled; the critics get no gradient from the actor, the
  policy none from the critics [Haarnoja et al. 2018; Christodoulou 2019, discrete SAC].

  Raises:
    ValueError: there is no critic with energy functions.
  """
  q, expected = _energy(views.critic)
  behind = expected if views.critic_target is None else _energy(views.critic_target)[1]
  steps = [residual.read(each, views.reference, batch, temperature) for each in q]
  kappa = steps[0].kappa
  columns = residual.value_columns(batch.mask, batch.bootstrap)
  entropy = clean(views.policy.entropy, columns)
  value = kappa * (clean(behind, columns) + entropy)
  ahead = residual.with_value(steps[0], jax.lax.stop_gradient(value))
  target = ahead.reward + residual.next_value(ahead.value, ahead.mask, ahead.bootstrap)
  errors = [jnp.where(batch.mask, residual.soft_q(each) - target, 0) for each in steps]
  gap = clean(clean(expected, columns) + entropy, batch.mask)
  normaliser = functools.reduce(jnp.minimum, [each.value for each in q])
  metrics = {
    'residual_abs': masked_mean(jnp.abs(errors[0]), batch.mask),
    'value': masked_mean(kappa * gap, batch.mask),
    'actor_kl': masked_mean(jnp.where(batch.mask, normaliser, 0) - gap, batch.mask),
  }
  critic = 0.5 * functools.reduce(jnp.add, [error**2 for error in errors])
  return critic - policy_weight * kappa * gap, jax.lax.stop_gradient(metrics)


def _energy(critic: Critic | None) -> tuple[tuple[Scores, ...], Array]:
  """(q_i, E_pi[min q]); ValueError if there are none."""
  if critic is None or not critic.q or critic.expected is None:
    raise ValueError("sac: needs critics with logits of their own; set config.critic.kind='twin'")
  return critic.q, critic.expected
