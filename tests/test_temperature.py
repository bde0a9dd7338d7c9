"""Controllers: traces, bounds, and convergence on a language whose answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_language import toy

from maxent_lm.soft import exact
from maxent_lm.temperature import CONTROLLERS, SCHEDULES, dual_entropy, dual_kl, scheduled
from maxent_lm.types import ControllerState

BOUNDS = {'low': 1e-3, 'high': 10.0}


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


def bisect(kind, target, increasing):
  low, high = 1e-3, 10.0
  for _ in range(60):
    middle = (low + high) / 2
    low, high = (middle, high) if (solved(kind, middle) < target) == increasing else (low, middle)
  return low


@pytest.mark.parametrize('initial', [0.02, 5.0])
@pytest.mark.parametrize('target', [0.3, 1.5])
def test_dual_kl_finds_the_only_beta(initial, target):
  controller = dual_kl(initial, target=target, learning_rate=0.4, **BOUNDS)
  trace = settle(controller, observe('kl'), 120)
  assert trace[-1] == pytest.approx(bisect('kl', target, increasing=False), rel=1e-3)


@pytest.mark.parametrize('initial', [0.02, 5.0])
def test_dual_entropy_finds_the_only_alpha(initial):
  target = 3.0
  controller = dual_entropy(initial, target=target, learning_rate=0.4, **BOUNDS)
  trace = settle(controller, observe('entropy'), 200)
  assert trace[-1] == pytest.approx(bisect('entropy', target, increasing=True), rel=1e-3)


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
  resumed = controller.update(ControllerState(jnp.float32(9), jnp.int32(2)), {})
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
