"""Whether an update may be taken: no number that is not finite reaches what a run remembers.

One decision for the whole state, made of numbers that are the same on every device and in every
process. It looks at the raw gradient, before a clip turns an infinity into zeros beside one NaN,
and reads the parameters no further time than the norm of the gradient does: an optimiser that clips
it, or divides by its own moments, makes finite steps of finite gradients.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from maxent_lm.train.state import TrainState
from maxent_lm.types import Array, Batch, ControllerState, Params

# Metrics that are finite in every update that is taken; without a reference there is no `kl`.
VITAL = ('loss', 'grad_norm', 'entropy', 'entropy_mc', 'off_policy', 'reward', 'kl')
CULPRITS = 'culprits'  # of an update's numbers; see `culprits`
KNOBS = ('alpha', 'beta', 'sampler')


def squares(grads: Params) -> list[Array]:
  """The sum of squares of every leaf; the root of their sum is the global norm."""
  return [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)]


def culprits(
  metrics: Mapping[str, Array],
  norms: Sequence[Array],
  batch: Batch,
  old: TrainState,
  new: TrainState,
) -> Array:
  """[n] bool, True for what is wrong, and then the update is not taken; see `names`.

  A batch without any response has nothing to teach, and what is observed on it is no observation.
  """
  numbers = [*(metrics.get(name, jnp.float32(0)) for name in VITAL), *norms]
  knobs = [_stays_finite(getattr(old, knob), getattr(new, knob)) for knob in KNOBS]
  return ~jnp.stack([*map(jnp.isfinite, numbers), *knobs, batch.mask.any()])


def names(grads: Params) -> list[str]:
  """What the `culprits` are about, in their order; `grads` is any tree of the gradient's form."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(grads)
  paths = [jax.tree_util.keystr(path, simple=True, separator='.') for path, _ in leaves]
  gradients = [f'gradient of {path}' for path in paths]
  return [*VITAL, *gradients, *(f'next {knob}' for knob in KNOBS), 'a batch without responses']


def _stays_finite(old: ControllerState, new: ControllerState) -> Array:
  """The next value is finite, and so is all of the memory that was (an average begins as NaN)."""
  pairs = zip(new.memory, old.memory, strict=True)
  kept = [jnp.all(jnp.isfinite(after) | ~jnp.isfinite(before)) for after, before in pairs]
  return jnp.stack([jnp.isfinite(new.value).all(), *kept]).all()
