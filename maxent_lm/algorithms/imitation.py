"""Supervised losses: the warm start of everything else. Shapes: B sequences, T tokens."""

import chex
import jax

from maxent_lm.masked import clean, masked_mean
from maxent_lm.types import Array, Batch, Temperature, Views


def imitation(
  views: Views, batch: Batch, temperature: Temperature
) -> tuple[Array, dict[str, Array]]:
  """-log pi(a_t|s_t), [B, T], 0 outside the mask, nats; `temperature` plays no part."""
  del temperature
  chex.assert_equal_shape([views.policy.logp, batch.mask])
  nll = -clean(views.policy.logp, batch.mask)
  return nll, jax.lax.stop_gradient({'nll': masked_mean(nll, batch.mask)})
