"""Importance: published methods as compositions, against the numbers of the original codes."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_invariances import GROUP, MASK, problem

from configs import base
from maxent_lm.algorithms import LOSSES
from maxent_lm.masked import sequence_mean, token_mean
from maxent_lm.shaping import TRANSFORMS, chain, selectors
from maxent_lm.shaping.importance import DENOMINATORS, ESTIMATES, SITES, importance
from maxent_lm.shaping.selectors import SELECTORS, make_pool
from maxent_lm.types import Batch, Scores, Temperature, Views

REFERENCE = pathlib.Path(__file__).parent.parent / 'reference' / 'token_importance.json'
CASES = {case['case']: case for case in json.loads(REFERENCE.read_text())['cases']}
CONFIG = base.get_config()


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def compose(estimate, select, scope='batch', denominator='all', sites=None, **options):
  """The transform as the builder makes it, sites from the config's defaults unless given."""
  return functools.partial(
    importance,
    estimate=ESTIMATES[estimate] if isinstance(estimate, str) else estimate,
    select=functools.partial(SELECTORS[select], **options),
    scope=scope,
    denominator=denominator,
    sites=sites or {'loss': (0.0, 1.0)},
  )


def grpo(**changes):
  return functools.partial(LOSSES['grpo'], **{**CONFIG.grpo, **changes})


def parts_of(inputs, mask='response_mask'):
  """Views and batch from a reference case; what the case does not give is 0."""
  found = {name: jnp.asarray(value, jnp.float64) for name, value in inputs.items()}
  mask = found[mask].astype(bool)
  zero = jnp.zeros(mask.shape)

  def first(*names):
    return next((found[name] for name in names if name in found), zero)

  logp = first('log_prob', 'per_token_logps')
  entropy = first('entropy', 'entropys', 'entropies')
  advantage = first('advantages')
  if advantage.ndim == 1:
    advantage = jnp.broadcast_to(advantage[:, None], mask.shape)
  rows = jnp.zeros(len(mask), jnp.int32)
  batch = Batch(
    tokens=zero.astype(jnp.int32),
    mask=mask,
    logp=first('old_log_prob', 'old_per_token_logps'),
    reward=zero,
    weight=jnp.ones(mask.shape),
    advantage=advantage,
    group=rows,
    cluster=rows,
    bootstrap=rows > 0,
  )
  return Views(Scores(logp, logp, zero, entropy)), batch


def loss_and_gradient(loss, transform, views, batch, knobs=(0.0, 0.0)):
  """Mean loss per token of the shaped batch, and its gradient in the policy's log-probs."""
  temperature = Temperature(*map(jnp.asarray, knobs))

  def total(logp):
    policy = views.policy._replace(logp=logp)
    seen = views._replace(policy=policy)
    shaped = transform(batch, jax.lax.stop_gradient(seen))
    return token_mean(loss(seen, shaped, temperature)[0] * shaped.weight, shaped.mask)

  return jax.jit(jax.value_and_grad(total))(views.policy.logp)


def test_top_share_is_that_of_the_80_20_code():
  for ratio in ('0.2', '1.0'):
    case = CASES[f'beyond8020_top{ratio}']
    views, batch = parts_of(case['inputs'])
    shaped = compose('entropy', 'top_share', share=case['kwargs']['top_ratio'])(batch, views)
    np.testing.assert_array_equal(
      np.where(batch.mask, shaped.weight, 0), case['outputs']['mask'], strict=False
    )


def test_the_two_denominators_of_80_20():
  case = CASES['beyond8020_denominator']
  views, batch = parts_of(case['inputs'])
  loss, outputs = jnp.asarray(case['inputs']['per_token_loss']), case['outputs']
  for denominator, name in (('selected', 'repo_8020_token_mean'), ('all', 'trl_dapo_token_mean')):
    shaped = compose('entropy', 'top_share', denominator=denominator, share=0.5)(batch, views)
    value = token_mean(loss * shaped.weight, batch.mask)
    np.testing.assert_allclose(value, outputs[name], rtol=1e-6)


def test_the_selected_denominator_of_a_row_is_that_of_sequence_mean():
  views, batch, _ = problem()
  loss = views.policy.logit
  transform = compose('entropy', 'top_share', 'row', 'selected', share=0.4)
  weight = compose('entropy', 'top_share', 'row', share=0.4)(batch, views).weight
  chosen = np.where(MASK, weight, 0) > 0
  rows = [np.asarray(loss)[r][chosen[r]].mean() if chosen[r].any() else 0 for r in range(len(MASK))]
  shaped = transform(batch, views)
  np.testing.assert_allclose(sequence_mean(loss * shaped.weight, batch.mask), np.mean(rows))


def test_nothing_selected_is_no_loss_for_either_denominator():
  views, batch, _ = problem()
  for denominator in DENOMINATORS:
    none = compose('entropy', 'band', denominator=denominator, low=50.0, high=60.0)
    shaped = none(batch, views)
    np.testing.assert_array_equal(shaped.weight, np.where(MASK, 0.0, 1.0))


def test_steer_weights():
  case = CASES['steer_weights_linearFalse']
  views, batch = parts_of(case['inputs'])
  transform = compose(
    'entropy_change', 'exponential', floor=case['kwargs']['token_weight_min'], least=0.02
  )
  weight = np.where(batch.mask, transform(batch, views).weight, 0)
  np.testing.assert_allclose(weight, case['outputs']['weights'], atol=1e-6)


@pytest.mark.parametrize('threshold', ['0.8', '1.0'])
def test_quantile_is_that_of_trl(threshold):
  case = CASES[f'high_entropy_mask_threshold{threshold}']
  views, batch = parts_of(case['inputs'], mask='mask')
  shaped = compose('entropy', 'quantile', q=case['kwargs']['threshold'])(batch, views)
  np.testing.assert_array_equal(
    np.where(batch.mask, shaped.weight, 0).astype(bool), case['outputs']['mask']
  )


def test_siren_takes_what_lies_above_the_quantile_of_the_row():
  """The original also takes padding that lies above it; here only response tokens compete."""
  case = CASES['siren_quantile_mask']
  mask = np.array(case['inputs']['response_mask'], bool)
  values = jnp.asarray(case['inputs']['entropy'])
  pool = selectors.Pool(jnp.asarray(mask), jnp.arange(2), jnp.zeros(mask.shape, jnp.uint32))
  found = selectors.above_quantile(values, pool, q=case['kwargs']['lower'])
  np.testing.assert_array_equal(np.asarray(found)[mask], np.array(case['outputs']['mask'])[mask])


@pytest.mark.parametrize('site', ['loss', 'advantage'])
def test_dapo_on_trls_high_entropy_tokens(site):
  """With neither bonus nor KL, the loss and the policy gradient alone are the same site."""
  case = CASES['dapo_top_entropy_quantile0.2']
  views, batch = parts_of(case['inputs'], mask='completion_mask')
  transform = compose('entropy', 'quantile', sites={site: (0.0, 1.0)}, q=0.8)
  chosen = np.asarray(transform(batch, views)._asdict()[{'loss': 'weight'}.get(site, site)])
  np.testing.assert_array_equal((chosen != 0) & batch.mask, case['outputs']['entropy_mask'])
  value, gradient = loss_and_gradient(grpo(clip_low=0.2, clip_high=0.2), transform, views, batch)
  np.testing.assert_allclose(value, case['outputs']['loss'], rtol=1e-6)
  np.testing.assert_allclose(gradient, case['outputs']['grad_wrt_logps'], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('name', ['clip_cov_deterministic_all_in_band', 'clip_cov_empty_band'])
def test_clip_cov(name):
  case = CASES[name]
  kwargs = case['kwargs']
  views, batch = parts_of(case['inputs'])
  transform = compose(
    'covariance',
    'random_in_band',
    sites={'loss': (1.0, 0.0)},
    low=kwargs['clip_cov_lb'],
    high=kwargs['clip_cov_ub'],
    share=kwargs['clip_cov_ratio'],
    seed=0,
  )
  loss = grpo(clip_low=kwargs['clip_ratio_low'], clip_high=kwargs['clip_ratio_high'])
  value, gradient = loss_and_gradient(loss, transform, views, batch)
  outputs = case['outputs']
  np.testing.assert_allclose(value, outputs['loss'], rtol=1e-6)
  np.testing.assert_allclose(gradient, outputs['grad_wrt_log_prob'], rtol=1e-6, atol=1e-9)


def test_estimates_by_hand():
  views, batch, _ = problem()
  views = views._replace(
    policy=views.policy._replace(measure=views.policy.value), saliency=jnp.abs(views.policy.logp)
  )
  logp, old, adv = (np.asarray(x) for x in (views.policy.logp, batch.logp, batch.advantage))
  p = np.exp(logp)
  hand = {
    'entropy': views.policy.entropy,
    'measure': views.policy.value,
    'surprisal': -old,
    'covariance': (adv - adv[MASK].mean()) * (logp - logp[MASK].mean()),
    'entropy_change': np.abs(adv / np.exp(old) * p * (1 - p) * (logp + views.policy.entropy)),
    'advantage': np.abs(adv),
    'excess_loss': views.reference.logp - logp,
    'saliency': np.abs(logp),
  }
  assert hand.keys() == ESTIMATES.keys() - {'lexicon'}
  for name, expected in hand.items():
    found = ESTIMATES[name](batch, views)
    np.testing.assert_allclose(np.asarray(found)[MASK], np.asarray(expected)[MASK], rtol=1e-10)


@pytest.mark.parametrize('name', ['measure', 'excess_loss', 'saliency'])
def test_an_estimate_without_its_view_says_what_it_needs(name):
  views, batch, _ = problem()
  with pytest.raises(ValueError, match=f'{name}.* needs'):
    ESTIMATES[name](batch, Views(views.policy))


def follows_a_seven(tokens):
  """A lexicon of every word that comes after the token 7."""
  return jnp.pad(tokens[:, :-1] == 7, ((0, 0), (1, 0)))


LEXICON = functools.partial(ESTIMATES['lexicon'], match=follows_a_seven)
COMPOSITIONS = {
  '80/20, paper': compose('entropy', 'top_share', share=0.2),
  '80/20, code': compose('entropy', 'top_share', denominator='selected', share=0.2),
  'Clip-Cov': compose(
    *('covariance', 'random_in_band'),
    sites={'loss': (1.0, 0.0)},
    **{'low': 0.1, 'high': 5.0, 'share': 0.2, 'seed': 0},
  ),
  # clip .2 -> .5 and beta .001 -> 0 where the entropy is high, as factors.
  'Archer': compose(
    'entropy', 'quantile', 'row', sites={'clip': (1.0, 2.5), 'beta': (1.0, 0.0)}, q=0.8
  ),
  'STEER': compose('entropy_change', 'exponential', floor=0.8, least=0.02),
  'connectives': compose(LEXICON, 'as_is', sites={'kappa': (1.0, 4.0)}),
}


def random_problem():
  views, batch, temperature = problem()
  tokens = np.random.default_rng(4).integers(6, 9, MASK.shape)
  return views, batch._replace(tokens=jnp.asarray(tokens, jnp.int32)), temperature


@pytest.mark.parametrize('loss', ['grpo', 'soft_q'])
@pytest.mark.parametrize('method', COMPOSITIONS)
def test_published_methods_give_a_gradient(method, loss):
  views, batch, temperature = random_problem()
  transform = chain(
    functools.partial(TRANSFORMS['group_normalised'], **CONFIG.group_normalised),
    COMPOSITIONS[method],
  )
  objective = functools.partial(LOSSES[loss], **CONFIG[loss])

  def total(policy, views, batch, temperature):
    seen = views._replace(policy=policy)
    shaped = transform(batch, jax.lax.stop_gradient(seen))
    factors = (1 if f is None else f for f in (shaped.alpha, shaped.beta))
    knobs = Temperature(*(k * f for k, f in zip(temperature, factors, strict=True)))
    return token_mean(objective(seen, shaped, knobs)[0] * shaped.weight, shaped.mask)

  gradient = jax.jit(jax.grad(total))
  whole = gradient(views.policy, views, batch, temperature)
  read = np.asarray(whole.logp)
  assert all(np.isfinite(g).all() for g in whole if g is not None) and read.any()
  assert not read[~MASK].any()
  order = np.random.default_rng(0).permutation(len(GROUP))
  turned = jax.tree.map(lambda x: x[order], (views, batch, temperature))
  np.testing.assert_allclose(gradient(turned[0].policy, *turned).logp, read[order], rtol=1e-9)


def test_archers_factors():
  views, batch, _ = random_problem()
  shaped = COMPOSITIONS['Archer'](batch, views)
  high = np.zeros(MASK.shape, bool)
  for row in range(len(MASK)):
    if MASK[row].any():
      values = np.asarray(views.policy.entropy)[row]
      high[row] = MASK[row] & (values >= np.quantile(values[MASK[row]], 0.8))
  np.testing.assert_allclose(shaped.clip, np.where(high, 2.5, 1.0))
  np.testing.assert_allclose(shaped.beta, np.where(high, 0.0, 1.0))
  assert shaped.alpha is None and shaped.weight is batch.weight


def test_the_lexicon_sees_the_response_only():
  """A 7 that ends the prompt marks nothing in the response."""
  views, batch, _ = random_problem()
  shaped = COMPOSITIONS['connectives'](batch, views)
  seven = np.asarray(batch.tokens) == 7
  after = MASK & np.pad((seven & MASK)[:, :-1], ((0, 0), (1, 0)))
  assert after.any() and (MASK & np.pad((seven & ~MASK)[:, :-1], ((0, 0), (1, 0)))).any()
  np.testing.assert_array_equal(shaped.alpha, np.where(after, 4.0, 1.0))
  np.testing.assert_array_equal(shaped.beta, shaped.alpha)


@pytest.mark.parametrize('site', SITES)
def test_a_site_is_multiplied_and_nothing_else_changes(site):
  views, batch, _ = problem()
  transform = compose(
    'entropy', 'linear', sites=dict.fromkeys(SITES, (1.0, 1.0)) | {site: (0.5, 2.0)}
  )
  once = transform(batch, views)._asdict()
  twice = transform(transform(batch, views), views)._asdict()
  factor = 0.5 + 1.5 * np.asarray(
    SELECTORS['linear'](views.policy.entropy, make_pool(batch, 'batch'))
  )
  factor = np.where(MASK, factor, 1)
  for name, before in batch._asdict().items():
    if name in SITES[site]:
      start = 1 if before is None else np.asarray(before)
      np.testing.assert_allclose(once[name], start * factor)
      np.testing.assert_allclose(twice[name], start * factor**2)
    else:
      assert once[name] is before


@pytest.mark.parametrize('estimate', ['entropy', 'covariance', 'entropy_change', 'excess_loss'])
def test_outside_the_mask_nothing_is_read(estimate):
  views, batch, _ = problem()
  transform = compose(estimate, 'linear')

  def spoil(x):
    wide = x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.where(MASK, x, jnp.nan) if wide else x

  clean = transform(batch, views).weight
  spoilt = jax.tree.map(spoil, batch)._replace(weight=batch.weight)
  seen = Views(jax.tree.map(spoil, views.policy), None, jax.tree.map(spoil, views.reference))
  np.testing.assert_array_equal(transform(spoilt, seen).weight, clean)
