"""Rollouts: prefill every prompt once, then decode its whole group with a KV cache, in one jit.

Shapes: N prompts, P prompt columns (left-padded), G samples a prompt, B = N G rows (the rows of a
group are adjacent), R response columns, S rows decoded at a time.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import next_token_logits
from maxent_lm.sampling import slots as slots_lib
from maxent_lm.sampling.deepconf import token_confidence
from maxent_lm.sampling.policies import Sampling, draw
from maxent_lm.sampling.slots import Measured, Rollout, Slots
from maxent_lm.types import Array, Params

__all__ = ['Generate', 'Rollout', 'make_generate']

WIDTH = 32  # the part of the cache that is attended to grows by so many columns, at least,
WIDTHS = 8  # and at most so many times: each width is compiled
REFILL = 8  # slots are filled again when one in so many is idle


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
  slots: int = 0,
) -> Generate:
  """Builds `generate(params, prompts [N, P], valid [N, P], key, heat=1) -> Rollout` of N G rows.

  Every row draws from its own stream fold_in(fold_in(key, row), step), so a row's sample does not
  depend on which other rows are in the batch. `confidence_k` > 0 also records the confidence in the
  k most likely tokens.

  All rows begin together, and decoding stops as soon as every row has ended. With 0 < `slots` < N G
  so many rows are decoded at a time, and where some have ended the next ones begin: the longest
  responses do not keep all others waiting.
  """

  def sample(
    hidden: Array, head: Array, keys: Array, age: Array, heat: Array | float
  ) -> tuple[Array, Measured]:
    logits = next_token_logits(hidden, head)
    policy = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(policy) * policy, axis=-1)
    behaviour = sampling.log_probs(logits / heat)
    uniform = jax.vmap(lambda key, step: jax.random.uniform(jax.random.fold_in(key, step)))
    token = draw(behaviour, uniform(keys, age))
    logp = jnp.take_along_axis(behaviour, token[:, None], axis=1)[:, 0]
    confidence = token_confidence(policy, k=confidence_k) if confidence_k else None
    return token, (logp, entropy, confidence)

  def generate(
    params: Params, prompts: Array, valid: Array, key: Array, heat: Array | float = 1.0
  ) -> Rollout:
    head = lm.head(params)
    rows = prompts.shape[0] * group_size
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows + 1))
    hidden, read = lm.prefill(params, prompts, valid, prompts.shape[1])
    nothing = _nothing(rows + 1, max_new_tokens, eos_id, confidence_k)

    def begin(at: Slots) -> Slots:
      return write(slots_lib.begin(at, hidden, read))

    def write(at: Slots) -> Slots:
      token, measured = sample(at.hidden, head, keys[at.row], at.age, heat)
      return slots_lib.record(at, token, measured, eos_id=eos_id)

    def step(at: Slots, width: int = max_new_tokens) -> Slots:
      return write(slots_lib.read_last(lm, params, at, width=width))

    def refill(at: Slots) -> Slots:
      read_on = slots_lib.read_last(lm, params, at, width=max_new_tokens)
      return jax.lax.while_loop(_is_busy, step, begin(read_on))

    count = min(slots, rows) or rows
    at = begin(slots_lib.empty(lm, read, nothing, slots=count))
    if count < rows:
      at = jax.lax.while_loop(lambda at: at.waiting | _is_live(at), refill, at)
    else:
      at = _in_widths(step, at, max_new_tokens)
    return jax.tree.map(lambda values: values[:rows], at.rollout)

  return jax.jit(generate)


def _in_widths(step: Callable[[Slots, int], Slots], at: Slots, columns: int) -> Slots:
  """Steps until all rows are over, with as much of the ring as is in use."""
  count = min(WIDTHS, max(1, columns // WIDTH))
  for number in range(1, count + 1):
    width = columns * number // count
    at = jax.lax.while_loop(
      lambda at, width=width: _is_live(at) & (at.step < width),
      lambda at, width=width: step(at, width),
      at,
    )
  return at


def _is_live(at: Slots) -> Array:
  return ~jnp.all(at.idle)


def _is_busy(at: Slots) -> Array:
  """Whether it is too early to fill slots again."""
  enough = max(1, at.row.shape[0] // REFILL)
  return _is_live(at) & (~at.waiting | (jnp.sum(at.idle) < enough))


def _nothing(rows: int, columns: int, eos_id: int, confidence_k: int) -> Rollout:
  zeros = jnp.zeros((rows, columns), jnp.float32)
  return Rollout(
    tokens=jnp.full((rows, columns), eos_id, jnp.int32),
    length=jnp.zeros(rows, jnp.int32),
    finished=jnp.zeros(rows, bool),
    logp=zeros,
    entropy=zeros,
    confidence=zeros if confidence_k else None,
  )
