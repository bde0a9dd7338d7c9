"""Objectives that do NOT have the soft-optimal policy as their optimum, as published or as often
implemented: if one of these passed, the tests that let the others pass would mean nothing.

Never import this from the package. Each is a `fixed_points.Member`, like the exact ones.
"""

import functools

import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis.fixed_points import Member, reference_completions
from maxent_lm.soft import residual


def guo_default(views, batch, temperature):
  """[Guo et al. 2022], the repository's default loss, (v2 + v3) / 2: log pi against the target's V.

  V comes from a lagged copy that only follows the policy's logits, and log pi does not see their
  shift: V has zero gradient and stays where it began.
  """
  steps = residual.read(views.policy, views.reference, batch, temperature)
  behind = residual.read(views.target, views.reference, batch, temperature)
  delta = residual.one_step(steps._replace(value=behind.value))
  return 0.5 * (delta**2 + residual.suffix(delta, batch.mask, 1.0) ** 2), {}


def flowrl(views, batch, temperature):
  """[Zhu et al. 2025, FlowRL]: log Z + mean_t log(pi / rho) - R / kappa, the mean over tokens.

  1/|y| makes the optimum rho exp(|y| (R / kappa - log Z)): zero loss at the wrong policy.
  """
  steps = residual.read(views.policy, views.reference, batch, temperature)
  steps = residual.with_value(steps, views.critic.value)
  length = jnp.maximum(masked.masked_sum(batch.mask, batch.mask, axis=1), 1)[:, None]
  error = residual.path(steps._replace(log_ratio=steps.log_ratio / length))
  return jnp.where(masked.last_action(batch.mask), 0.5 * error[:, None] ** 2, 0), {}


def mean_reward_baseline(views, batch, temperature):
  """Mirror descent with the group's mean reward in the place of kappa log Z."""
  steps = residual.read(views.policy, views.reference, batch, temperature)
  total = masked.masked_sum(batch.reward, batch.mask, axis=1)
  ratio = masked.masked_sum(steps.kappa * steps.log_ratio, batch.mask, axis=1)
  error = jnp.mean(total) - total + ratio
  return jnp.where(masked.last_action(batch.mask), 0.5 * error[:, None] ** 2, 0), {}


def _balance(views, batch, temperature):
  return LOSSES['vargrad'](views, batch, temperature)


def without_eos(problem):
  """The log-probability of EOS is left out of the path; the reward moves to the token before."""
  batch = problem.batch
  mask = batch.mask & ~(masked.last_action(batch.mask) & problem.ended[:, None])
  total = masked.masked_sum(batch.reward, batch.mask, axis=1)
  reward = jnp.where(masked.last_action(mask), total[:, None], 0)
  return batch._replace(mask=mask, reward=reward)


def without_truncated(problem):
  """Strings that the length cap ended are dropped from the data."""
  batch = problem.batch
  return batch._replace(mask=batch.mask & problem.ended[:, None])


def truncation_as_the_end(problem):
  """Every string is also seen cut after two tokens, and the cut taken for a terminal state."""
  batch = problem.batch
  early = jnp.arange(batch.mask.shape[1]) < 2
  rows = jnp.arange(len(batch.mask)) % 2 == 0
  return batch._replace(mask=batch.mask & (early[None, :] | rows[:, None]))


_SOFT_Q = functools.partial(LOSSES['soft_q'], lam=0.0, gradient='semi', value='lse')

CONTROLS = {
  'Guo default (v2 + v3)': Member(guo_default, lag=0.01),
  'FlowRL 1/|y|': Member(flowrl, critic=('value',)),
  'mean-reward baseline': Member(mean_reward_baseline),
  'EOS term dropped': Member(_balance, prepare=without_eos),
  'truncated dropped': Member(_balance, prepare=without_truncated),
  'truncation as the end': Member(_SOFT_Q, prepare=truncation_as_the_end),
}
# Guided by the mean of the return under the reference instead of its exponential mean.
GUIDED_CONTROLS = {
  'controlled decoding': Member(
    functools.partial(LOSSES['q_sharp'], low=0.0, high=1.0),
    critic=('atoms',),
    policy='mean',
    prepare=reference_completions,
    steps=20000,
    learning_rate=1.0,
  ),
}
