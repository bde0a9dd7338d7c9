"""Slots: rows that are decoded side by side, each as far as it is, and begin and end on their own.

A slot's row has its prompt in the first P columns of a cache. The other R columns are a ring that
all slots share: the token of a step goes to the same column everywhere, so that writing is one
slice, and a row, which has at most R tokens, finds in it all of its own and sees no other. Where
all rows begin together, the caches have R columns, and a group has its prompt's once
(`cache.Shared`), until rows are dropped.

Shapes: S slots, B rows, N prompts of G rows each, P prompt columns, R response columns, V
vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxent_lm.sampling import streams
from maxent_lm.sampling.streams import Memory, Stream
from maxent_lm.types import Array


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


class Prompts(NamedTuple):
  """What a policy says after the N prompts, [N, V], and its memory of them, with no more room."""

  said: Array
  memory: Memory


class Slots(NamedTuple):
  """Where decoding is.

  Attributes:
    memory: of the policy, S rows; caches have P + R or R columns, or less until they are full.
    row: [S] the row in each slot; B where there is none.
    age: [S] tokens that the row has.
    next: scalar, the first row that has not begun.
    steps: scalar, tokens that have been read in every slot.
    rollout: of B + 1 rows; the last one takes what is nobody's.
  """

  memory: Memory
  row: Array
  age: Array
  next: Array
  steps: Array
  rollout: Rollout

  @property
  def rows(self) -> int:
    """B."""
    return self.rollout.length.shape[0] - 1

  @property
  def idle(self) -> Array:
    """[S] slots without a row."""
    return self.row == self.rows

  @property
  def live(self) -> Array:
    """Whether any slot has a row."""
    return ~jnp.all(self.idle)

  @property
  def waiting(self) -> Array:
    """Whether rows have not begun."""
    return self.next < self.rows

  @property
  def sparse(self) -> Array:
    """Whether nothing waits and half of the slots are enough."""
    return ~self.waiting & (jnp.sum(~self.idle) <= self.row.shape[0] // 2)


def first(prompts: Prompts, rollout: Rollout, *, slots: int) -> tuple[Array, Slots]:
  """(what is said [S, V], the slots) of the first rows; `rollout` is of B + 1 rows, without tokens.

  Row b is of prompt b // G.
  """
  row = jnp.arange(slots, dtype=jnp.int32)
  group_size = _group_size(prompts, rollout)
  if slots == rollout.length.shape[0] - 1:
    # All rows: where devices share the prompts, each has its own rows' prompts already.
    said, memory = streams.share((prompts.said, prompts.memory), group_size)
  else:
    said, memory = streams.take((prompts.said, prompts.memory), row // group_size)
  age = jnp.zeros(slots, jnp.int32)
  return said, Slots(memory, row, age, jnp.int32(slots), jnp.int32(0), rollout)


def widen(slots: Slots, columns: int) -> Slots:
  """The slots with `columns` columns more; right before any column has been used twice."""
  return slots._replace(memory=streams.extend(slots.memory, columns))


def halve(slots: Slots) -> Slots:
  """The rows of `sparse` slots in half as many."""
  kept = jnp.argsort(slots.idle, stable=True)[: slots.row.shape[0] // 2]
  memory = streams.take(slots.memory, kept)
  return slots._replace(memory=memory, row=slots.row[kept], age=slots.age[kept])


def fill(said: Array, slots: Slots, prompts: Prompts) -> tuple[Array, Slots]:
  """The next rows, in the slots that are idle."""
  row = slots.next + jnp.cumsum(slots.idle, dtype=jnp.int32) - 1
  begins = slots.idle & (row < slots.rows)
  owner = jnp.minimum(row, slots.rows - 1) // _group_size(prompts, slots.rollout)
  memory = streams.begin(begins, streams.take(prompts.memory, owner), slots.memory)
  slots = slots._replace(
    memory=memory,
    row=jnp.where(begins, row, slots.row),
    age=jnp.where(begins, 0, slots.age),
    next=slots.next + jnp.sum(begins, dtype=jnp.int32),
  )
  return jnp.where(begins[:, None], prompts.said[owner], said), slots


def read(stream: Stream, slots: Slots) -> tuple[Array, Slots]:
  """Every slot's last token is read: (what is said [S, V], the slots)."""
  token = slots.rollout.tokens[slots.row, slots.age - 1]
  ring = slots.rollout.tokens.shape[1]
  said, memory = stream.decode(token, streams.rewind(slots.memory, ring))
  return said, slots._replace(memory=memory, steps=slots.steps + 1)


def record(slots: Slots, token: Array, measured: Measured, *, eos_id: int) -> Slots:
  """Every slot's next token, with what was measured; rows that are over leave their slots."""
  old, row, age = slots.rollout, slots.row, slots.age
  ended = token == eos_id
  logp, entropy, confidence = jax.tree.map(
    lambda column, value: column.at[row, age].set(value.astype(column.dtype)),
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


def _group_size(prompts: Prompts, rollout: Rollout) -> int:
  return (rollout.length.shape[0] - 1) // prompts.said.shape[0]
