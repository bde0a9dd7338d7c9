"""Detectors: definitions by counting, variances by simulation, what ties and clusters do."""

import numpy as np
import pytest
from scipy import stats

from maxent_lm.evaluation import detection, intervals
from maxent_lm.evaluation.detection import aurc, auroc, auroc_difference


def answers(rng, count=60, shift=1.0):
  wrong = rng.random(count) < 0.4
  wrong[:2] = True, False
  return np.round(rng.normal(size=count) + shift * wrong, 1), wrong  # rounded: some ties


def clusters(rng, problems, size):
  """Scores of problems, the same for all answers, and answers that depend on the problem."""
  difficulty = rng.normal(size=problems)
  wrong = rng.random((problems, size)) < 1 / (1 + np.exp(-2 * difficulty))[:, None]
  score = np.repeat(difficulty + rng.normal(size=problems), size)
  return score, wrong.ravel(), np.repeat(np.arange(problems), size)


def test_auroc_is_the_share_of_pairs_in_order():
  score, wrong = answers(np.random.default_rng(0))
  pairs = np.sign(score[wrong][:, None] - score[~wrong][None, :])
  assert auroc(score, wrong).value == pytest.approx((pairs.mean() + 1) / 2, abs=1e-12)


def test_auroc_by_hand():
  assert auroc([1, 2, 3, 4], [0, 1, 0, 1]).value == 0.75
  assert auroc([1, 1, 1], [0, 1, 0]).value == 0.5


def test_auroc_laws():
  rng = np.random.default_rng(1)
  score, wrong = answers(rng)
  found = np.array(auroc(score, wrong))
  order = rng.permutation(len(score))
  np.testing.assert_allclose(auroc(score[order], wrong[order]), found, atol=1e-12)
  np.testing.assert_allclose(auroc(np.exp(score), wrong), found, atol=1e-12)  # only ranks count
  np.testing.assert_allclose(auroc(-score, wrong), 1 - found[[0, 2, 1]], atol=1e-12)
  np.testing.assert_allclose(auroc(-score, ~wrong), found, atol=1e-12)


def half_width(estimate):
  """Of the interval in log-odds, which is what is symmetric."""
  low, high = (np.log(x / (1 - x)) for x in estimate[1:])
  return (high - low) / 2


def test_delongs_variance_by_its_definition():
  score, wrong = answers(np.random.default_rng(2), 4000)
  pairs = (np.sign(score[wrong][:, None] - score[~wrong][None, :]) + 1) / 2
  variance = pairs.mean(1).var(ddof=1) / wrong.sum() + pairs.mean(0).var(ddof=1) / (~wrong).sum()
  found = auroc(score, wrong)
  sigma = half_width(found) * found.value * (1 - found.value) / 1.96
  assert sigma == pytest.approx(np.sqrt(variance), rel=2e-3)  # t is nearly normal


@pytest.mark.parametrize('count', [8, 30, 200])
def test_the_interval_is_the_test_of_brunner_and_munzel(count):
  """At the level 1 - p, value - t sigma is 1/2: the same variance and degrees of freedom."""
  score, wrong = answers(np.random.default_rng(2), count, shift=0.3)
  p = stats.brunnermunzel(score[wrong], score[~wrong]).pvalue
  value, *_ = found = auroc(score, wrong, level=1 - p)
  assert half_width(found) * value * (1 - value) == pytest.approx(abs(value - 0.5), rel=1e-6)


def test_a_problem_for_every_answer_changes_nothing():
  score, wrong = answers(np.random.default_rng(3))
  single = np.random.default_rng(0).permutation(len(score))
  np.testing.assert_allclose(auroc(score, wrong, problem=single), auroc(score, wrong), rtol=1e-12)


def test_copies_of_answers_are_no_evidence():
  """Every answer 9 times: the interval about problems stays (DeLong's would be a third of it)."""
  score, wrong = answers(np.random.default_rng(4))
  copied = auroc(
    np.repeat(score, 9), np.repeat(wrong, 9), problem=np.repeat(np.arange(len(score)), 9)
  )
  np.testing.assert_allclose(copied, auroc(score, wrong), rtol=1e-9)
  naive = auroc(np.repeat(score, 9), np.repeat(wrong, 9))
  assert naive.high - naive.low < 0.4 * (copied.high - copied.low)


@pytest.mark.parametrize('size', [1, 8])
def test_intervals_hold_the_truth(size):
  """Of 300 experiments about 95% have it; the truth is from 400,000 answers."""
  rng = np.random.default_rng(5)
  score, wrong, _ = clusters(rng, 400_000 // size, size)
  truth = auroc(score, wrong).value
  found = []
  for _ in range(300):
    score, wrong, problem = clusters(rng, 60, size)
    found.append(auroc(score, wrong, problem=problem))
  held = np.mean([low <= truth <= high for _, low, high in found])
  assert 0.92 <= held <= 0.98


def test_the_bootstrap_agrees():
  score, wrong, problem = clusters(np.random.default_rng(6), 150, 8)
  exact = auroc(score, wrong, problem=problem)
  drawn = intervals.bootstrap(
    lambda rows: detection.auroc(score[rows], wrong[rows]).value, problem, resamples=400, seed=0
  )
  assert drawn.value == pytest.approx(exact.value)
  np.testing.assert_allclose(drawn[1:], exact[1:], atol=0.015)


def test_the_bootstrap_leaves_out_what_has_no_value():
  def always(rows):
    raise ValueError

  wrong = np.array([True, False, False])
  drawn = intervals.bootstrap(
    lambda rows: auroc(np.arange(3)[rows], wrong[rows]).value, np.arange(3), resamples=50, seed=0
  )
  assert drawn.low == drawn.high == 0
  with pytest.raises(ValueError, match='no value on any of 5'):
    intervals.bootstrap(always, np.arange(3), resamples=5, seed=0)


@pytest.mark.parametrize('wrong', [[0, 0], [1, 1]])
def test_without_both_kinds_there_is_no_auroc(wrong):
  with pytest.raises(ValueError, match='right and wrong'):
    auroc([1, 2], wrong)


def test_a_perfect_score_is_not_certain():
  """1 - t = z sigma(t) at the bound, sigma as [Hanley and McNeil 1982] have it."""
  score, wrong = np.arange(20), np.arange(20) >= 12
  value, low, high = auroc(score, wrong)
  m, n, t = 8, 12, low
  sigma = np.sqrt(t * (1 - t) * (1 + (m + n - 2) / 2 * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n))
  assert (value, high) == (1, 1)
  assert 1 - t == pytest.approx(1.959963984540054 * sigma, rel=1e-9)
  np.testing.assert_allclose(auroc(-score, wrong), [0, 0, 1 - low], atol=1e-12)
  assert auroc(np.repeat(score, 5), np.repeat(wrong, 5)).low > low
  copied = auroc(np.repeat(score, 5), np.repeat(wrong, 5), problem=np.repeat(score, 5))
  assert copied.low == pytest.approx(low)


def test_one_wrong_answer_says_nothing():
  assert auroc([1, 2, 4, 3], [0, 0, 0, 1])[1:] == (0, 1)
  assert auroc_difference([1, 2, 4, 3], [4, 3, 2, 1], [0, 0, 0, 1])[1:] == (-1, 1)


def test_differences_are_paired():
  rng = np.random.default_rng(7)
  score, wrong = answers(rng, 200)
  other = score + 0.1 * rng.normal(size=200)
  same = auroc_difference(score, 2 * score, wrong)
  assert same == (0, 0, 0)
  close = auroc_difference(score, other, wrong)
  assert close.value == pytest.approx(auroc(score, wrong).value - auroc(other, wrong).value)
  single = auroc(score, wrong)
  assert close.high - close.low < 0.3 * (single.high - single.low)
  np.testing.assert_allclose(auroc_difference(other, score, wrong), -np.array(close)[[0, 2, 1]])
  against_chance = auroc_difference(score, np.zeros(200), wrong)
  assert against_chance.value == pytest.approx(single.value - 0.5)


def test_intervals_of_differences_hold_the_truth():
  """Two equally noisy views of the same difficulty: the difference is 0."""
  rng = np.random.default_rng(8)
  held = []
  for _ in range(300):
    score, wrong, problem = clusters(rng, 60, 4)
    again = score.reshape(-1, 4)[:, 0] + rng.normal(size=60)
    noisy = score.reshape(-1, 4)[:, 0] + rng.normal(size=60)
    _, low, high = auroc_difference(
      np.repeat(again, 4), np.repeat(noisy, 4), wrong, problem=problem
    )
    held.append(low <= 0 <= high)
  assert 0.92 <= np.mean(held) <= 0.98


# --- risk and coverage ---------------------------------------------------------------------------


def test_risk_and_coverage_by_hand():
  score, wrong = [0.3, 0.1, 0.2, 0.4], [1, 0, 0, 1]
  np.testing.assert_allclose(detection.risk_coverage(score, wrong), [0, 0, 1 / 3, 1 / 2])
  assert aurc(score, wrong) == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_equal_scores_are_a_random_order():
  """The expectation over all orders that the scores allow."""
  rng = np.random.default_rng(9)
  score, wrong = rng.integers(0, 3, 12), rng.random(12) < 0.4
  curves = []
  for _ in range(20_000):
    order = np.lexsort((rng.random(12), score))
    curves.append(np.cumsum(wrong[order]) / np.arange(1, 13))
  np.testing.assert_allclose(
    detection.risk_coverage(score, wrong), np.mean(curves, axis=0), atol=0.02
  )
  assert aurc(np.zeros(12), wrong) == pytest.approx(wrong.mean())


# --- calibration ---------------------------------------------------------------------------------


def test_bins_of_equal_mass():
  confidence = np.arange(20) / 20
  table = detection.reliability(confidence, confidence > 0.5, bins=5)
  np.testing.assert_array_equal(table.count, 4)
  np.testing.assert_allclose(table.confidence, confidence.reshape(5, 4).mean(axis=1))
  np.testing.assert_allclose(table.accuracy, [0, 0, 0.25, 1, 1])
  expected = np.abs(table.accuracy - table.confidence).mean()
  assert detection.ece(confidence, confidence > 0.5, bins=5) == pytest.approx(expected)


def test_equal_confidences_are_not_torn_apart():
  rng = np.random.default_rng(10)
  confidence, right = rng.integers(0, 4, 50) / 4, rng.random(50) < 0.5
  table = detection.reliability(confidence, right, bins=10)
  np.testing.assert_allclose(table.confidence, np.unique(confidence))
  assert table.count.sum() == 50
  order = rng.permutation(50)
  for ours, theirs in zip(
    table, detection.reliability(confidence[order], right[order], bins=10), strict=True
  ):
    np.testing.assert_allclose(ours, theirs)


def test_a_calibrated_forecast_has_no_error_and_an_overconfident_one_its_excess():
  confidence = np.repeat([0.25, 0.75], 100)
  right = np.tile(np.arange(100) < 25, 2) ^ np.repeat([False, True], 100)
  assert detection.ece(confidence, right, bins=2) == pytest.approx(0)
  assert detection.brier(confidence, right) == pytest.approx(0.25 * 0.75)
  assert detection.ece(np.ones(200), right, bins=10) == pytest.approx(0.5)
  assert detection.brier(np.ones(200), right) == pytest.approx(0.5)
