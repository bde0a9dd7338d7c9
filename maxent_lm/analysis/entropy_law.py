"""The entropy-performance law R = -a exp(H) + b [Cui et al. 2025], fitted over a training."""

from typing import NamedTuple

import numpy as np


class Law(NamedTuple):
  """R = -a exp(H) + b.

  Attributes:
    a: reward units.
    b: reward units; b - a is what is predicted for a policy without entropy.
  """

  a: float
  b: float

  @property
  def ceiling(self) -> float:
    """R at H = 0."""
    return self.b - self.a

  def __call__(self, entropy: np.ndarray) -> np.ndarray:
    """R at these entropies, nats a token."""
    return self.b - self.a * np.exp(entropy)

  def residuals(self, entropy: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """[N] reward - R(entropy): above the law where positive."""
    return np.asarray(reward) - self(np.asarray(entropy))


def fit(entropy: np.ndarray, reward: np.ndarray) -> Law:
  """The least squares over points [N]: entropy in nats a token, mean reward.

  Raises:
    ValueError: the entropies do not differ, so that a is anything.
  """
  if len(entropy) < 2 or np.ptp(entropy) == 0:
    raise ValueError('entropy law: needs points of at least two different entropies')
  columns = np.stack([-np.exp(entropy), np.ones(len(entropy))], axis=1)
  (a, b), *_ = np.linalg.lstsq(columns, np.asarray(reward), rcond=None)
  return Law(float(a), float(b))


def rms(residuals: np.ndarray) -> float:
  """The root of the mean square."""
  return float(np.sqrt(np.mean(np.square(residuals))))


def explained(residuals: np.ndarray, reward: np.ndarray) -> float:
  """R^2: 1 - (sum of squares of the residuals) / (sum of squares about the mean)."""
  spread = np.sum(np.square(reward - np.mean(reward)))
  return float(1 - np.sum(np.square(residuals)) / spread) if spread > 0 else float('nan')


def averaged(values: np.ndarray, width: int) -> np.ndarray:
  """Means of `width` in a row, without overlap; what is left over at the end is dropped."""
  whole = len(values) // width * width
  return np.asarray(values)[:whole].reshape(-1, width).mean(axis=1)
