"""Small models for the tests: odd sizes, so that no two axes can be mixed up unnoticed."""

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.lm.config import LMConfig

SIZES = dict(
  vocab_size=37,
  d_model=20,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=6,
  d_ff=28,
  rope_theta=500.0,
)


def tiny(**changes):
  return LMConfig(**{**SIZES, **changes})


def random_tokens(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).integers(0, SIZES['vocab_size'], shape), jnp.int32)


def roughened(params, scale=0.3, seed=0):
  """Every parameter with noise: biases and norms that matter, attention that is not uniform."""
  rng = np.random.default_rng(seed)

  def noise(leaf):
    return leaf + scale * rng.standard_normal(leaf.shape).astype(np.float32)

  return jax.tree.map(noise, params)


def largest_gap(left, right):
  gaps = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), left, right)
  return max(jax.tree.leaves(gaps))
