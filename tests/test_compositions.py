"""Mechanisms are orthogonal: random compositions of parts, on random scores that no model made.

A composition is transforms in the order of the data (reward shapers, one advantage, what shapes it,
token importances, a filter), an objective, a reduction. What must hold whatever they are: finite
gradients, none outside the mask, jit = no jit, and rows in any order.
"""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from objectives import OBJECTIVES, knobs
from test_invariances import MASK, problem

from configs import base
from maxent_lm.build.update import make_transform
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import TRANSFORMS

REWARDS = (
  *('answer_frequency', 'majority_label', 'negative_entropy', 'self_certainty_reward', 'overlong'),
  *('semantic_bonus', 'count_bonus', 'perplexity_bonus', 'novelty_bonus', 'disagreement_bonus'),
  *('kl_in_reward', 'entropy_in_reward'),
)
ADVANTAGES = (
  *('group_normalised', 'group_centred', 'leave_one_out', 'returns', 'batch_whitened', 'opo'),
  *('gpg', 'pass_at_k', 'pass_at_k_max', 'positive_negative', 'quantile_baseline', 'batch_scaled'),
)
SHAPERS = ('entropy_bonus_advantage', 'edge', 'gtpo', 'ucas', 'seed_grpo')
FILTERS = ('mixed_groups', 'positive_rows', 'entropy_band', 'semantic_entropy_band')
ESTIMATES = (
  *('entropy', 'measure', 'surprisal', 'covariance', 'entropy_change', 'advantage'),
  *('excess_loss', 'saliency'),
)
SELECTS = (
  *('top_share', 'quantile', 'band', 'random_in_band', 'linear', 'exponential', 'decay'),
  *('z_score', 'inverse'),
)
SITES = ('loss', 'advantage', 'alpha', 'beta', 'kappa', 'clip')
ROWS = (*MASK.shape[:1],)


def parts():
  """The problem of test_invariances, with everything that any part looks at."""
  views, batch, temperature = problem(seed=3)
  rng = np.random.default_rng(4)
  measure, kl, saliency, novelty = jnp.asarray(np.abs(rng.normal(size=(4, *MASK.shape))))
  critic = views.critic._replace(
    novelty=novelty, ensemble=jnp.asarray(rng.normal(size=(*MASK.shape, 3)))
  )
  policy = views.policy._replace(measure=measure)
  views = views._replace(policy=policy, critic=critic, kl=kl, saliency=saliency)
  reward = jnp.where(jnp.asarray(rng.integers(0, 2, len(MASK)))[:, None] > 0, 1.0, 0.0)
  last = jnp.cumsum(batch.mask[:, ::-1], axis=1)[:, ::-1] == 1
  cluster = jnp.asarray([0, 1, 0, 0, -1, 0], jnp.int32)
  batch = batch._replace(reward=jnp.where(batch.mask & last, reward, 0), cluster=cluster)
  return views, batch, temperature


@st.composite
def importances(draw):
  names = draw(st.lists(st.sampled_from(SITES), min_size=1, max_size=2, unique=True))
  number = st.sampled_from([0.25, 0.5, 1.0, 2.0])
  return {
    'importance.estimate': draw(st.sampled_from(ESTIMATES)),
    'importance.select': draw(st.sampled_from(SELECTS)),
    'importance.scope': draw(st.sampled_from(['row', 'group', 'batch'])),
    'importance.denominator': draw(st.sampled_from(['all', 'selected'])),
    **{f'importance.sites.{name}': (draw(number), draw(number)) for name in names},
  }


@st.composite
def compositions(draw):
  """(names of transforms, changes of the importance, objective, reduction)."""
  names = draw(st.lists(st.sampled_from(REWARDS), max_size=2, unique=True))
  names.append(draw(st.sampled_from(ADVANTAGES)))
  names += draw(st.lists(st.sampled_from(SHAPERS), max_size=1))
  changes = draw(importances())
  names += draw(st.sampled_from([[], ['importance']]))
  names += draw(st.lists(st.sampled_from(FILTERS), max_size=1))
  loss = draw(st.sampled_from([name for name in OBJECTIVES if name != 'vespo']))
  return tuple(names), changes, loss, draw(st.sampled_from(sorted(REDUCTIONS)))


def make(names, changes):
  config = base.get_config()
  config.measure = 'self_certainty'
  config.saliency = 'attention'
  config.update_from_flattened_dict(changes)
  config.transforms = names
  return make_transform(config, None)


def outcome(composed, parts, *, jit):
  transform, loss, reduction = composed
  views, batch, temperature = parts

  def total(trained):
    seen = views._replace(policy=trained[0], critic=trained[1])
    shaped = transform(batch, jax.lax.stop_gradient(seen))
    scaled = [
      knob if factor is None else knob * factor
      for knob, factor in zip(temperature, (shaped.alpha, shaped.beta), strict=True)
    ]
    values, _ = loss(seen, shaped, knobs(*scaled))
    return reduction(values * shaped.weight, shaped.mask), shaped.mask

  gradient = jax.grad(total, has_aux=True)
  return (jax.jit(gradient) if jit else gradient)((views.policy, views.critic))


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(compositions())
def test_any_composition_keeps_the_laws(drawn):
  names, changes, loss, reduction = drawn
  with jax.enable_x64(True):
    composed = make(names, changes), OBJECTIVES[loss], REDUCTIONS[reduction]
    given = parts()
    gradient, mask = outcome(composed, given, jit=True)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    policy = gradient[0]
    for leaf in (policy.logp, policy.logit):
      assert not np.asarray(leaf)[~np.asarray(mask)].any()
    assert not np.asarray(mask & ~given[1].mask).any()
    plain, _ = outcome(composed, given, jit=False)
    close(plain, gradient)
    order = np.random.default_rng(0).permutation(len(MASK))
    moved, _ = outcome(composed, jax.tree.map(lambda x: x[order], given), jit=False)
    close(moved, jax.tree.map(lambda x: x[order], gradient))


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9), a, b)


def test_every_transform_takes_part():
  assert {*REWARDS, *ADVANTAGES, *SHAPERS, *FILTERS, 'importance'} >= set(TRANSFORMS) - {
    'importance_2',  # the same function
    'drop_truncated',  # needs the id of EOS
  }
