"""Distributional values of the reference policy, to guide it with when it is sampled from.

Shapes: B sequences, T tokens, K atoms.
"""

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean
from maxent_lm.soft import residual
from maxent_lm.types import Array, Batch, Temperature, Views


def q_sharp(
  views: Views, batch: Batch, temperature: Temperature, *, low: float, high: float
) -> tuple[Array, dict[str, Array]]:
  """Cross-entropy to the return's atoms, -sum_k w_k log p_k(s_t, a_t), [B, T], 0 outside the mask.

  p = `views.critic.atoms` are probabilities of K returns evenly spaced from `low` to `high`; w
  puts the return that followed, sum_{k>=t} r_k, on its two neighbouring atoms with the same mean.
  K = 2 with low = 0, high = 1 is the Bernoulli value, whose loss is the binary cross-entropy
  [Zhou et al. 2025, Q-sharp]. No Bellman step and no temperature: guidance turns the distribution
  into log E[exp(R / kappa)] for any kappa afterwards (`sampling.guidance`).

  Exact, with alpha = 0, if completions after (s_t, a_t) come from the reference and returns lie on
  the atoms; between two atoms the mean stays right but E[exp(R / kappa)] becomes too large.
  Returns beyond the range are taken at its end.

  Raises:
    ValueError: there is no atom head, or low >= high.
  """
  del temperature
  if views.critic is None or views.critic.atoms is None:
    raise ValueError("q_sharp: needs a head of return atoms; set config.critic.kind='atoms'")
  logp = clean(views.critic.atoms, batch.mask[:, :, None])
  reward = clean(batch.reward, batch.mask)
  weights = two_hot(residual.suffix(reward, batch.mask, 1.0), support(low, high, logp.shape[-1]))
  loss = jnp.where(batch.mask, -jnp.sum(weights * logp, axis=-1), 0)
  return loss, jax.lax.stop_gradient({'cross_entropy': masked_mean(loss, batch.mask)})


def support(low: float, high: float, count: int) -> Array:
  """[K] the returns that the atoms stand for, evenly spaced; ValueError for an empty range."""
  if not low < high:
    raise ValueError(f'q_sharp: the atoms need low < high, got low={low}, high={high}')
  return jnp.linspace(low, high, count)


def two_hot(returns: Array, atoms: Array) -> Array:
  """[..., K] weights of the two atoms beside each return, with the return as their mean."""
  place = (returns - atoms[0]) / (atoms[1] - atoms[0])
  place = jnp.clip(place, 0, len(atoms) - 1)[..., None]
  index = jnp.arange(len(atoms), dtype=place.dtype)
  shape = (1,) * returns.ndim + (-1,)
  return jnp.maximum(0, 1 - jnp.abs(place - index.reshape(shape)))
