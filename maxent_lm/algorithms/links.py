"""From two implicit rewards to one number: the links and the scores of preference objectives.

A link says how much a pair (chosen, rejected) is at odds with its label. Links of the margin read
the difference of the two rewards only; links of the values read each by itself, so that a constant
added to all rewards matters to them. A score says what the implicit reward is as a function of the
log-ratio, which is what the f-divergence to the prior asks for.

Shapes: any, and the arguments broadcast. Rewards and margins are in reward units (temperature
included), log-ratios x = log pi - log rho in nats.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from maxent_lm.types import Array

# exp(20) is far beyond any useful score and still finite, so that no 0 * inf reaches a gradient.
EXPONENT_BOUND = 20.0
DISCOPOP_TEMPERATURE = 0.05  # as published


def log_sigmoid_loss(margin: Array) -> Array:
  """-log sigmoid(m): the likelihood of Bradley and Terry. [Rafailov et al. 2023, DPO]"""
  return jax.nn.softplus(-margin)


def hinge(margin: Array) -> Array:
  """max(0, 1 - m). [Zhao et al. 2023, SLiC]"""
  return jax.nn.relu(1 - margin)


def ipo(margin: Array) -> Array:
  """(m - 1/2)^2, squared reward units; over kappa^2 (loss_units='nats') it is as published.

  [Azar et al. 2024, IPO]: (h - 1 / (2 kappa))^2 with h = m / kappa.
  """
  return (margin - 0.5) ** 2


def discopop(margin: Array) -> Array:
  """(1 - w) log(1 + exp(-m)) + w exp(-m), w = sigmoid(m / .05). [Lu et al. 2024, DiscoPOP]"""
  weight = jax.nn.sigmoid(margin / DISCOPOP_TEMPERATURE)
  exponential = jnp.exp(jnp.minimum(-margin, EXPONENT_BOUND))
  return (1 - weight) * jax.nn.softplus(-margin) + weight * exponential


def smooth_sigmoid(margin: Array, smoothing: float) -> Array:
  """-(1 - e) log sigmoid(m) - e log sigmoid(-m): a label is wrong with probability e (cDPO)."""
  return (1 - smoothing) * jax.nn.softplus(-margin) + smoothing * jax.nn.softplus(margin)


def robust(margin: Array, smoothing: float) -> Array:
  """(-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2e): DPO's loss without the noise.

  Its mean over labels flipped with probability e is the loss of the true ones.
  [Chowdhury et al. 2024]
  """
  kept, flipped = jax.nn.softplus(-margin), jax.nn.softplus(margin)
  return ((1 - smoothing) * kept - smoothing * flipped) / (1 - 2 * smoothing)


def exo(margin: Array, smoothing: float) -> Array:
  """KL(Bernoulli(sigmoid(m)) || Bernoulli(1 - e)): the reverse KL of cDPO. [Ji et al. 2024, EXO]"""
  up, down = -jax.nn.softplus(-margin), -jax.nn.softplus(margin)
  return jnp.exp(up) * (up - jnp.log1p(-smoothing)) + jnp.exp(down) * (down - jnp.log(smoothing))


def nca(chosen: Array, rejected: Array) -> Array:
  """-log sigmoid(c) - 1/2 log sigmoid(-c) - 1/2 log sigmoid(-r). [Chen et al. 2024, NCA]"""
  either = jax.nn.softplus(chosen) + jax.nn.softplus(rejected)
  return jax.nn.softplus(-chosen) + 0.5 * either


def sppo(chosen: Array, rejected: Array) -> Array:
  """(c - 1/2)^2 + (r + 1/2)^2, squared reward units; with loss_units='nats' as published.

  The chosen wins surely ('hard'). [Wu et al. 2024, SPPO]
  """
  return (chosen - 0.5) ** 2 + (rejected + 0.5) ** 2


def apo_zero(chosen: Array, rejected: Array) -> Array:
  """1 - sigmoid(c) + sigmoid(r): up with the chosen, down with the rejected.

  [D'Oosterlinck et al. 2024, APO]
  """
  return jax.nn.sigmoid(-chosen) + jax.nn.sigmoid(rejected)


def apo_down(chosen: Array, rejected: Array) -> Array:
  """sigmoid(c) + 1 - sigmoid(c - r): both down, the rejected further.

  [D'Oosterlinck et al. 2024, APO]
  """
  return jax.nn.sigmoid(chosen) + jax.nn.sigmoid(rejected - chosen)


MARGIN_LINKS: Mapping[str, Callable[[Array], Array]] = {
  'hinge': hinge,
  'ipo': ipo,
  'discopop': discopop,
}
SMOOTHED_LINKS: Mapping[str, Callable[[Array, float], Array]] = {
  'sigmoid': smooth_sigmoid,
  'robust': robust,
  'exo': exo,
}
VALUE_LINKS: Mapping[str, Callable[[Array, Array], Array]] = {
  'nca': nca,
  'sppo': sppo,
  'apo_zero': apo_zero,
  'apo_down': apo_down,
}
LINKS = (*MARGIN_LINKS, *SMOOTHED_LINKS, *VALUE_LINKS)
SMOOTHING = {'sigmoid': (0.0, 0.5), 'robust': (0.0, 0.5), 'exo': (1e-6, 0.5)}  # from, below


def reverse_kl(x: Array, strength: float) -> Array:
  """x: the score of KL(pi || rho), that of the soft optimum; `strength` plays no part."""
  del strength
  return x


def forward_kl(x: Array, strength: float) -> Array:
  """1 - exp(-x): the score of KL(rho || pi); `strength` plays no part."""
  del strength
  return alpha_divergence(x, 1.0)


def jensen_shannon(x: Array, strength: float) -> Array:
  """log 2 + log sigmoid(x): the score of the Jensen-Shannon divergence; no `strength`."""
  del strength
  return jnp.log(2.0).astype(x.dtype) - jax.nn.softplus(-x)


def alpha_divergence(x: Array, strength: float) -> Array:
  """(1 - exp(-a x)) / a with a = `strength`: a -> 0 is the reverse KL, a = 1 the forward KL.

  a is that of [Wang et al. 2024, f-DPO]; others count from the other end (1 - a). With the mean
  log-probability for x it is [Gupta et al. 2025, AlphaPO].
  """
  return -jnp.expm1(jnp.clip(-strength * x, -EXPONENT_BOUND, EXPONENT_BOUND)) / strength


SCORES: Mapping[str, Callable[[Array, float], Array]] = {
  'reverse_kl': reverse_kl,
  'forward_kl': forward_kl,
  'js': jensen_shannon,
  'alpha': alpha_divergence,
}


def make_link(
  link: str, *, score: str, offset: float, smoothing: float
) -> Callable[[Array, Array], Array]:
  """The loss of (chosen, rejected), with `offset` taken off the margin.

  Raises:
    ValueError: an unknown name, or an option that means nothing to this link. A score other than
      reverse_kl is known up to a constant only, so it goes with links of the margin only.
  """
  _known('link', link, LINKS)
  _known('score', score, SCORES)
  low, high = SMOOTHING.get(link, (0.0, 0.0))
  if not (low <= smoothing < high or smoothing == low):
    raise ValueError(
      f"dpo: link '{link}' takes no smoothing of {smoothing}; set config.dpo.smoothing "
      + (f'from {low} to below {high}' if high else 'to 0')
    )
  if link not in VALUE_LINKS:
    return lambda chosen, rejected: _of_margin(link, chosen - rejected - offset, smoothing)
  if score != 'reverse_kl' or offset:
    raise ValueError(
      f"dpo: link '{link}' reads each reward by itself, so score '{score}' with offset {offset} "
      "means nothing to it; set config.dpo.score='reverse_kl' and offset=0, or choose a link of "
      f'the margin: {", ".join((*MARGIN_LINKS, *SMOOTHED_LINKS))}'
    )
  return VALUE_LINKS[link]


def _of_margin(link: str, margin: Array, smoothing: float) -> Array:
  if link in MARGIN_LINKS:
    return MARGIN_LINKS[link](margin)
  return SMOOTHED_LINKS[link](margin, smoothing)


def _known(what: str, name: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
  if name not in known:
    raise ValueError(f"dpo: unknown {what} '{name}'; choose one of {', '.join(known)}")
