"""States and folders of checkpoints, and ways to damage a file of one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maxent_lm import temperature
from maxent_lm.train import steps
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.state import init_state


def make_state(seed=0, *, has_target=True, width=4, dtype=jnp.float32):
  """A state whose parts are all odd: typed keys, tuples, a target."""
  rng = np.random.default_rng(seed)
  params = {'layers': {'w': jnp.asarray(rng.normal(size=(3, width)), dtype)}}
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


def save(folder, *numbers, keep=9):
  """Steps of these numbers, each with the state of this seed."""
  checkpointer = Checkpointer(folder, every=1, keep=keep)
  checkpointer.latest()
  for number in numbers:
    checkpointer.save(make_state(number), number)
    checkpointer.wait()
  checkpointer.close()
  assert steps.saved(folder)[-1] == numbers[-1]


def files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def _flipped(data):
  middle = len(data) // 2
  return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


# What becomes of the bytes of a file; None: it is deleted.
DAMAGES = {
  'emptied': lambda data: b'',
  'halved': lambda data: data[: len(data) // 2],
  'short of a byte': lambda data: data[:-1],
  'flipped': _flipped,
  'deleted': lambda data: None,
}


def damage(path, kind):
  """Damages a file; gives what it was."""
  data = path.read_bytes()
  bad = DAMAGES[kind](data)
  if bad is None:
    path.unlink()
  else:
    path.write_bytes(bad)
  return data
