"""THE residual: every soft Bellman objective is a choice around this one function.

    delta(i:j) = V(s_i) - V(s_j) + sum_{i<=t<j} [kappa_t (log pi - log rho)(a_t|s_t) - r_t]

It is in reward units, so that kappa may differ from token to token, it is additive along a path,
and it is zero on every path exactly at the soft-optimal policy and value.

Shapes: B sequences, T tokens. V(s_t) stands in column t; the state after the last action is either
terminal, V = 0, or (bootstrap) the one whose value stands in the column right after it. Columns
outside the mask are skipped: with a gap (tool tokens) the next state is the next masked column.
What may differ between objectives, target values and stopped gradients, is decided by the arrays
that the caller passes. Everything is computed in float32, or in float64 where the inputs are.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.soft import operators
from maxent_lm.types import Array, Batch, Scores, Temperature


class Steps(NamedTuple):
  """One view of the paths in a batch, in reward units, free of NaN outside the mask.

  Attributes:
    value: [B, T] V(s_t), reward units, also in the column after a bootstrapped response.
    log_ratio: [B, T] (log pi - log rho)(a_t|s_t), nats.
    reward: [B, T] r_t, reward units.
    kappa: [B, T] kappa_t, reward units per nat.
    mask: [B, T] bool, the actions of the path.
    bootstrap: [B] bool, True: V after the last action is `value` in the next column, else 0.
  """

  value: Array
  log_ratio: Array
  reward: Array
  kappa: Array
  mask: Array
  bootstrap: Array


def value_columns(mask: Array, bootstrap: Array) -> Array:
  """[B, T] bool: the columns whose value is read, the mask and the cut of bootstrapped rows."""
  after = jnp.pad(masked.last_action(mask)[:, :-1], ((0, 0), (1, 0)))
  return mask | (after & bootstrap[:, None])


def read(scores: Scores, reference: Scores | None, batch: Batch, temperature: Temperature) -> Steps:
  """What `scores` says of the batch, with V(s_t) = kappa_t LSE_a q(s_t, a).

  Without a reference log rho = 0, which is right only where beta = 0. Temperature and reference
  get no gradient; entries that are not read are replaced before any arithmetic, so that NaN there
  stays harmless in the backward pass too. The value at a cut uses kappa of the cut's column.
  """
  chex.assert_equal_shape([scores.logp, scores.value, batch.reward, batch.mask])
  columns = value_columns(batch.mask, batch.bootstrap)
  alpha, beta = (jnp.where(columns, jax.lax.stop_gradient(knob), 1) for knob in temperature)
  knobs = Temperature(alpha, beta)
  log_ratio = masked.clean(scores.logp, batch.mask)
  if reference is not None:
    log_ref = jax.lax.stop_gradient(masked.clean(reference.logp, batch.mask))
    log_ratio = log_ratio - operators.log_prior(log_ref, knobs)
  return Steps(
    value=knobs.kappa * masked.clean(scores.value, columns),
    log_ratio=log_ratio,
    reward=masked.clean(batch.reward, batch.mask),
    kappa=knobs.kappa,
    mask=batch.mask,
    bootstrap=batch.bootstrap,
  )


def with_value(steps: Steps, value: Array) -> Steps:
  """The same path with V(s_t) = `value` [B, T], reward units: of a head, or of another network."""
  chex.assert_equal_shape([value, steps.mask])
  return steps._replace(value=masked.clean(value, value_columns(steps.mask, steps.bootstrap)))


def soft_q(steps: Steps) -> Array:
  """[B, T] Q(s_t, a_t) = V(s_t) + kappa_t (log pi - log rho)(a_t|s_t), 0 outside the mask."""
  return jnp.where(steps.mask, steps.value + steps.kappa * steps.log_ratio, 0)


def one_step(steps: Steps) -> Array:
  """[B, T] delta(t:t+1) = Q(s_t, a_t) - r_t - V(s_{t+1}), 0 outside the mask."""
  delta = soft_q(steps) - steps.reward - next_value(steps.value, steps.mask, steps.bootstrap)
  return jnp.where(steps.mask, delta, 0)


def path(steps: Steps) -> Array:
  """[B] delta(0:L), the residual of the whole response (0 for an empty row)."""
  return masked.masked_sum(one_step(steps), steps.mask, axis=1)


def next_value(value: Array, mask: Array, bootstrap: Array) -> Array:
  """[B, T] value in the next masked column; after the last action the cut's value, or 0.

  0 outside the mask. A bootstrapped row whose last action is in column T - 1 has no column for
  the cut and gets 0: leave a column free.
  """
  cut = jnp.where(mask, 0, jnp.where(value_columns(mask, bootstrap), value, 0))
  after = jnp.sum(cut, axis=1, keepdims=True)
  ends = jnp.concatenate([jnp.where(mask, value, 0), after], axis=1)
  return jnp.where(mask, jnp.take_along_axis(ends, _next_column(mask), axis=1), 0)


def following(values: Array, mask: Array) -> Array:
  """[B, T] `values` in the next masked column; 0 after the last action and outside the mask."""
  return next_value(values, mask, jnp.zeros(mask.shape[0], bool))


def sub_paths(steps: Steps, weights: Array) -> tuple[Array, Array]:
  """Two [B, T]: sum_n w_n delta(t:t+n)^2, and sum_n w_n, over the sub-paths that begin at t.

  `weights` [N] is w_1 ... w_N for n = 1 ... N actions; sub-paths that would go beyond the end of
  the response do not exist. Time and, in the backward pass, memory grow like B T N.
  """
  single = one_step(steps)

  def longer(carry: tuple[Array, Array], weight: Array) -> tuple[tuple, tuple[Array, Array]]:
    delta, exists = carry
    share = jnp.where(exists, weight, 0)
    later = single + following(delta, steps.mask)
    further = steps.mask & following(exists, steps.mask).astype(bool)
    return (later, further), (share * delta**2, share)

  weights = jnp.asarray(weights, single.dtype)
  squares, shares = jax.lax.scan(longer, (single, steps.mask), weights)[1]
  return jnp.sum(squares, axis=0), jnp.sum(shares, axis=0)


def suffix(deltas: Array, mask: Array, lam: float | Array) -> Array:
  """[B, T] e_t = delta_t + lam e_{t+1}, t+1 the next masked column; 0 outside the mask.

  The error of the soft lambda-return: lam = 0 is the one-step residual, lam = 1 the residual of
  the rest of the path, delta(t:L).
  """
  decay = jnp.where(mask, jnp.asarray(lam, deltas.dtype), 1)

  def combine(later: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[Array, Array]:
    return later[0] * now[0], now[1] + now[0] * later[1]

  start = (decay, jnp.where(mask, deltas, 0))
  errors = jax.lax.associative_scan(combine, start, reverse=True, axis=1)[1]
  return jnp.where(mask, errors, 0)


def lambda_return(steps: Steps, lam: float | Array) -> Array:
  """[B, T] G_t = r_t + V(s_{t+1}) + lam (G_{t+1} - Q(s_{t+1}, a_{t+1})), 0 outside the mask.

  The soft lambda-return, a target for Q(s_t, a_t), with Q - G = `suffix` of the one-step
  residuals. No importance weights: at the optimum it is exact on any path. At lam = 1,
  G_t = sum_{k>=t} r_k - sum_{k>t} kappa_k (log pi - log rho)_k (+ V at a bootstrapped cut).
  """
  errors = suffix(one_step(steps), steps.mask, lam)
  later = following(errors, steps.mask)
  target = steps.reward + next_value(steps.value, steps.mask, steps.bootstrap) - lam * later
  return jnp.where(steps.mask, target, 0)


def _next_column(mask: Array) -> Array:
  """[B, T] index of the next masked column strictly after t; T where there is none."""
  length = mask.shape[1]
  here = jnp.where(mask, jnp.arange(length, dtype=jnp.int32)[None, :], length)
  onwards = jax.lax.cummin(here, axis=1, reverse=True)
  return jnp.pad(onwards[:, 1:], ((0, 0), (0, 1)), constant_values=length)
