"""Rejection sampling: which of the reference's responses to keep, on the host.

Hard: those at or above a threshold (rejection sampling for fine-tuning, RAFT, ReST, STaR). Soft:
each with a probability that makes what is kept an exact sample of the soft-optimal policy.
"""

import numpy as np
from numpy.typing import ArrayLike


def accept(reward: ArrayLike, *, threshold: float) -> np.ndarray:
  """[...] bool, reward >= threshold: what is kept is the reference given that event."""
  return np.asarray(reward) >= threshold


def acceptance(reward: ArrayLike, *, best: float, kappa: float) -> np.ndarray:
  """[...] exp((r - best) / kappa), the probability of keeping a response; float64.

  Responses of the reference that are kept with it are samples of

      pi*(y) = ref(y) exp(R(y) / kappa) / Z,    the optimum for alpha = 0, beta = kappa,

  and a share Z exp(-best / kappa) of all is kept [Liu et al. 2024, RSO]. Rewards and kappa are in
  reward units. `best` is an upper bound of the reward that is known before sampling: the largest
  reward found among the samples is biased, for it depends on them.

  Raises:
    ValueError: kappa is not positive, or a reward is above `best`.
  """
  reward = np.asarray(reward, np.float64)
  if not kappa > 0:
    raise ValueError(f'soft rejection sampling: kappa = {kappa} must be positive')
  if (reward > best).any():
    raise ValueError(
      f'soft rejection sampling: a reward of {reward.max()} is above best = {best}; raise best'
    )
  return np.exp((reward - best) / kappa)


def accept_softly(
  reward: ArrayLike, *, best: float, kappa: float, rng: np.random.Generator
) -> np.ndarray:
  """[...] bool, each response kept with its `acceptance`, independently."""
  probability = acceptance(reward, best=best, kappa=kappa)
  return rng.random(probability.shape) < probability
