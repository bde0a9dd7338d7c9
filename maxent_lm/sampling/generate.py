"""Rollouts: prefill every prompt once, then decode its whole group with a KV cache, in one jit.

What is sampled from is a `Stream` of logits: a language model, or one that is guided.

Shapes: N prompts, P prompt columns (left-padded), G samples a prompt, B = N G rows (the rows of a
group are adjacent), R response columns.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from maxent_lm.lm.decoder import LM
from maxent_lm.sampling import streams
from maxent_lm.sampling.deepconf import token_confidence
from maxent_lm.sampling.policies import Sampling, draw
from maxent_lm.sampling.streams import Memory, Stream
from maxent_lm.types import Array, Params


class Rollout(NamedTuple):
  """What was sampled.

  Attributes:
    tokens: [B, R] int32, the response with its EOS; EOS repeated after the end.
    length: [B] int32, response tokens including EOS.
    finished: [B] bool, True if the response ended with EOS, False if it was cut at R tokens.
    logp: [B, R] log-probability (nats) under the distribution sampled from; 0 after the end.
    entropy: [B, R] entropy (nats) of the policy, at temperature 1; 0 after the end.
    confidence: [B, R] `deepconf.token_confidence` of the policy, likewise; None if not asked for.
  """

  tokens: Array
  length: Array
  finished: Array
  logp: Array
  entropy: Array
  confidence: Array | None = None


Measured = tuple[Array, Array, Array | None]  # [B] each, of one token: logp, entropy, confidence


class _Loop(NamedTuple):
  step: Array
  memory: Memory
  done: Array
  rollout: Rollout


class Generate(Protocol):
  """N prompts to N G rows: (params, prompts [N, P], valid [N, P], key, heat).

  `heat` divides the logits beside the sampling's own temperature; at 1 rows are sampled as
  configured. It is part of the behaviour: `Rollout.logp` has it, `Rollout.entropy` does not.
  """

  def __call__(
    self, params: Params, prompts: Array, valid: Array, key: Array, heat: Array | float = 1.0
  ) -> Rollout:
    """What the policy `params` answers."""
    ...


def make_generate(
  lm: LM,
  *,
  sampling: Sampling,
  group_size: int,
  max_new_tokens: int,
  eos_id: int,
  confidence_k: int = 0,
) -> Generate:
  """`make_sampler` of a language model's own logits; `params` are the model's."""
  return make_sampler(
    functools.partial(streams.policy, lm),
    sampling=sampling,
    group_size=group_size,
    max_new_tokens=max_new_tokens,
    eos_id=eos_id,
    confidence_k=confidence_k,
  )


def make_sampler(
  policy: Callable[[Params], Stream],
  *,
  sampling: Sampling,
  group_size: int,
  max_new_tokens: int,
  eos_id: int,
  confidence_k: int = 0,
) -> Generate:
  """Builds `generate(params, prompts [N, P], valid [N, P], key, heat=1) -> Rollout` of N G rows.

  `policy(params)` says the logits; `params` is whatever it takes, the parameters of a model and of
  its guide for instance. Every row draws with its own key fold_in(fold_in(key, row), step), so a
  row's sample does not depend on which other rows are in the batch. Decoding stops as soon as every
  row has ended. `confidence_k` > 0 also records the confidence in the k most likely tokens.
  """

  def sample(
    logits: Array, keys: Array, step: Array, heat: Array | float
  ) -> tuple[Array, Measured]:
    log_pi = jax.nn.log_softmax(logits)
    possible = jnp.where(log_pi > -jnp.inf, log_pi, 0)  # guidance may rule tokens out
    entropy = -jnp.sum(jnp.exp(log_pi) * possible, axis=-1)
    behaviour = sampling.log_probs(logits / heat)
    uniform = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, step)))(keys)
    token = draw(behaviour, uniform)
    logp = jnp.take_along_axis(behaviour, token[:, None], axis=1)[:, 0]
    confidence = token_confidence(log_pi, k=confidence_k) if confidence_k else None
    return token, (logp, entropy, confidence)

  def record(loop: _Loop, token: Array, measured: Measured) -> _Loop:
    old, t, live = loop.rollout, loop.step, ~loop.done
    ended = live & (token == eos_id)
    logp, entropy, confidence = jax.tree.map(
      lambda column, value: column.at[:, t].set(jnp.where(live, value, 0.0).astype(column.dtype)),
      (old.logp, old.entropy, old.confidence),
      measured,
    )
    rollout = Rollout(
      tokens=old.tokens.at[:, t].set(jnp.where(live, token, eos_id)),
      length=old.length + live,
      finished=old.finished | ended,
      logp=logp,
      entropy=entropy,
      confidence=confidence,
    )
    return loop._replace(step=t + 1, done=loop.done | ended, rollout=rollout)

  def unfinished(loop: _Loop) -> Array:
    return (loop.step < max_new_tokens) & ~jnp.all(loop.done)

  def generate(
    params: Params, prompts: Array, valid: Array, key: Array, heat: Array | float = 1.0
  ) -> Rollout:
    stream = policy(params)
    logits, memory = stream.prefill(prompts, valid, prompts.shape[1] + max_new_tokens)
    logits, memory = jnp.repeat(logits, group_size, axis=0), streams.repeat(memory, group_size)
    rows = logits.shape[0]
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows))

    def body(loop: _Loop) -> _Loop:
      last = loop.rollout.tokens[:, loop.step - 1]
      logits, memory = stream.decode(last, loop.memory)
      return record(loop._replace(memory=memory), *sample(logits, keys, loop.step, heat))

    empty = _empty(rows, max_new_tokens, eos_id)
    if confidence_k:
      empty = empty._replace(confidence=jnp.zeros_like(empty.logp))
    start = _Loop(jnp.int32(0), memory, jnp.zeros(rows, bool), empty)
    start = record(start, *sample(logits, keys, start.step, heat))
    return jax.lax.while_loop(unfinished, body, start).rollout

  return jax.jit(generate)


def _empty(rows: int, max_new_tokens: int, eos_id: int) -> Rollout:
  zeros = jnp.zeros((rows, max_new_tokens), jnp.float32)
  return Rollout(
    tokens=jnp.full((rows, max_new_tokens), eos_id, jnp.int32),
    length=jnp.zeros(rows, jnp.int32),
    finished=jnp.zeros(rows, bool),
    logp=zeros,
    entropy=zeros,
  )
