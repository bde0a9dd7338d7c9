"""Streams that say what a table says: the oracle's languages, to be decoded like a model."""

import jax.numpy as jnp
import numpy as np

from maxent_lm.sampling.streams import Stream
from maxent_lm.soft import exact


def of_table(language, table):
  """[S, ...] rows of the state; after the end, where nothing follows, it says 0."""
  states = len(language.prefixes)
  rows = jnp.asarray(np.concatenate([table, np.zeros((1, *table.shape[1:]))]))
  after = np.where(language.child < 0, states, language.child)
  child = jnp.asarray(np.concatenate([after, np.full((1, after.shape[1]), states)]), jnp.int32)

  def prefill(prompts, valid, slots):
    del valid, slots
    start = jnp.zeros(len(prompts), jnp.int32)
    return rows[start], start

  def decode(token, state):
    state = child[state, token]
    return rows[state], state

  return Stream(prefill, decode)


def says(language, stream):
  """[S, ...] what a stream says in every state of the language, read from the start."""
  prompts = jnp.zeros((1, 1), jnp.int32)
  found = []
  for prefix in language.prefixes:
    said, memory = stream.prefill(prompts, prompts > 0, 1 + language.length)
    for token in prefix:
      said, memory = stream.decode(jnp.array([token]), memory)
    found.append(np.asarray(said[0]))
  return np.stack(found)


def returns(language):
  """{string, as a tuple of its tokens: return}."""
  rows = exact.strings(language)
  names = [tuple(row[mask].tolist()) for row, mask in zip(rows.tokens, rows.mask, strict=True)]
  return dict(zip(names, rows.reward.sum(axis=1).tolist(), strict=True))
