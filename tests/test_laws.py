"""Identities between the objectives, and what none of them may depend on. Everything in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_language import state_kappa, toy

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.soft import exact, residual
from maxent_lm.types import Batch, Scores, Temperature, Views


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def soft_q(lam=0.5, gradient='semi', value='lse'):
  return functools.partial(LOSSES['soft_q'], lam=lam, gradient=gradient, value=value)


OBJECTIVES = {
  'soft_q semi': soft_q(),
  'soft_q residual': soft_q(gradient='residual'),
  'soft_q offset': soft_q(value='lse_minus_ref'),
  'vargrad': LOSSES['vargrad'],
  'grpo': functools.partial(LOSSES['grpo'], clip_low=0.2, clip_high=0.3),
  'imitation': LOSSES['imitation'],
}
each_objective = pytest.mark.parametrize('loss', OBJECTIVES.values(), ids=OBJECTIVES)


def knobs(alpha, beta):
  return Temperature(jnp.asarray(alpha), jnp.asarray(beta))


class Toy:
  """The toy language as a batch of all strings, with tabular logits."""

  def __init__(self):
    self.language = toy()
    self.batch = exact.to_batch(self.language)
    states = np.pad(exact.strings(self.language).states, ((0, 0), (0, 1)))
    self.states = jnp.asarray(states)
    self.reference = self.scores(self.language.log_ref)
    self.logits = jnp.asarray(np.random.default_rng(3).normal(size=self.language.reward.shape))

  def scores(self, q):
    return exact.tabular_scores(jnp.asarray(q), self.states, self.batch.tokens)

  def views(self, q):
    return Views(self.scores(q), None, self.reference)

  def string_logp(self, q):
    return masked.masked_sum(self.scores(q).logp, self.batch.mask, axis=1)


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


@pytest.mark.parametrize('name', ['soft_q', 'vargrad'])
def test_alpha_beta_split_is_a_tempered_reference(name):
  """(alpha, beta, ref) == (0, kappa, ref^(beta/kappa)), not renormalised."""
  world = Toy()
  loss = {'soft_q': soft_q(), 'vargrad': LOSSES['vargrad']}[name]
  views = world.views(world.logits)
  tempered = views.reference._replace(logp=0.6 * views.reference.logp)
  split, _ = loss(views, world.batch, knobs(0.2, 0.3))
  merged, _ = loss(views._replace(reference=tempered), world.batch, knobs(0.0, 0.5))
  np.testing.assert_allclose(split, merged, rtol=1e-12, atol=1e-14)
  free, _ = loss(views, world.batch, knobs(0.5, 0.0))
  none, _ = loss(views._replace(reference=None), world.batch, knobs(0.5, 0.0))
  np.testing.assert_allclose(free, none, rtol=1e-12)
  assert float(jnp.abs(split - free).max()) > 1e-2


@pytest.mark.parametrize('kappa', [0.35, 2.0])
def test_vargrad_on_policy_is_the_policy_gradient(kappa):
  """sum_y pi(y) grad loss(y) = -kappa grad J, J = E[R] + alpha H - beta KL, for any log Z."""
  world, alpha, beta = Toy(), 0.4 * kappa, 0.6 * kappa

  def loss(q):
    weight = jax.lax.stop_gradient(jnp.exp(world.string_logp(q)))
    values, _ = LOSSES['vargrad'](world.views(q), world.batch, knobs(alpha, beta))
    return jnp.sum(weight[:, None] * values)

  gradient = np.asarray(jax.grad(loss)(world.logits))
  np.testing.assert_allclose(gradient, -kappa * _objective_gradient(world, alpha, beta), atol=1e-7)
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
  np.testing.assert_allclose(gradient, -_objective_gradient(world, 0.0, 0.0), atol=1e-7)


def _objective_gradient(world, alpha, beta, step=1e-5):
  """[S, A] central differences of the oracle's J in the logits."""
  gradient = np.zeros_like(world.language.reward)
  for place in np.ndindex(*gradient.shape):
    ends = []
    for sign in (1, -1):
      logits = np.array(world.logits)
      logits[place] += sign * step
      log_pi = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
      ends.append(exact.evaluate(world.language, log_pi, alpha, beta))
    gradient[place] = (ends[0] - ends[1]) / (2 * step)
  return gradient


@each_objective
def test_shift_of_the_logits(loss):
  """A shift per state moves the values: soft_q sees it and trains it, policy losses do neither."""
  world = Toy()
  batch = world.batch._replace(advantage=world.batch.reward - 0.3)

  def total(q):
    return jnp.sum(loss(world.views(q), batch, knobs(0.1, 0.25))[0])

  shift = jnp.asarray(np.random.default_rng(1).normal(size=(15, 1)))
  value, gradient = jax.value_and_grad(total)(world.logits)
  rows = np.abs(np.asarray(gradient).sum(axis=1))
  moved = abs(float(total(world.logits + shift) - value))
  if isinstance(loss, functools.partial) and loss.func is LOSSES['soft_q']:
    assert rows.min() > 1e-3 and moved > 1e-2
  else:
    assert rows.max() < 1e-12 and moved < 1e-10
    assert np.abs(gradient).max() > 1e-3


# Invariances, on random scores that no model made.

B, T = 6, 8
MASK = np.zeros((B, T), bool)
for _row, _columns in enumerate([range(1, 5), range(0, 3), [2, 3, 6], [4], [], range(3, 7)]):
  MASK[_row, list(_columns)] = True
BOOTSTRAP = np.array([True, False, True, False, True, False])
GROUP = np.array([0, 0, 3, 3, 3, 5])


def problem(seed=0):
  """Views, batch and per-token temperature; every array is [B, T] or [B]."""
  rng = np.random.default_rng(seed)

  def scores():
    logp, value, entropy = rng.normal(size=(3, B, T)) - 1
    return Scores(*map(jnp.asarray, (logp, logp + value, value, np.abs(entropy))))

  views = Views(scores(), None, scores(), None)
  logp, reward, advantage = rng.normal(size=(3, B, T))
  batch = Batch(
    tokens=jnp.zeros((B, T), jnp.int32),
    mask=jnp.asarray(MASK),
    logp=jnp.asarray(logp),
    reward=jnp.asarray(reward),
    weight=jnp.ones((B, T)),
    advantage=jnp.asarray(advantage),
    group=jnp.asarray(GROUP, jnp.int32),
    cluster=jnp.full(B, -1, jnp.int32),
    bootstrap=jnp.asarray(BOOTSTRAP),
  )
  return views, batch, knobs(*rng.uniform(0.1, 1, size=(2, B, T)))


def wide(tree, change):
  """`change` on the [B, T] leaves."""
  return jax.tree.map(lambda x: change(x) if x.ndim == 2 else x, tree)


def outcome(loss, parts):
  """Loss values [B, T], metrics, and the gradient of their sum in the policy's scores."""
  views, batch, temperature = parts

  def total(policy):
    values, metrics = loss(views._replace(policy=policy), batch, temperature)
    return jnp.sum(values), (values, metrics)

  gradient, (values, metrics) = jax.jit(jax.grad(total, has_aux=True))(views.policy)
  return values, metrics, gradient


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13), a, b)


@each_objective
def test_padding_and_place_in_the_row_do_not_matter(loss):
  values, metrics, gradient = outcome(loss, problem())
  for left, right in ((0, 3), (2, 0), (3, 1)):

    def moved(x, left=left, right=right):
      return jnp.pad(x, ((0, 0), (left, right)), constant_values=False if x.dtype == bool else 7)

    def back(x, left=left):
      return x[:, left : left + T]

    other = outcome(loss, wide(problem(), moved))
    close((values, gradient), wide((other[0], other[2]), back))
    close(metrics, other[1])


@each_objective
def test_order_of_the_rows_does_not_matter(loss):
  order = np.random.default_rng(0).permutation(B)
  values, metrics, gradient = outcome(loss, problem())
  other = outcome(loss, jax.tree.map(lambda x: x[order], problem()))
  close(jax.tree.map(lambda x: x[order], (values, gradient)), (other[0], other[2]))
  close(metrics, other[1])


@each_objective
def test_names_of_the_groups_do_not_matter(loss):
  views, batch, temperature = problem()
  renamed = batch._replace(group=jnp.asarray([4, 4, 0, 0, 0, 1], jnp.int32))
  close(outcome(loss, (views, batch, temperature)), outcome(loss, (views, renamed, temperature)))


@each_objective
@pytest.mark.parametrize('poison', [np.nan, np.inf])
def test_what_lies_outside_the_mask_is_never_read(loss, poison):
  parts = problem()
  read = np.asarray(residual.value_columns(jnp.asarray(MASK), jnp.asarray(BOOTSTRAP)))
  assert (read != MASK).sum() == 2

  def spoil(where):
    def change(x):
      return jnp.where(where, x, poison) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return change

  views, batch, temperature = wide(parts, spoil(read))
  batch = wide(batch, spoil(MASK))
  views = jax.tree.map(lambda x: x, views)
  spoiled = Views(
    *(
      v and v._replace(**{k: spoil(MASK)(getattr(v, k)) for k in ('logp', 'logit', 'entropy')})
      for v in views
    )
  )
  values, metrics, gradient = outcome(loss, (spoiled, batch, temperature))
  expected = outcome(loss, parts)
  close((values, metrics, gradient), expected)
  assert not np.where(MASK, 0, values).any()
  for name, leaf in gradient._asdict().items():
    unread = ~read if name == 'value' else ~MASK
    assert not np.asarray(leaf)[unread].any()


@each_objective
def test_gaps_are_as_if_cut_out(loss):
  """Row 2 has a gap: removing its columns changes nothing but the place of the numbers."""
  columns = {2: [2, 3, 6, 7]}
  views, batch, temperature = jax.tree.map(lambda x: x[2:3], problem())
  parts = (views, batch._replace(group=jnp.zeros(1, jnp.int32)), temperature)
  packed = wide(parts, lambda x: x[:, np.array(columns[2])])
  whole, short = outcome(loss, parts), outcome(loss, packed)
  close(wide((whole[0], whole[2]), lambda x: x[:, np.array(columns[2])]), (short[0], short[2]))


def test_scalar_temperature_is_a_constant_one():
  views, batch, _ = problem()
  for loss in OBJECTIVES.values():
    scalar = outcome(loss, (views, batch, knobs(0.2, 0.3)))
    spread = outcome(loss, (views, batch, knobs(jnp.full((B, T), 0.2), jnp.full((B, T), 0.3))))
    close(scalar, spread)


@each_objective
def test_temperature_gets_no_gradient(loss):
  views, batch, temperature = problem()
  gradient = jax.grad(lambda knob: jnp.sum(loss(views, batch, knob)[0]))(temperature)
  assert not any(np.asarray(leaf).any() for leaf in gradient)
