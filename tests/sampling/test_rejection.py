"""Rejection sampling from the reference of the toy language, against its exact optimum."""

import numpy as np
import pytest
from toy_language import toy

from maxent_lm.sampling import rejection
from maxent_lm.soft import exact

KAPPAS = (0.1, 0.4, 3.0)


@pytest.fixture(scope='module')
def language():
  toys = toy()
  return toys, exact.strings(toys).reward.sum(axis=1), exact.string_logp(toys, toys.log_ref)


@pytest.mark.parametrize('kappa', KAPPAS)
def test_what_is_kept_is_the_soft_optimum(language, kappa):
  """ref x acceptance, normalised, is pi* for alpha = 0, beta = kappa; the mass is the rate."""
  toys, reward, log_ref = language
  mass = np.exp(log_ref) * rejection.acceptance(reward, best=reward.max(), kappa=kappa)
  log_optimum, log_z = exact.brute_force(toys, 0.0, kappa)
  np.testing.assert_allclose(np.log(mass / mass.sum()), log_optimum, atol=1e-12)
  assert mass.sum() == pytest.approx(np.exp(log_z - reward.max() / kappa), rel=1e-12)


@pytest.mark.parametrize('kappa', KAPPAS[1:])
def test_a_bound_above_the_largest_reward_only_costs_samples(language, kappa):
  _, reward, _ = language
  tight, loose = (
    rejection.acceptance(reward, best=best, kappa=kappa) for best in (reward.max(), 2.0)
  )
  np.testing.assert_allclose(tight / tight.sum(), loose / loose.sum(), rtol=1e-12)
  assert (loose < tight).all()


def test_samples_follow_the_optimum(language):
  toys, reward, log_ref = language
  rng = np.random.default_rng(0)
  drawn = rng.choice(len(reward), size=200_000, p=np.exp(log_ref))
  kept = drawn[rejection.accept_softly(reward[drawn], best=reward.max(), kappa=0.4, rng=rng)]
  expected = np.exp(exact.brute_force(toys, 0.0, 0.4)[0]) * len(kept)
  counts = np.bincount(kept, minlength=len(reward))
  assert ((counts - expected) ** 2 / expected).sum() < 59.7  # 99.9% of chi square, 30 degrees
  # The reference itself would not pass.
  assert ((np.exp(log_ref) * len(kept) - expected) ** 2 / expected).sum() > 1000


def test_a_threshold_conditions_the_reference():
  np.testing.assert_array_equal(rejection.accept([0.0, 1, 0.5], threshold=0.5), [False, True, True])


def test_bad_bounds_and_temperatures():
  with pytest.raises(ValueError, match=r'above best = 0\.5'):
    rejection.acceptance([0.2, 0.7], best=0.5, kappa=1.0)
  with pytest.raises(ValueError, match='must be positive'):
    rejection.acceptance([0.2], best=0.5, kappa=0.0)
