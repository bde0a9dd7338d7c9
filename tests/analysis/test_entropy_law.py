"""R = -a exp(H) + b: what is fitted, and how far points are from it."""

import numpy as np
import pytest

from maxent_lm.analysis import entropy_law

ENTROPY = np.array([1.2, 0.9, 0.6, 0.4, 0.25, 0.15, 0.1])


def test_points_on_a_law_give_that_law():
  law = entropy_law.fit(ENTROPY, 0.7 - 0.2 * np.exp(ENTROPY))
  assert law == pytest.approx((0.2, 0.7), abs=1e-12)
  assert law.ceiling == pytest.approx(0.5)
  assert entropy_law.rms(law.residuals(ENTROPY, law(ENTROPY) + 0.1)) == pytest.approx(0.1)


def test_the_fit_is_the_least_squares_of_the_published_form():
  """Inputs and outputs: numpy.linalg.lstsq on [-exp(H), 1], the formula in the README of
  PRIME-RL/Entropy-Mechanism-of-RL at 8850579, which has no code for it."""
  reward = np.array(
    [
      *(-0.033224553774674814, 0.14048334665704054, 0.2793550519179932, 0.3457168134953333),
      *(0.3913546624955743, 0.41401480902706056, 0.42791410720411405),
    ]
  )
  law = entropy_law.fit(ENTROPY, reward)
  assert law.a == pytest.approx(0.20869710332186092, rel=1e-9)
  assert law.b == pytest.approx(0.6577893242926796, rel=1e-9)
  assert law.ceiling == pytest.approx(0.44909222097081863, rel=1e-9)
  assert entropy_law.rms(law.residuals(ENTROPY, reward)) == pytest.approx(0.002002555528644039)


def test_nothing_is_better_and_the_order_does_not_matter():
  rng = np.random.default_rng(0)
  reward = rng.uniform(size=len(ENTROPY))
  law = entropy_law.fit(ENTROPY, reward)
  best = entropy_law.rms(law.residuals(ENTROPY, reward))
  for change in ((1e-3, 0), (0, 1e-3), (-1e-3, 0), (0, -1e-3)):
    other = entropy_law.Law(law.a + change[0], law.b + change[1])
    assert entropy_law.rms(other.residuals(ENTROPY, reward)) > best
  order = rng.permutation(len(ENTROPY))
  assert entropy_law.fit(ENTROPY[order], reward[order]) == pytest.approx(law)
  assert 0 <= entropy_law.explained(law.residuals(ENTROPY, reward), reward) <= 1


def test_one_entropy_is_no_law():
  with pytest.raises(ValueError, match='two different entropies'):
    entropy_law.fit(np.array([0.5, 0.5]), np.array([0.1, 0.2]))


def test_averages_do_not_overlap():
  assert entropy_law.averaged(np.arange(7.0), 3).tolist() == [1.0, 4.0]
