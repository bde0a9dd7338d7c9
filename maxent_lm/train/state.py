"""Everything that a step changes, in one pytree: what a checkpoint holds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxent_lm.temperature import fixed
from maxent_lm.types import Array, Controller, ControllerState, Params

AS_CONFIGURED = fixed(1.0)  # the sampler's temperature where nobody steers it


class CriticState(NamedTuple):
  """Networks beside the policy: parameters, a lagged copy or None, the state of their optimiser."""

  params: Params
  target: Params | None
  opt_state: optax.OptState


class TrainState(NamedTuple):
  """A run between two steps; resuming from it continues bit for bit.

  Attributes:
    step: int32, updates taken (skipped ones included).
    params: the policy.
    target: the lagged copy that gives soft Bellman targets; None without a target network.
    opt_state: of the policy's optimiser.
    critic: networks beside the policy; None without any.
    reference: the reference policy where it moves during the run; None where it stays.
    alpha: entropy weight and its controller's memory.
    beta: weight of the KL to the reference, likewise.
    sampler: what the logits are divided by when the next batch is sampled, beside the configured
      temperature; likewise.
    key: PRNG key of the run; a step uses fold_in(key, step).
  """

  step: Array
  params: Params
  target: Params | None
  opt_state: optax.OptState
  critic: CriticState | None
  reference: Params | None
  alpha: ControllerState
  beta: ControllerState
  sampler: ControllerState
  key: Array


def init_state(
  params: Params,
  *,
  optimizer: optax.GradientTransformation,
  alpha: Controller,
  beta: Controller,
  has_target: bool,
  seed: int,
  critic: Params | None = None,
  critic_optimizer: optax.GradientTransformation | None = None,
  moving_reference: bool = False,
  sampler: Controller = AS_CONFIGURED,
) -> TrainState:
  """The state before the first step. Targets and a moving reference start as copies."""
  beside = None
  if critic is not None and critic_optimizer is not None:
    beside = CriticState(
      params=critic,
      target=_copy(critic) if has_target else None,
      opt_state=jax.jit(critic_optimizer.init)(critic),
    )
  return TrainState(
    step=jnp.int32(0),
    params=params,
    target=_copy(params) if has_target else None,
    opt_state=jax.jit(optimizer.init)(params),  # jit: moments inherit the parameters' sharding
    critic=beside,
    reference=_copy(params) if moving_reference else None,
    alpha=alpha.init(),
    beta=beta.init(),
    sampler=sampler.init(),
    key=jax.random.key(seed),
  )


def _copy(params: Params) -> Params:
  return jax.tree.map(jnp.copy, params)
