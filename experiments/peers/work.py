"""The work of experiments/benchmark.py, told to other libraries.

Imports neither JAX nor torch nor maxent_lm: a peer's process holds nothing but the peer.
"""

import math
from typing import NamedTuple

import numpy as np

PAD, EOS, PROMPT, ENDS = 0, 1, 32, 1 / 64
RESPONSE = {'fixed': 64, 'geometric': 256}  # most tokens of a response
LEARNING_RATE, CLIP, NORM = 1e-5, 0.2, 1.0


class Shape(NamedTuple):
  """A Llama-shaped model with tied heads, and how much is asked of it."""

  vocab_size: int
  d_model: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  prompts: int
  group_size: int

  @property
  def rows(self) -> int:
    """Responses of a step."""
    return self.prompts * self.group_size


SHAPES = {
  'smoke': Shape(32, 16, 2, 2, 1, 8, 32, prompts=2, group_size=4),
  'S': Shape(512, 128, 4, 4, 2, 32, 512, prompts=64, group_size=8),
  'M': Shape(4096, 512, 8, 8, 4, 64, 1536, prompts=16, group_size=8),
}


def make_prompts(shape: Shape) -> np.ndarray:
  """[prompts, PROMPT] tokens, none of them special, the same in every step."""
  size = (shape.prompts, PROMPT)
  return np.random.default_rng(0).integers(2, shape.vocab_size, size, np.int32)


def end_logit(shape: Shape) -> float:
  """What to add to the logit of EOS so that it has probability ENDS where logits are about equal.

  For libraries whose sampler knows nothing but logits: those of random weights are about equal.
  """
  return math.log((shape.vocab_size - 2) * ENDS / (1 - ENDS))
