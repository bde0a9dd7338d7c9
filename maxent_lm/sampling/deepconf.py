"""DeepConf: how sure a response was of its own tokens, for votes and for stopping early.

[Fu et al. 2025]. The confidence of a token is minus the mean of the k largest log-probabilities
before it, in nats: high for a peaked distribution (the others are small), log V for a uniform one.
It says nothing of the token that was drawn.

Shapes: V vocabulary, T tokens of one response, N responses. A window is `width` tokens in a row; a
response shorter than that is one window. All but `token_confidence` run on the host.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from maxent_lm.types import Array


def token_confidence(log_probs: Array, *, k: int) -> Array:
  """[..., V] log-probabilities to [...]: - (sum of the k largest) / k, nats.

  Of fewer where fewer than k tokens have any probability. k >= V takes all of them; then it is
  self-certainty, KL(uniform || pi), plus log V [Kang et al. 2025]. Raises ValueError for k < 1.
  """
  if k < 1:
    raise ValueError(f'confidence of the {k} most likely tokens: k must be at least 1')
  top = jax.lax.top_k(log_probs, min(k, log_probs.shape[-1]))[0]
  return -jnp.mean(top, axis=-1, where=top > -jnp.inf)


def group_confidence(confidence: ArrayLike, *, width: int) -> np.ndarray:
  """[T] mean confidence of the last `width` tokens up to each token; of fewer at the beginning.

  Raises:
    ValueError: no token, or width < 1.
  """
  confidence = np.asarray(confidence, np.float64)
  if not confidence.size or width < 1:
    raise ValueError(f'a window of {width} tokens over {confidence.size}: both must be at least 1')
  total = np.concatenate([[0.0], np.cumsum(confidence)])
  end = np.arange(1, confidence.size + 1)
  begin = np.maximum(end - width, 0)
  return (total[end] - total[begin]) / (end - begin)


def lowest_window(confidence: ArrayLike, *, width: int) -> float:
  """The mean confidence of the least confident window."""
  return float(_windows(confidence, width).min())


def bottom_windows(confidence: ArrayLike, *, width: int, share: float) -> float:
  """Mean over the least confident windows, `share` of all (rounded down, at least one)."""
  windows = np.sort(_windows(confidence, width))
  return float(windows[: max(1, int(len(windows) * share))].mean())


def tail_confidence(confidence: ArrayLike, *, width: int) -> float:
  """Mean confidence of the last `width` tokens."""
  return float(group_confidence(confidence, width=width)[-1])


def most_confident(confidence: ArrayLike, *, share: float) -> np.ndarray:
  """[N] bool: the `share` of responses with the highest confidence (0.1 or 0.9 as published).

  At or above the (1 - share) quantile, linearly interpolated; equals stay together.
  """
  confidence = np.asarray(confidence, np.float64)
  return confidence >= stop_threshold(confidence, share=share)


def stop_threshold(lowest: ArrayLike, *, share: float) -> float:
  """The lowest window that `share` of the warm-up responses reach: their (1 - share) quantile.

  Raises:
    ValueError: no response, or share is not in (0, 1].
  """
  lowest = np.asarray(lowest, np.float64)
  if not lowest.size or not 0 < share <= 1:
    raise ValueError(f'keeping {share} of {lowest.size} responses: needs a share in (0, 1] and one')
  return float(np.quantile(lowest, 1 - share))


def stops(confidence: ArrayLike, *, width: int, threshold: float) -> np.ndarray:
  """[T] bool: the window that ends at this token is full, and its mean below `threshold`.

  Where it is True for the first time EOS takes the token's place.
  """
  means = group_confidence(confidence, width=width)
  return (np.arange(1, len(means) + 1) >= width) & (means < threshold)


class Online(NamedTuple):
  """What stopping early would have done: the threshold, [N] tokens sampled, [N] bool who votes."""

  threshold: float
  length: np.ndarray
  kept: np.ndarray


def online(traces: Sequence[ArrayLike], *, warmup: int, share: float, width: int) -> Online:
  """The online rule on recorded confidences, one [T] array a response, in order of sampling.

  The first `warmup` responses are sampled whole and set the threshold; a later one ends at the
  first window below it. Responses with a window below the threshold do not vote.

  Raises:
    ValueError: warmup is not in 1..N.
  """
  if not 1 <= warmup <= len(traces):
    raise ValueError(f'a warm-up of {warmup} responses out of {len(traces)}: choose 1 to all')
  lowest = np.array([lowest_window(trace, width=width) for trace in traces])
  threshold = stop_threshold(lowest[:warmup], share=share)
  length = np.array([np.size(trace) for trace in traces])
  kept = lowest >= threshold
  for row in range(warmup, len(traces)):
    stop = stops(traces[row], width=width, threshold=threshold)
    kept[row] = not stop.any()
    if stop.any():
      length[row] = stop.argmax() + 1
  return Online(threshold, length, kept)


def _windows(confidence: ArrayLike, width: int) -> np.ndarray:
  """Means of all full windows, or of the whole response if it is shorter than one."""
  means = group_confidence(confidence, width=width)
  return means[min(width, len(means)) - 1 :]
