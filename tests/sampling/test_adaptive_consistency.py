"""Stopping rules: probabilities against sampling, laws, the published code's numbers."""

import functools
import json
import pathlib
from collections import Counter

import numpy as np
import pytest

from maxent_lm.sampling import adaptive_consistency as ac

REFERENCE = pathlib.Path(__file__).parents[1] / 'reference' / 'adaptive_consistency.json'
CASES = json.loads(REFERENCE.read_text())['cases']
COUNTS = [(1,), (4,), (1, 1), (6, 1), (1, 1, 1), (5, 2, 1), (20, 15, 3, 1), (300, 280, 270)]


@pytest.mark.parametrize('counts', COUNTS, ids=str)
def test_the_dirichlet_probability_is_what_sampling_finds(counts):
  """Also where the published code never stops: three answers and more."""
  draws = 200_000
  seen = counts if len(counts) > 1 else (*counts, 0)
  p = np.random.default_rng(0).dirichlet(np.array(seen) + 1, size=draws)
  share = np.mean(p.argmax(axis=1) == 0)
  exact = ac.dirichlet_probability(np.array(counts))
  assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / draws) + 1e-5


@pytest.mark.parametrize('counts', [(1,), (2, 2), (10, 3), (200, 150)], ids=str)
def test_of_two_answers_the_dirichlet_probability_is_the_beta_probability(counts):
  counts = np.array(counts)
  assert ac.dirichlet_probability(counts) == pytest.approx(ac.beta_probability(counts), abs=1e-5)


@pytest.mark.parametrize('answers', [2, 3, 7])
def test_between_equals_nobody_knows(answers):
  equal = np.full(answers, 5)
  assert ac.dirichlet_probability(equal) == pytest.approx(1 / answers, abs=1e-6)
  assert ac.beta_probability(equal) == pytest.approx(0.5)
  assert ac.normalised_entropy(equal) == pytest.approx(1)


def test_the_beta_probability_is_a_binomial_tail():
  """P(p > 1/2), p ~ Beta(a + 1, b + 1) = P(Binomial(a + b + 1, 1/2) <= a)."""
  assert ac.beta_probability(np.array([2, 1])) == pytest.approx((1 + 4 + 6) / 16)


def test_draws_until_the_rule_is_met():
  drawn = iter(['x', None, 'x', 'y', 'x', 'x', 'x', 'x', 'z'])
  rule = functools.partial(ac.stops_beta, threshold=0.95)
  result = ac.adaptive_vote(lambda: next(drawn), rule, limit=40)
  # P(p > 1/2) of (5, 1) is .9375, of (6, 1) .965.
  assert (result.samples, result.stopped, result.vote.answer) == (8, True, 'x')
  assert result.vote.share == 6 / 8
  assert next(drawn) == 'z'


@pytest.mark.parametrize('name', ac.RULES)
def test_every_rule_stops_for_a_unanimous_vote_and_never_for_an_even_one(name):
  threshold = {'beta': 0.95, 'dirichlet': 0.95, 'entropy': 0.75, 'majority': 0.8}[name]
  rule = functools.partial(ac.RULES[name], threshold=threshold)
  sure = ac.adaptive_vote(lambda: 'x', rule, limit=40)
  assert sure.stopped
  assert 1 < sure.samples <= 5
  turns = iter(range(40))
  even = ac.adaptive_vote(lambda: 'xyz'[next(turns) % 3], rule, limit=39)
  assert (even.samples, even.stopped) == (39, False)


def test_the_limit_and_those_who_have_no_answer():
  rule = functools.partial(ac.stops_majority, threshold=0.0)
  silent = ac.adaptive_vote(lambda: None, rule, limit=5)
  assert (silent.samples, silent.stopped, silent.vote.answer) == (5, False, None)
  with pytest.raises(ValueError, match='at least 1'):
    ac.adaptive_vote(lambda: 'x', rule, limit=0)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case['case'])
def test_the_published_code(case):
  """-1 there means not looked at: a single answer, or the defect of its Dirichlet rule."""
  counts = ac.descending(Counter(case['inputs']['answers']))
  probability = {
    'BetaStoppingCriteria': ac.beta_probability(counts),
    'EntropyStoppingCriteria': ac.normalised_entropy(counts),
    'MajorityStoppingCriteria': counts[0] / counts.sum(),
    'DirichletStoppingCriteria_MC_seed0': ac.dirichlet_probability(counts),
  }
  knobs = case['kwargs']
  stop = {
    'BetaStoppingCriteria': ac.stops_beta(counts, threshold=knobs['beta_thresh']),
    'EntropyStoppingCriteria': ac.stops_entropy(counts, threshold=knobs['entropy_thresh']),
    'MajorityStoppingCriteria': ac.stops_majority(counts, threshold=knobs['majority_thresh']),
    'DirichletStoppingCriteria_MC_seed0': ac.stops_dirichlet(
      counts, threshold=knobs['dirichlet_thresh']
    ),
  }
  for name, expected in case['outputs'].items():
    assert stop[name] == expected['stop'], name
    if expected['prob'] != -1:
      tolerance = 0.02 if 'Dirichlet' in name else 1e-9
      assert probability[name] == pytest.approx(expected['prob'], abs=tolerance), name
