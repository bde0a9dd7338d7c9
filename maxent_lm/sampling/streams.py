"""Streams: what is read a token at a time and says something of the state that it has come to.

A policy says its logits [B, V], values of actions are gains [B, V], a value of states is [B]. A
stream is a pair of pure functions over its own memory (a cache, or several), so that streams
compose: guidance is a stream made of a policy and of values, and whatever samples from a policy
samples from that.

Shapes: N prompts, P prompt columns (left-padded), B rows, S slots, D width, V vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm import cache as kv
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import next_token_logits
from maxent_lm.types import Array, Params

Memory = Any  # a pytree of caches and of arrays [B, ...]


class Stream(NamedTuple):
  """What it says is an array [B, ...], or a tuple of them.

  `prefill(prompts [N, P], valid [N, P], slots) -> (said, memory)` reads prompts and makes room for
  `slots` columns in all; `decode(token [B], memory) -> (said, memory)` reads one more token.
  """

  prefill: Callable[[Array, Array, int], tuple[Any, Memory]]
  decode: Callable[[Array, Memory], tuple[Any, Memory]]


def of_model(lm: LM, params: Params, read: Callable[[Array], Any]) -> Stream:
  """`read` of the hidden states [B, D] of a model, after each token."""
  params = lm.narrowed(params)
  layers = lm.unstacked(params)

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Any, Memory]:
    hidden, cache = lm.prefill(params, prompts, valid, slots)
    return read(hidden), cache

  def decode(token: Array, cache: Memory) -> tuple[Any, Memory]:
    hidden, cache = lm.decode(layers, token, cache)
    return read(hidden), cache

  return Stream(prefill, decode)


def policy(lm: LM, params: Params) -> Stream:
  """The logits [B, V] of a language model."""
  head = lm.head(lm.narrowed(params))  # here and not in `read`: once, not once a token
  return of_model(lm, params, lambda hidden: next_token_logits(hidden, head))


def mapped(stream: Stream, function: Callable[[Any], Any]) -> Stream:
  """Says `function` of what `stream` says."""

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Any, Memory]:
    said, memory = stream.prefill(prompts, valid, slots)
    return function(said), memory

  def decode(token: Array, memory: Memory) -> tuple[Any, Memory]:
    said, memory = stream.decode(token, memory)
    return function(said), memory

  return Stream(prefill, decode)


def together(*streams: Stream) -> Stream:
  """Says the tuple of what the streams say."""

  def join(answers: Sequence[tuple[Any, Memory]]) -> tuple[Any, Memory]:
    said, memory = zip(*answers, strict=True)
    return said, memory

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Any, Memory]:
    return join([stream.prefill(prompts, valid, slots) for stream in streams])

  def decode(token: Array, memory: Memory) -> tuple[Any, Memory]:
    pairs = zip(streams, memory, strict=True)
    return join([stream.decode(token, own) for stream, own in pairs])

  return Stream(prefill, decode)


def taken(actions: Stream) -> Stream:
  """[B] of [B, V]: what was said of the action that was then taken; 0 before the first one."""

  def prefill(prompts: Array, valid: Array, slots: int) -> tuple[Array, Memory]:
    said, memory = actions.prefill(prompts, valid, slots)
    return jnp.zeros_like(said[:, 0]), (said, memory)

  def decode(token: Array, memory: Memory) -> tuple[Array, Memory]:
    before, memory = memory
    said, memory = actions.decode(token, memory)
    return jnp.take_along_axis(before, token[:, None], axis=1)[:, 0], (said, memory)

  return Stream(prefill, decode)


def repeat(memory: Memory, n: int) -> Memory:
  """Each row n times in a row."""
  return _each(lambda x: jnp.repeat(x, n, axis=0), lambda x: kv.repeat(x, n), memory)


def share(memory: Memory, n: int) -> Memory:
  """Each row n times in a row; caches are full, and hold what they have but once."""
  return _each(lambda x: jnp.repeat(x, n, axis=0), lambda x: kv.share(x, n), memory)


def take(memory: Memory, rows: Array) -> Memory:
  """The rows [C], in that order."""
  return _each(lambda x: x[rows], lambda x: kv.take(x, rows), memory)


def cut(memory: Memory, columns: int) -> Memory:
  """Caches without their last `columns` columns, which are empty."""
  return _each(lambda x: x, lambda cache: kv.cut(cache, columns), memory)


def extend(memory: Memory, columns: int) -> Memory:
  """Caches with room for so many columns more."""

  def of_cache(cache: kv.Cache) -> kv.Cache:
    return kv.extend(cache, cache.valid.shape[1] + columns)

  return _each(lambda x: x, of_cache, memory)


def ahead(memory: Memory) -> Memory:
  """A copy in which a token can be read that is then forgotten, see `cache.ahead`."""
  return _each(lambda x: x, kv.ahead, memory)


def begin(begins: Array, new: Memory, old: Memory) -> Memory:
  """Rows of `new` where `begins` [B], else of `old`; caches of `new` are full."""
  of_cache = functools.partial(kv.begin, begins)
  return _each(lambda new, old: _rows(begins, new, old), of_cache, new, old)


def rewind(memory: Memory, ring: int) -> Memory:
  """Caches that are full go on at the first of their last `ring` columns."""
  return _each(lambda x: x, lambda cache: kv.rewind(cache, ring), memory)


def hold(live: Array, new: Memory, old: Memory) -> Memory:
  """`new` where `live` [B], and `old`, as if nothing had been read, elsewhere."""

  return _each(lambda x, y: _rows(live, x, y), functools.partial(kv.hold, live), new, old)


def _rows(chosen: Array, new: Array, old: Array) -> Array:
  return jnp.where(jnp.expand_dims(chosen, range(1, new.ndim)), new, old)


def _each(array: Callable[..., Array], cache: Callable[..., kv.Cache], *memory: Memory) -> Memory:
  """One function for the caches of a memory, the other for its other arrays."""

  def apply(*leaves: Any) -> Any:
    return (cache if isinstance(leaves[0], kv.Cache) else array)(*leaves)

  return jax.tree.map(apply, *memory, is_leaf=lambda leaf: isinstance(leaf, kv.Cache))
