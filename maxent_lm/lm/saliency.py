"""How much a model attends to a token, or depends on it. SALIENCIES lists the ways.

Shapes: B rows, T tokens, D width, N query heads, K key heads, H head dimension, L layers. Rows are
padded on the right; `mask` [B, T] is True on response tokens. Column t is about the token there as
something that is read: about what it does to later columns, not about how likely it was.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import score_hidden
from maxent_lm.types import Array, Params

Saliency = Callable[[Params, Array, Array], Array]  # (params, tokens, mask) -> [B, T], >= 0


def attention_received(lm: LM, *, chunk: int) -> Saliency:
  """Mean attention to the token from the later tokens of the response, in [0, 1].

      sum_{s > t} mask_s mean over L, N of a(s, t) / sum_{s > t} mask_s

  a(s, t) is the attention probability of query s on key t; 0 where no response token is later.
  The attention of one head exists at a time, [B, T, T] float32. No gradient.
  """
  del chunk

  def saliency(params: Params, tokens: Array, mask: Array) -> Array:
    columns = jnp.arange(tokens.shape[1])
    causal = columns[:, None] >= columns[None, :]
    later = mask[:, :, None] & (columns[:, None] > columns[None, :])[None]  # [B, query, key]

    def attend(
      _: Array | int, carry: tuple, query: Array, key: Array, value: Array
    ) -> tuple[Array, tuple]:
      mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
      return mixed, ((carry[0] + _received(query, key, causal, later),), ())

    start = jnp.zeros(tokens.shape, jnp.float32)
    (received,) = lm.run(jax.lax.stop_gradient(params), tokens, attend, (start,))[1]
    heads = lm.config.num_layers * lm.config.num_heads
    return received / heads / jnp.maximum(jnp.sum(later, axis=1), 1)

  return saliency


def _received(query: Array, key: Array, causal: Array, later: Array) -> Array:
  """[B, T] sum over heads and over the queries in `later` of one layer's attention."""
  shared = query.shape[2] // key.shape[2]

  def head(number: Array) -> Array:
    q, k = query[:, :, number], key[:, :, number // shared]
    logits = jnp.einsum('bsh,bth->bst', q, k, preferred_element_type=jnp.float32)
    logits = jnp.where(causal[None], logits * query.shape[3] ** -0.5, -jnp.inf)
    return jnp.sum(jnp.where(later, jax.nn.softmax(logits), 0), axis=1)

  return jnp.sum(jax.lax.map(head, jnp.arange(query.shape[2])), axis=0)


def gradient_saliency(lm: LM, *, chunk: int) -> Saliency:
  """|gradient x embedding|: |e_t . d log pi(response | prompt) / d e_t|, nats.

  e_t is the embedding that the token in column t is read through, so that the derivative is that
  of scaling it: for small h, scaling by 1 + h changes the log-probability of the response by
  +-h times the saliency. 0 for the last token and after it. One more forward and backward pass;
  no gradient goes through the result. `chunk`: tokens whose logits are held at once.
  """

  def saliency(params: Params, tokens: Array, mask: Array) -> Array:
    params = jax.lax.stop_gradient(params)

    def log_probability(scale: Array) -> Array:
      hidden = lm.hidden(params, tokens, scale=scale)[:, :-1]
      scores = score_hidden(hidden, lm.head(params), tokens[:, 1:], chunk=chunk)
      return masked.masked_sum(scores.logp, mask[:, 1:])

    ones = jnp.ones(tokens.shape, jnp.float32)
    return jax.lax.stop_gradient(jnp.abs(jax.grad(log_probability)(ones)))

  return saliency


SALIENCIES: Mapping[str, Callable[..., Saliency]] = {
  'attention': attention_received,
  'gradient': gradient_saliency,
}
