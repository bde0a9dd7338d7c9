"""What all controllers that observe have in common: reading, a box, and when to stand still."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from maxent_lm.types import Array, Controller, ControllerState, Metrics

# (state, what was seen) -> (the value wanted, the new memory)
Move = Callable[[ControllerState, Array], tuple[Array, tuple[Array, ...]]]

# Which way a larger coefficient moves what is observed: entropy is held up by alpha, a KL held down
# by beta.
DIRECTIONS = {'hold_up': 1.0, 'hold_down': -1.0}


def read(name: str, metrics: Metrics, observe: str) -> Array:
  """metrics[observe], a float32 scalar.

  Raises:
    ValueError: this run has no such number; the sentence lists those that it has.
  """
  known = sorted(key for key, value in metrics.items() if jnp.ndim(value) == 0)
  if observe not in known:
    raise ValueError(
      f'{name}: observe={observe!r} is not measured in this run; choose one of {", ".join(known)}'
    )
  return jnp.asarray(metrics[observe], jnp.float32)


def feedback(
  name: str,
  observe: str,
  move: Move,
  *,
  initial: float,
  bounds: tuple[float, float],
  memory: tuple[float, ...] = (),
) -> Controller:
  """`watching` one number of the metrics; `name` is the controller's, for its errors."""
  return watching(
    lambda metrics: (read(name, metrics, observe), jnp.float32(0)),
    move,
    observes=(observe,),
    initial=initial,
    bounds=bounds,
    memory=memory,
  )


def watching(
  see: Callable[[Metrics], tuple[Array, Array]],
  move: Move,
  *,
  observes: tuple[str, ...],
  initial: float,
  bounds: tuple[float, float],
  memory: tuple[float, ...] = (),
) -> Controller:
  """value <- clip(move(state, see(metrics)), bounds).

  `see` gives what moves the value and the share of it that is out of reach, which is `clamped`
  unless the value stands at a bound. If what is seen, or what is wanted then, is not a number, all
  but the count stays as it is.
  """
  low, high = bounds

  def init() -> ControllerState:
    kept = tuple(jnp.float32(number) for number in memory)
    return ControllerState(jnp.float32(initial), jnp.zeros((), jnp.int32), jnp.float32(0), kept)

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    seen, share = see(metrics)
    wanted, kept = move(state, seen)
    inside = jnp.clip(wanted, low, high)
    moved = ControllerState(
      value=inside,
      count=state.count,
      clamped=jnp.where(inside == wanted, share, 1.0),
      memory=kept,
    )
    known = jnp.isfinite(seen) & ~jnp.isnan(wanted)
    state = jax.tree.map(
      lambda new, old: jnp.where(known, new, old).astype(old.dtype), moved, state
    )
    return state._replace(count=state.count + 1)

  return Controller(init, update, bounds, observes)


def check_box(name: str, low: float, initial: float, high: float) -> None:
  """Raises ValueError unless 0 <= low <= initial <= high and low < high."""
  if not (0 <= low <= initial <= high and low < high):
    raise ValueError(
      f'{name}: needs 0 <= low <= initial <= high and low < high, '
      f'got low={low}, initial={initial}, high={high}; widen the box or move initial'
    )


def check_open_box(name: str, low: float, initial: float, high: float) -> None:
  """Raises ValueError unless 0 < low < initial < high: what moves by factors never leaves 0."""
  if not 0 < low < initial < high:
    raise ValueError(
      f'{name}: needs 0 < low < initial < high, '
      f'got low={low}, initial={initial}, high={high}; widen the bounds or move initial'
    )


def sign(name: str, direction: str) -> float:
  """+1 or -1: which way a coefficient moves while what is observed lies below its target.

  Raises:
    ValueError: an unknown direction.
  """
  if direction not in DIRECTIONS:
    raise ValueError(
      f'{name}: direction={direction!r} is unknown; choose one of {", ".join(DIRECTIONS)}'
    )
  return DIRECTIONS[direction]
