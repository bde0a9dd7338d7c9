"""Everything that a step changes, in one pytree: what a checkpoint holds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxent_lm.types import Array, Controller, ControllerState, Params


class TrainState(NamedTuple):
  """A run between two steps; resuming from it continues bit for bit.

  Attributes:
    step: int32, updates taken (skipped ones included).
    params: the policy.
    target: the lagged copy that gives soft Bellman targets; None without a target network.
    opt_state: of the optimiser.
    alpha: entropy weight and its controller's memory.
    beta: weight of the KL to the reference, likewise.
    key: PRNG key of the run; a step uses fold_in(key, step).
  """

  step: Array
  params: Params
  target: Params | None
  opt_state: optax.OptState
  alpha: ControllerState
  beta: ControllerState
  key: Array


def init_state(
  params: Params,
  *,
  optimizer: optax.GradientTransformation,
  alpha: Controller,
  beta: Controller,
  has_target: bool,
  seed: int,
) -> TrainState:
  """The state before the first step. The target starts as a copy of the policy."""
  return TrainState(
    step=jnp.int32(0),
    params=params,
    target=jax.tree.map(jnp.copy, params) if has_target else None,
    opt_state=jax.jit(optimizer.init)(params),  # jit: moments inherit the parameters' sharding
    alpha=alpha.init(),
    beta=beta.init(),
    key=jax.random.key(seed),
  )
