"""Rollouts: prefill every prompt once, then decode its whole group with a KV cache, in one jit.

What is sampled from is a `Stream` of logits: a language model, or one that is guided.

Shapes: N prompts, P prompt columns (left-padded), G samples a prompt, B = N G rows (the rows of a
group are adjacent), R response columns.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from maxent_lm.lm import partition
from maxent_lm.lm.decoder import LM
from maxent_lm.sampling import loops, streams
from maxent_lm.sampling import slots as slots_lib
from maxent_lm.sampling.deepconf import token_confidence
from maxent_lm.sampling.loops import Predicate
from maxent_lm.sampling.policies import Behaviour, draw
from maxent_lm.sampling.slots import Measured, Prompts, Rollout, Slots
from maxent_lm.sampling.streams import Stream
from maxent_lm.types import Array, Params

__all__ = ['Generate', 'Rollout', 'make_generate', 'make_sampler']

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
  sampling: Behaviour,
  group_size: int,
  max_new_tokens: int,
  eos_id: int,
  confidence_k: int = 0,
  slots: int = 0,
  cells: int = 1,
) -> Generate:
  """`make_sampler` of a language model's own logits; `params` are the model's."""
  return make_sampler(
    functools.partial(streams.policy, lm),
    sampling=sampling,
    group_size=group_size,
    max_new_tokens=max_new_tokens,
    eos_id=eos_id,
    confidence_k=confidence_k,
    slots=slots,
    cells=cells,
  )


def make_sampler(
  policy: Callable[[Params], Stream],
  *,
  sampling: Behaviour,
  group_size: int,
  max_new_tokens: int,
  eos_id: int,
  confidence_k: int = 0,
  slots: int = 0,
  cells: int = 1,
) -> Generate:
  """Builds `generate(params, prompts [N, P], valid [N, P], key, heat=1) -> Rollout` of N G rows.

  `policy(params)` says the logits; `params` is whatever it takes, the parameters of a model and of
  its guide for instance. Every row draws with its own key fold_in(fold_in(key, row), step), so a
  row's sample does not depend on which other rows are in the batch. `confidence_k` > 0 also records
  the confidence in the k most likely tokens.

  All rows begin together, and decoding stops as soon as every row has ended. With 0 < `slots` < N G
  so many rows are decoded at a time, and where some have ended the next ones begin: the longest
  responses do not keep all others waiting. When none is left to begin and at most half of them go
  on, they go on alone, and so again; not where devices share the rows (`cells` > 1), which would
  have to be sent from one to the other.
  """

  def generate(
    params: Params, prompts: Array, valid: Array, key: Array, heat: Array | float = 1.0
  ) -> Rollout:
    stream = policy(params)
    rows = prompts.shape[0] * group_size
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows + 1))
    said, memory = stream.prefill(prompts, valid, prompts.shape[1] + max_new_tokens)
    begun = Prompts(said, streams.cut(memory, max_new_tokens))
    count = min(slots, rows) or rows

    def write(said: Array, at: Slots) -> Slots:
      uniform = jax.vmap(_uniform)(keys[at.row], at.age)
      token, measured = _sample(said, uniform, heat, sampling=sampling, confidence_k=confidence_k)
      return slots_lib.record(at, token, measured, eos_id=eos_id)

    def step(at: Slots) -> Slots:
      return write(*slots_lib.read(stream, at))

    def refill(goes: Predicate, at: Slots) -> Slots:
      at = write(*slots_lib.fill(*slots_lib.read(stream, at), begun))
      return jax.lax.while_loop(lambda at: _is_busy(at) & goes(at), step, at)

    nothing = _nothing(rows + 1, max_new_tokens, eos_id, confidence_k)
    at = write(*slots_lib.first(begun, nothing, slots=count))
    turn = refill if count < rows else (lambda _, at: step(at))
    may_thin_out = cells == 1 and (eos_id >= 0 or count < rows)
    at = loops.decode(turn, at, halvings=loops.halvings(count) if may_thin_out else 0)
    return jax.tree.map(lambda values: values[:rows], at.rollout)

  return jax.jit(generate)


def _uniform(key: Array, age: Array) -> Array:
  """What decides a row's token at this age."""
  return jax.random.uniform(jax.random.fold_in(key, age))


def _sample(
  logits: Array, uniform: Array, heat: Array | float, *, sampling: Behaviour, confidence_k: int
) -> tuple[Array, Measured]:
  """The next tokens [S], and what is recorded of them."""
  logits = partition.whole_rows(logits)
  log_pi = jax.nn.log_softmax(logits)
  possible = jnp.where(log_pi > -jnp.inf, log_pi, 0)  # guidance may rule tokens out
  entropy = -jnp.sum(jnp.exp(log_pi) * possible, axis=-1)
  behaviour = sampling.log_probs(logits / heat)
  token = draw(behaviour, uniform)
  logp = jnp.take_along_axis(behaviour, token[:, None], axis=1)[:, 0]
  confidence = token_confidence(log_pi, k=confidence_k) if confidence_k else None
  return token, (logp, entropy, confidence)


def _is_busy(at: Slots) -> Array:
  """Whether it is too early to fill slots again."""
  enough = max(1, at.row.shape[0] // REFILL)
  return at.live & (~at.waiting | (jnp.sum(at.idle) < enough))


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
