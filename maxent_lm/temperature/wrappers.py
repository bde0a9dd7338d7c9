"""Controllers around a controller: gates, averages of what is observed, a factor from outside.

A wrapper keeps what is its own in front of the memory of the controller inside.
"""

from collections.abc import Callable

import jax.numpy as jnp

from maxent_lm.temperature import frame
from maxent_lm.types import Array, Controller, ControllerState, Metrics


def gated(controller: Controller, in_force: Callable[[Metrics], Array]) -> Controller:
  """The controller's value where `in_force(metrics)`, and 0 elsewhere; nan: as it was before.

  memory = (value of the controller, *its memory): a coefficient that is out of force goes on
  moving, and a value of 0 does not hold it there. In force until something is observed.
  """

  def init() -> ControllerState:
    inner = controller.init()
    # A copy: a state that is donated must not hold one buffer twice.
    return inner._replace(memory=(jnp.copy(inner.value), *inner.memory))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    value, *memory = state.memory
    inner = controller.update(state._replace(value=value, memory=tuple(memory)), metrics)
    opened = in_force(metrics)
    value = jnp.where(opened > 0, inner.value, 0)
    value = jnp.where(jnp.isnan(opened), state.value, value)
    return inner._replace(value=value, memory=(inner.value, *inner.memory))

  bounds = None if controller.bounds is None else (0.0, controller.bounds[1])
  return Controller(init, update, bounds, controller.observes)


def moving_average(controller: Controller, *, decay: float) -> Controller:
  """The controller sees m = decay m + (1 - decay) o in place of its observation o.

  The first finite o begins the average, one that is not finite is left out and passed on as it is.
  memory = (average, *the controller's).

  Raises:
    ValueError: decay outside [0, 1), or a controller that does not observe one number.
  """
  if not 0 <= decay < 1:
    raise ValueError(f'moving_average: needs a decay in [0, 1), got {decay}')
  if len(controller.observes) != 1:
    raise ValueError(
      'moving_average: needs a controller that observes one number, this one observes '
      f'{len(controller.observes)}; set config.alpha.average (beta, sampler) to 0'
    )
  (observe,) = controller.observes

  def init() -> ControllerState:
    inner = controller.init()
    return inner._replace(memory=(jnp.float32(jnp.nan), *inner.memory))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    seen = frame.read('moving_average', metrics, observe)
    average, *memory = state.memory
    mixed = jnp.where(jnp.isnan(average), seen, decay * average + (1 - decay) * seen)
    known = jnp.isfinite(seen)
    average = jnp.where(known, mixed, average)
    shown = {**metrics, observe: jnp.where(known, mixed, seen)}
    inner = controller.update(state._replace(memory=tuple(memory)), shown)
    return inner._replace(memory=(average, *inner.memory))

  return Controller(init, update, controller.bounds, controller.observes)


def liftable(controller: Controller, *, high: float) -> Controller:
  """The controller's value times a factor that only `lift` changes; lifted to at most `high`.

  The factor starts at 1. memory = (value of the controller, factor, *its memory).
  """

  def outside(inner: ControllerState, factor: Array) -> ControllerState:
    value = jnp.maximum(inner.value, jnp.minimum(inner.value * factor, high))
    return inner._replace(value=value, memory=(inner.value, factor, *inner.memory))

  def init() -> ControllerState:
    return outside(controller.init(), jnp.float32(1))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    value, factor, *memory = state.memory
    inner = state._replace(value=value, memory=tuple(memory))
    return outside(controller.update(inner, metrics), factor)

  bounds = controller.bounds
  if bounds is not None:
    bounds = (bounds[0], max(bounds[1], high))
  return Controller(init, update, bounds, controller.observes)


def lift(state: ControllerState, *, factor: float, high: float) -> ControllerState:
  """Multiplies the factor of a `liftable` controller by `factor`, until its value is `high`."""
  inner, before = state.memory[:2]
  after = jnp.where(inner * before < high, before * factor, before)
  value = jnp.maximum(inner, jnp.minimum(inner * after, high))
  return state._replace(value=value, memory=(inner, after, *state.memory[2:]))
