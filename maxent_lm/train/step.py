"""One update, as a pure function of (state, reference, batch): the only jit of training.

scores -> transforms -> loss -> gradient -> optimiser -> temperature -> target. Shapes: B rows, T
columns.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxent_lm.masked import masked_mean, masked_sum
from maxent_lm.train.state import TrainState
from maxent_lm.types import (
  Array,
  Batch,
  Controller,
  Loss,
  Params,
  Scorer,
  Scores,
  Temperature,
  Transform,
  Views,
)

Update = Callable[[TrainState, Params | None, Batch], tuple[TrainState, dict[str, Array]]]
TargetUpdate = Callable[[Params, Params, Array], Params]  # (params, target, step) -> target


class Parts(NamedTuple):
  """What an update is made of; `build/update.py` picks them by name."""

  scorer: Scorer
  loss: Loss
  transform: Transform
  reduction: Callable[[Array, Array], Array]
  optimizer: optax.GradientTransformation
  alpha: Controller
  beta: Controller
  target_update: TargetUpdate | None


def make_update(parts: Parts) -> Update:
  """Builds the jitted update; the state is donated.

  An update whose loss or gradient is not finite is skipped as a whole: parameters, optimiser,
  temperature and target stay as they were, `step` advances, and `skipped` is 1 in the metrics.
  The check looks at the raw gradient, before any clipping can hide an infinity.
  """

  def objective(
    params: Params, state: TrainState, reference: Params | None, batch: Batch
  ) -> tuple[Array, dict[str, Array]]:
    views = Views(
      policy=parts.scorer(params, batch.tokens),
      target=_frozen(parts.scorer, state.target, batch.tokens),
      reference=_frozen(parts.scorer, reference, batch.tokens),
    )
    temperature = Temperature(state.alpha.value, state.beta.value)
    values, metrics = parts.loss(views, batch, temperature)
    loss = parts.reduction(values * batch.weight, batch.mask)
    return loss, {**metrics, **_observations(views, batch), 'loss': loss}

  def update(
    state: TrainState, reference: Params | None, batch: Batch
  ) -> tuple[TrainState, dict[str, Array]]:
    batch = parts.transform(batch)
    gradient = jax.grad(objective, has_aux=True)
    grads, metrics = gradient(state.params, state, reference, batch)
    norm = optax.global_norm(grads)
    finite = jnp.isfinite(norm) & jnp.isfinite(metrics['loss'])
    metrics |= {
      'grad_norm': norm,
      'alpha': state.alpha.value,
      'beta': state.beta.value,
      'kappa': state.alpha.value + state.beta.value,
      'skipped': (~finite).astype(jnp.float32),
    }
    changed = _advance(parts, state, grads, metrics)
    state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), changed, state)
    return state._replace(step=changed.step), metrics

  return jax.jit(update, donate_argnums=0)


def _advance(
  parts: Parts, state: TrainState, grads: Params, metrics: dict[str, Array]
) -> TrainState:
  updates, opt_state = parts.optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  step = state.step + 1
  target = state.target
  if parts.target_update is not None:
    target = parts.target_update(params, target, step)
  return TrainState(
    step=step,
    params=params,
    target=target,
    opt_state=opt_state,
    alpha=parts.alpha.update(state.alpha, metrics),
    beta=parts.beta.update(state.beta, metrics),
    key=state.key,
  )


def _frozen(scorer: Scorer, params: Params | None, tokens: Array) -> Scores | None:
  return None if params is None else jax.lax.stop_gradient(scorer(params, tokens))


def _observations(views: Views, batch: Batch) -> dict[str, Array]:
  """What controllers and people watch.

  `entropy`: exact entropy of the policy, mean nats per response token.
  `kl`: log pi(y) - log ref(y), mean nats per response; on-policy, unbiased for the sequence KL.
  `off_policy`: mean |log pi - log behaviour| per token.
  """
  policy, mask = views.policy, batch.mask
  observed = {
    'entropy': masked_mean(policy.entropy, mask),
    'off_policy': masked_mean(jnp.abs(policy.logp - batch.logp), mask),
  }
  if views.reference is not None:
    ratio = masked_sum(policy.logp - views.reference.logp, mask, axis=1)
    observed['kl'] = jnp.mean(ratio)
  return jax.lax.stop_gradient(observed)


def polyak(*, rate: float) -> TargetUpdate:
  """target <- (1 - rate) target + rate params, every step."""

  def update(params: Params, target: Params, step: Array) -> Params:
    del step
    return optax.incremental_update(params, target, rate)

  return update


def periodic(*, period: int) -> TargetUpdate:
  """target <- params every `period` steps."""
  return lambda params, target, step: optax.periodic_update(params, target, step, period)


TARGETS: dict[str, Callable[..., TargetUpdate] | None] = {
  'none': None,
  'polyak': polyak,
  'periodic': periodic,
}
