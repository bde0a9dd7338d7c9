"""Dual ascent: a coefficient is the multiplier of a constraint, and moves by its violation.

What can be asked for, and what cannot, is told in `maxent_lm.temperature`.
"""

import jax
import jax.numpy as jnp

from maxent_lm.masked import clean, masked_mean, masked_sum
from maxent_lm.temperature import frame
from maxent_lm.types import Array, Batch, Controller, ControllerState, Metrics


def dual(
  initial: float,
  *,
  observe: str,
  target: float,
  learning_rate: float,
  direction: str,
  low: float,
  high: float,
) -> Controller:
  """log c += learning_rate s (target - metrics[observe]), c in [low, high].

  s is +1 with direction 'hold_up' (the constraint is observation >= target) and -1 with 'hold_down'
  (observation <= target). Raises ValueError for bounds that do not hold and unknown directions.
  """
  return _dual('dual', initial, observe, target, learning_rate, direction, low, high)


def dual_entropy(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log alpha += learning_rate (target - H), alpha in [low, high].

  H = metrics['entropy'], mean nats per token. Raises ValueError for bounds that do not hold.
  """
  return _dual('dual_entropy', initial, 'entropy', target, learning_rate, 'hold_up', low, high)


def dual_kl(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log beta += learning_rate (KL - target), beta in [low, high].

  KL = metrics['kl'], nats per sequence. Raises ValueError for bounds that do not hold.
  """
  return _dual('dual_kl', initial, 'kl', target, learning_rate, 'hold_down', low, high)


def dual_kl_per_prompt(
  initial: float, *, target: float, learning_rate: float, low: float, high: float
) -> Controller:
  """log beta += learning_rate mean_x (KL(x) - min(target, log 1/p(x))), beta in [low, high].

  `dual_kl` with a target for each prompt: KL(x) = metrics['kl_rows'] [B] and log 1/p(x) =
  metrics['kl_limits'] [B], see `kl_limits`. Rows without a limit are left out; with none left the
  coefficient stays. `clamped` is the share of the rows whose target was out of reach. Raises
  ValueError for bounds that do not hold.
  """
  frame.check_open_box('dual_kl_per_prompt', low, initial, high)

  def see(metrics: Metrics) -> tuple[Array, Array]:
    limits = metrics['kl_limits'].astype(jnp.float32)
    usable = jnp.isfinite(limits)
    gap = metrics['kl_rows'] - jnp.minimum(target, limits)
    # No usable row: nan, which leaves the coefficient as it is.
    some = jnp.where(usable.any(), 0.0, jnp.nan)
    return some + masked_mean(gap, usable), masked_mean(limits < target, usable)

  def move(state: ControllerState, gap: Array) -> tuple[Array, tuple[Array, ...]]:
    return _relative(state.value, learning_rate * gap), ()

  observes = ('kl_rows', 'kl_limits')
  return frame.watching(see, move, observes=observes, initial=initial, bounds=(low, high))


def raw_dual(
  initial: float,
  *,
  observe: str,
  target: float,
  learning_rate: float,
  direction: str,
  low: float,
  high: float,
) -> Controller:
  """c += learning_rate s (target - metrics[observe]), c in [low, high]; s as in `dual`.

  The step is absolute, so c may reach 0 if `low` is 0: entropy is then no longer paid for, which no
  soft objective can do without. SIREN's adaptive baseline has observe 'entropy', 'hold_up', low 0
  and no upper bound [Jiang et al. 2025]. Raises ValueError as `dual` does.
  """
  frame.check_box('raw_dual', low, initial, high)
  up = frame.sign('raw_dual', direction)

  def move(state: ControllerState, seen: Array) -> tuple[Array, tuple[Array, ...]]:
    return state.value + learning_rate * (up * (target - seen)), ()

  return frame.feedback('raw_dual', observe, move, initial=initial, bounds=(low, high))


def _dual(
  name: str,
  initial: float,
  observe: str,
  target: float,
  learning_rate: float,
  direction: str,
  low: float,
  high: float,
) -> Controller:
  frame.check_open_box(name, low, initial, high)
  up = frame.sign(name, direction)

  def move(state: ControllerState, seen: Array) -> tuple[Array, tuple[Array, ...]]:
    return _relative(state.value, learning_rate * (up * (target - seen))), ()

  return frame.feedback(name, observe, move, initial=initial, bounds=(low, high))


def _relative(value: Array, change: Array) -> Array:
  return jnp.exp(jnp.log(value) + change)


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
