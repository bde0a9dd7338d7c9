"""Implicit language Q-learning: the classical, not soft, Q-learning baseline for language models.

Shapes: B sequences, T tokens.
"""

import functools

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Critic, Scores, Temperature, Views


def ilql(
  views: Views,
  batch: Batch,
  temperature: Temperature,
  *,
  expectile: float,
  cql: float,
  cloning: float,
) -> tuple[Array, dict[str, Array]]:
  """Q error, expectile value, CQL and cloning terms, [B, T], 0 outside the mask.

      sum_i [ 0.5 (Q_i - r_t - V(s_{t+1}))^2 + cql (LSE_a Q_i - Q_i) ]      (s_t, a_t)
      + |expectile - 1(u < 0)| u^2,   u = min_i Q_i'(s_t, a_t) - V(s_t)
      - cloning log pi(a_t|s_t)

  Q_i and V are the heads of `views.critic` (reward units, Q_i read from `logit`), Q' the lagged
  ones if there are any; V is stopped in the first line and Q' in the second [Snell et al. 2023;
  Kumar et al. 2020, CQL]. The discount is 1. `temperature` plays no part: V is an expectile of the
  data's values, not a soft maximum, so the fixed point is not the soft-optimal policy. The policy
  only clones; the values act when it is sampled from (`sampling.guidance`).

  Raises:
    ValueError: the critic lacks its Q or value heads.
  """
  del temperature
  heads, head = _heads(views.critic)
  behind = heads if views.critic_target is None else _heads(views.critic_target)[0]
  value = clean(head, residual.value_columns(batch.mask, batch.bootstrap))
  ahead = residual.next_value(jax.lax.stop_gradient(value), batch.mask, batch.bootstrap)
  target = clean(batch.reward, batch.mask) + ahead
  loss = jnp.zeros_like(value)
  for q in heads:
    error = clean(q.logit, batch.mask) - target
    loss += 0.5 * error**2 - cql * clean(q.logp, batch.mask)
  smallest = functools.reduce(jnp.minimum, [clean(q.logit, batch.mask) for q in behind])
  above = clean(jax.lax.stop_gradient(smallest) - value, batch.mask)
  loss += jnp.abs(expectile - (above < 0)) * above**2
  loss -= cloning * clean(views.policy.logp, batch.mask)
  metrics = {
    'q': masked_mean(heads[0].logit, batch.mask),
    'value': masked_mean(value, batch.mask),
    'advantage': masked_mean(above, batch.mask),
  }
  return loss, jax.lax.stop_gradient(metrics)


def _heads(critic: Critic | None) -> tuple[tuple[Scores, ...], Array]:
  """(Q_i, V); ValueError if there are none."""
  if critic is None or not critic.q or critic.value is None:
    raise ValueError("ilql: needs Q heads and a value head; set config.critic.kind='ilql'")
  return critic.q, critic.value
