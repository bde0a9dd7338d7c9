"""Attention in XLA's products, with a gradient that is written down.

Heads come first, so that products read queries, keys and values as they lie; left to itself XLA
copies the weights between them. And the sum that a softmax's gradient needs is that of g o over a
head's width and not of g w over all keys: sum_s w_s (g v_s) = g sum_s w_s v_s = g o [Dao et al.
2022].

Shapes: B rows, T queries, S keys, N query heads, K key heads of G = N / K query heads each, H head
dimension.
"""

import jax
import jax.numpy as jnp

from maxent_lm.types import Array

NEVER = jnp.finfo(jnp.float32).min


def attention(query: Array, key: Array, value: Array, mask: Array) -> Array:
  """softmax(q k / sqrt(H)) v, [B, T, N, H], of queries [B, T, N, H] and keys [B, S, K, H].

  `mask`, [B, T, S] or [1, T, S], is True where a query sees a key. Weights are summed in float32.
  """
  b, t, n, h = query.shape
  k = key.shape[2]
  query = query.reshape(b, t, k, n // k, h).transpose(0, 2, 3, 1, 4)
  mixed = _attend(query, key.swapaxes(1, 2), value.swapaxes(1, 2), mask)
  return mixed.transpose(0, 3, 1, 2, 4).reshape(b, t, n, h)


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array, mask: Array) -> Array:
  """[B, K, G, T, H] of queries like that and keys [B, K, S, H]."""
  return _forward(query, key, value, mask)[0]


def _forward(query: Array, key: Array, value: Array, mask: Array) -> tuple[Array, tuple]:
  logits = _over_width(query, key) * query.shape[-1] ** -0.5
  logits = jnp.where(mask[:, None, None], logits.reshape(*query.shape[:4], -1), NEVER)
  weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  mixed = jnp.einsum('bkqs,bksh->bkqh', _joined(weights), value).reshape(query.shape)
  return mixed, (query, key, value, weights, mixed)


def _backward(of: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array, None]:
  query, key, value, weights, mixed = of
  g, w, q = _joined(gradient), _joined(weights), _joined(query)
  of_value = _over_queries(g, w)
  of_weights = _over_width(gradient, value)
  ones = jnp.ones((query.shape[-1], 1), jnp.float32)
  inner = (gradient * mixed).astype(jnp.float32).reshape(*q.shape)
  mean = jnp.matmul(inner, ones, precision=jax.lax.Precision.HIGHEST)
  of_logits = (w * (of_weights - mean) * query.shape[-1] ** -0.5).astype(query.dtype)
  of_query = jnp.einsum('bkqs,bksh->bkqh', of_logits, key).reshape(query.shape)
  of_key = _over_queries(q, of_logits)
  return of_query, of_key, of_value, None


_attend.defvjp(_forward, _backward)


def _over_width(queries: Array, keys: Array) -> Array:
  """Products [B, K, G T, S] of [B, K, G, T, H] and [B, K, S, H], float32."""
  return jnp.einsum('bkqh,bksh->bkqs', _joined(queries), keys, preferred_element_type=jnp.float32)


def _over_queries(of_queries: Array, weights: Array) -> Array:
  """[B, K, S, H] of [B, K, G T, H] and [B, K, G T, S]; the larger one is read as it lies."""
  return jnp.einsum('bkqh,bkqs->bkhs', of_queries, weights).swapaxes(2, 3)


def _joined(of_heads: Array) -> Array:
  """[B, K, G, T, X] -> [B, K, G T, X]: the queries that read the same keys."""
  b, k, g, t, x = of_heads.shape
  return of_heads.reshape(b, k, g * t, x)
