import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm import masked

VALUES = jnp.array([[1.0, 2.0, jnp.nan], [4.0, jnp.inf, 6.0], [jnp.nan] * 3])
MASK = jnp.array([[True, True, False], [True, False, True], [False] * 3])


def test_masked_is_sliced():
  np.testing.assert_allclose(masked.masked_sum(VALUES, MASK), 13)
  np.testing.assert_allclose(masked.masked_mean(VALUES, MASK), 13 / 4)
  np.testing.assert_allclose(masked.masked_sum(VALUES, MASK, axis=1), [3, 10, 0])
  np.testing.assert_allclose(masked.masked_mean(VALUES, MASK, axis=1), [1.5, 5, 0])


def test_the_denominators():
  expected = {
    'token_mean': 13 / 4,
    'sequence_sum': (3 + 10 + 0) / 3,
    'sequence_mean': (1.5 + 5 + 0) / 3,
    'constant_length': 13 / 9,
    'present_sum': (3 + 10) / 2,
    'present_mean': (1.5 + 5) / 2,
  }
  assert masked.REDUCTIONS.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(masked.REDUCTIONS[name](VALUES, MASK), value, rtol=1e-6)


@pytest.mark.parametrize('name', masked.REDUCTIONS)
def test_masked_entries_get_exactly_zero_gradient(name):
  gradient = jax.grad(lambda values: masked.REDUCTIONS[name](values, MASK))(VALUES)
  assert (np.asarray(gradient)[~np.asarray(MASK)] == 0).all()
  assert (np.asarray(gradient)[np.asarray(MASK)] > 0).all()


def test_sums_of_bfloat16_are_made_in_float32():
  values = jnp.full((1, 4096), 1.0, jnp.bfloat16)
  assert masked.masked_sum(values, jnp.ones((1, 4096), bool)) == 4096  # bfloat16 stops at 256


def test_last_action():
  mask = jnp.array([[True, True, False], [False, True, True], [True, False, True], [False] * 3])
  np.testing.assert_array_equal(
    masked.last_action(mask), [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
  )
