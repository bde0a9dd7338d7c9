"""Beam search by values: of a few candidate steps those are kept that a value ranks highest.

The step-level search of [Wang et al. 2024, OREO]; with steps of one token it is a beam search whose
scores are values instead of log-probabilities. What it finds is no sample of any policy.

Shapes: N prompts, P prompt columns (left-padded), W beams, K candidates, R response columns, V
vocabulary; rows B = N W or N W K, those of one prompt adjacent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.sampling import streams
from maxent_lm.sampling.policies import Behaviour, draw
from maxent_lm.sampling.streams import Memory, Stream
from maxent_lm.types import Array, Params


class Found(NamedTuple):
  """The beams of every prompt, best first.

  Attributes:
    tokens: [N, W, R] int32, the response with its EOS; EOS repeated after the end.
    length: [N, W] int32, response tokens including EOS.
    finished: [N, W] bool, whether it ended with EOS.
    value: [N, W] what the value says of it; -inf for a beam that there is not.
  """

  tokens: Array
  length: Array
  finished: Array
  value: Array


class _Beams(NamedTuple):
  """[B, ...] responses, and in `logits` and `memory` the state that each has come to."""

  found: Found
  logits: Array
  memory: Memory


Search = Callable[[Params, Array, Array, Array], Found]


def make_search(
  policy: Callable[[Params], Stream],
  value: Callable[[Params], Stream],
  *,
  sampling: Behaviour,
  beams: int,
  candidates: int,
  steps: int,
  step_tokens: int,
  stops: Sequence[int],
  eos_id: int,
) -> Search:
  """Builds `search(params, prompts [N, P], valid [N, P], key) -> Found`, R = steps step_tokens.

  Each step continues each of the W beams by K candidates of up to `step_tokens` tokens, which end
  early after one of `stops` or EOS, and keeps the W candidates of largest value. A finished
  response stays a candidate as it is. `policy(params)` says logits [B, V] and `value(params)` [B],
  the return expected of the response so far, the reward of its last token included: a value of
  states, or `streams.taken` of action values. If that is the largest return that can still be had,
  and K is large enough for every token, one beam finds the best response.

  Steps of several tokens are drawn independently, as in OREO, and of equal candidates one stays;
  steps of one token are drawn without replacement [Kool et al. 2019], so that no two are equal.

  Raises:
    ValueError: a size below 1, or more candidates than tokens (when it is called).
  """
  sizes = {'beams': beams, 'candidates': candidates, 'steps': steps, 'step_tokens': step_tokens}
  for name, size in sizes.items():
    if size < 1:
      raise ValueError(f'step beam: {name} is {size}; it must be at least 1')
  ends = jnp.asarray([eos_id, *stops], jnp.int32)

  def extended(both: Stream, rows: _Beams, token: Array, live: Array) -> _Beams:
    """`token` [B] is written and read where `live`."""
    said, memory = both.decode(token, rows.memory)
    logits, value = streams.hold(live, said, (rows.logits, rows.found.value))
    found, here = rows.found, jnp.arange(len(token))
    column = jnp.where(live, found.length, found.tokens.shape[1])  # outside: nothing is written
    return _Beams(
      Found(
        tokens=found.tokens.at[here, column].set(token, mode='drop'),
        length=found.length + live,
        finished=found.finished | (live & (token == eos_id)),
        value=value,
      ),
      logits,
      streams.hold(live, memory, rows.memory),
    )

  def expanded(both: Stream, rows: _Beams, key: Array) -> _Beams:
    """[B] to [B K]: one step of every candidate; those that there are not have value -inf."""
    choose = _without_replacement if step_tokens == 1 else _independent
    first, likely = choose(sampling.log_probs(rows.logits), key, candidates)
    done = jnp.repeat(rows.found.finished, candidates)
    copies = jnp.arange(len(first)) % candidates
    exists = jnp.where(done, copies == 0, likely)
    exists &= jnp.repeat(rows.found.value > -jnp.inf, candidates)
    grown = extended(both, streams.repeat(rows, candidates), first, ~done)

    def more(i: Array, carry: tuple[_Beams, Array]) -> tuple[_Beams, Array]:
      grown, live = carry
      uniform = jax.random.uniform(jax.random.fold_in(key, i), live.shape)
      token = draw(sampling.log_probs(grown.logits), uniform)
      grown = extended(both, grown, token, live)
      return grown, live & ~jnp.isin(token, ends)

    live = ~done & ~jnp.isin(first, ends)
    grown, _ = jax.lax.fori_loop(1, step_tokens, more, (grown, live))
    exists &= ~_seen(grown.found, exists, beams * candidates)
    value = jnp.where(exists, grown.found.value, -jnp.inf)
    return grown._replace(found=grown.found._replace(value=value))

  def search(params: Params, prompts: Array, valid: Array, key: Array) -> Found:
    both = streams.together(policy(params), value(params))
    count, columns = len(prompts), steps * step_tokens
    (logits, said), memory = both.prefill(prompts, valid, prompts.shape[1] + columns)
    if candidates > logits.shape[-1]:
      raise ValueError(f'step beam: {candidates} candidates, but only {logits.shape[-1]} tokens')
    start = _Beams(_nothing(said, beams, columns, eos_id), *streams.repeat((logits, memory), beams))

    def unfinished(carry: tuple[Array, _Beams]) -> Array:
      found = carry[1].found
      return (carry[0] < steps) & jnp.any(~found.finished & (found.value > -jnp.inf))

    def step(carry: tuple[Array, _Beams]) -> tuple[Array, _Beams]:
      at, rows = carry
      grown = expanded(both, rows, jax.random.fold_in(key, at))
      best = jax.lax.top_k(grown.found.value.reshape(count, -1), beams)[1]
      best += jnp.arange(count)[:, None] * (beams * candidates)
      return at + 1, streams.take(grown, best.reshape(-1))

    found = jax.lax.while_loop(unfinished, step, (jnp.int32(0), start))[1].found
    return jax.tree.map(lambda leaf: leaf.reshape(count, beams, *leaf.shape[1:]), found)

  return jax.jit(search)


def _without_replacement(log_probs: Array, key: Array, count: int) -> tuple[Array, Array]:
  """[B count] different tokens of each row of [B, V], and whether they are possible at all."""
  noisy = log_probs + jax.random.gumbel(key, log_probs.shape)
  tokens = jax.lax.top_k(noisy, count)[1]
  possible = jnp.take_along_axis(log_probs, tokens, axis=1) > -jnp.inf
  return tokens.reshape(-1).astype(jnp.int32), possible.reshape(-1)


def _independent(log_probs: Array, key: Array, count: int) -> tuple[Array, Array]:
  """[B count] tokens, `count` draws from each row of [B, V]; all are possible."""
  uniform = jax.random.uniform(key, (len(log_probs) * count,))
  tokens = draw(jnp.repeat(log_probs, count, axis=0), uniform)
  return tokens, jnp.ones(len(tokens), bool)


def _seen(found: Found, exists: Array, count: int) -> Array:
  """[B] whether a row is the same response as an earlier one of the `count` of its prompt."""
  tokens, length = found.tokens.reshape(-1, count, found.tokens.shape[1]), found.length
  length, exists = length.reshape(-1, count), exists.reshape(-1, count)
  same = (tokens[:, :, None] == tokens[:, None]).all(axis=-1)
  same &= (length[:, :, None] == length[:, None]) & exists[:, None]
  return jnp.tril(same, -1).any(axis=-1).reshape(-1)


def _nothing(said: Array, beams: int, columns: int, eos_id: int) -> Found:
  """[N W] empty responses, of which each prompt has one."""
  first = jnp.arange(len(said) * beams) % beams == 0
  return Found(
    tokens=jnp.full((len(first), columns), eos_id, jnp.int32),
    length=jnp.zeros(len(first), jnp.int32),
    finished=jnp.zeros(len(first), bool),
    value=jnp.where(first, jnp.repeat(said, beams), -jnp.inf),
  )
