"""From a config to the parts of an update: objective, temperature, optimiser, target network."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

from maxent_lm.algorithms import ROWWISE
from maxent_lm.algorithms.curiosity import AUXILIARY
from maxent_lm.algorithms.policy_gradient import bonus_on_measure
from maxent_lm.build.guards import make_liftable
from maxent_lm.build.importance import importance_arguments
from maxent_lm.build.names import NAMES, Config, Names, choose
from maxent_lm.build.policy import score_chunk
from maxent_lm.lm.curiosity import CURIOSITY, merged
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CRITICS, CriticNet
from maxent_lm.lm.scores import Divergence, Measure, make_divergence
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import ADVANTAGES, BLIND, IMPORTANCE, SHAPED, chain
from maxent_lm.soft.entropy import MEASURES
from maxent_lm.temperature import moving_average
from maxent_lm.train.step import TARGETS, UNITS, Parts, TargetUpdate
from maxent_lm.types import Array, Controller, ControllerState, Loss, Scorer, Temperature, Transform

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

SOFT = (  # objectives around the soft Bellman residual
  *('soft_q', 'path', 'pcl', 'subtb', 'oreo', 'vargrad', 'pairwise', 'mirror_descent', 'sac'),
)
# Objectives over implicit rewards: kappa > 0, but alpha may be negative (a sharper optimum).
PREFERENCE = ('dpo', 'aot', 'kto')
LEARNS = {'rnd': 'distillation', 'ensemble': 'ensemble_regression'}  # config.curiosity.kind
REFERENCE = {'start': True, 'none': False}  # config.reference


def make_parts(
  config: Config,
  scorer: Scorer,
  critic: CriticNet | None,
  tokenizer: 'PreTrainedTokenizerBase',
  names: Names = NAMES,
) -> Parts:
  """What one update is made of; `critic` is what `make_critic` gives."""
  alpha, beta, sampler = (
    make_controller(config, knob, names) for knob in ('alpha', 'beta', 'sampler')
  )
  alpha = make_liftable(config, alpha)
  _check_temperature(config, alpha, beta)
  _check_sampler(config, sampler)
  return Parts(
    scorer=scorer,
    loss=make_loss(config, names),
    transform=make_transform(config, tokenizer, names),
    reduction=choose('config.reduction', config.reduction, REDUCTIONS),
    units=make_units(config),
    optimizer=make_optimizer(config, config.optimizer.learning_rate),
    alpha=alpha,
    beta=beta,
    sampler=sampler,
    target_update=make_rule('config.target', config.target),
    critic=None if critic is None else critic.score,
    critic_optimizer=critic and make_optimizer(config, config.critic.learning_rate),
    reference_update=make_reference_update(config),
    auxiliary=make_auxiliary(config),
  )


def make_loss(config: Config, names: Names = NAMES) -> Loss:
  """The objective; alpha weighs what `config.bonus` says."""
  loss = choose('config.algorithm', config.algorithm, names.losses)
  loss = functools.partial(loss, **config[config.algorithm])
  bonus = choose('config.bonus', config.bonus, {'entropy': None, 'measure': bonus_on_measure})
  if bonus is None:
    return loss
  if 'kl' not in config[config.algorithm]:
    raise ValueError(
      f"config.bonus='{config.bonus}' is for policy gradients, but config.algorithm is "
      f"'{config.algorithm}', whose entropy is part of the residual; set config.bonus='entropy'"
    )
  return bonus(loss)


def is_row_by_row(config: Config) -> bool:
  """Whether a gradient can be taken as soon as some rows are scored, whatever the others are."""
  return config.algorithm in ROWWISE and set(config.transforms) <= BLIND


def make_transform(
  config: Config, tokenizer: 'PreTrainedTokenizerBase', names: Names = NAMES
) -> Transform:
  """The transforms of `config.transforms`, one after the other."""
  idle = [name for name in config.transforms if name in {**ADVANTAGES, **SHAPED}]
  if config.algorithm == 'ppo' and idle:
    raise ValueError(
      f'config.transforms: {idle[0]} makes advantages, but ppo makes its own from the value head; '
      "leave it out, or set config.algorithm='grpo'"
    )

  def make(name: str) -> Transform:
    transform = choose('config.transforms', name, names.transforms)
    if name in IMPORTANCE:
      return functools.partial(transform, **importance_arguments(config, name, tokenizer))
    return functools.partial(transform, **config[name])

  return chain(*map(make, config.transforms))


def make_critic(config: Config, lm: LM) -> CriticNet | None:
  """The networks beside the policy, or None without any; `merged` where both kinds are there."""
  kind, curious = config.critic.kind, config.curiosity.kind
  make = choose('config.critic.kind', kind, {'none': None, **CRITICS})
  wonder = choose('config.curiosity.kind', curious, {'none': None, **CURIOSITY})
  critic = make and make(lm, chunk=score_chunk(config, lm), **config.critic[kind])
  curiosity = wonder and wonder(lm, **config.curiosity[curious])
  if critic and curiosity:
    return merged({'critic': critic, 'curiosity': curiosity})
  return critic or curiosity


def make_auxiliary(config: Config) -> Loss | None:
  """What the networks of curiosity minimise for themselves; None without any."""
  kind = config.curiosity.kind
  name = choose('config.curiosity.kind', kind, {'none': None, **LEARNS})
  return name and functools.partial(AUXILIARY[name], **config[name])


def make_measure(config: Config) -> Measure | None:
  """What `Scores.measure` holds, a function of logits; None for nothing."""
  measure = choose('config.measure', config.measure, {'none': None, **MEASURES})
  wants = [name for name in config.transforms if name in ('self_certainty_reward', 'ucas')]
  if wants and config.measure != 'self_certainty':
    raise ValueError(
      f"config.transforms: {wants[0]} needs config.measure='self_certainty', but it is "
      f'{config.measure!r}'
    )
  return measure and functools.partial(measure, **config.measures[config.measure])


def make_exact_kl(config: Config, lm: LM) -> Divergence | None:
  """The exact KL of every state, where the loss or a transform says kl='exact'; else None."""
  sections = {name: config[name] for name in (config.algorithm, *config.transforms)}
  exact = [name for name, section in sections.items() if section.get('kl') == 'exact']
  if exact and not has_reference(config):
    raise ValueError(
      f"config.{exact[0]}.kl='exact' needs a reference: set config.reference='start'"
    )
  return make_divergence(lm, chunk=score_chunk(config, lm)) if exact else None


def make_controller(config: Config, knob: str, names: Names = NAMES) -> Controller:
  """The controller of 'alpha', 'beta' or 'sampler'."""
  name = config.temperature[f'{knob}_control']
  make = choose(f'config.temperature.{knob}_control', name, names.controllers)
  section: Mapping[str, Any] = config[knob].get(name, {})
  controller = make(config.temperature[knob], **_plain(section))
  decay = config[knob].average
  return moving_average(controller, decay=decay) if decay else controller


def _check_temperature(config: Config, alpha: Controller, beta: Controller) -> None:
  """Looks at the whole run: a schedule may end where no objective is defined.

  A controller that observes is judged by the box that it declares.
  """
  alphas, betas = _range(config, alpha), _range(config, beta)
  for knob, (lowest, highest) in (('alpha', alphas), ('beta', betas)):
    signed = knob == 'alpha' and config.algorithm in PREFERENCE
    if not ((signed or lowest.min() >= 0) and np.isfinite(highest.max())):
      raise ValueError(
        f'config.temperature.{knob} must not be negative, but becomes {lowest.min()}'
      )
  kappa = (alphas[0] + betas[0]).min()
  local = (
    alphas[0] * _least_factor(config, 'alpha') + betas[0] * _least_factor(config, 'beta')
  ).min()
  for keys, least in (('config.temperature', kappa), ('config.importance.sites', local)):
    if config.algorithm in SOFT + PREFERENCE and least <= 0:
      raise ValueError(
        f'{keys}: {config.algorithm} needs a temperature alpha + beta above 0 throughout, but it '
        f'becomes {least}'
      )
  watches_kl = any(name.startswith('kl') for name in (*alpha.observes, *beta.observes))
  needs_reference = betas[1].max() > 0 or watches_kl
  if needs_reference and not has_reference(config):
    raise ValueError(
      "config.temperature.beta > 0 or a target KL needs a reference: set config.reference='start'"
    )


def _least_factor(config: Config, knob: str) -> float:
  """The smallest factor that token importances may put on a knob."""
  sites = [config[name].sites for name in config.transforms if name in IMPORTANCE]
  return float(np.prod([min(each[site]) for each in sites for site in (knob, 'kappa')]))


def _check_sampler(config: Config, sampler: Controller) -> None:
  lowest, highest = _range(config, sampler)
  if not (lowest.min() > 0 and np.isfinite(highest.max())):
    raise ValueError(
      'config.temperature.sampler divides the logits and must stay above 0 and finite, but '
      f'becomes {lowest.min()}'
    )


def _range(config: Config, controller: Controller) -> tuple[np.ndarray, np.ndarray]:
  """Lowest and highest value of a knob at every step: known for schedules, bounded if learned."""
  if controller.bounds is not None:
    low, high = controller.bounds
    return np.full(config.steps, low), np.full(config.steps, high)

  def step(state: ControllerState, _: None) -> tuple[ControllerState, Array]:
    return controller.update(state, {}), state.value

  values = np.asarray(jax.lax.scan(step, controller.init(), None, length=config.steps)[1])
  return values, values


def make_units(config: Config) -> Callable[[Temperature], Array]:
  """The scale of the loss; 'nats' divides by kappa^2, which baselines do not need to have."""
  units = choose('config.loss_units', config.loss_units, UNITS)
  if config.loss_units == 'nats' and config.algorithm not in SOFT + PREFERENCE:
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
  """AdamW behind a global-norm clip, with warm-up and an optional decay to zero.

  Raises:
    ValueError: a learning rate that would make parameters infinite, or an unknown decay.
  """
  o, steps = config.optimizer, config.steps
  if not np.isfinite(learning_rate):
    raise ValueError(f'config: a learning_rate must be finite, got {learning_rate}')
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
