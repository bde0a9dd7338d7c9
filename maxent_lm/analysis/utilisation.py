"""What bounds a step of training on this machine: its products, the bytes they read, or the rest.

The work is that of the model, which any implementation has to do: no padding, a group's prompt
once, nothing computed twice. The machine is measured, in the dtype of the activations.

Shapes: N prompts of P tokens, B rows of R_i response tokens, V vocabulary.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.analysis.roofline import Roofline
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM

SIZES = {'cpu': (2048, 1 << 26)}  # of a measured product, and of a copied array in bytes
LARGE = (8192, 1 << 30)  # of other devices
REPEATS = 10
MOSTLY = 0.5  # of the time taken: what fills it bounds the step


class Peaks(NamedTuple):
  """FLOP/s of products and bytes/s of memory, as measured."""

  flops: float
  bandwidth: float


class Work(NamedTuple):
  """FLOP, and bytes that have to come from memory or go there, by what they are."""

  flops: float
  moved: Mapping[str, float]


def measure_peaks(dtype: str) -> Peaks:
  """Of square products and of a copy, each the best of ten.

  Of random numbers: GPUs multiply equal ones faster than they ever do in a model.
  """
  size, copied = SIZES.get(jax.default_backend(), LARGE)
  matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
  product = _best(jax.jit(jnp.matmul), matrix, matrix)
  copy = _best(jax.jit(lambda x: x + 1), jnp.ones(copied // 4, jnp.float32))
  return Peaks(2 * size**3 / product, 2 * copied / copy)


def _best(function: Callable[..., Any], *arguments: Any) -> float:
  jax.block_until_ready(function(*arguments))
  times = []
  for _ in range(REPEATS):
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    times.append(time.perf_counter() - began)
  return min(times)


def rollout_work(
  config: LMConfig, *, prompts: int, prompt: int, lengths: np.ndarray, slots: int
) -> Work:
  """Of responses with these lengths [B], `slots` of them decoded at a time.

  A decode step reads every parameter, of each row the keys and values of its tokens so far, and of
  each group those of its prompt once. The rows of a group are adjacent.
  """
  tokens = float(lengths.sum())
  steps = max(float(lengths.max()), np.ceil(tokens / slots)) - 1  # nothing follows a last token
  key = np.dtype(jnp.dtype(config.cache_dtype or config.dtype)).itemsize
  column = 2 * config.num_layers * config.num_kv_heads * config.head_dim * key
  longest = lengths.reshape(prompts, -1).max(axis=1)
  read = float(sum(n * (n - 1) / 2 for n in lengths) + prompt * (longest - 1).sum())
  return Work(
    _forward(config, prompts, prompt, lengths),
    {
      'parameters': (steps + 1) * _parameters(config) * _itemsize(config),
      'cache': column * read,
      'logits': 2 * 4 * tokens * config.vocab_size,  # written, and read to draw
    },
  )


def update_work(
  config: LMConfig, *, prompts: int, prompt: int, lengths: np.ndarray, pieces: int
) -> Work:
  """Of a batch in so many pieces; a backward pass is two forward ones.

  A piece reads every parameter three times, forward and for two gradients, and adds to a sum in
  float32. AdamW reads parameter, gradient and two moments and writes all but the gradient. Logits
  are written and read forward, and again backward, where they are computed once more. What layers
  keep is not counted: it may stay in caches.
  """
  count = _parameters(config)
  return Work(
    3 * _forward(config, prompts, prompt, lengths),
    {
      'parameters': 3 * pieces * count * _itemsize(config),
      'gradients': 2 * pieces * count * 4.0,
      'optimiser': 7 * count * 4.0,
      'logits': 4 * 4 * float(lengths.sum()) * config.vocab_size,
    },
  )


def _forward(config: LMConfig, prompts: int, prompt: int, lengths: np.ndarray) -> float:
  """A product of [a, b] and [b, c] is 2 a b c."""
  heads = (config.num_heads + config.num_kv_heads) * config.head_dim * 2
  layer = config.d_model * (heads + 3 * config.d_ff)
  tokens = float(lengths.sum())
  read = tokens - len(lengths)  # nothing follows a last token
  attended = float(sum(prompt * (n - 1) + n * (n - 1) / 2 for n in lengths if n))
  scores = 4 * config.num_heads * config.head_dim
  attention = config.num_layers * scores * (attended + prompts * prompt**2 / 2)
  dense = 2 * config.num_layers * layer * (prompts * prompt + read)
  return dense + attention + 2 * config.d_model * config.vocab_size * tokens


def _parameters(config: LMConfig) -> float:
  return float(sum(leaf.size for leaf in jax.tree.leaves(LM(config).abstract_params())))


def _itemsize(config: LMConfig) -> int:
  return jnp.dtype(config.dtype).itemsize


def least(work: Work, peaks: Peaks) -> Roofline:
  """Seconds of the products alone and of the bytes alone."""
  return Roofline(work.flops / peaks.flops, sum(work.moved.values()) / peaks.bandwidth, 0.0)


def sentence(name: str, seconds: float, work: Work, peaks: Peaks) -> str:
  """What bounds it, from the numbers: one sentence."""
  times = least(work, peaks)
  largest = max(work.moved, key=lambda each: work.moved[each])
  rest = max(0.0, seconds - times.compute - times.memory)
  names = {
    'its products': times.compute,
    f'bytes, most of them {largest}': times.memory,
    'neither: work between products, products too small for the peak, and waiting': rest,
  }
  bound, most = max(names.items(), key=lambda each: each[1])
  how = 'what bounds it is' if most >= MOSTLY * seconds else 'the largest part is'
  return (
    f'{name}: {work.flops / 1e9:.4g} GFLOP in {seconds:.4g} s are {work.flops / seconds / 1e9:.4g} '
    f'GFLOP/s, {work.flops / seconds / peaks.flops:.1%} of the {peaks.flops / 1e9:.4g} measured; '
    f'at the measured peaks products take {times.compute:.3g} s, and '
    f'{sum(work.moved.values()) / 1e9:.3g} GB at {peaks.bandwidth / 1e9:.3g} GB/s '
    f'{times.memory:.3g} s: {how} {bound} ({most / seconds:.0%}).'
  )
