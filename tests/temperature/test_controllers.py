"""Every controller that observes: laws, rules by hand, and traces of the originals."""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxent_lm.temperature import CONTROLLERS, fixed, lift, liftable, moving_average, scheduled

REFERENCE = pathlib.Path(__file__).parent.parent / 'reference' / 'controllers.json'
CASES = {case['case']: case for case in json.loads(REFERENCE.read_text())['cases']}

BOX = {'low': 0.01, 'high': 2.0}
UP = {'observe': 'entropy', 'target': 0.5, 'direction': 'hold_up', **BOX}
STEP = {**UP, 'delta': 0.05, 'dead_band': 0.0}
# name -> arguments; o in the tests lies between 0 and 1 around the target .5, c starts at .3.
OBSERVING = {
  'dual': {**UP, 'learning_rate': 0.5},
  'raw_dual': {**UP, 'learning_rate': 0.3},
  'step': {**STEP, 'gate': 'none'},
  'step_below': {**STEP, 'gate': 'below'},
  'step_at_or_below': {**STEP, 'gate': 'at_or_below'},
  'band': {
    'observe': 'entropy',
    'lower': 0.4,
    'upper': 0.6,
    'learning_rate': 0.5,
    'warmup': 0,
    **BOX,
  },
  'pi': {**UP, 'proportional': 0.5, 'integral': 0.2},
  'adaptive_kl': {
    'observe': 'entropy',
    'target': 0.5,
    'clip': 0.2,
    'samples': 8,
    'horizon': 16,
    **BOX,
  },
  'raise_when_stuck': {
    'observe': 'entropy',
    'decay': 0.5,
    'margin': 0.01,
    'patience': 2,
    'factor': 2.0,
    'relax': 0.5,
    'high': 2.0,
  },
  'hysteresis': {'observe': 'entropy', 'lower': 0.3, 'upper': 0.7, 'on': 2.0, 'off': 0.01},
  'bang_bang': {'observe': 'entropy', 'target': 0.5, 'cold': 0.01, 'hot': 2.0},
  'log_ratio': {'observe': 'entropy', 'target': 0.5, 'vocabulary': 50, **BOX},
  'log_ratio_to_start': {
    'observe': 'entropy',
    'measured': 2,
    'begin': 4,
    'length': 4,
    'final': 0.9,
    'vocabulary': 50,
    **BOX,
  },
}
FALLING = ('dual', 'raw_dual', 'step', 'band', 'pi', 'bang_bang', 'log_ratio')  # in o


def make(name, initial=0.3, **changes):
  function = CONTROLLERS['step' if name.startswith('step') else name]
  return function(initial, **{**OBSERVING[name], **changes})


def scan(controller, seen, *, state=None, name='entropy'):
  """The states after each observation, stacked: one compiled scan."""

  def body(state, o):
    state = controller.update(state, {name: o})
    return state, state

  state = controller.init() if state is None else state
  return jax.jit(lambda state: jax.lax.scan(body, state, jnp.asarray(seen, jnp.float32)))(state)


def trace(controller, seen, **options):
  return np.asarray(scan(controller, seen, **options)[1].value)


def wandering(seed=0, steps=60):
  rng = np.random.default_rng(seed)
  return rng.uniform(size=steps) * np.repeat(rng.choice([0.0, 1.0, 3.0], size=steps // 10), 10)


@pytest.fixture(params=OBSERVING)
def name(request):
  return request.param


def test_the_declared_box_is_never_left(name):
  controller = make(name)
  for seed in range(3):
    values = trace(controller, [*wandering(seed), 0.0, 1e30, -1e30, *[0.0] * 30, *[1e4] * 30])
    low, high = np.float32(controller.bounds)
    assert (values >= low).all() and (values <= high).all()
    assert values.min() < values.max()


def test_an_observation_that_is_not_finite_moves_nothing_but_the_count(name):
  before, _ = scan(make(name), wandering()[:7])
  for seen in (np.nan, np.inf, -np.inf):
    after, _ = scan(make(name), [seen], state=before)
    jax.tree.map(np.testing.assert_array_equal, after._replace(count=before.count), before)
    assert after.count == before.count + 1 == 8


def test_stopped_and_started_again_is_uninterrupted(name):
  """Through the host and back: nothing is remembered outside the state."""
  seen = wandering(1)
  whole, values = scan(make(name), seen)
  half = jax.device_get(scan(make(name), seen[:23])[0])
  rest, late = scan(make(name), seen[23:], state=jax.tree.map(jnp.asarray, half))
  jax.tree.map(np.testing.assert_array_equal, rest, whole)
  np.testing.assert_array_equal(values.value[23:], late.value)
  assert jax.tree.structure(whole) == jax.tree.structure(make(name).init())
  assert all(leaf.shape == () for leaf in jax.tree.leaves(whole))


def test_jit_is_no_jit(name):
  controller, state = make(name), make(name).init()
  for o in wandering(2)[:25]:
    state = controller.update(state, {'entropy': jnp.float32(o)})
  compiled, _ = scan(controller, wandering(2)[:25])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), state, compiled)


@pytest.mark.parametrize('name', FALLING)
def test_more_of_what_is_held_up_never_raises_the_coefficient(name):
  state = scan(make(name), [0.45, 0.55])[0]
  controller = make(name)
  values = [
    float(controller.update(state, {'entropy': jnp.float32(o)}).value)
    for o in np.linspace(0.01, 1.2, 25)
  ]
  assert (np.diff(values) <= 0).all() and values[0] > values[-1]


@pytest.mark.parametrize('name', ['dual', 'raw_dual', 'step', 'pi'])
def test_hold_down_mirrors_hold_up(name):
  seen = np.asarray([0.2, 0.9, 0.4, 0.45, 0.8, 0.1])
  up = trace(make(name), seen)
  down = trace(make(name, direction='hold_down'), 1 - seen)
  np.testing.assert_allclose(down, up, rtol=1e-5)
  assert up[0] > 0.3


@pytest.mark.parametrize('name', ['dual', 'raw_dual', 'band', 'pi', 'adaptive_kl', 'log_ratio'])
def test_the_target_is_a_fixed_point(name):
  np.testing.assert_array_equal(trace(make(name), [0.5] * 5), np.float32([0.3] * 5))


@pytest.mark.parametrize('name', ['dual', 'raw_dual', 'pi', 'band', 'log_ratio'])
def test_in_a_loop_the_target_is_met(name):
  """o(c) = c / (c + .5) is .5 at c = .5; the band stops at its edge, .4 at c = 1/3."""
  controller = make(name, initial=0.1)

  def body(state, _):
    state = controller.update(state, {'entropy': state.value / (state.value + 0.5)})
    return state, state.value

  state, _ = jax.jit(lambda s: jax.lax.scan(body, s, None, length=800))(controller.init())
  assert float(state.value) == pytest.approx(1 / 3 if name == 'band' else 0.5, rel=0.01)


def test_every_controller_is_covered_here_or_beside():
  beside = {'fixed', 'schedule', 'stages', 'target_entropy', 'target_kl', 'target_kl_per_prompt'}
  assert set(CONTROLLERS) == beside | {n for n in OBSERVING if not n.startswith('step_')}


def test_an_unknown_observation_is_told_with_the_known_ones(name):
  metrics = {'kl': jnp.float32(1), 'reward': jnp.float32(1), 'kl_rows': jnp.zeros(3)}
  with pytest.raises(
    ValueError, match="observe='entropy' is not measured in .* one of kl, reward$"
  ):
    make(name).update(make(name).init(), metrics)


def test_special_cases_of_the_dual():
  general = make('dual', learning_rate=0.1, **BOX)
  special = CONTROLLERS['target_entropy'](0.3, target=0.5, learning_rate=0.1, **BOX)
  np.testing.assert_array_equal(trace(general, wandering()), trace(special, wandering()))
  general = make('dual', direction='hold_down', observe='kl', learning_rate=0.1)
  special = CONTROLLERS['target_kl'](0.3, target=0.5, learning_rate=0.1, **BOX)
  kl = {'name': 'kl'}
  np.testing.assert_array_equal(
    trace(general, wandering(), **kl), trace(special, wandering(), **kl)
  )
  assert special.observes == ('kl',) and special.bounds == (0.01, 2.0)


# --- Rules by hand -------------------------------------------------------------------------------


def test_raw_dual_stops_at_nothing_and_comes_back():
  """SIREN's rule: c += lr (H* - H), never below 0."""
  controller = make('raw_dual', initial=0.1, learning_rate=1.0, low=0.0)
  np.testing.assert_allclose(trace(controller, [0.4, 0.9, 0.3]), [0.2, 0.0, 0.2], atol=1e-7)


def test_skywork():
  case = CASES['skywork_or1_0']
  options = case['kwargs']
  controller = CONTROLLERS['step'](
    options['init_ent_coef'],
    observe='entropy',
    target=options['target_ent'],
    delta=options['delta_ent_coef'],
    dead_band=0.0,
    gate='below',
    direction='hold_up',
    low=options['min_ent_coef'],
    high=options['max_ent_coef'],
  )
  _, states = scan(controller, case['inputs']['entropy'])
  rows = case['outputs']['trace']
  np.testing.assert_allclose(states.value, [row['realized'] for row in rows], rtol=1e-6, atol=1e-10)
  np.testing.assert_allclose(
    states.memory[0], [row['value'] for row in rows], rtol=1e-6, atol=1e-10
  )


def test_trl_counts_the_target_itself_as_below():
  """By the formula: at o = target TRL raises and applies, Skywork lowers and leaves out."""
  seen, start = [0.5, 0.5, 0.6, 0.6, 0.4], {'initial': 0.1, 'delta': 0.1}
  trl = scan(make('step_at_or_below', **start), seen)[1]
  np.testing.assert_allclose(trl.value, [0.2, 0.3, 0, 0, 0.2], atol=1e-6)
  np.testing.assert_allclose(trl.memory[0], [0.2, 0.3, 0.2, 0.1, 0.2], atol=1e-6)
  skywork = scan(make('step_below', **start, low=0.0), seen)[1]
  np.testing.assert_allclose(skywork.value, [0, 0, 0, 0, 0.1], atol=1e-6)


def test_a_step_rests_in_its_dead_band():
  controller = make('step', initial=0.1, delta=0.1, dead_band=0.15)
  found = trace(controller, [0.2, 0.4, 0.6, 0.66, 0.64, 0.3])
  np.testing.assert_allclose(found, [0.2, 0.2, 0.2, 0.1, 0.1, 0.2], atol=1e-6)
  with pytest.raises(ValueError, match='dead_band must not be negative'):
    make('step', dead_band=-0.1)


def test_a_coefficient_out_of_force_is_not_frozen():
  controller = make('step_at_or_below', initial=0.0, low=0.0, delta=0.1)
  assert trace(controller, [0.9, 0.9, 0.1, 0.1]) == pytest.approx([0, 0, 0.1, 0.2])
  assert controller.bounds == (0.0, 2.0)
  assert make('step_below').bounds[0] == 0.0 and make('step').bounds == (0.01, 2.0)
  assert make('step_below').init().value == np.float32(0.3)


def test_aent():
  """c -= lr (min(0, H - lo) + max(0, H - hi)), box [1e-5, .01], after the warm-up."""
  options = {'lower': 0.1, 'upper': 0.5, 'learning_rate': 1e-3, 'low': 1e-5, 'high': 0.01}
  controller = make('band', initial=1e-3, warmup=2, **options)
  seen = [0.9, 0.05, 0.05, 0.3, 0.9, 1.5, 1.5]
  expected, c = [], 1e-3
  for number, h in enumerate(seen):
    if number >= 2:
      c -= 1e-3 * (min(0, h - 0.1) + max(0, h - 0.5))
      c = min(max(c, 1e-5), 0.01)
    expected.append(c)
  np.testing.assert_allclose(trace(controller, seen), expected, rtol=1e-6)
  assert expected[-1] == 1e-5


def test_pi_does_not_wind_up():
  """Held out of reach for 500 steps, it turns within a few once the sign of the error does."""
  controller = make('pi', proportional=0.1, integral=0.05)
  values = trace(controller, [0.0] * 500 + [0.9] * 12)
  assert values[499] == 2.0 and values[-1] < 1.8
  by_hand, total = [], 0.0
  for o in (0.2, 0.9, 0.4):
    total += 0.05 * (0.5 - o)
    by_hand.append(0.3 + 0.1 * (0.5 - o) + total)
  np.testing.assert_allclose(trace(controller, [0.2, 0.9, 0.4]), by_hand, rtol=1e-6)


def test_adaptive_kl_of_ziegler():
  options = {'clip': 0.2, 'samples': 256, 'horizon': 10_000, 'target': 6.0}
  values = trace(make('adaptive_kl', initial=0.2, **options), [30.0, 6.6, 0.0])
  expected = 0.2 * np.cumprod([1 + e * 256 / 10_000 for e in (0.2, 0.1, -0.2)])
  np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_stages():
  controller = CONTROLLERS['stages'](0.3, boundaries=(2, 4), values=(0.2, 0.0))
  assert float(controller.init().value) == pytest.approx(0.3)
  assert trace(controller, [0.0] * 5) == pytest.approx([0.3, 0.2, 0.2, 0.0, 0.0])
  assert trace(CONTROLLERS['stages'](0.3, boundaries=(), values=()), [0.0]) == pytest.approx([0.3])
  for boundaries, values in (((2, 2), (1, 1)), ((0,), (1,)), ((3,), ())):
    with pytest.raises(ValueError, match='stages: needs rising boundaries'):
      CONTROLLERS['stages'](0.3, boundaries=boundaries, values=values)


def test_a_plateau_raises_and_progress_lets_go():
  controller = make('raise_when_stuck', decay=0.0, patience=3, factor=2.0, relax=0.5)
  seen = [0.1, 0.2, 0.2, 0.205, 0.2, 0.2, 0.2, 0.2, 0.4, 0.6, 0.6, 0.6, 0.6]
  expected = [*[0.3] * 4, 0.6, 0.6, 0.6, 1.2, 0.75, 0.525, 0.525, 0.525, 1.05]
  assert trace(controller, seen) == pytest.approx(expected)
  assert trace(controller, [0.5] * 40)[-1] == 2.0


def test_hysteresis_remembers_between_its_thresholds():
  seen = [0.5, 0.8, 0.5, 0.31, 0.2, 0.5, 0.69, 0.71]
  expected = [0.3, 2.0, 2.0, 2.0, 0.01, 0.01, 0.01, 2.0]
  assert trace(make('hysteresis'), seen) == pytest.approx(expected)


def test_aepo_samples_hot_at_or_below_the_target():
  controller = make('bang_bang', initial=1.0, cold=1.0, hot=1.2)
  assert trace(controller, [0.6, 0.5, 0.4, 0.51]) == pytest.approx([1, 1.2, 1.2, 1])


def test_e3():
  case = CASES['e3_temperature_scheduler']
  options = case['kwargs']
  begin = round((1 - options['annealing_ratio']) * options['max_steps'])
  controller = CONTROLLERS['log_ratio_to_start'](
    options['init_temperature'],
    observe='entropy',
    measured=options['init_steps'],
    begin=begin,
    length=options['max_steps'] - begin,
    final=options['annealing_factor'],
    vocabulary=options['vocab_size'],
    low=0.1,
    high=10.0,
  )
  expected = [row['T'] for row in case['outputs']['trace']]
  np.testing.assert_allclose(trace(controller, case['inputs']['entropy']), expected, rtol=1e-6)


def test_the_log_ratio_has_a_floor_that_the_original_lacks():
  """An entropy far above the target would make the factor, and T, negative."""
  controller = make('log_ratio', initial=2.0, high=3.0, target=1e-6)
  assert 1 + 2.0 * math.log(1e-6 / 3.0) / (math.log(50) + math.log(math.log(50))) < 0
  assert trace(controller, [3.0]) == pytest.approx(0.01)
  assert trace(make('log_ratio'), [0.0] * 2)[-1] == 2.0  # a collapse is not nan


def test_epos_epoch_weight_is_a_schedule_of_optax():
  early = optax.exponential_decay(0.2, 1, math.exp(-0.4))
  late = optax.exponential_decay(0.8, 1, math.exp(-0.6), transition_begin=0)

  def weight(epoch):
    return jnp.where(epoch <= 5, 0.8 + early(epoch), late(jnp.maximum(epoch - 5, 0)))

  controller, case = scheduled(weight), CASES['epo_epoch_weight']
  values = [float(controller.init().value), *trace(controller, [0.0] * 10)]
  np.testing.assert_allclose(values, case['outputs']['weight'], rtol=1e-6)


# --- Wrappers ------------------------------------------------------------------------------------


def test_a_moving_average_is_what_the_controller_sees():
  seen = [0.2, 0.8, np.nan, 0.1]
  averages = [0.2, 0.5, np.nan, 0.3]
  smooth = moving_average(make('dual'), decay=0.5)
  np.testing.assert_allclose(trace(smooth, seen), trace(make('dual'), averages), rtol=1e-6)
  plain = trace(moving_average(make('pi'), decay=0.0), wandering())
  np.testing.assert_allclose(plain, trace(make('pi'), wandering()), rtol=1e-6)
  with pytest.raises(ValueError, match='a controller that observes one number'):
    moving_average(fixed(1.0), decay=0.5)


@pytest.mark.parametrize('name', ['dual', 'step_below', 'pi'])
def test_lifted_is_the_same_controller_times_a_factor(name):
  controller = liftable(make(name), high=0.8)
  np.testing.assert_allclose(
    trace(controller, wandering()), trace(make(name), wandering()), rtol=1e-6
  )
  state, _ = scan(controller, [0.4])
  lifted = lift(state, factor=1.5, high=0.8)
  assert lifted.value == pytest.approx(1.5 * float(state.value))
  expected, inner = [], trace(make(name), [0.4, 0.1, 0.7, 0.4, 0.4])[1:]
  expected = [max(value, min(1.5 * value, 0.8)) for value in inner]
  assert trace(controller, [0.1, 0.7, 0.4, 0.4], state=lifted) == pytest.approx(expected)
  for _ in range(40):
    lifted = lift(lifted, factor=1.5, high=0.8)
  assert lifted.value == np.float32(0.8) and lifted.memory[1] < 10
  assert controller.bounds == (make(name).bounds[0], 2.0)


@pytest.mark.parametrize(
  ('name', 'changes', 'sentence'),
  [
    ('dual', {'direction': 'up'}, "direction='up' is unknown; choose one of hold_up, hold_down"),
    ('step', {'gate': 'above'}, "gate='above' is unknown; choose one of none, below, at_or_below"),
    ('step', {'low': 0.4}, 'step: needs 0 <= low <= initial <= high'),
    ('raw_dual', {'low': -1.0}, 'raw_dual: needs 0 <= low'),
    ('band', {'lower': 0.7}, 'needs lower <= upper'),
    ('band', {'low': 0.4}, 'band: needs 0 <= low'),
    ('pi', {'high': 0.2}, 'pi: needs 0 <= low'),
    ('adaptive_kl', {'target': 0.0}, 'needs target and horizon above 0'),
    ('adaptive_kl', {'low': 0.0}, 'needs 0 < low < initial < high'),
    ('raise_when_stuck', {'factor': 0.5}, 'needs 0 < initial < high, factor >= 1'),
    ('raise_when_stuck', {'relax': 2.0}, 'decay and relax in'),
    ('hysteresis', {'lower': 0.8}, 'needs lower <= upper'),
    ('bang_bang', {'cold': 3.0}, 'needs 0 <= cold <= hot'),
    ('log_ratio', {'vocabulary': 2}, 'a vocabulary of at least 3'),
    ('log_ratio', {'target': 0.0}, 'a target above 0'),
    ('log_ratio_to_start', {'measured': 0}, 'measured and length of at least 1'),
  ],
)
def test_wrong_arguments_are_told(name, changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    make(name, **changes)
