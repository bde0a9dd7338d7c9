"""From a config to an update and the state that it starts from."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from maxent_lm.build.importance import make_saliency
from maxent_lm.build.names import NAMES, Config, Names
from maxent_lm.build.policy import Policy, score_chunk
from maxent_lm.build.update import (
  has_reference,
  is_row_by_row,
  make_critic,
  make_exact_kl,
  make_measure,
  make_parts,
)
from maxent_lm.lm import partition
from maxent_lm.lm.groups import GroupScorer
from maxent_lm.shaping import ADVANTAGES, SHAPED
from maxent_lm.train.look import Look
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import Update, make_update
from maxent_lm.types import Params

WITH_VALUE = ('value', 'ilql')  # config.critic.kind


class Training(NamedTuple):
  """An update, and the state before the first one.

  `init(params, networks)` copies the parameters, since an update's state is donated: what they were
  is the reference of the updates where `has_reference`. `networks(params)` are those beside the
  policy, from parameters that this process has whole; None if there are none.
  """

  update: Update
  init: Callable[[Params, Params | None], TrainState]
  networks: Callable[[Params], Params] | None
  has_reference: bool


def make_training(
  config: Config,
  policy: Policy,
  *,
  group_size: int,
  names: Names = NAMES,
  look: Look | None = None,
) -> Training:
  """Nothing is computed; so many rows of a batch as are a group have the same prompt."""
  critic = make_critic(config, policy.lm)
  scorer = make_batch_scorer(config, policy, group_size)
  parts = make_parts(config, scorer, critic, policy.tokenizer, names)
  parts = parts._replace(
    divergence=make_exact_kl(config, policy.lm),
    saliency=make_saliency(config, policy.lm),
    look=None if look is None else look.numbers,
  )
  beside = parts.critic, parts.auxiliary, parts.divergence, parts.saliency
  if config.compute.microbatch and is_row_by_row(config) and not any(beside):
    parts = parts._replace(pull=scorer.pull)

  def init(params: Params, networks: Params | None) -> TrainState:
    return init_state(
      jax.tree.map(lambda x: x.copy(), params),
      optimizer=parts.optimizer,
      alpha=parts.alpha,
      beta=parts.beta,
      sampler=parts.sampler,
      has_target=parts.target_update is not None,
      seed=config.seed,
      critic=networks,
      critic_optimizer=parts.critic_optimizer,
      moving_reference=parts.reference_update is not None,
    )

  stays = has_reference(config) and parts.reference_update is None
  networks = None if critic is None else (lambda params: critic.init(params, config.seed))
  return Training(make_update(parts), init, networks, stays)


def make_look(config: Config, policy: Policy) -> Look | None:
  """What is kept of a step for people to look at, or None for nothing.

  The value is the objective's own; of an objective that has none a value head's, else that of the
  logits, above the reference's where there is one.
  """
  problems, samples = config.look.problems, config.look.samples
  if min(problems, samples) < 0:
    raise ValueError('config.look.problems and config.look.samples start at 0 (nothing is kept)')
  if not problems or not samples:
    return None
  otherwise = 'lse_minus_ref' if has_reference(config) else 'lse'
  value = 'head' if config.critic.kind in WITH_VALUE else otherwise
  return Look(
    problems=min(problems, config.batch.prompts),
    samples=samples,
    group_size=config.batch.group_size,
    value=config.get(config.algorithm, {}).get('value', value),
    advantage=any(name in {**ADVANTAGES, **SHAPED} for name in config.transforms),
    tokenizer=policy.tokenizer,
    eos_id=policy.eos_id,
  )


def make_batch_scorer(config: Config, policy: Policy, group_size: int) -> GroupScorer:
  """How training looks at a policy, on batches whose groups of rows share their prompts."""
  return GroupScorer(
    policy.lm,
    chunk=score_chunk(config, policy.lm),
    group_size=group_size,
    max_new_tokens=config.batch.max_new_tokens,
    cells=partition.batch_shards(policy.mesh),
    microbatch=config.compute.microbatch,
    widths=config.compute.widths,
    measure=make_measure(config),
  )
