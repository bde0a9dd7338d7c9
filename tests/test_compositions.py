"""Mechanisms are orthogonal: compositions of parts, on random scores that no model made.

A composition is transforms in the order of the data (reward shapers, one advantage, what shapes it,
token importances, a filter), an objective, a reduction. What must hold whatever they are: finite
gradients, none outside the mask whatever stands there, jit = no jit, and rows in any order. First
every part once, in an otherwise plain GRPO; then parts at random.
"""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from objectives import OBJECTIVES, POLICY_GRADIENTS, knobs
from test_invariances import MASK, problem

from configs import base
from maxent_lm.build.update import make_loss, make_transform
from maxent_lm.lm.tokenizer import character_tokenizer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.shaping import ADVANTAGES, BLIND, FILTERS, IMPORTANCE, REWARDS, SHAPED, TRANSFORMS
from maxent_lm.shaping.importance import DENOMINATORS, ESTIMATES, SITES
from maxent_lm.shaping.selectors import SCOPES, SELECTORS

TOKENIZER = character_tokenizer('0123456789+-')
# Bands around what the random scores below have.
BASE = {
  **{'algorithm': 'grpo', 'transforms': ('group_normalised',), 'reduction': 'token_mean'},
  **{'measure': 'self_certainty', 'saliency': 'attention', 'drop_truncated.stop': 5},
  **{'lexicon.languages': (), 'lexicon.words': ('+', '-', '12'), 'gtpo.highest': 1.5},
  **{
    'entropy_band.low': 0.2,
    'entropy_band.high': 1.4,
    'semantic_entropy_band.high': 0.65,
  },
  **{'importance.band.low': 0.3, 'importance.band.high': 1.0, 'importance.top_share.share': 0.4},
  **{'importance.random_in_band.low': 0.3, 'importance.random_in_band.share': 0.3},
  **{'overlong.limit': 4, 'overlong.buffer': 2, 'grpo.clip_low': 0.5, 'grpo.clip_high': 1.0},
  **{f'importance.sites.{name}': (1.0, 1.0) for name in SITES},
}
LOSS = {'importance.sites.loss': (0.5, 2.0)}


def parts():
  """The problem of test_invariances, with everything that any part looks at."""
  views, batch, temperature = problem(seed=3)
  rng = np.random.default_rng(4)
  outside = np.where(MASK, 0, np.nan)  # nobody may look there
  measure, kl, saliency, novelty = jnp.asarray(np.abs(rng.normal(size=(4, *MASK.shape))) + outside)
  critic = views.critic._replace(
    novelty=novelty, ensemble=jnp.asarray(rng.normal(size=(*MASK.shape, 3)))
  )
  policy = views.policy._replace(measure=measure)
  views = views._replace(policy=policy, critic=critic, kl=kl, saliency=saliency)
  reward = jnp.asarray([1.0, 0.0, 0.0, 0.0, 0.0, 1.0])[:, None]
  last = jnp.cumsum(batch.mask[:, ::-1], axis=1)[:, ::-1] == 1
  return (
    views,
    batch._replace(
      tokens=jnp.asarray(rng.integers(0, len(TOKENIZER), MASK.shape), jnp.int32),
      logp=batch.logp + outside,
      advantage=batch.advantage + outside,
      reward=jnp.where(batch.mask & last, reward, 0) + outside,
      group=jnp.asarray([0, 0, 0, 3, 3, 5], jnp.int32),
      cluster=jnp.asarray([0, 1, 0, 0, -1, 2], jnp.int32),
    ),
    temperature,
  )


def cases():
  """Every part once: name -> changes of the config."""
  advantage = ('group_normalised',)
  chains = {
    **{name: (name, *advantage) for name in REWARDS},
    **{name: (name,) for name in ADVANTAGES},
    **{name: (*advantage, name) for name in (*SHAPED, *FILTERS)},
  }
  weighted = {'transforms': (*advantage, 'importance')}
  found = {name: {'transforms': chain} for name, chain in chains.items()}
  for name in ESTIMATES:
    found[f'estimate {name}'] = {**weighted, **LOSS, 'importance.estimate': name}
  for key, names in (('select', SELECTORS), ('scope', SCOPES), ('denominator', DENOMINATORS)):
    for name in names:
      found[f'{key} {name}'] = {**weighted, **LOSS, f'importance.{key}': name}
  for name in SITES:
    found[f'site {name}'] = {**weighted, f'importance.sites.{name}': (0.5, 2.0)}
  for name in POLICY_GRADIENTS:
    chain = ('importance',) if name == 'ppo' else weighted['transforms']
    found[name] = {**weighted, **LOSS, 'algorithm': name, 'transforms': chain}
  for kl in ('k1', 'k2', 'exact'):
    found[f'kl {kl}'] = {'grpo.kl': kl}
  found['kl in reward, exact'] = {
    **{'transforms': ('kl_in_reward', *advantage), 'kl_in_reward.kl': 'exact'}
  }
  found['bonus on the measure'] = {'bonus': 'measure'}
  return found


CASES = cases()


def make(changes):
  config = base.get_config()
  config.update_from_flattened_dict(BASE | changes)
  return config


def outcome(composed, parts, *, jit):
  """The gradient in policy and critic, and the mask that is left."""
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


def check(composed):
  """The laws; the gradient in the policy."""
  given = parts()
  gradient, mask = outcome(composed, given, jit=True)
  mask = np.asarray(mask)
  assert not (mask & ~MASK).any()
  for leaf in jax.tree.leaves(gradient):
    assert np.isfinite(leaf).all()
  policy = gradient[0]
  for leaf in (policy.logp, policy.logit, policy.entropy, policy.measure):
    assert not np.asarray(leaf)[~mask].any()
  plain, _ = outcome(composed, given, jit=False)
  close(plain, gradient)
  order = np.random.default_rng(0).permutation(len(MASK))
  moved, _ = outcome(composed, jax.tree.map(lambda x: x[order], given), jit=True)
  close(moved, jax.tree.map(lambda x: x[order], gradient))
  return policy


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9), a, b)


@pytest.fixture(scope='module')
def plain():
  """The gradient of GRPO without any of the parts."""
  with jax.enable_x64(True):
    return check(build(make({})))


def build(config):
  """(transform, loss, reduction)."""
  return make_transform(config, TOKENIZER), make_loss(config), REDUCTIONS[config.reduction]


@pytest.mark.parametrize('name', CASES)
def test_every_part_keeps_the_laws_and_changes_something(name, plain):
  with jax.enable_x64(True):
    policy = check(build(make(CASES[name])))
  ours, theirs = ([np.asarray(leaf) for leaf in jax.tree.leaves(each)] for each in (policy, plain))
  assert any(leaf.any() for leaf in ours)
  same = all(np.allclose(a, b, rtol=1e-9) for a, b in zip(ours, theirs, strict=True))
  assert same == (name == 'group_normalised')


@pytest.mark.parametrize('name', TRANSFORMS)
def test_transforms_look_at_scores_unless_it_is_said(name):
  """Without the policy's view nothing changes for `BLIND` transforms, and for no others."""
  views, batch, _ = parts()
  batch = jax.tree.map(jnp.nan_to_num, batch)
  blind = views._replace(
    policy=jax.tree.map(lambda x: x * jnp.nan, views.policy), critic=None, kl=None, saliency=None
  )
  weighted = {f'{name}.sites.loss': (0.5, 2.0)} if name in IMPORTANCE else {}
  transform = make_transform(make({'transforms': (name,), **weighted}), TOKENIZER)
  seen = transform(batch, views)
  if name in BLIND:
    jax.tree.map(np.testing.assert_array_equal, transform(batch, blind), seen)
    return
  try:
    unseen = transform(batch, blind)
  except (AttributeError, TypeError, ValueError):  # there is nothing to look at
    return
  gaps = jax.tree.map(lambda x, y: not np.array_equal(x, y), unseen, seen)
  assert any(jax.tree.leaves(gaps))


@st.composite
def importances(draw):
  names = draw(st.lists(st.sampled_from(sorted(SITES)), min_size=1, max_size=2, unique=True))
  number = st.sampled_from([0.25, 0.5, 1.0, 2.0])
  return {
    'importance.estimate': draw(st.sampled_from(sorted(ESTIMATES))),
    'importance.select': draw(st.sampled_from(sorted(SELECTORS))),
    'importance.scope': draw(st.sampled_from(sorted(SCOPES))),
    'importance.denominator': draw(st.sampled_from(sorted(DENOMINATORS))),
    **{f'importance.sites.{name}': (draw(number), draw(number)) for name in names},
  }


@st.composite
def compositions(draw):
  """(changes of the config, objective, reduction)."""
  names = draw(st.lists(st.sampled_from(sorted(REWARDS)), max_size=2, unique=True))
  names.append(draw(st.sampled_from(sorted(ADVANTAGES))))
  names += draw(st.lists(st.sampled_from(sorted(SHAPED)), max_size=1))
  names += draw(st.sampled_from([['importance'], []]))
  names += draw(st.lists(st.sampled_from(sorted(FILTERS)), max_size=1))
  loss = draw(st.sampled_from(sorted(OBJECTIVES)))
  changes = {**draw(importances()), 'transforms': tuple(names)}
  return changes, loss, draw(st.sampled_from(sorted(REDUCTIONS)))


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(compositions())
def test_any_composition_keeps_the_laws(drawn):
  changes, loss, reduction = drawn
  with jax.enable_x64(True):
    transform, _, _ = build(make(changes))
    check((transform, OBJECTIVES[loss], REDUCTIONS[reduction]))
