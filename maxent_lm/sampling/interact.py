"""Rollouts against a world that answers: action and observation take turns, a token each.

A row is START, o_0, a_0, o_1, a_1, ...: the policy draws the actions, the world gives the rest. The
mask is True on actions only, so every objective steps from action to action: a state is all that
was seen and done before.

Shapes: B rows, S steps, T columns, T >= 2 S + 1.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.lm.network import Network
from maxent_lm.lm.scores import next_token_logits
from maxent_lm.sampling.manners import Manner
from maxent_lm.sampling.policies import draw
from maxent_lm.types import Array, Batch, Params


class World(Protocol):
  """B episodes side by side, on the host."""

  over: np.ndarray
  longest: int

  def see(self) -> np.ndarray:
    """[B] int32 what is observed now."""
    ...

  def step(self, tokens: np.ndarray) -> np.ndarray:
    """[B] rewards of the actions `tokens`; 0 in episodes that are over."""
    ...


class Played(NamedTuple):
  """[B, T] as in `Batch`, but of numpy, and [B] the return of every episode in reward units."""

  tokens: np.ndarray
  mask: np.ndarray
  logp: np.ndarray
  reward: np.ndarray

  @property
  def returns(self) -> np.ndarray:
    """[B] the sum of the rewards."""
    return self.reward.sum(axis=1)

  def batch(self) -> Batch:
    """Every row a group of its own, no row bootstrapped."""
    rows = len(self.tokens)
    return Batch(
      tokens=jnp.asarray(self.tokens),
      mask=jnp.asarray(self.mask),
      logp=jnp.asarray(self.logp),
      reward=jnp.asarray(self.reward),
      weight=jnp.ones(self.tokens.shape, jnp.float32),
      advantage=jnp.zeros(self.tokens.shape, jnp.float32),
      group=jnp.arange(rows, dtype=jnp.int32),
      cluster=jnp.full(rows, -1, jnp.int32),
      bootstrap=jnp.zeros(rows, bool),
    )


Interact = Callable[[Params, World, Array], Played]


def make_interact(lm: Network, *, manner: Manner, start: int, multiple: int) -> Interact:
  """Builds `interact(params, world, key) -> Played`, T rounded up to `multiple`.

  Each row draws from its own stream fold_in(fold_in(key, row), step). Play stops when every episode
  is over. Raises ValueError if the longest episode does not fit into the model.
  """

  @functools.partial(jax.jit, donate_argnums=1)
  def act(
    params: Params, memory: Any, before: Array, seen: Array, key: Array, step: Array
  ) -> tuple[Any, Array, Array]:
    _, memory = lm.decode(params, before, memory)
    hidden, memory = lm.decode(params, seen, memory)
    behaviour = manner(next_token_logits(hidden, lm.head(params)), before, seen)
    rows = jnp.arange(len(seen))
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(key, row), step))(rows)
    token = draw(behaviour, jax.vmap(jax.random.uniform)(keys))
    return memory, token, jnp.take_along_axis(behaviour, token[:, None], axis=1)[:, 0]

  def interact(params: Params, world: World, key: Array) -> Played:
    rows = len(world.over)
    columns = -(-(2 * world.longest + 1) // multiple) * multiple
    played = Played(
      *(np.zeros((rows, columns), kind) for kind in (np.int32, bool, np.float32, np.float32))
    )
    memory = lm.empty(batch=rows, slots=columns)
    before = jnp.full(rows, start, jnp.int32)
    played.tokens[:, 0] = start
    for step in range(world.longest):
      live = ~world.over
      if not live.any():
        break
      seen, at = world.see(), 2 * step + 1
      memory, before, logp = act(params, memory, before, jnp.asarray(seen), key, jnp.int32(step))
      action = np.asarray(before)
      played.tokens[:, at], played.tokens[:, at + 1] = seen, np.where(live, action, start)
      played.mask[:, at + 1] = live
      played.logp[:, at + 1] = np.where(live, logp, 0)
      played.reward[:, at + 1] = world.step(action)
    return played

  return interact
