"""Preference objectives: their laws, the numbers of the originals, and where they end.

Reference numbers: tests/reference/preference_losses.json and unpaired_losses.json, with repository,
commit and function of each case. Left out: XPO, whose bonus is for responses of the reference. The
originals of HALOs count only tokens whose log-ratio is not 0, so that IPO and SimPO are 0 / 0 where
the policy is the reference; that is not reproduced.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_language import state_kappa, toy

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES, links, preference
from maxent_lm.analysis import fixed_points as fp
from maxent_lm.soft import exact
from maxent_lm.types import Batch, Scores, Temperature, Views

FOLDER = pathlib.Path(__file__).parent.parent / 'reference'
PAIRED, UNPAIRED = (
  {case['case']: case for case in json.loads((FOLDER / f'{name}.json').read_text())['cases']}
  for name in ('preference_losses', 'unpaired_losses')
)
DPO = {
  **{'link': 'sigmoid', 'score': 'reverse_kl', 'strength': 0.5, 'length': 'sum'},
  **{'offset': 0.0, 'smoothing': 0.0, 'cloning': 0.0},
}
KTO = {
  **{'link': 'probability', 'baseline': 'kl', 'threshold': 0.5},
  **{'desirable': 1.0, 'undesirable': 1.0},
}


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def dpo(**changes):
  return functools.partial(LOSSES['dpo'], **{**DPO, **changes})


def kto(**changes):
  return functools.partial(LOSSES['kto'], **{**KTO, **changes})


def knobs(alpha, beta):
  return Temperature(jnp.asarray(alpha, float), jnp.asarray(beta, float))


def scores(logp):
  zero = jnp.zeros_like(logp)
  return Scores(jnp.asarray(logp), zero, zero, zero)


def make(logp, reference, lengths, returns, group):
  """(views, batch) of rows whose log-probabilities [B] are spread evenly over their tokens."""
  lengths = np.array(lengths)
  mask = np.arange(lengths.max() + 1)[None, :] < lengths[:, None]
  spread = [
    np.where(mask, (np.array(x) / np.maximum(lengths, 1))[:, None], np.nan)
    for x in (logp, reference)
  ]
  last = np.asarray(masked.last_action(jnp.asarray(mask)))
  zero, rows = jnp.zeros(mask.shape), len(lengths)
  batch = Batch(
    tokens=zero.astype(int),
    mask=jnp.asarray(mask),
    logp=zero,
    reward=jnp.asarray(np.where(last, np.array(returns, float)[:, None], 0)),
    weight=zero + 1,
    advantage=zero,
    group=jnp.asarray(group, jnp.int32),
    cluster=jnp.full(rows, -1, jnp.int32),
    bootstrap=jnp.zeros(rows, bool),
  )
  return Views(scores(jnp.asarray(spread[0])), None, scores(jnp.asarray(spread[1]))), batch


def pairs_of(case):
  """The four pairs of a case, winners first; mean log-probabilities are rows of one token."""
  given = case['inputs']
  parts = [given[f'policy_{side}_logps'] for side in ('chosen', 'rejected')]
  count = len(parts[0])
  reference = [given.get(f'ref_{side}_logps', [0.0] * count) for side in ('chosen', 'rejected')]
  lengths = [given.get(f'{side}_lengths', [1] * count) for side in ('chosen', 'rejected')]
  return make(
    sum(parts, []),
    sum(reference, []),
    sum(lengths, []),
    [1] * count + [0] * count,
    [*range(count)] * 2,
  )


def outcome(loss, views, batch, temperature):
  """([B] values, scalar loss, [B] gradient in the log-probability of a row)."""

  def total(policy):
    values, _ = loss(views._replace(policy=policy), batch, temperature)
    return masked.sequence_sum(values, batch.mask), values

  gradient, values = jax.grad(total, has_aux=True)(views.policy)
  # Every token of a row moves its sum alike: any of them tells the gradient in the sum.
  assert np.isfinite(np.asarray(gradient.logp)).all()
  assert not np.asarray(gradient.logp)[~np.asarray(batch.mask)].any()
  return np.asarray(values.sum(axis=1)), total(views.policy)[0], np.asarray(gradient.logp)[:, 0]


# name: (loss, alpha, beta, factor on ours); IPO and SPPO are published over kappa^2.
CASES = {
  'em_dpo': (dpo(), 0, 0.1, 1),
  'em_ipo_sum': (dpo(link='ipo'), 0, 0.1, 100),
  'openrlhf_dpo': (dpo(), 0, 0.1, 1),
  'fdpo_dpo_loss': (dpo(), 0, 0.1, 1),
  'fdpo_js_dpo_loss': (dpo(score='js'), 0, 0.1, 1),
  'trl_sigmoid__reverse_kl': (dpo(), 0, 0.1, 1),
  'trl_ipo__reverse_kl': (dpo(link='ipo', length='mean'), 0, 0.1, 100),
  'trl_nca_pair__reverse_kl': (dpo(link='nca'), 0, 0.1, 1),
  # Its running mean was still 0; ours is over rows, twice as many.
  'trl_bco_pair__reverse_kl': (kto(link='logistic', baseline='zero'), 0, 0.1, 2),
  'trl_aot__reverse_kl': (functools.partial(LOSSES['aot'], smoothing=0.0), 0, 0.1, 1),
  'trl_apo_zero__reverse_kl': (dpo(link='apo_zero'), 0, 0.1, 1),
  'trl_discopop__reverse_kl': (dpo(link='discopop'), 0, 0.1, 1),
  'trl_sigmoid__forward_kl': (dpo(score='forward_kl'), 0, 0.1, 1),
  'trl_sigmoid__js_divergence': (dpo(score='js'), 0, 0.1, 1),
  'trl_sigmoid__alpha_divergence': (dpo(score='alpha'), 0, 0.1, 1),
  'trl_cpo_sigmoid': (dpo(), 0.1, 0, 1),
  'trl_cpo_hinge': (dpo(link='hinge'), 0.1, 0, 1),
  'trl_alphapo': (dpo(score='alpha', strength=0.25, length='mean', offset=0.5), 2.0, 0, 1),
  'hdpo_alpha0.95': (dpo(), -0.005, 0.1, 1),
  'hdpo_alpha1.2': (dpo(), 0.02, 0.1, 1),
}
ROUGH = {'trl_sigmoid__alpha_divergence': 1e-5}  # computed in float32


def test_every_case_is_used():
  assert CASES.keys() == PAIRED.keys()


@pytest.mark.parametrize('name', CASES)
def test_paired_losses_of_the_originals(name):
  loss, alpha, beta, factor = CASES[name]
  views, batch = pairs_of(PAIRED[name])
  values, total, gradient = outcome(loss, views, batch, knobs(alpha, beta))
  expected, close = PAIRED[name]['outputs'], {'rtol': ROUGH.get(name, 1e-9), 'atol': 1e-12}
  if 'mean' in expected:
    np.testing.assert_allclose(factor * total, expected['mean'], **close)
  if 'per_sequence_loss' in expected:
    each = values[:4] / 2  # B / number of pairs
    if 'bco' in name:
      each = values[:4] + values[4:]
      factor_each = 1
    else:
      factor_each = factor
    wanted = expected['per_sequence_loss']
    if 'aot' in name:  # there in the order of the margins
      each, wanted = np.sort(each), np.sort(wanted)
    np.testing.assert_allclose(factor_each * each, wanted, **close)
    ours = [factor * gradient[:4], factor * gradient[4:]]
    np.testing.assert_allclose(ours[0], expected['grad_chosen'], **close)
    np.testing.assert_allclose(ours[1], expected['grad_rejected'], **close)
  if 'chosen_rewards' in expected and 'js' not in name and 'alphapo' not in name:
    reward = preference.implicit_reward(
      views, batch, knobs(alpha, beta), score='reverse_kl', strength=0.0, length='sum'
    )
    np.testing.assert_allclose(reward[:4], expected['chosen_rewards'], rtol=1e-9, atol=1e-12)


def test_scores_of_the_originals_as_rewards():
  """f-DPO's Jensen-Shannon rewards, and AlphaPO's."""
  for name, (loss, alpha, beta, _) in CASES.items():
    if name in ('fdpo_js_dpo_loss', 'trl_alphapo'):
      views, batch = pairs_of(PAIRED[name])
      options = {key: loss.keywords[key] for key in ('score', 'strength', 'length')}
      reward = preference.implicit_reward(views, batch, knobs(alpha, beta), **options)
      np.testing.assert_allclose(reward[:4], PAIRED[name]['outputs']['chosen_rewards'], rtol=1e-9)


def unpaired(case, reference='ref'):
  given = case['inputs']
  policy = 'policy_' if 'policy_chosen_logps' in given else ''
  logp = [given[f'{policy}{side}_logps'] for side in ('chosen', 'rejected')]
  prior = [given[f'{reference}_{side}_logps'] for side in ('chosen', 'rejected')]
  returns = [1] * len(logp[0]) + [0] * len(logp[1])
  return make(sum(logp, []), sum(prior, []), [2] * 5, returns, range(5))


def test_kto_of_the_originals():
  case = UNPAIRED['trl_kto_posKL']
  views, batch = unpaired(case)
  good = jnp.arange(5) < 2

  def total(policy):
    reward = preference.implicit_reward(
      views._replace(policy=policy),
      batch,
      knobs(0, 0.1),
      score='reverse_kl',
      strength=0.0,
      length='sum',
    )
    losses = preference.unpaired_values(
      reward,
      good,
      0.1 * case['outputs']['kl'],
      link='probability',
      desirable=1.0,
      undesirable=1.33,
    )
    return jnp.mean(losses), losses

  gradient, losses = jax.grad(total, has_aux=True)(views.policy)
  np.testing.assert_allclose(losses, case['outputs']['losses'], rtol=1e-9)
  expected = case['outputs']['grad_chosen'] + case['outputs']['grad_rejected']
  np.testing.assert_allclose(gradient.logp[:, 0], expected, rtol=1e-9)


def test_unpaired_apo_zero_and_bco_of_the_originals():
  case = UNPAIRED['trl_apo_zero_unpaired_posKL']
  views, batch = unpaired(case)
  loss = kto(baseline='zero', undesirable=1.33)
  values, _, gradient = outcome(loss, views, batch, knobs(0, 0.1))
  np.testing.assert_allclose(values, case['outputs']['losses'], rtol=1e-9)
  expected = case['outputs']['grad_chosen'] + case['outputs']['grad_rejected']
  np.testing.assert_allclose(gradient, expected, rtol=1e-9)
  case = UNPAIRED['trl_bco_delta0.03']
  rewards = case['outputs']['chosen_rewards'] + case['outputs']['rejected_rewards']
  losses = preference.unpaired_values(
    jnp.asarray(rewards), jnp.arange(5) < 2, 0.03, link='logistic', desirable=1.0, undesirable=1.0
  )
  np.testing.assert_allclose(losses, case['outputs']['losses'], rtol=1e-9)


def test_token_level_cases_of_halos():
  given = UNPAIRED['halos_DPOTrainer']['inputs']
  tables = [
    np.array(given[f'{who}_{side}_token_logps'])
    for who in ('policy', 'reference')
    for side in ('chosen', 'rejected')
  ]
  policy, reference = np.concatenate(tables[:2]), np.concatenate(tables[2:])
  mask = jnp.asarray(policy != 0)
  _, batch = make([0] * 4, [0] * 4, [3] * 4, [1, 1, 0, 0], [0, 1, 0, 1])
  reward = jnp.where(masked.last_action(mask), jnp.asarray([1.0, 1, 0, 0])[:, None], 0)
  batch = batch._replace(mask=mask, reward=reward)
  views = Views(scores(jnp.asarray(policy)), None, scores(jnp.asarray(reference)))
  expected = UNPAIRED['halos_DPOTrainer']['outputs']['losses']
  values, _ = dpo()(views, batch, knobs(0, 0.1))
  np.testing.assert_allclose(values.sum(axis=1)[:2] / 2, expected, rtol=1e-9)
  values, _ = dpo(length='mean', offset=1.0)(views, batch, knobs(2.0, 0))
  expected = UNPAIRED['halos_simpo']['outputs']['losses']
  np.testing.assert_allclose(values.sum(axis=1)[:2] / 2, expected, rtol=1e-7)
  case = UNPAIRED['halos_kto']['outputs']
  rewards = 0.1 * jnp.asarray(case['chosen_rewards'] + case['rejected_rewards'])
  losses = preference.unpaired_values(
    rewards,
    jnp.arange(4) < 2,
    0.1 * case['KL'],
    link='probability',
    desirable=1.0,
    undesirable=1.0,
  )
  np.testing.assert_allclose(losses, case['losses'], rtol=1e-6)  # its KL is float32


# Laws.


def random_rows(seed=0, rows=7):
  rng = np.random.default_rng(seed)
  logp, reference = rng.normal(-9, 2, size=(2, rows))
  return make(
    logp, reference, [3, 2, 4, 1, 0, 2, 5], [1, 0, 0.5, 0, 3, 1, 1], [2, 2, 2, 5, 2, 5, 0]
  )


def test_the_loss_is_the_mean_over_the_pairs_of_every_group():
  """Three rows with different returns are three pairs, an empty row is in none."""
  views, batch = random_rows()
  reward = np.asarray(
    preference.implicit_reward(
      views, batch, knobs(0.1, 0.2), score='reverse_kl', strength=0.0, length='sum'
    )
  )
  pairs = [(0, 1), (0, 2), (2, 1), (5, 3)]
  losses = [np.log1p(np.exp(reward[loser] - reward[winner])) for winner, loser in pairs]
  _, total, _ = outcome(dpo(), views, batch, knobs(0.1, 0.2))
  assert float(total) == pytest.approx(np.mean(losses), rel=1e-12)
  _, metrics = dpo()(views, batch, knobs(0.1, 0.2))
  margins = [reward[winner] - reward[loser] for winner, loser in pairs]
  assert float(metrics['margin']) == pytest.approx(np.mean(margins))
  assert float(metrics['accuracy']) == pytest.approx(np.mean(np.array(margins) > 0))
  assert float(metrics['paired']) == pytest.approx(5 / 6)
  logp = np.asarray(masked.masked_mean(views.policy.logp, batch.mask, axis=1))
  assert float(metrics['chosen_logp']) == pytest.approx(np.mean(logp[[0, 0, 2, 5]]))
  assert float(metrics['rejected_reward']) == pytest.approx(np.mean(reward[[1, 2, 1, 3]]))


@pytest.mark.parametrize(
  'loss',
  [dpo(link=link, smoothing=0.1 * (link == 'exo')) for link in links.LINKS]
  + [dpo(score=score) for score in links.SCORES]
  + [dpo(length='mean', cloning=1.0), kto(), kto(link='logistic', baseline='mean')]
  + [
    functools.partial(LOSSES['aot'], smoothing=0.0),
    functools.partial(LOSSES['orpo'], weight=1.0),
  ],
)
def test_nothing_to_learn_is_zero_and_the_start_is_finite(loss):
  views, batch = random_rows()
  start = views._replace(reference=views.policy)
  for far in (1.0, 100.0):  # the originals' IPO is 0 / 0 here; far away nothing overflows
    policy = views.policy._replace(logp=far * views.policy.logp)
    assert np.isfinite(outcome(loss, start._replace(policy=policy), batch, knobs(0.0, 1.0))[1])
  nobody = batch._replace(mask=jnp.zeros_like(batch.mask))
  values, total, gradient = outcome(loss, views, nobody, knobs(0.1, 0.2))
  assert total == 0 and not values.any() and not gradient.any()
  if loss.func is not LOSSES['kto']:
    ties = batch._replace(reward=jnp.zeros_like(batch.reward))
    values, total, gradient = outcome(loss, views, ties, knobs(0.1, 0.2))
    assert total == 0 and not values.any() and not gradient.any()


def test_relations_between_links():
  margin = jnp.linspace(-3, 3, 13)
  plain = links.log_sigmoid_loss(margin)
  np.testing.assert_allclose(links.smooth_sigmoid(margin, 0.0), plain)
  np.testing.assert_allclose(links.robust(margin, 0.0), plain)
  e = 0.2  # the mean over labels flipped with probability e is the loss of the true label
  mean = (1 - e) * links.robust(margin, e) + e * links.robust(-margin, e)
  np.testing.assert_allclose(mean, plain, atol=1e-12)
  best = jnp.log((1 - e) / e)  # where the smoothed label is met exactly
  for link in (links.smooth_sigmoid, links.exo):
    assert abs(jax.grad(link)(best, e)) < 1e-12
  assert abs(links.exo(best, e)) < 1e-12
  x = jnp.linspace(-2, 2, 9)
  np.testing.assert_allclose(links.alpha_divergence(x, 1e-7), x, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(links.forward_kl(x, 0.0), 1 - jnp.exp(-x), atol=1e-12)
  for score in links.SCORES.values():  # no reward for what the prior does, and rewards rise
    assert abs(score(jnp.asarray(0.0), 0.5)) < 1e-12
    assert (jax.vmap(jax.grad(lambda x, score=score: score(x, 0.5)))(x) > 0).all()


def test_aot_of_one_pair_is_dpo():
  views, batch = make([-3, -4], [-3.5, -3], [2, 3], [0, 1], [0, 0])
  aot = functools.partial(LOSSES['aot'], smoothing=0.1)
  ours = outcome(aot, views, batch, knobs(0.1, 0.2))
  jax.tree.map(
    np.testing.assert_allclose, ours, outcome(dpo(smoothing=0.1), views, batch, knobs(0.1, 0.2))
  )


def test_orpo_by_hand():
  views, batch = make([-3, -4], [0, 0], [2, 4], [0, 1], [0, 0])
  odds = np.exp([-1.5, -1.0]) / (1 - np.exp([-1.5, -1.0]))
  expected = 1.0 + 0.3 * np.log1p(odds[0] / odds[1])
  loss = functools.partial(LOSSES['orpo'], weight=0.3)
  assert float(outcome(loss, views, batch, knobs(0, 0))[1]) == pytest.approx(expected, rel=1e-12)


def test_kto_baseline_is_the_mean_reward_at_least_zero():
  views, batch = random_rows()
  for sign in (1, -1):
    policy = views.policy._replace(logp=views.reference.logp + sign * 0.3)
    _, metrics = kto()(views._replace(policy=policy), batch, knobs(0, 1.0))
    mean = 0.3 * np.mean([3, 2, 4, 1, 2, 5])
    assert float(metrics['baseline']) == pytest.approx(mean if sign > 0 else 0)
    assert float(metrics['desirable']) == pytest.approx(3 / 6)


@pytest.mark.parametrize(
  ('options', 'sentence'),
  [
    ({'link': 'dpo'}, "unknown link 'dpo'; choose one of hinge, ipo"),
    ({'score': 'kl'}, "unknown score 'kl'; choose one of reverse_kl, forward_kl"),
    ({'length': 'tokens'}, "unknown length 'tokens'; choose one of sum, mean"),
    ({'link': 'nca', 'score': 'js'}, "link 'nca' reads each reward by itself, so score 'js'"),
    ({'link': 'apo_down', 'offset': 0.5}, 'offset 0.5 means nothing to it'),
    ({'link': 'hinge', 'smoothing': 0.1}, 'takes no smoothing of 0.1; set config.dpo.smoothing to'),
    ({'link': 'exo'}, 'takes no smoothing of 0.0; set config.dpo.smoothing from 1e-06 to below'),
    ({'smoothing': 0.5}, 'from 0.0 to below 0.5'),
    ({'score': 'alpha', 'strength': 0.0}, 'needs config.dpo.strength other than 0'),
  ],
)
def test_options_that_do_not_go_together_are_told(options, sentence):
  views, batch = random_rows()
  with pytest.raises(ValueError, match=sentence):
    dpo(**options)(views, batch, knobs(0, 0.1))


@pytest.mark.parametrize('option', ['link', 'baseline'])
def test_unknown_names_of_kto_are_told(option):
  views, batch = random_rows()
  with pytest.raises(ValueError, match=f"kto: unknown {option} 'x'; choose one of"):
    kto(**{option: 'x'})(views, batch, knobs(0, 0.1))


# Where they end: the expected loss over all pairs of an enumerated language.


def population(link, views, batch, temperature):
  """sum_j P(i wins against j) link(r_i - r_j) / N, P of Bradley and Terry, on the last action."""
  reward = preference.implicit_reward(
    views, batch, temperature, score='reverse_kl', strength=0.0, length='sum'
  )
  returns = masked.masked_sum(batch.reward, batch.mask, axis=1)
  wins = jax.nn.sigmoid(returns[:, None] - returns[None, :])
  values = jnp.mean(wins * link(reward[:, None] - reward[None, :]), axis=1)
  return jnp.where(masked.last_action(batch.mask), values[:, None], 0), {}


def fits(link, cases):
  member = fp.Member(functools.partial(population, link))
  problems = [fp.make_problem(*case) for case in cases]
  start = fp.start(problems[0], atoms=2, seed=1)
  fit = jax.jit(jax.vmap(functools.partial(fp.fit, member), in_axes=(0, None)))
  found = fit(jax.tree.map(lambda *x: jnp.stack(x), *problems), start)
  return [np.asarray(log_pi) for log_pi in found.log_pi]


# DPO, H-DPO with more and with less entropy, reference-free, and a temperature a state.
ENDS = [(toy(), *pair) for pair in ((0.0, 0.35), (0.1, 0.25), (-0.1, 0.45), (0.35, 0.0))]
ENDS.append((toy(), -0.3 * state_kappa(), 1.3 * state_kappa()))


def test_dpo_ends_at_the_soft_optimum():
  """KL at most 1e-8; also of H-DPO: temperature kappa, prior ref^(beta / kappa), alpha < 0 too."""
  found = fits(links.log_sigmoid_loss, ENDS)
  for (language, alpha, beta), log_pi in zip(ENDS, found, strict=True):
    best = exact.solve(language, alpha, beta).log_pi
    assert exact.kl(language, best, log_pi) < 1e-8
  entropies = [exact.sequence_entropy(toy(), log_pi) for log_pi in found[:3]]
  assert entropies[1] > entropies[0] > entropies[2]


def test_ipo_ends_at_its_own_optimum():
  """r(y) = P(y wins against a random string) - 1/2 + constant: bounded, and not the rewards."""
  cases = ENDS[:3]
  for (language, alpha, beta), log_pi in zip(cases, fits(links.ipo, cases), strict=True):
    returns = exact.strings(language).reward.sum(axis=1)
    rate = np.mean(1 / (1 + np.exp(returns[None, :] - returns[:, None])), axis=1)
    prior = beta / (alpha + beta) * exact.string_logp(language, language.log_ref)
    logits = prior + rate / (alpha + beta)
    own = logits - np.log(np.sum(np.exp(logits)))
    logp = exact.string_logp(language, log_pi)
    assert np.sum(np.exp(own) * (own - logp)) < 1e-8
    assert exact.kl(language, exact.solve(language, alpha, beta).log_pi, log_pi) > 1e-2
