"""Identities between the objectives. Everything in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives import (
  OBJECTIVES,
  POLICY_GRADIENTS,
  SHIFT_AT_THE_START,
  SHIFT_EVERYWHERE,
  Toy,
  knobs,
  seeing,
)
from toy_language import state_kappa

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.soft import exact, residual
from maxent_lm.types import Critic, Views


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def soft_q(lam=0.5, gradient='semi', value='lse'):
  return seeing((), 'soft_q', lam=lam, gradient=gradient, value=value)


# At the optimum.


@pytest.mark.parametrize('lam', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('gradient', ['semi', 'residual'])
def test_soft_q_is_zero_at_the_optimum(lam, gradient):
  world, kappa = Toy(), state_kappa()
  alpha, beta = 0.25 * kappa, 0.75 * kappa
  solution = exact.solve(world.language, alpha, beta)
  prior = 0.75 * world.language.log_ref
  folded = jnp.asarray(solution.q / kappa[:, None] + prior)
  temperature = knobs(alpha[world.states], beta[world.states])
  values, _ = soft_q(lam, gradient)(world.views(folded), world.batch, temperature)
  np.testing.assert_allclose(values, 0, atol=1e-24)
  elsewhere, _ = soft_q(lam, gradient)(world.views(folded + 1), world.batch, temperature)
  assert float(jnp.sum(elsewhere)) > 1e-2


def test_vargrad_is_zero_at_the_optimum_whatever_the_shift():
  world = Toy()
  solution = exact.solve(world.language, 0.1, 0.25)
  shift = np.random.default_rng(0).normal(size=(15, 1))
  views = world.views(solution.log_pi + shift)
  values, metrics = LOSSES['vargrad'](views, world.batch, knobs(0.1, 0.25))
  np.testing.assert_allclose(values, 0, atol=1e-24)
  assert float(metrics['value']) == pytest.approx(solution.value[0], abs=1e-12)


def test_offset_value_starts_at_rest():
  """r = 0, alpha = 0, policy = reference up to its own shift: zero residual, zero gradient."""
  world = Toy()
  batch = world.batch._replace(reward=jnp.zeros_like(world.batch.reward))
  shift = np.random.default_rng(0).normal(size=(15, 1))
  start = jnp.asarray(world.language.log_ref + shift)
  reference = world.scores(start)

  def total(q, value):
    views = Views(world.scores(q), None, reference)
    loss = soft_q(1.0, 'residual', value)
    return jnp.sum(loss(views, batch, knobs(0.0, 0.3))[0])

  rest, gradient = jax.value_and_grad(total)(start, 'lse_minus_ref')
  np.testing.assert_allclose(rest, 0, atol=1e-24)
  np.testing.assert_allclose(gradient, 0, atol=1e-12)
  assert total(start, 'lse') > 1e-2


# Between objectives.


def test_suffix_error_at_the_start_is_the_path_residual():
  world, temperature = Toy(), knobs(0.1, 0.25)
  views = world.views(world.logits)
  values, _ = soft_q(1.0)(views, world.batch, temperature)
  steps = residual.read(views.policy, views.reference, world.batch, temperature)
  np.testing.assert_allclose(values[:, 0], 0.5 * residual.path(steps) ** 2, rtol=1e-12)


def test_semi_and_residual_gradients_differ_only_in_the_gradient():
  world, temperature = Toy(), knobs(0.1, 0.25)

  def total(q, gradient):
    return jnp.sum(soft_q(0.3, gradient)(world.views(q), world.batch, temperature)[0])

  semi, semi_gradient = jax.value_and_grad(total)(world.logits, 'semi')
  full, full_gradient = jax.value_and_grad(total)(world.logits, 'residual')
  assert float(semi) == pytest.approx(float(full), rel=1e-12)
  assert float(jnp.abs(semi_gradient - full_gradient).max()) > 1e-2


def gradients(loss, world, *, critic=lambda q: None, batch=None, temperature=None):
  """Total loss, and its gradient in the policy's logits, with the critic `critic(q)`."""
  temperature = knobs(0.1, 0.25) if temperature is None else temperature
  batch = world.batch if batch is None else batch

  def total(q):
    views = world.views(q)._replace(critic=critic(q))
    return jnp.sum(loss(views, batch, temperature)[0])

  return jax.value_and_grad(total)(world.logits)


def same(left, right, scale=1.0):
  np.testing.assert_allclose(left[0], scale * right[0], rtol=1e-10)
  np.testing.assert_allclose(left[1], scale * right[1], rtol=1e-8, atol=1e-12)
  assert np.abs(left[1]).max() > 1e-3


def test_residuals_add_up_along_a_path():
  """delta(i:j) + delta(j:k) = delta(i:k), with a temperature of its own for every token."""
  world, kappa = Toy(), state_kappa()
  temperature = knobs(kappa[world.states], 0.5 * kappa[world.states])
  steps = residual.read(world.scores(world.logits), world.reference, world.batch, temperature)
  value = np.where(world.batch.mask, steps.value, 0)
  gain = np.where(world.batch.mask, steps.kappa * steps.log_ratio - steps.reward, 0)

  def delta(row, i, j):
    return value[row, i] - value[row, j] + gain[row, i:j].sum()

  for row in range(31):
    for i, j, k in ((0, 1, 3), (0, 2, 4), (1, 2, 4), (0, 3, 4)):
      parts = delta(row, i, j) + delta(row, j, k)
      assert parts == pytest.approx(delta(row, i, k), abs=1e-12)
  np.testing.assert_allclose(residual.path(steps), [delta(r, 0, 4) for r in range(31)], atol=1e-12)


def test_pcl_is_the_sum_over_sub_paths():
  """Against two loops over (i, j), and autodiff against delta (grad V_i - grad V_j + sum grad)."""
  world, temperature = Toy(), knobs(0.1, 0.25)
  mask = np.asarray(world.batch.mask)

  def by_hand(q):
    steps = residual.read(world.scores(q), world.reference, world.batch, temperature)
    value = jnp.where(mask, steps.value, 0)
    gain = jnp.where(mask, steps.kappa * steps.log_ratio - steps.reward, 0)
    done = jnp.cumsum(jnp.pad(gain, ((0, 0), (1, 0))), axis=1)
    total = 0.0
    for n in (1, 2, 3):
      for i in range(mask.shape[1] - n):
        exists = mask[:, i] & mask[:, i + n - 1]
        delta = value[:, i] - value[:, i + n] + done[:, i + n] - done[:, i]
        total += jnp.sum(jnp.where(exists, 0.5 * delta**2, 0))
    return total

  same(gradients(OBJECTIVES['PCL'], world), jax.value_and_grad(by_hand)(world.logits))


def test_the_gradient_of_a_path_is_the_residual_times_its_parts():
  """[Nachum et al. 2017]: -delta in each log-probability and value, with their signs."""
  world = Toy()

  def total(logp, value):
    scores = world.scores(world.logits)._replace(logp=logp, value=value)
    views = Views(scores, None, world.reference)
    return jnp.sum(LOSSES['path'](views, world.batch, knobs(0.1, 0.25), value='lse')[0])

  scores = world.scores(world.logits)
  by_logp, by_value = jax.grad(total, argnums=(0, 1))(scores.logp, scores.value)
  delta = residual.path(residual.read(scores, world.reference, world.batch, knobs(0.1, 0.25)))
  np.testing.assert_allclose(by_logp, 0.35 * jnp.where(world.batch.mask, delta[:, None], 0))
  first = jnp.arange(by_value.shape[1])[None, :] == 0
  np.testing.assert_allclose(by_value, 0.35 * jnp.where(first, delta[:, None], 0), atol=1e-15)


def test_tbrm_is_trajectory_balance_with_the_log_sum_exp_as_log_z():
  world = Toy()

  def lse(q):
    return Critic(value=0.35 * jax.nn.logsumexp(q, axis=-1)[world.states])

  tb = seeing(('value',), 'path', value='head')
  same(gradients(OBJECTIVES['TBRM'], world), gradients(tb, world, critic=lse))


def test_tbrm_is_the_longest_sub_path_of_pcl():
  world, mask = Toy(), np.asarray(Toy().batch.mask)
  weights = [0, 0, 0, 1]  # paths of exactly four actions: the strings of full length
  steps = residual.read(world.scores(world.logits), world.reference, world.batch, knobs(0.1, 0.25))
  squares, _ = residual.sub_paths(steps, jnp.asarray(weights, float))
  path, _ = OBJECTIVES['TBRM'](world.views(world.logits), world.batch, knobs(0.1, 0.25))
  whole = mask.sum(axis=1) == 4
  np.testing.assert_allclose(0.5 * squares[whole, 0], path[whole, 3], rtol=1e-12)
  assert not np.asarray(squares)[~whole].any()


def test_one_step_pcl_is_residual_soft_q():
  world = Toy()
  pcl = seeing((), 'pcl', length=1, value='lse')
  same(gradients(pcl, world), gradients(soft_q(0.0, 'residual'), world))


@pytest.mark.parametrize('lam', [0.0, 1.0])
def test_lambda_goes_from_one_step_to_the_rest_of_the_path(lam):
  """G - q is minus the residual of the step, or of the whole suffix."""
  world, temperature = Toy(), knobs(0.1, 0.25)
  steps = residual.read(world.scores(world.logits), world.reference, world.batch, temperature)
  error = residual.soft_q(steps) - residual.lambda_return(steps, lam)
  single = np.asarray(residual.one_step(steps))
  rest = np.cumsum(single[:, ::-1], axis=1)[:, ::-1] * np.asarray(world.batch.mask)
  np.testing.assert_allclose(error, single if lam == 0 else rest, atol=1e-12)


def test_oreo_is_the_semi_gradient_of_the_suffix_with_a_head():
  world = Toy()

  def total(name, value, options):
    views = world.views(world.logits)
    views = views._replace(critic=Critic(value=value[world.states]))
    return jnp.sum(LOSSES[name](views, world.batch, knobs(0.1, 0.25), **options)[0])

  value = jnp.asarray(np.random.default_rng(0).normal(size=15))
  head = {'lam': 1.0, 'gradient': 'semi', 'value': 'head'}
  by_head = [
    jax.grad(total, argnums=1)(name, value, options)
    for name, options in (('oreo', {'value_weight': 1.0}), ('soft_q', head))
  ]
  np.testing.assert_allclose(*by_head, rtol=1e-10)
  oreo = seeing(('value',), 'oreo', value_weight=1.0)
  dqo = seeing(('value',), 'soft_q', **head)
  critic = {'critic': world.critic}
  left, right = gradients(oreo, world, **critic), gradients(dqo, world, **critic)
  np.testing.assert_allclose(left[1], right[1], rtol=1e-10, atol=1e-12)


def test_pairs_pull_like_vargrad_only_harder():
  """In a group of n the gradient of the pairs is 2 n / (n - 1) times that of VarGrad."""
  world = Toy()
  pairs, vargrad = (gradients(LOSSES[name], world) for name in ('pairwise', 'vargrad'))
  np.testing.assert_allclose(pairs[1], 2 * 31 / 30 * vargrad[1], rtol=1e-8, atol=1e-12)


def test_pairs_are_the_mean_over_the_others():
  world, temperature = Toy(), knobs(0.1, 0.25)
  views = world.views(world.logits)
  values, _ = LOSSES['pairwise'](views, world.batch, temperature)
  steps = residual.read(views.policy, views.reference, world.batch, temperature)
  returns = np.asarray(-residual.path(steps._replace(value=jnp.zeros_like(steps.value))))
  squares = 0.5 * (returns[:, None] - returns[None, :]) ** 2
  np.testing.assert_allclose(values.sum(axis=1), squares.sum(axis=1) / 30, rtol=1e-10)


@pytest.mark.parametrize('sharpness', [0.0, 1.0])
def test_the_log_mean_exp_of_a_full_group_is_log_z(sharpness):
  """Rows drawn in proportion to their behaviour probability; here all of them, weighted alike."""
  world = Toy()
  last = masked.last_action(world.batch.mask)
  batch = world.batch._replace(logp=jnp.where(last, -jnp.log(31.0), 0.0))
  _, metrics = LOSSES['mirror_descent'](
    world.views(sharpness * world.logits), batch, knobs(0.1, 0.25)
  )
  value = exact.solve(world.language, 0.1, 0.25).value[0]
  assert float(metrics['value']) == pytest.approx(value, rel=1e-12)


def test_a_tree_has_one_way_into_every_state():
  """log P_B = 0: the backward policy of balance objectives has nothing to choose."""
  child = Toy().language.child
  reached, ways = np.unique(child[child >= 0], return_counts=True)
  assert sorted(reached) == list(range(1, 15)) and (ways == 1).all()


def test_the_actor_of_sac_rests_at_the_boltzmann_policy_of_its_critics():
  world = Toy()
  energy = jnp.asarray(np.random.default_rng(1).normal(size=(15, 3)))

  def critic(q):
    expected = jnp.sum(jax.nn.softmax(q) * energy, axis=-1)
    return Critic(q=(world.scores(energy),), expected=expected[world.states])

  def total(q):
    views = world.views(q)._replace(critic=critic(q))
    return jnp.sum(OBJECTIVES['SAC'](views, world.batch, knobs(0.1, 0.25))[0])

  rest = jax.grad(total)(energy + 2.0)
  np.testing.assert_allclose(rest, 0, atol=1e-12)
  assert np.abs(jax.grad(total)(world.logits)).max() > 1e-2


def test_two_atoms_are_the_binary_cross_entropy():
  world = Toy()
  logit = jnp.asarray(np.random.default_rng(2).normal(size=world.batch.mask.shape))
  atoms = jnp.stack([jax.nn.log_sigmoid(-logit), jax.nn.log_sigmoid(logit)], axis=-1)
  views = world.views(world.logits)._replace(critic=Critic(atoms=atoms))
  values, _ = LOSSES['q_sharp'](views, world.batch, knobs(0.0, 1.0), low=0.0, high=1.0)
  total = masked.masked_sum(world.batch.reward, world.batch.mask, axis=1)[:, None]
  expected = -(total * atoms[..., 1] + (1 - total) * atoms[..., 0])
  np.testing.assert_allclose(values, np.where(world.batch.mask, expected, 0), rtol=1e-10)


def test_a_target_equal_to_the_policy_changes_nothing():
  world, temperature = Toy(), knobs(0.1, 0.25)

  def total(q, lag):
    views = world.views(q)
    views = views._replace(target=world.scores(world.logits + lag) if lag is not None else None)
    return jnp.sum(soft_q(0.3)(views, world.batch, temperature)[0])

  plain = jax.value_and_grad(total)(world.logits, None)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
    plain,
    jax.value_and_grad(total)(world.logits, 0.0),
  )
  assert float(abs(jax.value_and_grad(total)(world.logits, 0.5)[0] - plain[0])) > 1e-2


@pytest.mark.parametrize(
  'name', sorted(OBJECTIVES.keys() - POLICY_GRADIENTS.keys() - {'imitation', 'ORPO'})
)
def test_alpha_beta_split_is_a_tempered_reference(name):
  """(alpha, beta, ref) == (0, kappa, ref^(beta/kappa)), not renormalised."""
  world, loss = Toy(), OBJECTIVES[name]
  views = world.views(world.logits)
  tempered = views.reference._replace(logp=0.6 * views.reference.logp)
  split, _ = loss(views, world.batch, knobs(0.2, 0.3))
  merged, _ = loss(views._replace(reference=tempered), world.batch, knobs(0.0, 0.5))
  np.testing.assert_allclose(split, merged, rtol=1e-12, atol=1e-14)
  if name in ('ILQL', 'Q-sharp'):  # no temperature in the loss
    return
  free, _ = loss(views, world.batch, knobs(0.5, 0.0))
  assert float(jnp.abs(split - free).max()) > 1e-2
  if name not in ('soft_q offset', 'ReVal'):
    none, _ = loss(views._replace(reference=None), world.batch, knobs(0.5, 0.0))
    np.testing.assert_allclose(free, none, rtol=1e-12)


@pytest.mark.parametrize('kappa', [0.35, 2.0])
def test_vargrad_on_policy_is_the_policy_gradient(kappa):
  """sum_y pi(y) grad loss(y) = -kappa grad J, J = E[R] + alpha H - beta KL, for any log Z."""
  world, alpha, beta = Toy(), 0.4 * kappa, 0.6 * kappa

  def loss(q):
    weight = jax.lax.stop_gradient(jnp.exp(world.string_logp(q)))
    values, _ = LOSSES['vargrad'](world.views(q), world.batch, knobs(alpha, beta))
    return jnp.sum(weight[:, None] * values)

  gradient = np.asarray(jax.grad(loss)(world.logits))
  np.testing.assert_allclose(gradient, -kappa * _objective_gradient(world, alpha, beta), atol=1e-12)
  assert np.abs(gradient).max() > 1e-3


def test_grpo_on_policy_is_the_policy_gradient():
  """With A = R - b and both knobs 0, sum_y pi(y) grad loss(y) = -grad E[R]."""
  world = Toy()
  total = masked.masked_sum(world.batch.reward, world.batch.mask, axis=1)
  batch = world.batch._replace(
    logp=world.scores(world.logits).logp,
    advantage=jnp.where(world.batch.mask, (total - 0.7)[:, None], 0),
  )

  def loss(q):
    weight = jnp.exp(world.string_logp(world.logits))
    values, _ = OBJECTIVES['grpo'](world.views(q), batch, knobs(0.0, 0.0))
    return jnp.sum(weight[:, None] * values)

  gradient = jax.grad(loss)(world.logits)
  np.testing.assert_allclose(gradient, -_objective_gradient(world, 0.0, 0.0), atol=1e-12)


def _objective_gradient(world, alpha, beta):
  """[S, A] gradient of the oracle's J in the logits."""
  log_pi = np.asarray(jax.nn.log_softmax(world.logits))
  return exact.objective_gradient(world.language, log_pi, alpha, beta)


@pytest.mark.parametrize('name', OBJECTIVES)
def test_shift_of_the_logits(name):
  """A shift per state moves the values: whoever reads V from the logits sees and trains it."""
  world, loss = Toy(), OBJECTIVES[name]
  batch = world.batch._replace(advantage=world.batch.reward - 0.3)

  def total(q):
    return jnp.sum(loss(world.views(q), batch, knobs(0.1, 0.25))[0])

  shift = jnp.asarray(np.random.default_rng(1).normal(size=(15, 1)))
  value, gradient = jax.value_and_grad(total)(world.logits)
  rows = np.abs(np.asarray(gradient).sum(axis=1))
  moved = abs(float(total(world.logits + shift) - value))
  if name in SHIFT_EVERYWHERE:
    assert rows.min() > 1e-4 and moved > 1e-2
  elif name in SHIFT_AT_THE_START:
    assert rows[0] > 1e-3 and rows[1:].max() < 1e-12 and moved > 1e-2
  else:
    assert rows.max() < 1e-12 and moved < 1e-9
    assert np.abs(gradient).max() > 1e-3 or name == 'Q-sharp'
