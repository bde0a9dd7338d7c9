"""An LSTM that reads tokens: its memory has one size, however long a row is.

What it can do at one length it tends to do at any, where attention may look up what it should have
walked to; so it plays the tapes of `tasks/algorithmic.py`, as in [Nachum et al. 2017, PCL].

Shapes: B rows, T tokens, D width, V vocabulary.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from maxent_lm.types import Array, Params

Memory = tuple[Array, Array]  # the cell's state and its output, [B, D] each


@dataclasses.dataclass(frozen=True)
class RecurrentConfig:
  """Number of tokens, and of units: of the embedding, the state and the output."""

  vocab_size: int
  d_model: int


def _remembering(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
  """Biases of the input, forget, cell and output gates: forgetting starts rare."""
  del key
  return jnp.repeat(jnp.array([0, 1, 0, 0], dtype), shape[0] // 4)


class Reader(nnx.Module):
  """Embedding, cell, output matrix."""

  def __init__(self, config: RecurrentConfig, rngs: nnx.Rngs) -> None:
    d = config.d_model
    self.embedding = nnx.Embed(
      config.vocab_size, d, embedding_init=nnx.initializers.normal(0.5), rngs=rngs
    )
    self.cell = nnx.OptimizedLSTMCell(d, d, bias_init=_remembering, rngs=rngs)
    small = nnx.initializers.normal(0.01)  # starts near the uniform policy
    self.head = nnx.Param(small(rngs.params(), (d, config.vocab_size), jnp.float32))


@functools.cache
def _graph(config: RecurrentConfig) -> nnx.GraphDef:
  return nnx.split(nnx.eval_shape(lambda: Reader(config, nnx.Rngs(0))))[0]


@dataclasses.dataclass(frozen=True)
class Recurrent:
  """A `Network` as pure functions of (params, tokens); `params` is a plain nested dict."""

  config: RecurrentConfig

  def init(self, seed: int) -> Params:
    """Random parameters."""
    return nnx.to_pure_dict(nnx.state(Reader(self.config, nnx.Rngs(seed))))

  def _reader(self, params: Params) -> Reader:
    return nnx.merge(_graph(self.config), params)

  def hidden(self, params: Params, tokens: Array) -> Array:
    """Outputs of the cell, [B, T] -> [B, T, D]."""
    reader = self._reader(params)

    def step(memory: Memory, embedded: Array) -> tuple[Memory, Array]:
      return reader.cell(memory, embedded)

    embedded = reader.embedding(tokens).swapaxes(0, 1)
    _, outputs = jax.lax.scan(step, self.empty(batch=len(tokens), slots=0), embedded)
    return outputs.swapaxes(0, 1)

  def head(self, params: Params) -> Array:
    """The output matrix [D, V]."""
    return params['head']

  def empty(self, *, batch: int, slots: int) -> Memory:
    """The memory of rows that have read nothing; it needs no slots."""
    del slots
    shape = (batch, self.config.d_model)
    return jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32)

  def decode(self, params: Params, token: Array, memory: Memory) -> tuple[Array, Memory]:
    """Reads one token [B] a row; returns the output [B, D] and the memory."""
    reader = self._reader(params)
    memory, output = reader.cell(memory, reader.embedding(token))
    return output, memory
