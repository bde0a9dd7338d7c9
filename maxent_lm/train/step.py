"""One update, as a pure function of (state, reference, batch): the only jit of training.

scores -> transforms -> loss -> gradient -> optimiser -> temperature -> target. Shapes: B rows, T
columns.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxent_lm.masked import masked_mean, masked_sum
from maxent_lm.soft import semantic
from maxent_lm.temperature import kl_limits
from maxent_lm.train import finite
from maxent_lm.train.state import AS_CONFIGURED, CriticState, TrainState
from maxent_lm.types import (
  Array,
  Batch,
  Controller,
  Critic,
  Loss,
  Params,
  Pick,
  Pull,
  Scorer,
  Scores,
  Temperature,
  Transform,
  Views,
)

Update = Callable[[TrainState, Params | None, Batch], tuple[TrainState, dict[str, Array]]]
TargetUpdate = Callable[[Params, Params, Array], Params]  # (params, target, step) -> target
Observed = tuple[dict[str, Array], dict[str, Array]]  # metrics, and rows that controllers see


class Parts(NamedTuple):
  """What an update is made of; `build/update.py` picks them by name.

  `critic` scores the networks beside the policy, (critic, policy, tokens) -> Critic, and
  `critic_optimizer` trains them. `target_update` moves the lagged copies of both, and
  `reference_update` a reference that is part of the state; None where there is no such thing.
  `units` scales the loss, see `UNITS`; None is reward units. `auxiliary` is what the networks
  beside the policy minimise for themselves, on the batch as it came. `divergence` (policy,
  reference, tokens) and `saliency` (policy, tokens, mask) give the views of these names.

  `pull` takes the gradient a few rows at a time in one pass through the network. It is for a loss
  that looks at one row at a time, without networks beside the policy, and for a transform that
  does not look at the policy; None is for all others, and gives the same gradient in two passes.

  `look` (views, batch as the loss sees it but with all its tokens, temperature) gives arrays to
  look at, which go along with the metrics (`train/look.py`).
  """

  scorer: Scorer
  loss: Loss
  transform: Transform
  reduction: Callable[[Array, Array], Array]
  optimizer: optax.GradientTransformation
  alpha: Controller
  beta: Controller
  target_update: TargetUpdate | None = None
  critic: Callable[[Params, Params, Array], Critic] | None = None
  critic_optimizer: optax.GradientTransformation | None = None
  reference_update: TargetUpdate | None = None
  units: Callable[[Temperature], Array] | None = None
  auxiliary: Loss | None = None
  divergence: Callable[[Params, Params, Array], Array] | None = None
  saliency: Callable[[Params, Array, Array], Array] | None = None
  sampler: Controller = AS_CONFIGURED
  pull: Pull | None = None
  look: Callable[[Views, Batch, Temperature], dict[str, Array]] | None = None


class Trained(NamedTuple):
  """What gradients are taken in; `critic` is None without one."""

  policy: Params
  critic: Params


def make_update(parts: Parts) -> Update:
  """Builds the jitted update; the state is donated.

  An update that something is wrong with (`train/finite.py`) is skipped as a whole: parameters,
  optimisers, controllers, targets and reference stay as they were, bit for bit, `step` advances,
  and `skipped` is 1 in the metrics. By a select, not a branch: to take one of two branches a GPU
  waits for the host.
  """

  pull = parts.pull
  gradient = _at_once if pull is None else functools.partial(_row_by_row, pull)

  def update(
    state: TrainState, reference: Params | None, batch: Batch
  ) -> tuple[TrainState, dict[str, Array]]:
    grads, (metrics, rows) = gradient(parts, state, reference, batch)
    norms = finite.squares(grads)
    metrics |= {
      'grad_norm': jnp.sqrt(sum(norms)),
      'alpha': state.alpha.value,
      'beta': state.beta.value,
      'kappa': state.alpha.value + state.beta.value,
      'alpha_clamped': state.alpha.clamped,
      'beta_clamped': state.beta.clamped,
      'sampler': state.sampler.value,
      'sampler_clamped': state.sampler.clamped,
    }
    changed = _advance(parts, state, grads, metrics | rows)
    wrong = finite.culprits(metrics, norms, batch, state, changed)
    taken = ~wrong.any()
    metrics |= {'skipped': (~taken).astype(jnp.float32), finite.CULPRITS: wrong}
    state = jax.tree.map(lambda new, old: jnp.where(taken, new, old), changed, state)
    return state._replace(step=changed.step), metrics

  return jax.jit(update, donate_argnums=0)


def _at_once(
  parts: Parts, state: TrainState, reference: Params | None, batch: Batch
) -> tuple[Trained, Observed]:
  """(gradient, what is observed) of any loss: what all rows are scored decides on each."""

  def objective(trained: Trained) -> tuple[Array, Observed]:
    return _judge(parts, _look(parts, trained, state, reference, batch), state, batch)

  trained = Trained(state.params, None if state.critic is None else state.critic.params)
  return jax.grad(objective, has_aux=True)(trained)


def _row_by_row(
  pull: Pull, parts: Parts, state: TrainState, reference: Params | None, batch: Batch
) -> tuple[Trained, Observed]:
  """The same where rows can be judged a few at a time, as soon as they are scored."""
  reference = reference if state.reference is None else state.reference
  others = _frozen(parts.scorer, state.target, batch), _frozen(parts.scorer, reference, batch)
  unseen = Scores(*[jnp.full_like(batch.logp, jnp.nan)] * 4)
  shaped, temperature = _shape(parts, Views(unseen, *others), state, batch)
  # The reduction is linear: what it multiplies each value with is its gradient.
  zeros = jnp.zeros_like(batch.logp)
  weight = jax.grad(lambda values: _reduce(parts, values, shaped, temperature))(zeros)

  def of_rows(pick: Pick, policy: Scores) -> Array:
    views = Views(policy, *jax.tree.map(pick, others))
    knobs = jax.tree.map(lambda knob: pick(knob) if knob.ndim else knob, temperature)
    values, _ = parts.loss(views, jax.tree.map(pick, shaped), knobs)
    return jnp.sum(values * pick(weight))

  policy, grads = pull(state.params, batch.tokens, batch.mask, of_rows)
  _, observed = _judge(parts, Views(policy, *others), state, batch)
  return Trained(grads, None), observed


def _shape(
  parts: Parts, views: Views, state: TrainState, batch: Batch
) -> tuple[Batch, Temperature]:
  """The batch as the loss sees it, and the two knobs with the batch's factors."""
  shaped = parts.transform(batch, jax.lax.stop_gradient(views))
  knobs = state.alpha.value, state.beta.value
  return shaped, Temperature(*map(_scaled, knobs, (shaped.alpha, shaped.beta)))


def _reduce(parts: Parts, values: Array, shaped: Batch, temperature: Temperature) -> Array:
  units = (parts.units or reward_units)(temperature)
  return parts.reduction(units * values * shaped.weight, shaped.mask)


def _judge(parts: Parts, views: Views, state: TrainState, batch: Batch) -> tuple[Array, Observed]:
  """(loss, what is observed)."""
  shaped, temperature = _shape(parts, views, state, batch)
  values, metrics = parts.loss(views, shaped, temperature)
  loss = _reduce(parts, values, shaped, temperature)
  if parts.auxiliary is not None:
    beside, more = parts.auxiliary(views, batch, temperature)
    loss += parts.reduction(beside, batch.mask)
    metrics = {**metrics, **more}
  seen = {}
  if parts.look is not None:
    seen = parts.look(views, shaped._replace(mask=batch.mask), temperature)
  metrics = {**metrics, **_observations(views, batch), 'loss': loss, **seen}
  return loss, (metrics, _rows(views, batch))


def _look(
  parts: Parts, trained: Trained, state: TrainState, reference: Params | None, batch: Batch
) -> Views:
  """Everybody's view of the tokens; only `trained` is differentiated."""
  tokens, critic, behind = batch.tokens, None, None
  reference = reference if state.reference is None else state.reference
  if parts.critic is not None and state.critic is not None:
    critic = parts.critic(trained.critic, trained.policy, tokens)
    if state.critic.target is not None:
      lagged = parts.critic(state.critic.target, trained.policy, tokens)
      behind = jax.lax.stop_gradient(lagged)
  kl = saliency = None
  if parts.divergence is not None and reference is not None:
    kl = parts.divergence(trained.policy, jax.lax.stop_gradient(reference), tokens)
  if parts.saliency is not None:
    saliency = parts.saliency(jax.lax.stop_gradient(trained.policy), tokens, batch.mask)
  return Views(
    policy=parts.scorer(trained.policy, tokens, batch.mask),
    target=_frozen(parts.scorer, state.target, batch),
    reference=_frozen(parts.scorer, reference, batch),
    critic=critic,
    critic_target=behind,
    kl=kl,
    saliency=saliency,
  )


def _advance(
  parts: Parts, state: TrainState, grads: Trained, metrics: dict[str, Array]
) -> TrainState:
  step = state.step + 1

  def move(rule: TargetUpdate | None, params: Params, behind: Params | None) -> Params | None:
    return behind if rule is None or behind is None else rule(params, behind, step)

  updates, opt_state = parts.optimizer.update(grads.policy, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  critic = state.critic
  if critic is not None and parts.critic_optimizer is not None:
    updates, critic_opt_state = parts.critic_optimizer.update(
      grads.critic, critic.opt_state, critic.params
    )
    new = optax.apply_updates(critic.params, updates)
    critic = CriticState(new, move(parts.target_update, new, critic.target), critic_opt_state)
  return TrainState(
    step=step,
    params=params,
    target=move(parts.target_update, params, state.target),
    opt_state=opt_state,
    critic=critic,
    reference=move(parts.reference_update, params, state.reference),
    alpha=parts.alpha.update(state.alpha, metrics),
    beta=parts.beta.update(state.beta, metrics),
    sampler=parts.sampler.update(state.sampler, metrics),
    key=state.key,
  )


def _scaled(knob: Array, factor: Array | None) -> Array:
  return knob if factor is None else knob * factor


def _frozen(scorer: Scorer, params: Params | None, batch: Batch) -> Scores | None:
  if params is None:
    return None
  return jax.lax.stop_gradient(scorer(params, batch.tokens, batch.mask))


def _observations(views: Views, batch: Batch) -> dict[str, Array]:
  """What controllers and people watch.

  `entropy`: exact entropy of the policy, mean nats per response token.
  `kl`: log pi(y) - log ref(y), mean nats per response; on-policy, unbiased for the sequence KL.
  `entropy_mc`: -log behaviour of the tokens, mean nats per response token.
  `off_policy`: mean |log pi - log behaviour| per token.
  `reward`: mean return; `success`: share of rows with a return of at least 1; `solved`: share of
  groups with such a row.
  `semantic_entropy`: H of the frequencies of the classes, mean nats per group; responses without a
  class are one class together, so that it is 0 for a task without classes.
  `length`: mean response tokens; `corr_reward_confidence`: Pearson over rows between the return and
  minus the mean token entropy, 0 where one of them does not vary. Of the rows with a response.
  All as the batch came, before any transform, and of all its rows.
  """
  policy, mask, group = views.policy, batch.mask, batch.group
  present = mask.any(axis=1)
  confidence = -masked_mean(policy.entropy, mask, axis=1)
  returns = masked_sum(batch.reward, mask, axis=1)
  right = returns >= 1
  rows = len(group)
  classes = semantic.batch_classes(batch, missing='shared')
  sizes = jax.ops.segment_sum(jnp.ones_like(returns), group, num_segments=rows)
  some = jax.ops.segment_max(right.astype(returns.dtype), group, num_segments=rows)
  observed = {
    'entropy': masked_mean(policy.entropy, mask),
    'entropy_mc': -masked_mean(batch.logp, mask),
    'off_policy': masked_mean(jnp.abs(policy.logp - batch.logp), mask),
    'reward': jnp.mean(returns),
    'success': jnp.mean(right),
    'solved': masked_mean(some, sizes > 0),
    'semantic_entropy': semantic.mean(classes, semantic.discrete(classes)),
    'length': masked_mean(masked_sum(mask, mask, axis=1), present),
    'corr_reward_confidence': _correlation(returns, confidence, present),
  }
  if policy.measure is not None:
    observed['measure'] = masked_mean(policy.measure, mask)
  if views.reference is not None:
    ratio = masked_sum(policy.logp - views.reference.logp, mask, axis=1)
    observed['kl'] = jnp.mean(ratio)
  return jax.lax.stop_gradient(observed)


def _correlation(left: Array, right: Array, rows: Array) -> Array:
  """Pearson of two [B] arrays over `rows`; 0 where a standard deviation is below 1e-6."""
  left, right = left - masked_mean(left, rows), right - masked_mean(right, rows)
  variances = masked_mean(left**2, rows), masked_mean(right**2, rows)
  varies = jnp.minimum(*variances) > 1e-12
  scale = jnp.sqrt(jnp.where(varies, variances[0] * variances[1], 1))
  return jnp.where(varies, masked_mean(left * right, rows) / scale, 0)


def _rows(views: Views, batch: Batch) -> dict[str, Array]:
  """[B] arrays that controllers see beside the metrics; empty without a reference.

  `kl_rows`: log pi(y) - log ref(y); `kl_limits`: the largest KL that the prompt can give.
  """
  if views.reference is None:
    return {}
  rows = {
    'kl_rows': masked_sum(views.policy.logp - views.reference.logp, batch.mask, axis=1),
    'kl_limits': kl_limits(views.reference.logp, batch),
  }
  return jax.lax.stop_gradient(rows)


def polyak(*, rate: float) -> TargetUpdate:
  """target <- (1 - rate) target + rate params, every step."""

  def update(params: Params, target: Params, step: Array) -> Params:
    del step
    return optax.incremental_update(params, target, rate)

  return update


def periodic(*, period: int) -> TargetUpdate:
  """target <- params every `period` steps."""
  return lambda params, target, step: optax.periodic_update(params, target, step, period)


def reward_units(temperature: Temperature) -> Array:
  """1: the loss is in squared reward units, as the objectives give it."""
  return jnp.ones_like(temperature.kappa)


def nats(temperature: Temperature) -> Array:
  """1 / kappa^2: the same error of a log-probability weighs the same at any temperature.

  The better choice where kappa is learned and moves far. In reward units a policy's error of e nats
  is a gradient of kappa^2 e: when kappa falls from 3 to .36, Adam, which remembers the larger
  gradients, stands still for a thousand steps, and the controller runs away to its bound meanwhile.
  """
  return 1 / jax.lax.stop_gradient(temperature.kappa) ** 2


UNITS: dict[str, Callable[[Temperature], Array]] = {'reward': reward_units, 'nats': nats}

TARGETS: dict[str, Callable[..., TargetUpdate] | None] = {
  'none': None,
  'polyak': polyak,
  'periodic': periodic,
}
