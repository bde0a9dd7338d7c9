"""Controllers of alpha and beta: constants, schedules, and dual ascent towards a target.

A controller is a pair of pure functions (see `types.Controller`); all numbers are float32 scalars.
Entropies and KLs are in nats, coefficients in reward units per nat.

The learned ones are gradient ascent on the dual of a constrained problem, max E[R] such that
H >= target (`dual_entropy`) or KL <= target (`dual_kl`). The multiplier is the coefficient and its
dual gradient the violation, so a coefficient rises while the constraint is violated and falls
while it is slack; the step is taken on its logarithm, which keeps it positive and makes the step
relative.

What is held fixed. The kappa of the Bellman operator is the learned one: values, priors and targets
of a step are all computed with the coefficients as they were before it, losses stop their gradient,
and the controller then moves them with the policy as the update left it. So targets move with the
temperature, but only between steps, and a value head or a target network, which remembers values
of an older temperature, has to follow; the logits' own log-sum-exp, in nats, rescales at once.

What can be asked for. With prior ref, dKL(pi*||ref)/dbeta = -Var_{pi*}(R)/beta^3: every KL target
in (0, -log ref(argmax R)) has exactly one beta, and any other none; then beta runs to a bound. For
a binary reward that succeeds with probability p under ref the limit is log(1/p), another one for
each prompt: `dual_kl_per_prompt` asks of each prompt what it can give. With a uniform prior
dH/dalpha = +Var_{pi*}(R)/alpha^3, so again one alpha for each reachable entropy. Targets
carried over from elsewhere, -|A| [Haarnoja et al. 2018] from continuous actions or 0.98 log|A|
from small discrete sets, lie outside what a language model can or should reach: alpha runs away,
to nothing or for ever upwards. Hence the bounds are not optional.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from maxent_lm.masked import clean, masked_mean, masked_sum
from maxent_lm.types import Array, Batch, Controller, ControllerState, Metrics


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


def dual_entropy(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log alpha += learning_rate (target - H), alpha in [low, high].

  H = metrics['entropy'], mean nats per token. Raises ValueError for bounds that do not hold.
  """

  def violation(metrics: Metrics) -> tuple[Array, Array]:
    return target - metrics['entropy'], jnp.float32(0)

  return _dual('dual_entropy', violation, initial, learning_rate, (low, high))


def dual_kl(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log beta += learning_rate (KL - target), beta in [low, high].

  KL = metrics['kl'], nats per sequence. Raises ValueError for bounds that do not hold.
  """

  def violation(metrics: Metrics) -> tuple[Array, Array]:
    return metrics['kl'] - target, jnp.float32(0)

  return _dual('dual_kl', violation, initial, learning_rate, (low, high))


def dual_kl_per_prompt(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log beta += learning_rate mean_x (KL(x) - min(target, log 1/p(x))), beta in [low, high].

  `dual_kl` with a target for each prompt: KL(x) = metrics['kl_rows'] [B] and log 1/p(x) =
  metrics['kl_limits'] [B], see `kl_limits`. Rows without a limit are left out; with none left the
  coefficient stays. `clamped` is the share of the rows whose target was out of reach. Raises
  ValueError for bounds that do not hold.
  """

  def violation(metrics: Metrics) -> tuple[Array, Array]:
    limits = metrics['kl_limits'].astype(jnp.float32)
    usable = jnp.isfinite(limits)
    gap = metrics['kl_rows'] - jnp.minimum(target, limits)
    # No usable row: nan, which leaves the coefficient as it is.
    some = jnp.where(usable.any(), 0.0, jnp.nan)
    return some + masked_mean(gap, usable), masked_mean(limits < target, usable)

  return _dual('dual_kl_per_prompt', violation, initial, learning_rate, (low, high))


def kl_limits(reference_logp: Array, batch: Batch) -> Array:
  """[B] log 1/p of each row's prompt, nats; nan where p cannot be told from 0 or 1.

  p estimates the success rate of the reference from the group's responses, success meaning a total
  reward of at least 1: sum_i w_i 1(R_i >= 1) / sum_i w_i with w = ref / behaviour of the whole
  response (the group's largest weight is 1), `reference_logp` [B, T]. Where all responses succeed,
  or none, the reward has no variance and the temperature nothing to learn from.
  """
  rows, group = len(batch.group), batch.group
  present = batch.mask.any(axis=1)
  ratio = clean(reference_logp, batch.mask) - clean(batch.logp, batch.mask)
  log_weight = jnp.where(present, masked_sum(ratio, batch.mask, axis=1), -jnp.inf)
  top = jax.ops.segment_max(log_weight, group, num_segments=rows)[group]
  weight = jnp.where(present, jnp.exp(log_weight - jnp.where(present, top, 0)), 0)
  right = masked_sum(batch.reward, batch.mask, axis=1) >= 1
  all_weight = jax.ops.segment_sum(weight, group, num_segments=rows)[group]
  right_weight = jax.ops.segment_sum(weight * right, group, num_segments=rows)[group]
  wrong = jax.ops.segment_sum(1 * (present & ~right), group, num_segments=rows)[group]
  usable = present & (right_weight > 0) & (wrong > 0)
  share = jnp.where(usable, right_weight, 1) / jnp.where(usable, all_weight, 1)
  return jnp.where(usable, -jnp.log(share), jnp.nan)


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
  'target_kl_per_prompt': dual_kl_per_prompt,
}


def _dual(
  name: str,
  violation: Callable[[Metrics], tuple[Array, Array]],
  initial: float,
  learning_rate: float,
  bounds: tuple[float, float],
) -> Controller:
  """log value += learning_rate violation, within the bounds; a violation that is not finite: none.

  `violation(metrics)` gives the dual gradient and the share of it that was out of reach.
  """
  low, high = bounds
  if not 0 < low < initial < high:
    raise ValueError(
      f'{name}: needs 0 < low < initial < high, '
      f'got low={low}, initial={initial}, high={high}; widen the bounds or move initial'
    )

  def init() -> ControllerState:
    return ControllerState(jnp.float32(initial), jnp.zeros((), jnp.int32), jnp.float32(0))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    gap, share = violation(metrics)
    gap = jnp.asarray(gap, jnp.float32)
    moved = jnp.exp(jnp.log(state.value) + learning_rate * gap)
    inside = jnp.clip(moved, low, high).astype(jnp.float32)
    clamped = jnp.where(inside == moved, share, 1.0)
    known = jnp.isfinite(gap)
    return ControllerState(
      value=jnp.where(known, inside, state.value),
      count=state.count + 1,
      clamped=jnp.where(known, clamped, state.clamped).astype(jnp.float32),
    )

  return Controller(init, update)
