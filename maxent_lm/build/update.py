"""From a config to the parts of an update: objective, temperature, optimiser, target network."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

from maxent_lm.algorithms import LOSSES
from maxent_lm.build.names import Config, choose
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CRITICS, CriticNet
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import TRANSFORMS, chain
from maxent_lm.temperature import CONTROLLERS
from maxent_lm.train.step import TARGETS, UNITS, Parts, TargetUpdate
from maxent_lm.types import Array, Controller, ControllerState, Scorer, Temperature

SOFT = (  # objectives around the soft Bellman residual
  *('soft_q', 'path', 'pcl', 'subtb', 'oreo', 'vargrad', 'pairwise', 'mirror_descent', 'sac'),
)
LEARNED = ('target_entropy', 'target_kl', 'target_kl_per_prompt')  # controllers with bounds
REFERENCE = {'start': True, 'none': False}  # config.reference


def make_parts(config: Config, scorer: Scorer, critic: CriticNet | None) -> Parts:
  """What one update is made of; `critic` is what `make_critic` gives."""
  loss = choose('config.algorithm', config.algorithm, LOSSES)
  transforms = [
    functools.partial(choose('config.transforms', name, TRANSFORMS), **config[name])
    for name in config.transforms
  ]
  alpha, beta = make_controller(config, 'alpha'), make_controller(config, 'beta')
  _check_temperature(config, alpha, beta)
  return Parts(
    scorer=scorer,
    loss=functools.partial(loss, **config[config.algorithm]),
    transform=chain(*transforms),
    reduction=choose('config.reduction', config.reduction, REDUCTIONS),
    units=make_units(config),
    optimizer=make_optimizer(config, config.optimizer.learning_rate),
    alpha=alpha,
    beta=beta,
    target_update=make_rule('config.target', config.target),
    critic=None if critic is None else critic.score,
    critic_optimizer=critic and make_optimizer(config, config.critic.learning_rate),
    reference_update=make_reference_update(config),
  )


def make_critic(config: Config, lm: LM) -> CriticNet | None:
  """The networks beside the policy, or None without any."""
  kind = config.critic.kind
  make = choose('config.critic.kind', kind, {'none': None, **CRITICS})
  return None if make is None else make(lm, chunk=config.compute.chunk, **config.critic[kind])


def make_controller(config: Config, knob: str) -> Controller:
  """The controller of 'alpha' or 'beta'."""
  name = config.temperature[f'{knob}_control']
  make = choose(f'config.temperature.{knob}_control', name, CONTROLLERS)
  section: Mapping[str, Any] = config[knob].get(name, {})
  return make(config.temperature[knob], **_plain(section))


def _check_temperature(config: Config, alpha: Controller, beta: Controller) -> None:
  """Looks at the whole run: a schedule may end where no objective is defined."""
  alphas, betas = _range(config, 'alpha', alpha), _range(config, 'beta', beta)
  for knob, (lowest, highest) in (('alpha', alphas), ('beta', betas)):
    if not (lowest.min() >= 0 and np.isfinite(highest.max())):
      raise ValueError(
        f'config.temperature.{knob} must not be negative, but becomes {lowest.min()}'
      )
  kappa = (alphas[0] + betas[0]).min()
  if config.algorithm in SOFT and kappa <= 0:
    raise ValueError(
      f'config.temperature: {config.algorithm} needs a temperature alpha + beta above 0 '
      f'throughout, but it becomes {kappa}'
    )
  observed = (config.temperature.alpha_control, config.temperature.beta_control)
  watches_kl = {'target_kl', 'target_kl_per_prompt'} & set(observed)
  needs_reference = betas[1].max() > 0 or watches_kl
  if needs_reference and not has_reference(config):
    raise ValueError(
      "config.temperature.beta > 0 or a target KL needs a reference: set config.reference='start'"
    )


def _range(config: Config, knob: str, controller: Controller) -> tuple[np.ndarray, np.ndarray]:
  """Lowest and highest value of a knob at every step: known for schedules, bounded if learned."""
  name = config.temperature[f'{knob}_control']
  if name in LEARNED:
    section = config[knob][name]
    return np.full(config.steps, section.low), np.full(config.steps, section.high)

  def step(state: ControllerState, _: None) -> tuple[ControllerState, Array]:
    return controller.update(state, {}), state.value

  values = np.asarray(jax.lax.scan(step, controller.init(), None, length=config.steps)[1])
  return values, values


def make_units(config: Config) -> Callable[[Temperature], Array]:
  """The scale of the loss; 'nats' divides by kappa^2, which baselines do not need to have."""
  units = choose('config.loss_units', config.loss_units, UNITS)
  if config.loss_units == 'nats' and config.algorithm not in SOFT:
    raise ValueError(
      f"config.loss_units='nats' divides by the temperature, which {config.algorithm} does not "
      "have; set config.loss_units='reward'"
    )
  return units


def make_rule(key: str, section: Config) -> TargetUpdate | None:
  """How a lagged copy follows the policy, or None where there is no such copy."""
  make = choose(f'{key}.rule', section.rule, TARGETS)
  return None if make is None else make(**section[section.rule])


def make_reference_update(config: Config) -> TargetUpdate | None:
  """How the reference follows the policy, or None where it stays."""
  rule = make_rule('config.reference_update', config.reference_update)
  if rule is not None and not has_reference(config):
    raise ValueError(
      "config.reference_update moves a reference, but there is none: set config.reference='start'"
    )
  return rule


def make_optimizer(config: Config, learning_rate: float) -> optax.GradientTransformation:
  """AdamW behind a global-norm clip, with warm-up and an optional decay to zero."""
  o, steps = config.optimizer, config.steps
  rest = max(steps - o.warmup_steps, 1)
  decays = {
    'constant': optax.constant_schedule(learning_rate),
    'linear': optax.linear_schedule(learning_rate, 0.0, rest),
    'cosine': optax.cosine_decay_schedule(learning_rate, rest),
  }
  decay = choose('config.optimizer.decay', o.decay, decays)
  warmup = optax.linear_schedule(
    learning_rate / (o.warmup_steps + 1), learning_rate, o.warmup_steps
  )
  schedule = optax.join_schedules([warmup, decay], [o.warmup_steps])
  return optax.chain(
    optax.clip_by_global_norm(o.clip_norm),
    optax.adamw(schedule, b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay),
  )


def has_reference(config: Config) -> bool:
  """Whether losses see the policy that the run started from."""
  return choose('config.reference', config.reference, REFERENCE)


def _plain(section: Mapping[str, Any]) -> dict[str, Any]:
  return section.to_dict() if isinstance(section, Config) else dict(section)
