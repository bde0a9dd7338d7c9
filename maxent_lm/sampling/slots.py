"""Slots: rows that are decoded side by side, each as far as it is, and begin and end on their own.

A slot's row has its prompt in the first P columns of the cache. The other R columns are a ring that
all slots share: the token of a step goes to the same column everywhere, so that writing is one
slice, and a slot attends to as many of the last columns as its row has tokens.

Shapes: S slots, B rows, N prompts of G rows each, P prompt columns, R response columns, D width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.lm import cache as kv
from maxent_lm.lm.decoder import LM
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


Measured = tuple[Array, Array, Array | None]  # [S] each, of one token: logp, entropy, confidence


class Slots(NamedTuple):
  """Where decoding is.

  Attributes:
    step: scalar, tokens that every slot has read: the columns of the ring used so far.
    cache: S rows of P + R columns; its `valid` and `position` are those of the prompts [S, P], [S].
    hidden: [S, D] the state before each slot's next token.
    row: [S] the row in each slot; B where there is none.
    age: [S] tokens that the row has.
    next: scalar, the first row that has not begun.
    rollout: of B + 1 rows; the last one takes what is nobody's.
  """

  step: Array
  cache: kv.Cache
  hidden: Array
  row: Array
  age: Array
  next: Array
  rollout: Rollout

  @property
  def rows(self) -> int:
    """B."""
    return self.rollout.length.shape[0] - 1

  @property
  def waiting(self) -> Array:
    """Whether rows have not begun."""
    return self.next < self.rows

  @property
  def idle(self) -> Array:
    """[S] slots without a row."""
    return self.row == self.rows


def empty(lm: LM, read: kv.Cache, rollout: Rollout, *, slots: int) -> Slots:
  """No row has begun. `read`: the prompts' cache; `rollout`: of B + 1 rows, as it begins.

  Raises:
    ValueError: prompts and responses together are longer than the model's `max_length`.
  """
  columns, most = read.valid.shape[1], lm.config.max_length
  if columns + rollout.tokens.shape[1] > most:
    raise ValueError(
      f'prompts of {columns} and responses of {rollout.tokens.shape[1]} tokens do not fit into '
      f'max_length {most}; shorten one of them'
    )
  cache = kv.empty(lm.config, batch=slots, slots=columns + rollout.tokens.shape[1])
  return Slots(
    step=jnp.int32(0),
    cache=cache._replace(valid=cache.valid[:, :columns]),
    hidden=jnp.zeros((slots, lm.config.d_model), lm.config.dtype),
    row=jnp.full(slots, rollout.length.shape[0] - 1, jnp.int32),
    age=jnp.zeros(slots, jnp.int32),
    next=jnp.int32(0),
    rollout=rollout,
  )


def begin(slots: Slots, hidden: Array, read: kv.Cache) -> Slots:
  """The next rows, in the slots that are idle.

  `hidden` [N, D] and `read` are what the model made of the prompts; row b is of prompt b // G.
  """
  row = slots.next + jnp.cumsum(slots.idle, dtype=jnp.int32) - 1
  begins = slots.idle & (row < slots.rows)
  owner = jnp.minimum(row, slots.rows - 1) // (slots.rows // hidden.shape[0])

  def pick(new: Array, old: Array) -> Array:
    return jnp.where(jnp.expand_dims(begins, range(1, old.ndim)), new[owner], old)

  def fill(new: Array, old: Array) -> Array:
    here = begins[None, :, None, None, None]
    prompts = jnp.where(here, new[:, owner], old[:, :, : new.shape[2]])
    return jax.lax.dynamic_update_slice(old, prompts, (0,) * old.ndim)

  return slots._replace(
    cache=slots.cache._replace(
      keys=fill(read.keys, slots.cache.keys),
      values=fill(read.values, slots.cache.values),
      valid=pick(read.valid, slots.cache.valid),
      position=pick(read.position, slots.cache.position),
    ),
    hidden=pick(hidden, slots.hidden),
    row=jnp.where(begins, row, slots.row),
    age=jnp.where(begins, 0, slots.age),
    next=slots.next + jnp.sum(begins, dtype=jnp.int32),
  )


def read_last(lm: LM, params: Params, slots: Slots, *, width: int) -> Slots:
  """Every slot's last token is read; of the ring, nothing lies beyond the first `width` columns."""
  prompts, ring = slots.cache.valid.shape[1], slots.rollout.tokens.shape[1]
  place = slots.step % ring
  ago = (place - jnp.arange(ring)[None, :]) % ring
  cache = slots.cache._replace(
    valid=jnp.concatenate([slots.cache.valid, ago < slots.age[:, None]], axis=1),
    position=slots.cache.position + slots.age - 1,
    length=prompts + place,
  )
  token = slots.rollout.tokens[slots.row, slots.age - 1]
  hidden, new = lm.decode(params, token, cache, filled=prompts + width)
  return slots._replace(
    step=slots.step + 1,
    cache=slots.cache._replace(keys=new.keys, values=new.values),
    hidden=hidden,
  )


def record(slots: Slots, token: Array, measured: Measured, *, eos_id: int) -> Slots:
  """Every slot's next token, with what was measured; rows that are over leave their slots."""
  old, row, age = slots.rollout, slots.row, slots.age
  ended = token == eos_id
  logp, entropy, confidence = jax.tree.map(
    lambda column, value: column.at[row, age].set(value),
    (old.logp, old.entropy, old.confidence),
    measured,
  )
  rollout = Rollout(
    tokens=old.tokens.at[row, age].set(token),
    length=old.length.at[row].set(age + 1),
    finished=old.finished.at[row].set(ended),
    logp=logp,
    entropy=entropy,
    confidence=confidence,
  )
  over = ended | (age + 1 == old.tokens.shape[1])
  return slots._replace(row=jnp.where(over, slots.rows, row), age=age + 1, rollout=rollout)
