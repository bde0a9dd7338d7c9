"""Coefficients that are known before the run: functions of the number of updates alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from maxent_lm.types import Array, Controller, ControllerState, Metrics


def fixed(initial: float) -> Controller:
  """The same coefficient for ever."""
  return scheduled(lambda count: initial)


def scheduled(schedule: Callable[[Array], Any]) -> Controller:
  """value = schedule(count), for any optax schedule; count is the number of updates so far."""

  def at(count: Array) -> ControllerState:
    return ControllerState(jnp.asarray(schedule(count), jnp.float32), count, jnp.float32(0))

  def init() -> ControllerState:
    return at(jnp.zeros((), jnp.int32))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    del metrics
    return at(state.count + 1)

  return Controller(init, update)


def stages(initial: float, *, boundaries: Sequence[int], values: Sequence[float]) -> Controller:
  """`initial` before update boundaries[0], values[i] from update boundaries[i] on.

  Raises:
    ValueError: boundaries that do not rise from 1 or more, or not one value for each.
  """
  steps = [0, *boundaries]
  rising = all(early < late for early, late in zip(steps, steps[1:], strict=False))
  if len(boundaries) != len(values) or not rising:
    raise ValueError(
      'stages: needs rising boundaries, the first at least 1, and a value for each, '
      f'got boundaries={tuple(boundaries)}, values={tuple(values)}'
    )

  def level(count: Array) -> Array:
    passed = jnp.sum(count >= jnp.asarray(boundaries, jnp.int32))
    return jnp.asarray([initial, *values], jnp.float32)[passed]

  return scheduled(level)


# Every schedule of optax, with its argument for the initial (of the one-cycles: the peak) value.
SCHEDULES: Mapping[str, tuple[Callable[..., Callable[[Array], Any]], str | None]] = {
  'constant_schedule': (optax.constant_schedule, 'value'),
  'cosine_decay_schedule': (optax.cosine_decay_schedule, 'init_value'),
  'cosine_onecycle_schedule': (optax.cosine_onecycle_schedule, 'peak_value'),
  'exponential_decay': (optax.exponential_decay, 'init_value'),
  'linear_onecycle_schedule': (optax.linear_onecycle_schedule, 'peak_value'),
  'linear_schedule': (optax.linear_schedule, 'init_value'),
  'piecewise_constant_schedule': (optax.piecewise_constant_schedule, 'init_value'),
  'piecewise_interpolate_schedule': (optax.piecewise_interpolate_schedule, 'init_value'),
  'polynomial_schedule': (optax.polynomial_schedule, 'init_value'),
  'sgdr_schedule': (optax.sgdr_schedule, None),  # every cycle brings its own
  'warmup_constant_schedule': (optax.warmup_constant_schedule, 'init_value'),
  'warmup_cosine_decay_schedule': (optax.warmup_cosine_decay_schedule, 'init_value'),
  'warmup_exponential_decay_schedule': (optax.warmup_exponential_decay_schedule, 'init_value'),
}


def named_schedule(initial: float, *, name: str, arguments: Mapping[str, Any]) -> Controller:
  """`scheduled` with the optax schedule `name`: `initial` is its first value, `arguments` the rest.

  The boundaries of the piecewise schedules may be texts ('100'), as config files have them.

  Raises:
    ValueError: an unknown name, or arguments that the schedule does not take.
  """
  if name not in SCHEDULES:
    raise ValueError(f'schedule: unknown name {name!r}; known names are {", ".join(SCHEDULES)}')
  make, first = SCHEDULES[name]
  given: dict[str, Any] = {**arguments, **({first: initial} if first else {})}
  if 'boundaries_and_scales' in given:
    scales = given['boundaries_and_scales'].items()
    given['boundaries_and_scales'] = {int(step): scale for step, scale in scales}
  try:
    return scheduled(make(**given))
  except TypeError as error:
    raise ValueError(f'schedule: {name} does not take these arguments: {error}') from error
