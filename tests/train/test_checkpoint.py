"""Saving and restoring a state whose parts are all odd: typed keys, tuples, a target."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxent_lm import temperature
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.state import init_state


def make_state(seed=0, *, has_target=True):
  rng = np.random.default_rng(seed)
  params = {'layers': {'w': jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}}
  state = init_state(
    params,
    optimizer=optax.adamw(1e-3),
    alpha=temperature.fixed(0.1),
    beta=temperature.dual_kl(0.2, target=1.0, learning_rate=0.1, low=0.01, high=1.0),
    has_target=has_target,
    seed=seed,
  )
  return jax.device_put(state, jax.devices()[0])


def assert_same(left, right):
  assert jax.tree.structure(left) == jax.tree.structure(right)
  for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('has_target', [True, False])
def test_a_state_comes_back_bit_for_bit(tmp_path, has_target):
  state = make_state(1, has_target=has_target)._replace(step=jnp.int32(7))
  with_file = Checkpointer(tmp_path, every=1, keep=2)
  with_file.save(state, 7)
  with_file.wait()
  assert_same(with_file.restore(make_state(2, has_target=has_target)), state)
  assert_same(with_file.restore_params(make_state(2).params), state.params)
  with_file.close()


def test_the_newest_steps_are_kept_and_an_uncommitted_one_is_not_seen(tmp_path):
  checkpointer = Checkpointer(tmp_path, every=2, keep=2)
  for step in range(1, 9):
    if checkpointer.due(step):
      checkpointer.save(make_state()._replace(step=jnp.int32(step)), step)
  checkpointer.wait()
  steps = sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit())
  assert steps == [6, 8]
  checkpointer.close()
  (tmp_path / '8').rename(tmp_path / '8.orbax-checkpoint-tmp')  # as if killed while writing
  assert Checkpointer(tmp_path, every=2, keep=2).latest() == 6


def test_an_empty_folder_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    Checkpointer(tmp_path, every=1, keep=1).restore(make_state())
