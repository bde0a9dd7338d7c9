"""Controllers: traces, bounds, and convergence on a language whose answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_language import toy

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import fixed_points
from maxent_lm.soft import exact, frontier
from maxent_lm.temperature import (
  CONTROLLERS,
  SCHEDULES,
  dual_entropy,
  dual_kl,
  fixed,
  kl_limits,
  scheduled,
)
from maxent_lm.train.step import UNITS
from maxent_lm.types import Batch, ControllerState, Temperature, Views

BOUNDS = {'low': 1e-3, 'high': 10.0}


def learn(objective, alpha, beta, *, steps=4000):
  """Logits of the toy and both coefficients, trained together: ([steps] traces, last policy).

  Off-policy on every string, one Adam step and one step of the controllers at a time; they observe
  the exact KL to the reference and the exact entropy of the policy as it is.
  """
  language, loss = toy(), functools.partial(LOSSES[objective[0]], **objective[1])
  problem = fixed_points.make_problem(language, 1.0, 1.0)
  batch, states = problem.batch, problem.states
  reference = exact.tabular_scores(problem.log_ref, states, batch.tokens)
  tx = optax.adam(optax.cosine_decay_schedule(3e-2, steps, alpha=0.01))

  def total(q, temperature):
    views = Views(exact.tabular_scores(q, states, batch.tokens), None, reference)
    values, _ = loss(views, batch, temperature)
    return masked.sequence_sum(UNITS['nats'](temperature) * values, batch.mask)

  def step(carry, _):
    q, adam, a, b = carry
    gradient = jax.grad(total)(q, Temperature(a.value, b.value))
    change, adam = tx.update(gradient, adam)
    q = optax.apply_updates(q, change)
    logp = exact.tabular_scores(q, states, batch.tokens).logp
    string, prior = (masked.masked_sum(x, batch.mask, axis=1) for x in (logp, reference.logp))
    mass = jnp.exp(string)
    seen = {'kl': jnp.sum(mass * (string - prior)), 'entropy': -jnp.sum(mass * string)}
    a, b = alpha.update(a, seen), beta.update(b, seen)
    return (q, adam, a, b), (a.value, b.value, a.clamped, b.clamped)

  q = jnp.asarray(np.random.default_rng(0).normal(size=language.reward.shape))
  carry = (q, tx.init(q), alpha.init(), beta.init())
  carry, trace = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps))(carry)
  return [np.asarray(line) for line in trace], np.asarray(jax.nn.log_softmax(carry[0]))


def settle(controller, observe, steps):
  """The values that a controller takes while `observe(value)` gives its metrics."""
  state, trace = controller.init(), []
  update = jax.jit(controller.update)
  for _ in range(steps):
    state = update(state, observe(float(state.value)))
    trace.append(float(state.value))
  return trace


@functools.cache
def solved(kind, value):
  """Exact KL to the reference, or exact entropy with alpha, at the optimum of the toy language."""
  language = toy()
  if kind == 'kl':
    return exact.kl(language, exact.solve(language, 0.0, value).log_pi, language.log_ref)
  return exact.sequence_entropy(language, exact.solve(language, value, 0.0).log_pi)


def observe(kind):
  return lambda value: {kind: jnp.float32(solved(kind, value))}


@pytest.mark.parametrize('initial', [0.02, 5.0])
@pytest.mark.parametrize('target', [0.3, 1.5])
def test_dual_kl_finds_the_only_beta(initial, target):
  controller = dual_kl(initial, target=target, learning_rate=0.4, **BOUNDS)
  trace = settle(controller, observe('kl'), 120)
  assert trace[-1] == pytest.approx(frontier.beta_for_kl(toy(), target), rel=1e-3)


@pytest.mark.parametrize('initial', [0.02, 5.0])
def test_dual_entropy_finds_the_only_alpha(initial):
  target = 3.0
  controller = dual_entropy(initial, target=target, learning_rate=0.4, **BOUNDS)
  trace = settle(controller, observe('entropy'), 200)
  assert trace[-1] == pytest.approx(frontier.alpha_for_entropy(toy(), target), rel=1e-3)


OBJECTIVES = {
  'soft_q': ('soft_q', {'lam': 0.5, 'gradient': 'semi', 'value': 'lse'}),
  'vargrad': ('vargrad', {}),
}
DUAL = {'learning_rate': 0.02, 'low': 0.01, 'high': 20.0}


@pytest.mark.parametrize('objective', OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize('initial', [0.03, 3.0])
def test_beta_learned_with_the_policy_meets_the_oracle(objective, initial):
  with jax.enable_x64(True):
    beta = dual_kl(initial, target=0.7, **DUAL)
    trace, log_pi = learn(objective, fixed(0.0), beta)
  oracle = frontier.beta_for_kl(toy(), 0.7)
  assert not 0.5 < initial / oracle < 2
  assert trace[1][-1] == pytest.approx(oracle, rel=0.01)
  assert not trace[3][-500:].any()
  best = exact.solve(toy(), 0.0, oracle).log_pi
  assert exact.kl(toy(), best, log_pi) < 1e-4


@pytest.mark.parametrize('objective', OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize('initial', [0.03, 3.0])
def test_alpha_learned_with_the_policy_meets_the_oracle(objective, initial):
  with jax.enable_x64(True):
    alpha = dual_entropy(initial, target=3.0, **DUAL)
    trace, _ = learn(objective, alpha, fixed(0.0))
  oracle = frontier.alpha_for_entropy(toy(), 3.0)
  assert not 0.5 < initial / oracle < 2
  assert trace[0][-1] == pytest.approx(oracle, rel=0.01)


def test_both_learned_meet_both_targets():
  """KL .7 and entropy 2.1: two constraints, two multipliers, one policy."""
  with jax.enable_x64(True):
    alpha = dual_entropy(0.5, target=2.1, **DUAL)
    trace, log_pi = learn(
      OBJECTIVES['vargrad'], alpha, dual_kl(0.5, target=0.7, **DUAL), steps=8000
    )
  language = toy()
  assert exact.kl(language, log_pi, language.log_ref) == pytest.approx(0.7, abs=0.01)
  assert exact.sequence_entropy(language, log_pi) == pytest.approx(2.1, abs=0.02)
  best = exact.solve(language, float(trace[0][-1]), float(trace[1][-1])).log_pi
  assert exact.kl(language, best, log_pi) < 1e-4


@pytest.mark.parametrize('objective', OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize(('target', 'bound'), [(6.0, 0.01), (-1.0, 5.0)])
def test_a_target_out_of_reach_ends_at_a_bound_and_says_so(objective, target, bound):
  assert target > frontier.largest_kl(toy()) or target < 0
  with jax.enable_x64(True):
    beta = dual_kl(0.5, target=target, learning_rate=0.02, low=0.01, high=5.0)
    trace, log_pi = learn(objective, fixed(0.0), beta, steps=1500)
  assert trace[1][-1] == pytest.approx(bound, rel=1e-5)
  assert trace[3][-1] == 1 and np.isfinite(log_pi).all()


def binary(success, *, rows=4):
  """Two prompts with `rows` responses of one token each, rewards as given."""
  mask = jnp.ones((2 * rows, 1), bool)
  zero = jnp.zeros((2 * rows, 1))
  batch = Batch(
    **{name: zero for name in ('tokens', 'logp', 'weight', 'advantage')},
    mask=mask,
    reward=jnp.asarray(success, jnp.float32).reshape(-1, 1),
    group=jnp.repeat(jnp.arange(2), rows),
    cluster=jnp.zeros(2 * rows, jnp.int32),
    bootstrap=jnp.zeros(2 * rows, bool),
  )
  return batch


def test_kl_limits_are_the_log_of_the_rarity():
  batch = binary([1, 0, 0, 0, 1, 1, 1, 1])
  limits = kl_limits(jnp.zeros((8, 1)), batch)
  np.testing.assert_allclose(limits[:4], np.log(4), rtol=1e-6)
  assert np.isnan(limits[4:]).all()  # a prompt that always succeeds
  # Responses drawn from another policy count by how likely they were under the reference.
  behaviour = jnp.log(jnp.asarray([[0.5], [0.5 / 3], [0.5 / 3], [0.5 / 3]] * 2))
  reference = jnp.log(jnp.asarray([[0.1], [0.3], [0.3], [0.3]] * 2))
  limits = kl_limits(reference, binary([1, 0, 0, 0, 0, 0, 0, 0])._replace(logp=behaviour))
  # One draw of a success of weight .1 / .5, three failures of weight .3 / (.5 / 3).
  share = 0.2 / (0.2 + 3 * 1.8)
  np.testing.assert_allclose(limits[:4], -np.log(share), rtol=1e-5)
  assert np.isnan(limits[4:]).all()


def test_a_prompt_is_asked_for_no_more_than_it_can_give():
  controller = CONTROLLERS['target_kl_per_prompt'](0.5, target=2.0, learning_rate=0.1, **BOUNDS)
  limits = jnp.asarray([0.5, 3.0, jnp.nan])
  rows = jnp.asarray([1.0, 1.0, 100.0])
  state = controller.update(controller.init(), {'kl_rows': rows, 'kl_limits': limits})
  gap = ((1.0 - 0.5) + (1.0 - 2.0)) / 2
  assert float(state.value) == pytest.approx(0.5 * np.exp(0.1 * gap), rel=1e-6)
  assert float(state.clamped) == 0.5
  nothing = controller.update(state, {'kl_rows': rows, 'kl_limits': jnp.full(3, jnp.nan)})
  assert nothing.value == state.value and nothing.count == 2


def test_with_a_limit_beta_stops_where_without_one_it_falls_for_ever():
  """Target 5 nats where 1.2 is all there is: a multiplier that asks for 1.2 only needs a bound."""
  observe = {'kl_rows': jnp.full(4, 1.2), 'kl_limits': jnp.full(4, 1.2), 'kl': jnp.float32(1.2)}
  options = {'target': 5.0, 'learning_rate': 0.1, **BOUNDS}
  traces = {
    name: settle(CONTROLLERS[name](0.5, **options), lambda value: observe, 40)
    for name in ('target_kl', 'target_kl_per_prompt')
  }
  assert traces['target_kl'][-1] == pytest.approx(1e-3)
  assert traces['target_kl_per_prompt'][-1] == pytest.approx(0.5)


def test_targets_out_of_reach_end_at_a_bound():
  """KL cannot exceed -log ref(argmax R), entropy (31 strings) cannot exceed log 31."""
  language = toy()
  best = exact.strings(language).reward.sum(axis=1).argmax()
  assert -exact.string_logp(language, language.log_ref)[best] < 6.0
  kl = dual_kl(0.5, target=6.0, learning_rate=0.5, low=0.05, high=1.0)
  assert settle(kl, observe('kl'), 20)[-1] == pytest.approx(0.05)
  entropy = dual_entropy(0.5, target=0.98 * np.log(50_000), learning_rate=0.5, **BOUNDS)
  assert settle(entropy, observe('entropy'), 20)[-1] == pytest.approx(10.0)


def test_one_step_by_hand():
  kl = dual_kl(0.5, target=2.0, learning_rate=0.1, **BOUNDS)
  state = kl.update(kl.init(), {'kl': jnp.float32(5.0)})
  assert float(state.value) == pytest.approx(0.5 * np.exp(0.3), rel=1e-6)
  assert int(state.count) == 1 and state.value.dtype == jnp.float32
  entropy = dual_entropy(0.5, target=2.0, learning_rate=0.1, **BOUNDS)
  state = entropy.update(entropy.init(), {'entropy': jnp.float32(5.0)})
  assert float(state.value) == pytest.approx(0.5 * np.exp(-0.3), rel=1e-6)


@pytest.mark.parametrize('seen', [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_changes_nothing(seen):
  controller = dual_kl(0.5, target=2.0, learning_rate=0.1, **BOUNDS)
  assert float(controller.update(controller.init(), {'kl': jnp.float32(seen)}).value) == 0.5


@pytest.mark.parametrize('name', ['target_entropy', 'target_kl'])
@pytest.mark.parametrize(('low', 'high'), [(0.0, 1.0), (0.6, 1.0), (0.1, 0.4), (0.5, 1.0)])
def test_bounds_are_checked(name, low, high):
  with pytest.raises(ValueError, match='needs 0 < low < initial < high'):
    CONTROLLERS[name](0.5, target=1.0, learning_rate=0.1, low=low, high=high)


def test_fixed_and_scheduled():
  assert settle(CONTROLLERS['fixed'](0.3), lambda value: {}, 3) == pytest.approx([0.3] * 3)
  schedule = optax.linear_schedule(1.0, 0.0, 4)
  controller = scheduled(schedule)
  assert float(controller.init().value) == 1.0
  assert settle(controller, lambda value: {}, 5) == pytest.approx([0.75, 0.5, 0.25, 0, 0])
  resumed = controller.update(ControllerState(jnp.float32(9), jnp.int32(2), jnp.float32(0)), {})
  assert float(resumed.value) == 0.25


def test_schedules_by_name():
  arguments = {'end_value': 0.0, 'transition_steps': 4}
  controller = CONTROLLERS['schedule'](1.0, name='linear_schedule', arguments=arguments)
  assert settle(controller, lambda value: {}, 2) == pytest.approx([0.75, 0.5])
  cosine = CONTROLLERS['schedule'](
    0.2, name='cosine_decay_schedule', arguments={'decay_steps': 10, 'alpha': 0.5}
  )
  assert settle(cosine, lambda value: {}, 10)[-1] == pytest.approx(0.1)
  with pytest.raises(ValueError, match="unknown name 'linear'; known names are constant_schedule,"):
    CONTROLLERS['schedule'](1.0, name='linear', arguments={})


def test_every_optax_schedule_has_a_name():
  names = (name for name in vars(optax.schedules) if not name.startswith('_'))
  made = {name for name in names if name.endswith(('_schedule', '_decay'))}
  assert made == set(SCHEDULES)


def test_schedules_with_arguments_of_another_kind():
  piecewise = CONTROLLERS['schedule'](
    0.4,
    name='piecewise_constant_schedule',
    arguments={'boundaries_and_scales': {'1': 0.5, '2': 0.5}},
  )
  assert [float(v) for v in values(piecewise, 4)] == pytest.approx([0.4, 0.2, 0.1, 0.1])
  cycle = {'init_value': 0.1, 'peak_value': 0.3, 'decay_steps': 4, 'warmup_steps': 2}
  sgdr = CONTROLLERS['schedule'](9.0, name='sgdr_schedule', arguments={'cosine_kwargs': [cycle]})
  assert [float(v) for v in values(sgdr, 3)] == pytest.approx([0.1, 0.2, 0.3])
  with pytest.raises(ValueError, match='linear_schedule does not take these arguments'):
    CONTROLLERS['schedule'](1.0, name='linear_schedule', arguments={'steps': 3})


def values(controller, count):
  state = controller.init()
  for _ in range(count):
    yield state.value
    state = controller.update(state, {})
