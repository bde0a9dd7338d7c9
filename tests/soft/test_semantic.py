"""Semantic entropies: laws, exact expectations, and the numbers of the originals."""

import itertools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.soft import semantic

REFERENCE = pathlib.Path(__file__).parents[1] / 'reference' / 'semantic_entropy.json'
CASES = json.loads(REFERENCE.read_text())['cases']

ESTIMATES = {
  'discrete': lambda these, logp: semantic.discrete(these),
  'miller_madow': lambda these, logp: semantic.miller_madow(these),
  'chao_shen': lambda these, logp: semantic.chao_shen(these),
  'standard_error': lambda these, logp: semantic.standard_error(these),
  'rao': semantic.rao,
  'kuhn': lambda these, logp: semantic.kuhn(these, logp, shift=5.0),
}
each_estimate = pytest.mark.parametrize('estimate', ESTIMATES.values(), ids=ESTIMATES)
each_missing = pytest.mark.parametrize('missing', semantic.MISSING)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def cases(prefix):
  found = [case for case in CASES if case['case'].startswith(prefix)]
  assert found
  return found


def one_group(cluster, missing='shared'):
  rows = len(cluster)
  return semantic.classes(
    np.array(cluster), np.zeros(rows, int), np.ones(rows, bool), missing=missing
  )


GROUP = np.array([2, 0, 2, 0, 2, 0, 2, 5, 0, 2])
CLUSTER = np.array([0, 1, 1, -1, 0, 1, -1, 3, -1, -1])
VALID = np.array([True] * 9 + [False])
LOGP = np.random.default_rng(0).normal(size=10) - 1


@each_estimate
@each_missing
def test_order_and_names_do_not_matter(estimate, missing):
  def measured(cluster, group, valid, logp):
    return estimate(semantic.classes(cluster, group, valid, missing=missing), logp)

  expected = jax.jit(measured)(CLUSTER, GROUP, VALID, LOGP)
  np.testing.assert_allclose(measured(CLUSTER, GROUP, VALID, LOGP), expected, rtol=1e-12)
  order = np.random.default_rng(1).permutation(10)
  shuffled = measured(*(values[order] for values in (CLUSTER, GROUP, VALID, LOGP)))
  np.testing.assert_allclose(shuffled, expected[order], rtol=1e-12)
  renamed = measured(np.where(CLUSTER < 0, -7, 90 - CLUSTER), 9 - GROUP, VALID, LOGP)
  np.testing.assert_allclose(renamed, expected, rtol=1e-12)
  for group in set(GROUP.tolist()):
    assert len(set(np.asarray(expected)[group == GROUP].round(12).tolist())) == 1


@each_estimate
@each_missing
def test_groups_do_not_see_each_other_nor_rows_that_are_not_valid(estimate, missing):
  whole = estimate(semantic.classes(CLUSTER, GROUP, VALID, missing=missing), LOGP)
  for group in set(GROUP.tolist()):
    mine = (group == GROUP) & VALID
    rows = int(mine.sum())
    alone = semantic.classes(CLUSTER[mine], np.zeros(rows, int), np.ones(rows), missing=missing)
    np.testing.assert_allclose(whole[mine], estimate(alone, LOGP[mine]), rtol=1e-12)


def test_rows_without_a_class():
  cluster = [0, 0, -1, -1]
  for missing, count in (
    ('own', [2, 2, 1, 1]),
    ('shared', [2, 2, 2, 2]),
    ('dropped', [2, 2, 0, 0]),
  ):
    these = one_group(cluster, missing)
    np.testing.assert_array_equal(np.where(these.counted, semantic.counts(these), 0), count)
    frequency = np.array(count) / (2 if missing == 'dropped' else 4)
    np.testing.assert_allclose(semantic.frequency(these), frequency)
  with pytest.raises(ValueError, match="missing='none' is unknown; choose one of own, shared"):
    one_group(cluster, 'none')


def test_bounds():
  for missing in semantic.MISSING:
    these = one_group([-1] * 4, missing)
    expected = np.log(4) if missing == 'own' else 0
    np.testing.assert_allclose(semantic.discrete(these), expected, atol=1e-15)
  assert semantic.discrete(one_group([3, 3, 3])).tolist() == [0, 0, 0]
  for estimate in ESTIMATES.values():
    for cluster in ([0], [-1], [0, 0], [0, 1]):
      for missing in semantic.MISSING:
        logp = jnp.zeros(len(cluster))
        assert jnp.isfinite(estimate(one_group(cluster, missing), logp)).all()


def test_masses():
  these = semantic.classes(CLUSTER, GROUP, VALID, missing='dropped')
  flat = semantic.masses(these, jnp.full(10, -1000.0))
  np.testing.assert_allclose(flat, semantic.frequency(these), rtol=1e-12)
  mass = semantic.masses(these, LOGP)
  np.testing.assert_allclose(semantic.over_classes(these, mass)[np.array([0, 1, 7])], 1, rtol=1e-12)
  assert not np.asarray(mass)[CLUSTER < 0].any()
  assert not semantic.masses(these, jnp.full(10, -jnp.inf)).any()


def test_the_mean_is_over_groups():
  these = semantic.classes(CLUSTER, GROUP, VALID, missing='dropped')
  values = jnp.asarray([10.0, 0, 4, 0, 0, 7])[GROUP]
  assert semantic.mean(these, values) == pytest.approx((4 + 10 + 7) / 3)
  nothing = semantic.classes(CLUSTER, GROUP, VALID & False, missing='dropped')
  assert semantic.mean(nothing, values) == 0


# A language of six sequences in three classes: the exact semantic entropy is known.
P = np.array([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
CLASS = np.array([0, 0, 1, 1, 2, 2])
CLASS_P = np.array([0.55, 0.35, 0.10])
EXACT = -np.sum(CLASS_P * np.log(CLASS_P))


def test_all_different_sequences_give_the_exact_entropy_and_repetitions_do_not():
  drawn = np.repeat(np.arange(6), (1000 * P).round().astype(int))
  these = one_group(CLASS[drawn])
  once = semantic.distinct(these, drawn)
  np.testing.assert_allclose(semantic.rao(once, np.log(P)[drawn]), EXACT, rtol=1e-12)
  assert int(once.counted.sum()) == 6
  squares = np.bincount(CLASS, P**2) / np.sum(P**2)
  doubled = -np.sum(squares * np.log(squares))
  np.testing.assert_allclose(semantic.rao(these, np.log(P)[drawn]), doubled, rtol=1e-3)
  assert abs(doubled - EXACT) > 0.1


def test_distinct_keeps_a_row_that_counts():
  valid = np.array([False, True, True])
  these = semantic.classes(np.zeros(3, int), np.zeros(3, int), valid, missing='shared')
  kept = semantic.distinct(these, np.array([4, 4, 4]))
  assert kept.counted.tolist() == [False, True, False]
  apart = semantic.classes(np.zeros(2, int), np.array([0, 1]), np.ones(2), missing='shared')
  assert semantic.distinct(apart, np.array([4, 4])).counted.all()


def expectation(estimate, n):
  """The exact mean of an estimate from n samples of the classes, over all their counts."""
  total = 0.0
  for counts in itertools.product(range(n + 1), repeat=3):
    if sum(counts) == n:
      ways = math.factorial(n) / math.prod(map(math.factorial, counts))
      chance = ways * np.prod(CLASS_P ** np.array(counts))
      total += chance * float(estimate(one_group(np.repeat(np.arange(3), counts)))[0])
  return total


def test_corrections_take_away_most_of_the_bias():
  bias = {
    name: expectation(getattr(semantic, name), 8) - EXACT
    for name in ('discrete', 'miller_madow', 'chao_shen')
  }
  assert bias['discrete'] == pytest.approx(-(3 - 1) / 16, rel=0.25)
  assert abs(bias['miller_madow']) < 0.4 * abs(bias['discrete'])
  assert abs(bias['chao_shen']) < 0.4 * abs(bias['discrete'])


def test_chao_shen_by_hand():
  """Counts 2, 1, 1: n = 4, two classes seen once, coverage 1/2."""
  q = np.array([0.25, 0.125, 0.125])
  expected = -np.sum(q * np.log(q) / (1 - (1 - q) ** 4))
  np.testing.assert_allclose(semantic.chao_shen(one_group([0, 0, 1, 2])), expected, rtol=1e-12)


def test_the_error_bar_is_the_spread_over_many_samples():
  n, rng = 200, np.random.default_rng(0)
  cluster = rng.choice(3, p=CLASS_P, size=(400, n))
  group = np.repeat(np.arange(400), n)
  these = semantic.classes(cluster.ravel(), group, np.ones(400 * n), missing='shared')
  values = semantic.discrete(these)[::n]
  bars = semantic.standard_error(these)[::n]
  assert float(np.mean(bars)) == pytest.approx(float(np.std(values)), rel=0.1)
  assert semantic.standard_error(one_group([0, 1, 2])).tolist() == pytest.approx([0, 0, 0])


def test_float32_in_a_jit_without_x64():
  with jax.enable_x64(False):
    these = semantic.classes(CLUSTER, GROUP, VALID, missing='own')
    assert semantic.discrete(these).dtype == jnp.float32
    np.testing.assert_allclose(semantic.discrete(these)[7], 0, atol=1e-7)


@pytest.mark.parametrize('case', cases('cluster_assignment'), ids=lambda case: case['case'])
def test_original_discrete(case):
  ours = semantic.discrete(one_group(case['inputs']['semantic_ids']))
  np.testing.assert_allclose(ours, case['outputs']['entropy'], atol=1e-12)


@pytest.mark.parametrize('case', cases('rao'), ids=lambda case: case['case'])
def test_original_rao_and_monte_carlo(case):
  logp = np.array(case['inputs']['log_likelihoods'])
  these = one_group(case['inputs']['semantic_ids'])
  expected = case['outputs']
  np.testing.assert_allclose(
    semantic.rao(these, logp), expected['semantic_entropy_rao'], atol=1e-12
  )
  log_mass = np.log(semantic.masses(these, logp))
  ids = np.array(case['inputs']['semantic_ids'])
  firsts = [ids.tolist().index(number) for number in sorted(set(ids.tolist()))]
  np.testing.assert_allclose(
    log_mass[firsts], expected['log_likelihood_per_semantic_id'], atol=1e-12
  )
  total = jax.nn.logsumexp(logp)
  monte_carlo = semantic.kuhn(these, logp, shift=total)
  np.testing.assert_allclose(monte_carlo, expected['semantic_entropy_mc'], atol=1e-12)


def test_original_kuhn():
  (case,) = cases('kuhn2023_entropy')
  logp = np.array(case['inputs']['log_likelihoods'][0])
  cluster = np.array(case['inputs']['semantic_set_ids'][0])
  group = np.repeat([0, 1], 5)
  these = semantic.classes(cluster.ravel(), group, np.ones(10), missing='own')
  ours = semantic.kuhn(these, logp.ravel(), shift=case['kwargs']['llh_shift'])
  np.testing.assert_allclose(ours[::5], case['outputs']['entropy'], atol=1e-12)
