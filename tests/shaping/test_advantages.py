"""Group advantages against the numbers of the original implementations, and their laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.shaping import TRANSFORMS, chain
from maxent_lm.types import Batch

# Two prompts with four responses each; returns 1, 0, 0, 1 and 1, 1, 1, 0.5. Expected values from
# volcengine/verl b178a3cd, verl/trainer/ppo/core_algos.py: compute_grpo_outcome_advantage with
# epsilon 1e-6 (torch.std, n - 1) and compute_rloo_outcome_advantage.
LENGTHS = [3, 2, 4, 1, 4, 2, 3, 4]
RETURNS = [1, 0, 0, 1, 1, 1, 1, 0.5]
REWARD_COLUMN = [2, 0, 0, 0, 3, 1, 2, 3]
GRPO = [0.8660239037870368, -0.8660239037870368, -0.8660239037870368, 0.8660239037870368]
GRPO += [0.49999800000800004] * 3 + [-1.499994000024]
RLOO = [2 / 3, -2 / 3, -2 / 3, 2 / 3, 1 / 6, 1 / 6, 1 / 6, -0.5]


def example():
  mask = np.arange(4)[None, :] < np.array(LENGTHS)[:, None]
  reward = np.full((8, 4), np.nan)
  reward[mask] = 0
  reward[np.arange(8), REWARD_COLUMN] = RETURNS
  zero = jnp.zeros((8, 4))
  group = jnp.asarray([6, 6, 6, 6, 1, 1, 1, 1], jnp.int32)
  return Batch(
    zero, jnp.asarray(mask), zero, jnp.asarray(reward), zero, zero, group, group, group > 9
  )


def per_token(values):
  return np.where(example().mask, np.array(values)[:, None], 0)


def test_normalised_is_grpo():
  batch = TRANSFORMS['group_normalised'](example(), eps=1e-6)
  np.testing.assert_allclose(batch.advantage, per_token(GRPO), rtol=1e-5)


def test_centred_is_rloo_up_to_its_factor():
  batch = TRANSFORMS['group_centred'](example())
  np.testing.assert_allclose(batch.advantage * 4 / 3, per_token(RLOO), rtol=1e-5)


TABLE = {
  'group_normalised': functools.partial(TRANSFORMS['group_normalised'], eps=1e-4),
  'group_centred': TRANSFORMS['group_centred'],
}


@pytest.mark.parametrize('name', TABLE)
def test_rows_in_any_order_and_other_fields_untouched(name):
  order = np.random.default_rng(0).permutation(8)
  batch = TABLE[name](example())
  shuffled = TABLE[name](jax.tree.map(lambda x: x[order], example()))
  np.testing.assert_allclose(shuffled.advantage, batch.advantage[order], rtol=1e-5)
  jax.tree.map(
    np.testing.assert_array_equal, batch._replace(advantage=0), example()._replace(advantage=0)
  )


@pytest.mark.parametrize('name', TABLE)
def test_equal_returns_and_single_rows_have_no_advantage(name):
  batch = example()
  alone = batch._replace(group=jnp.arange(8, dtype=jnp.int32))
  assert not TABLE[name](alone).advantage.any()
  same = batch._replace(reward=jnp.where(batch.mask, 1.0, 0) / batch.mask.sum(1)[:, None])
  np.testing.assert_allclose(TABLE[name](same).advantage, 0, atol=2e-3)


@pytest.mark.parametrize('name', TABLE)
def test_rows_without_a_response_do_not_count(name):
  batch = example()
  empty = batch._replace(mask=batch.mask.at[1].set(False))
  kept = jax.tree.map(lambda x: jnp.delete(x, 1, axis=0), batch)
  kept = kept._replace(group=jnp.where(kept.group == 6, 5, kept.group))
  result = TABLE[name](empty).advantage
  np.testing.assert_allclose(jnp.delete(result, 1, axis=0), TABLE[name](kept).advantage, rtol=1e-5)
  assert not result[1].any()


def test_normalised_does_not_depend_on_the_scale():
  batch = example()
  scaled = batch._replace(reward=batch.reward * 100)
  exact = functools.partial(TRANSFORMS['group_normalised'], eps=0.0)
  np.testing.assert_allclose(exact(scaled).advantage, exact(batch).advantage, rtol=1e-5)


def test_chain_applies_in_order():
  def double(batch):
    return batch._replace(reward=batch.reward * 2)

  def shift(batch):
    return batch._replace(reward=batch.reward + 1)

  batch = example()._replace(reward=jnp.ones((8, 4)))
  assert float(chain(double, shift)(batch).reward[0, 0]) == 3
  assert float(chain(shift, double)(batch).reward[0, 0]) == 4
  assert chain()(batch) is batch
