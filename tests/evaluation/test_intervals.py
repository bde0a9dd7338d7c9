"""The bootstrap of ratios is the bootstrap; over seeds it is about seeds too."""

import numpy as np
import pytest

from maxent_lm.evaluation import intervals


def ratio(totals, weights, **options):
  """The estimate of one figure, [S, P] totals and weights."""
  options = {'resamples': 2000, 'seed': 0, **options}
  (found,) = intervals.ratios(totals[..., None], weights[..., None], **options)
  return found


def test_it_is_the_bootstrap_of_problems():
  """A mean weighed by tokens: the loop over resamples gives the same interval, up to its draws."""
  rng = np.random.default_rng(0)
  weights = rng.integers(1, 9, 80).astype(float)
  totals = rng.normal(size=80) * weights
  found = ratio(totals[None], weights[None], resamples=4000)
  drawn = intervals.bootstrap(
    lambda rows: totals[rows].sum() / weights[rows].sum(), np.arange(80), resamples=4000, seed=1
  )
  np.testing.assert_allclose(found, drawn, atol=0.02)
  assert found.value == pytest.approx(totals.sum() / weights.sum())


def test_the_interval_of_a_mean_is_that_of_theory():
  rng = np.random.default_rng(1)
  values = rng.random((1, 400)) < 0.3
  found = ratio(values.astype(float), np.ones((1, 400)))
  half = 1.96 * values.std() / 20
  assert found.value == values.mean()
  assert (found.low, found.high) == pytest.approx(
    (values.mean() - half, values.mean() + half), abs=4e-3
  )


def test_intervals_hold_the_truth():
  rng = np.random.default_rng(2)
  held = [
    found.low <= 0.4 <= found.high
    for _ in range(300)
    for found in [ratio((rng.random((1, 60)) < 0.4) * 1.0, np.ones((1, 60)), resamples=300)]
  ]
  assert 0.9 < np.mean(held) < 0.98


def test_seeds_that_differ_make_it_wider():
  """With an effect of the seed the interval over problems alone is too sure of itself."""
  rng = np.random.default_rng(3)
  held = {True: [], False: []}
  for _ in range(200):
    values = 0.5 + 0.3 * rng.normal(size=(8, 1)) + 0.3 * rng.normal(size=(8, 40))
    crossed = ratio(values, np.ones_like(values), resamples=200)
    mean = values.mean(axis=0, keepdims=True)
    alone = ratio(mean, np.ones_like(mean), resamples=200)
    for seeds, found in ((True, crossed), (False, alone)):
      held[seeds].append(found.low <= 0.5 <= found.high)
  assert np.mean(held[True]) > 0.85
  assert np.mean(held[False]) < 0.5


def test_equal_seeds_are_one_seed():
  rng = np.random.default_rng(4)
  values = rng.normal(size=(1, 30))
  one, five = (ratio(np.repeat(values, s, axis=0), np.ones((s, 30))) for s in (1, 5))
  np.testing.assert_allclose(one, five, rtol=1e-12)


def test_figures_share_their_resamples_and_problems_without_value_have_no_say():
  rng = np.random.default_rng(5)
  values = rng.normal(size=(1, 50, 1))
  weights = np.ones((1, 50, 1))
  twice = intervals.ratios(
    np.concatenate([values, 2 * values], axis=2),
    np.concatenate([weights, weights], axis=2),
    resamples=500,
    seed=0,
  )
  np.testing.assert_allclose(2 * np.array(twice[0]), twice[1], rtol=1e-12)
  some = (np.arange(50) < 20)[None, :].astype(float)
  found = ratio(values[..., 0] * some, some)
  assert found.value == pytest.approx(values[0, :20].mean())
  alone = ratio(values[:, :20, 0], np.ones((1, 20)))
  assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.15)


def test_the_same_seed_gives_the_same_bytes_whatever_fits_in_memory(monkeypatch):
  rng = np.random.default_rng(6)
  totals, weights = rng.normal(size=(2, 30, 4)), rng.random((2, 30, 4))
  whole = intervals.ratios(totals, weights, resamples=100, seed=3)
  assert whole == intervals.ratios(totals, weights, resamples=100, seed=3)
  assert whole != intervals.ratios(totals, weights, resamples=100, seed=4)
  monkeypatch.setattr(intervals, 'CELLS', 1)  # a resample at a time
  pieces = intervals.ratios(totals, weights, resamples=100, seed=3)
  assert [each.value for each in pieces] == [each.value for each in whole]


def test_resamples_without_weight_are_left_out():
  totals = np.array([[1.0, 0.0, 0.0]])
  weights = np.array([[2.0, 0.0, 0.0]])
  assert ratio(totals, weights) == (0.5, 0.5, 0.5)
  with pytest.raises(ValueError, match='without weight'):
    ratio(totals, np.zeros((1, 3)))
