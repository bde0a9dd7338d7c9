"""The parts of a decoder layer: RMSNorm, RoPE, grouped-query attention, SwiGLU.

Shapes: B rows, T tokens, D width, N query heads, K key heads, H head dimension, F hidden width.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from maxent_lm.lm.attention import attention
from maxent_lm.lm.config import LMConfig
from maxent_lm.types import Array

DEVIATION = 0.02

Rope = tuple[Array, Array]  # cosines and sines [B, T, 1, H / 2]
# One layer's (query, key, value) -> (mixed values [B, T, N, H], what the loop over layers keeps).
Attend = Callable[[Array, Array, Array], tuple[Array, tuple]]


def parameter(
  config: LMConfig, shape: tuple[int, ...], *, mean: float = 0.0, deviation: float = 0.0
) -> nnx.Param:
  """A parameter filled with its initial mean; `LM.init` adds the noise that it is labelled with."""
  return nnx.Param(jnp.full(shape, mean, config.param_dtype), mean=mean, deviation=deviation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: Array, scale: Array, eps: float) -> Array:
  """x / sqrt(mean(x^2) + eps) * scale over the last axis, of float32 [..., D] and [D].

  Sums of the gradient are matrix products: as reductions they cost 10% of an update on CPU.
  """
  return _normalised(x, eps)[0] * _as_row(scale, x)


def _rms_norm_forward(x: Array, scale: Array, eps: float) -> tuple[Array, tuple]:
  normalised, inverse = _normalised(x, eps)
  return normalised * _as_row(scale, x), (normalised, inverse, scale)


def _rms_norm_backward(eps: float, of: tuple[Array, Array, Array], gradient: Array) -> tuple:
  """n the normalised x, r = 1 / sqrt(mean(x^2) + eps): r (g s - n mean(g s n)), and sum_b g n."""
  del eps
  normalised, inverse, scale = of
  inner = gradient * _as_row(scale, gradient)
  ones = jnp.ones(scale.shape[0], scale.dtype)
  mean = _product(inner * normalised, ones)[..., None] / len(ones)
  rows = (gradient * normalised).reshape(-1, len(ones))
  of_scale = _product(jnp.ones(len(rows), rows.dtype), rows)
  return inverse * (inner - normalised * mean), of_scale


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


def _normalised(x: Array, eps: float) -> tuple[Array, Array]:
  inverse = jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + eps)
  return x * inverse, inverse


def _as_row(scale: Array, x: Array) -> Array:
  return jnp.expand_dims(scale, range(x.ndim - 1))


def _product(left: Array, right: Array) -> Array:
  return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


class RMSNorm(nnx.Module):
  """x / sqrt(mean(x^2) + eps) * scale over the last axis, in float32."""

  def __init__(self, config: LMConfig, size: int) -> None:
    self.eps = config.norm_eps
    self.scale = parameter(config, (size,), mean=1.0)

  def __call__(self, x: Array) -> Array:
    """[..., size] -> [..., size], in the dtype of `x`."""
    scale = self.scale[...].astype(jnp.float32)
    return rms_norm(x.astype(jnp.float32), scale, self.eps).astype(x.dtype)


def rope(positions: Array, config: LMConfig) -> Rope:
  """Cosines and sines of position * theta^(-2i/H), each [B, T, 1, H / 2] float32."""
  half = jnp.arange(config.head_dim // 2, dtype=jnp.float32)
  frequency = config.rope_theta ** (-2 * half / config.head_dim)
  angles = positions.astype(jnp.float32)[:, :, None, None] * frequency[None, None, None, :]
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Array, angles: Rope) -> Array:
  """Rotates the pairs (x_i, x_{i + H/2}) of [B, T, heads, H]: the Hugging Face convention."""
  cos, sin = angles
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return rotated.astype(x.dtype)


def mix(
  config: LMConfig,
  query: Array,
  key: Array,
  value: Array,
  *,
  mask: Array | None = None,
  is_causal: bool = False,
) -> Array:
  """softmax(q k / sqrt(H)) v of [B, T, N, H] queries and [B, S, K, H] keys, by `config.attention`.

  `mask` [B, 1, T, S] is True where a query sees a key, beside `is_causal`; there must be one of
  them. cuDNN takes it as a term of its logits, and has gradients for even T and S only, so what is
  odd gets one column more.
  """
  if config.attention == 'xla':
    seen = jnp.ones((1, query.shape[1], key.shape[1]), bool) if mask is None else mask[:, 0]
    seen = jnp.tril(seen) if is_causal else seen
    return attention(query, key, value, seen)
  none, more, last = (0, 0), (0, query.shape[1] % 2), (0, key.shape[1] % 2)
  if mask is not None:
    mask = jnp.pad(mask, (none, none, more, last))
  query = jnp.pad(query, (none, more, none, none))
  key, value = (jnp.pad(each, (none, last, none, none)) for each in (key, value))
  mixed = jax.nn.dot_product_attention(
    query, key, value, mask=mask, is_causal=is_causal, implementation='cudnn'
  )
  return mixed[:, : mixed.shape[1] - more[1]]


class Attention(nnx.Module):
  """Grouped-query attention with rotary positions; how to mix is the caller's `attend`."""

  def __init__(self, config: LMConfig) -> None:
    d, n, k, h = config.d_model, config.num_heads, config.num_kv_heads, config.head_dim
    scaled = DEVIATION / (2 * config.num_layers) ** 0.5
    self.dtype = config.dtype
    self.query = parameter(config, (d, n, h), deviation=DEVIATION)
    self.key = parameter(config, (d, k, h), deviation=DEVIATION)
    self.value = parameter(config, (d, k, h), deviation=DEVIATION)
    self.output = parameter(config, (n, h, d), deviation=scaled)
    self.query_bias = parameter(config, (n, h)) if config.qkv_bias else None
    self.key_bias = parameter(config, (k, h)) if config.qkv_bias else None
    self.value_bias = parameter(config, (k, h)) if config.qkv_bias else None
    self.query_norm = RMSNorm(config, h) if config.qk_norm else None
    self.key_norm = RMSNorm(config, h) if config.qk_norm else None

  def _project(self, x: Array, weight: nnx.Param, bias: nnx.Param | None) -> Array:
    matrix = weight[...].astype(self.dtype)
    out = (x.reshape(-1, x.shape[-1]) @ matrix.reshape(len(matrix), -1)).reshape(
      *x.shape[:-1], *matrix.shape[1:]
    )
    return out if bias is None else out + bias[...].astype(self.dtype)[None, None]

  def __call__(self, x: Array, angles: Rope, attend: Attend) -> tuple[Array, tuple]:
    """[B, T, D] -> ([B, T, D], what `attend` keeps)."""
    query = self._project(x, self.query, self.query_bias)
    key = self._project(x, self.key, self.key_bias)
    value = self._project(x, self.value, self.value_bias)
    query = query if self.query_norm is None else self.query_norm(query)
    key = key if self.key_norm is None else self.key_norm(key)
    mixed, kept = attend(rotate(query, angles), rotate(key, angles), value)
    output = self.output[...].astype(self.dtype)
    flat = mixed.reshape(-1, output.shape[0] * output.shape[1])
    return (flat @ output.reshape(flat.shape[1], -1)).reshape(x.shape), kept


class MLP(nnx.Module):
  """SwiGLU: down(silu(gate(x)) * up(x)) [Shazeer 2020]."""

  def __init__(self, config: LMConfig) -> None:
    d, f = config.d_model, config.d_ff
    self.dtype = config.dtype
    self.gate = parameter(config, (d, f), deviation=DEVIATION)
    self.up = parameter(config, (d, f), deviation=DEVIATION)
    self.down = parameter(config, (f, d), deviation=DEVIATION / (2 * config.num_layers) ** 0.5)

  def __call__(self, x: Array) -> Array:
    """[B, T, D] -> [B, T, D]."""
    gate, up, down = (p[...].astype(self.dtype) for p in (self.gate, self.up, self.down))
    # Tokens in one axis: on CPU the weight gradients of [B, T, D] inputs cost a quarter of a step.
    flat = x.reshape(-1, x.shape[-1])
    return ((jax.nn.silu(flat @ gate) * (flat @ up)) @ down).reshape(x.shape)


class Block(nnx.Module):
  """One layer: x + attention(norm(x)), then x + mlp(norm(x))."""

  def __init__(self, config: LMConfig) -> None:
    self.attention_norm = RMSNorm(config, config.d_model)
    self.attention = Attention(config)
    self.mlp_norm = RMSNorm(config, config.d_model)
    self.mlp = MLP(config)

  def __call__(self, x: Array, angles: Rope, attend: Attend) -> tuple[Array, tuple]:
    """[B, T, D] -> ([B, T, D], what `attend` keeps)."""
    mixed, kept = self.attention(self.attention_norm(x), angles, attend)
    x = x + mixed
    return x + self.mlp(self.mlp_norm(x)), kept
