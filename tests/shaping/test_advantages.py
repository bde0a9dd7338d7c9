"""Group advantages against the numbers of the original implementations, and their laws.

Cases of the reference that are not here, with the reason: grpo_singleton keeps the return of a
group of one row, which here has advantage 0; remax needs the return of a greedy response, which a
batch does not know; gae is inside the loss `ppo`; trl_normalize_then_sum_group normalises several
rewards, of which a batch has one.
"""

import functools
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.shaping import TRANSFORMS, advantages, chain
from maxent_lm.shaping.advantages import group_centred, group_normalised
from maxent_lm.types import Batch, Scores, Views

VIEWS = Views(Scores(*[jnp.zeros((8, 4))] * 4))

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
  batch = group_normalised(example(), eps=1e-6, ddof=1)
  np.testing.assert_allclose(batch.advantage, per_token(GRPO), rtol=1e-5)


def test_centred_is_rloo_up_to_its_factor():
  batch = group_centred(example())
  np.testing.assert_allclose(batch.advantage * 4 / 3, per_token(RLOO), rtol=1e-5)


CASES = pathlib.Path(__file__).parent.parent / 'reference' / 'advantages.json'
REFERENCE = json.loads(CASES.read_text())
TABLE = {
  'group_normalised': functools.partial(group_normalised, eps=1e-4, ddof=1),
  'group_centred': group_centred,
  'batch_scaled': functools.partial(advantages.batch_scaled, eps=1e-4, ddof=1),
  'leave_one_out': advantages.leave_one_out,
  'opo': advantages.opo,
  'gpg': functools.partial(advantages.gpg, count='mixed'),
  'pass_at_k_max': functools.partial(advantages.pass_at_k_max, scale='none', eps=1e-6),
  'pass_at_k': functools.partial(advantages.pass_at_k, k=2, threshold=1.0),
  'quantile_baseline': functools.partial(
    advantages.quantile_baseline, quantile=0.4, eps=1e-4, ddof=1
  ),
}
WEIGHTS = functools.partial(advantages.positive_negative, threshold=1.0)
PARITY = {
  'grpo_std': functools.partial(group_normalised, eps=1e-6, ddof=1),
  'grpo_passk': functools.partial(advantages.pass_at_k_max, scale='std', eps=1e-6),
  'rloo': advantages.leave_one_out,
  'reinforce_pp_baseline': lambda batch: advantages.batch_whitened(group_centred(batch), eps=1e-8),
  'rlvr_decomposed_positive': functools.partial(WEIGHTS, positive=1.0, negative=0.0),
  'rlvr_decomposed_weighted': functools.partial(WEIGHTS, positive=0.1, negative=1.0),
  **{
    f'passk_training_c{c}_n8_k4': functools.partial(advantages.pass_at_k, k=4, threshold=1.0)
    for c in (2, 7, 8)
  },
  'trl_sum_then_normalize_batch': functools.partial(advantages.batch_scaled, eps=1e-4, ddof=1),
}


def batch_of(reward, mask, group):
  """A batch of these rewards, float64."""
  reward, mask = jnp.asarray(reward, float), jnp.asarray(mask, bool)
  zero, group = jnp.zeros(mask.shape), jnp.asarray(group, jnp.int32)
  return Batch(zero, mask, zero, reward, zero, zero, group, group, group < 0)


def of_returns(values, group=None):
  """One token a row."""
  column = np.array(values, float)[:, None]
  return batch_of(column, np.ones(column.shape), np.zeros(len(values)) if group is None else group)


@pytest.mark.parametrize('name', PARITY)
def test_the_numbers_of_the_original(name):
  case = next(case for case in REFERENCE['cases'] if case['case'] == name)
  with jax.enable_x64(True):
    if 'returns' in case:
      group = np.arange(8) // 4 if name.startswith('trl') else np.zeros(8)
      found = PARITY[name](of_returns(case['returns'], group)).advantage[:, 0]
    else:
      reward, mask = case.get('reward', REFERENCE['reward']), case.get('mask', REFERENCE['mask'])
      found = PARITY[name](batch_of(reward, mask, np.arange(len(reward)) // 4)).advantage
    # The original of pass@k adds 1e-6 to sigma.
    np.testing.assert_allclose(found, case['advantage'], rtol=4e-6 if 'passk_' in name else 1e-6)


def test_leave_one_out_by_hand():
  returns = [1.0, 0.0, 0.5, 0.0]
  found = advantages.leave_one_out(of_returns(returns)).advantage[:, 0]
  expected = [each - (sum(returns) - each) / 3 for each in returns]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_opo_is_the_centre_of_equal_lengths_and_the_baseline_of_least_variance():
  same = of_returns([1.0, 0.0, 0.5, 0.0])
  np.testing.assert_allclose(
    advantages.opo(same).advantage, group_centred(same).advantage, rtol=1e-6
  )
  found = advantages.opo(example()).advantage
  lengths, returns = np.array(LENGTHS), np.array(RETURNS)
  for rows in (slice(0, 4), slice(4, 8)):
    baseline = (lengths * returns)[rows].sum() / lengths[rows].sum()
    # d/db sum L (R - b)^2 = 0
    np.testing.assert_allclose(found[rows, 0], returns[rows] - baseline, rtol=1e-5)
    assert abs((lengths[rows] * np.array(found[rows, 0])).sum()) < 1e-5


@pytest.mark.parametrize(('count', 'scale'), [('mixed', 9 / 3), ('rewarded', 9 / 4)])
def test_gpg_makes_up_for_groups_that_say_nothing(count, scale):
  """One group of three is mixed, one all wrong, one all right: 3 rows count, or the 4 rewarded."""
  batch = of_returns([1.0, 0, 0, 0, 0, 0, 1, 1, 1], np.arange(9) // 3)
  found = advantages.gpg(batch, count=count).advantage[:, 0]
  expected = np.array([2 / 3, -1 / 3, -1 / 3, 0, 0, 0, 0, 0, 0]) * scale
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_gpg_tells_what_it_can_count():
  with pytest.raises(ValueError, match="unknown count 'all'; choose one of mixed, rewarded"):
    advantages.gpg(of_returns([1.0, 0.0]), count='all')


def test_pass_at_k_max_is_the_lead_of_the_best():
  batch = of_returns([0.2, 1.0, 0.7, 0.5, 0.5, 0.5, 3.0], [0, 0, 0, 1, 1, 1, 2])
  found = TABLE['pass_at_k_max'](batch).advantage[:, 0]
  np.testing.assert_allclose(found, [0, 0.3, 0, 0, 0, 0, 0], atol=1e-6)
  with pytest.raises(ValueError, match="unknown scale 'sd'; choose one of none, std"):
    advantages.pass_at_k_max(batch, scale='sd', eps=1e-6)


@pytest.mark.parametrize('right', range(7))
@pytest.mark.parametrize('k', [1, 2, 4])
def test_pass_at_k_is_the_mean_over_subsets(right, k):
  """All subsets of k of 6 rows, rewarded by their best row, standardised over the subsets."""
  values = [1.0] * right + [0.0] * (6 - right)
  subsets = list(itertools.combinations(range(6), k))
  best = np.array([max(values[row] for row in subset) for subset in subsets])
  expected = np.zeros(6)
  if best.std() > 0:
    score = (best - best.mean()) / best.std()
    for row in range(6):
      expected[row] = np.mean([s for s, each in zip(score, subsets, strict=True) if row in each])
  found = advantages.pass_at_k(of_returns(values), k=k, threshold=1.0).advantage[:, 0]
  np.testing.assert_allclose(found, expected, atol=2e-6)


def test_pass_at_k_of_too_few_rows_is_nothing():
  assert not advantages.pass_at_k(of_returns([1.0, 0.0]), k=4, threshold=1.0).advantage.any()


@pytest.mark.parametrize('right', range(1, 10))
@pytest.mark.parametrize('tenths', [3, 4])
def test_quantile_baseline_moves_the_rare_rows(tenths, right):
  """Right rows only where p <= 1 - quantile, wrong rows only where it is higher."""
  values = np.array([1.0] * right + [0.0] * (10 - right))
  found = advantages.quantile_baseline(of_returns(values), quantile=tenths / 10, eps=0.0, ddof=0)
  moved = np.asarray(found.advantage[:, 0]) != 0
  np.testing.assert_array_equal(moved, values == (1 if right <= 10 - tenths else 0))


def test_returns_to_go_and_whitening():
  batch = batch_of([[1, 0, 2, 9], [0, 4, 0, 9]], [[1, 1, 1, 0], [1, 1, 0, 0]], [0, 1])
  found = advantages.returns(batch, discount=0.5)
  np.testing.assert_allclose(found.advantage, [[1.5, 1, 2, 0], [2, 4, 0, 0]])
  white = advantages.batch_whitened(found, eps=0.0).advantage
  inside = np.asarray(white)[np.asarray(batch.mask)]
  np.testing.assert_allclose([inside.mean(), inside.std(ddof=1)], [0, 1], atol=1e-6)
  assert not white[~batch.mask].any()


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


EVERY = {
  **TABLE,
  'returns': functools.partial(advantages.returns, discount=0.9),
  'batch_whitened': lambda batch: advantages.batch_whitened(group_centred(batch), eps=1e-8),
  'positive_negative': functools.partial(WEIGHTS, positive=0.1, negative=1.0),
}


@pytest.mark.parametrize('name', EVERY)
def test_names_padding_and_jit_do_not_matter(name):
  batch, transform = example(), EVERY[name]
  found = transform(batch).advantage
  assert not found[~batch.mask].any() and jnp.isfinite(found).all()
  renamed = batch._replace(group=jnp.where(batch.group == 6, 0, 7))
  np.testing.assert_allclose(transform(renamed).advantage, found, rtol=1e-5)
  wide = jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (1, 2))) if x.ndim == 2 else x, batch)
  np.testing.assert_allclose(transform(wide).advantage[:, 1:5], found, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(jax.jit(transform)(batch).advantage, found, rtol=1e-5, atol=1e-6)


def test_normalised_does_not_depend_on_the_scale():
  batch = example()
  scaled = batch._replace(reward=batch.reward * 100)
  exact = functools.partial(group_normalised, eps=0.0, ddof=1)
  np.testing.assert_allclose(exact(scaled).advantage, exact(batch).advantage, rtol=1e-5)


def test_chain_applies_in_order():
  def double(batch, views):
    assert views is VIEWS
    return batch._replace(reward=batch.reward * 2)

  def shift(batch, views):
    assert views is VIEWS
    return batch._replace(reward=batch.reward + 1)

  batch = example()._replace(reward=jnp.ones((8, 4)))
  assert float(chain(double, shift)(batch, VIEWS).reward[0, 0]) == 3
  assert float(chain(shift, double)(batch, VIEWS).reward[0, 0]) == 4
  assert chain()(batch, VIEWS) is batch


def test_the_table_gives_transforms_of_batch_and_views():
  shaped = TRANSFORMS['group_centred'](example(), VIEWS)
  np.testing.assert_array_equal(shaped.advantage, group_centred(example()).advantage)
