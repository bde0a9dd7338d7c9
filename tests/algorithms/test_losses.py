"""Literals and refusals of the single objectives; what they share is in test_laws.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.algorithms import LOSSES
from maxent_lm.types import Batch, Scores, Temperature, Views

KNOBS = Temperature(jnp.float32(0.1), jnp.float32(0.3))
GRPO = functools.partial(LOSSES['grpo'], clip_low=0.2, clip_high=0.4, clip_dual=1e9, kl='k3')


def table(*rows):
  return jnp.asarray(rows, jnp.float32)


def scores(logp, value=None, entropy=None):
  zero = jnp.zeros_like(logp)
  value = zero if value is None else value
  return Scores(logp, logp + value, value, zero if entropy is None else entropy)


def batch(mask, **arrays):
  mask = jnp.asarray(mask, bool)
  zero, rows = jnp.zeros(mask.shape, jnp.float32), mask.shape[0]
  fields = {name: zero for name in ('tokens', 'logp', 'reward', 'weight', 'advantage')}
  fields |= {'group': jnp.zeros(rows, jnp.int32), 'cluster': jnp.zeros(rows, jnp.int32)}
  return Batch(**{'mask': mask, 'bootstrap': jnp.zeros(rows, bool), **fields, **arrays})


def test_soft_q_by_hand():
  """kappa 0.4, log rho = 0.75 log ref; V = 0.4 (1, 2); one step, then the suffix at lam = 0.5."""
  views = Views(
    scores(table([-1, -2, 0]), value=table([1, 2, 5])), None, scores(table([-4, -1, 0]))
  )
  data = batch([[1, 1, 0]], reward=table([0.5, 1, 9]))
  last = 0.8 + 0.4 * (-2 + 0.75) - 1
  first = 0.4 - 0.8 + 0.4 * (-1 + 3) - 0.5
  loss = functools.partial(LOSSES['soft_q'], gradient='semi', value='lse')
  values, metrics = loss(views, data, KNOBS, lam=0.0)
  np.testing.assert_allclose(values, [[first**2 / 2, last**2 / 2, 0]], rtol=1e-5)
  values, metrics = loss(views, data, KNOBS, lam=0.5)
  np.testing.assert_allclose(values[0, 0], (first + 0.5 * last) ** 2 / 2, rtol=1e-5)
  assert float(metrics['residual']) == pytest.approx((first + 1.5 * last) / 2, rel=1e-5)
  assert float(metrics['value']) == pytest.approx(0.6)
  cut = data._replace(bootstrap=jnp.asarray([True]))
  values, _ = loss(views, cut, KNOBS, lam=0.0)
  np.testing.assert_allclose(values[0, 1], (last - 0.4 * 5) ** 2 / 2, rtol=1e-5)


def test_soft_q_target_values_come_from_the_target_view():
  views = Views(scores(table([-1, -2]), value=table([1, 2])), scores(table([-3, -4])))
  data = batch([[1, 1]], reward=table([0, 1]))
  loss = functools.partial(LOSSES['soft_q'], gradient='semi', value='lse')
  knobs = Temperature(jnp.float32(0.4), jnp.float32(0))
  values, _ = loss(views, data, knobs, lam=1.0)
  # Q_0 = 0.4 (1 - 1) and G_0 = 1 - 0.4 (-4): the later log-probability is the target's too.
  np.testing.assert_allclose(values[0, 0], (0 - (1 + 1.6)) ** 2 / 2, rtol=1e-5)


def test_soft_q_refuses():
  views = Views(scores(table([-1.0])))
  data, loss = batch([[1]]), functools.partial(LOSSES['soft_q'], lam=1.0)
  with pytest.raises(ValueError, match="unknown gradient 'full'; choose one of semi, residual"):
    loss(views, data, KNOBS, gradient='full', value='lse')
  with pytest.raises(
    ValueError, match="unknown value 'hed'; choose one of lse, lse_minus_ref, head"
  ):
    loss(views, data, KNOBS, gradient='semi', value='hed')
  with pytest.raises(ValueError, match='takes no target view'):
    lagged = views._replace(target=views.policy)
    loss(lagged, data, KNOBS, gradient='residual', value='lse')
  with pytest.raises(ValueError, match='needs a reference view'):
    loss(views, data, KNOBS, gradient='semi', value='lse_minus_ref')


def test_vargrad_by_hand():
  """S = (1 + 0.4, 0.4 + 0.4 * 1), mean 1.1: the error stands on the last action only."""
  views = Views(scores(table([-0.5, -0.5, 0], [-1, 0, 0])))
  data = batch([[1, 1, 0], [1, 0, 0]], reward=table([0, 1, 0], [0.4, 0, 0]))
  values, metrics = LOSSES['vargrad'](views, data, KNOBS)
  error = (1.4 - 0.8) / 2
  np.testing.assert_allclose(values, [[0, error**2 / 2, 0], [error**2 / 2, 0, 0]], rtol=1e-5)
  assert float(metrics['value']) == pytest.approx(1.1)
  assert float(metrics['residual_abs']) == pytest.approx(error)
  alone = data._replace(group=jnp.asarray([0, 1], jnp.int32))
  assert not LOSSES['vargrad'](views, alone, KNOBS)[0].any()


def test_vargrad_leaves_empty_rows_out_of_the_mean():
  views = Views(scores(table([-0.5, -0.5], [-1, 0], [-3, -3])))
  data = batch([[1, 1], [1, 0], [0, 0]], reward=table([0, 1], [0.4, 0], [7, 7]))
  three, _ = LOSSES['vargrad'](views, data, KNOBS)
  pair = batch([[1, 1], [1, 0]], reward=table([0, 1], [0.4, 0]))
  two, _ = LOSSES['vargrad'](Views(scores(table([-0.5, -0.5], [-1, 0]))), pair, KNOBS)
  np.testing.assert_allclose(three, jnp.concatenate([two, jnp.zeros((1, 2))]), rtol=1e-6)


def test_vargrad_adds_the_value_at_a_cut():
  views = Views(scores(table([-1, 0], [-1, 0]), value=table([9, 2], [9, 2])))
  data = batch([[1, 0], [1, 0]], bootstrap=jnp.asarray([True, False]))
  values, _ = LOSSES['vargrad'](views, data, KNOBS)
  np.testing.assert_allclose(values[:, 0], [0.08, 0.08], rtol=1e-5)  # S = 1.2 and 0.4
  lagged = views._replace(target=scores(table([-5, 0], [-5, 0]), value=table([9, 4], [9, 4])))
  values, _ = LOSSES['vargrad'](lagged, data, KNOBS)
  np.testing.assert_allclose(values[:, 0], [0.32, 0.32], rtol=1e-5)


def test_vargrad_trains_log_probabilities_only():
  data = batch([[1, 1, 0], [1, 0, 0]], bootstrap=jnp.asarray([True, True]))
  policy = scores(table([-1, -2, 0], [-1, 0, 0]), value=table([9, 2, 3], [9, 2, 0]))

  def total(policy):
    return jnp.sum(LOSSES['vargrad'](Views(policy), data, KNOBS)[0])

  gradient = jax.grad(total)(policy)
  assert gradient.logp[data.mask].all()
  assert not gradient.value.any() and not gradient.logit.any() and not gradient.entropy.any()


def test_grpo_by_hand():
  """Ratios 1.5, 1.5, 0.5, 0.5, 1.1 with A = 1, -1, 1, -1, 1 and clips at 0.8 and 1.4."""
  ratio = np.array([1.5, 1.5, 0.5, 0.5, 1.1])
  advantage = table([1, -1, 1, -1, 1])
  entropy = table([0.1, 0.2, 0.3, 0.4, 0.5])
  views = Views(scores(table(np.log(ratio)), entropy=entropy))
  data = batch(np.ones((1, 5)), advantage=advantage)
  values, metrics = GRPO(views, data, Temperature(jnp.float32(0.5), jnp.float32(0.3)))
  surrogate = np.array([1.4, -1.5, 0.5, -0.8, 1.1])
  np.testing.assert_allclose(values[0], -surrogate - 0.5 * entropy[0], rtol=1e-5)
  assert float(metrics['clip_share']) == pytest.approx(0.4)
  assert float(metrics['ratio']) == pytest.approx(ratio.mean())
  assert float(metrics['kl_penalty']) == 0


def test_grpo_kl_to_the_reference():
  views = Views(scores(table([-1, -2])), None, scores(table([-1.5, -1])))
  data = batch([[1, 0]], logp=table([-1, -2]))
  values, metrics = GRPO(views, data, Temperature(jnp.float32(0), jnp.float32(2)))
  k3 = np.exp(-0.5) - 1 + 0.5
  np.testing.assert_allclose(values, [[2 * k3, 0]], rtol=1e-5)
  assert float(metrics['kl_penalty']) == pytest.approx(k3, rel=1e-5)


def test_grpo_survives_hopeless_ratios():
  """Log-ratios of 1000 nats, with beta = 0 too, give finite losses."""
  views = Views(scores(table([-1000, 0])), None, scores(table([0, -1000])))
  data = batch([[1, 1]], logp=table([0, -1000]), advantage=table([1, -1]))
  values, _ = GRPO(views, data, Temperature(jnp.float32(0), jnp.float32(0)))
  assert jnp.isfinite(values).all()


def test_imitation_is_the_negative_log_likelihood():
  values, metrics = LOSSES['imitation'](Views(scores(table([-1, -2]))), batch([[0, 1]]), KNOBS)
  assert values.tolist() == [[0, 2]] and float(metrics['nll']) == 2
