"""Controllers of alpha and beta: constants, schedules, and dual ascent towards a target.

A controller is a pair of pure functions (see `types.Controller`); all numbers are float32 scalars.
Entropies and KLs are in nats, coefficients in reward units per nat.

The learned ones are gradient ascent on the dual of a constrained problem, max E[R] such that
H >= target (`dual_entropy`) or KL <= target (`dual_kl`). The multiplier is the coefficient and its
dual gradient the violation, so a coefficient rises while the constraint is violated and falls
while it is slack; the step is taken on its logarithm, which keeps it positive and makes the step
relative. Everything else is held fixed: the policy is where the last update left it.

What can be asked for. With prior ref, dKL(pi*||ref)/dbeta = -Var_{pi*}(R)/beta^3: every KL target
in (0, -log ref(argmax R)) has exactly one beta, and any other none; then beta runs to a bound. For
a binary reward that succeeds with probability p under ref the limit is log(1/p). With a uniform
prior dH/dalpha = +Var_{pi*}(R)/alpha^3, so again one alpha for each reachable entropy. Targets
carried over from elsewhere, -|A| [Haarnoja et al. 2018] from continuous actions or 0.98 log|A|
from small discrete sets, lie outside what a language model can or should reach: alpha runs away,
to nothing or for ever upwards. Hence the bounds are not optional.
"""

from collections.abc import Callable, Mapping
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
    return ControllerState(jnp.asarray(schedule(count), jnp.float32), count)

  def init() -> ControllerState:
    return at(jnp.zeros((), jnp.int32))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    del metrics
    return at(state.count + 1)

  return Controller(init, update)


def dual_entropy(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log alpha += learning_rate (target - H), alpha in [low, high].

  H = metrics['entropy'], mean nats per token. Raises ValueError for bounds that do not hold.
  """
  return _dual('dual_entropy', 'entropy', -1.0, initial, target, learning_rate, (low, high))


def dual_kl(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log beta += learning_rate (KL - target), beta in [low, high].

  KL = metrics['kl'], nats per sequence. Raises ValueError for bounds that do not hold.
  """
  return _dual('dual_kl', 'kl', 1.0, initial, target, learning_rate, (low, high))


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


CONTROLLERS: Mapping[str, Callable[..., Controller]] = {
  'fixed': fixed,
  'schedule': named_schedule,
  'target_entropy': dual_entropy,
  'target_kl': dual_kl,
}


def _dual(
  name: str,
  observed: str,
  sign: float,
  initial: float,
  target: float,
  learning_rate: float,
  bounds: tuple[float, float],
) -> Controller:
  """log value += learning_rate sign (metrics[observed] - target), clipped to the bounds.

  An observation that is not finite leaves the value as it is.
  """
  low, high = bounds
  if not 0 < low < initial < high:
    raise ValueError(
      f'{name}: needs 0 < low < initial < high, '
      f'got low={low}, initial={initial}, high={high}; widen the bounds or move initial'
    )

  def init() -> ControllerState:
    return ControllerState(jnp.asarray(initial, jnp.float32), jnp.zeros((), jnp.int32))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    violation = sign * (jnp.asarray(metrics[observed], jnp.float32) - target)
    moved = jnp.exp(jnp.log(state.value) + learning_rate * violation)
    moved = jnp.clip(moved, low, high).astype(jnp.float32)
    value = jnp.where(jnp.isfinite(violation), moved, state.value)
    return ControllerState(value, state.count + 1)

  return Controller(init, update)
