"""The schedules of alpha do what their names say, and each is a run of every task."""

import jax.numpy as jnp
import pytest
from tiny_runs import shrunk

from configs.sweeps import alpha_schedules
from maxent_lm import build
from maxent_lm.analysis import sweep
from maxent_lm.build.update import make_controller

STEPS = alpha_schedules.PRESETS['cpu'].steps
AIMS = alpha_schedules.AIMS['countdown']
NAMES = tuple(alpha_schedules.schedules(STEPS, AIMS))
# What a run without alpha shows in the end: too little entropy, too far away, and no progress.
SHARP = {'entropy': 0.1, 'semantic_entropy': 0.5, 'kl': 2.0, 'reward': 0.4}
FLAT = {'entropy': 0.6, 'semantic_entropy': 2.0, 'kl': 0.1}


def config(name, task='countdown', preset='cpu', folder='', data=''):
  arg = ','.join([task, preset, folder, data]).rstrip(',')
  of = alpha_schedules.get_sweep(arg)
  (point,) = [each for each in of.points if each.name == name]
  return of.config(point, 0, 'a folder')


def alphas(name, metrics):
  """alpha at every step of a run that always shows these metrics."""
  controller = make_controller(config(name), 'alpha')
  state, values = controller.init(), []
  for step in range(STEPS):
    values.append(float(state.value))
    shown = {key: jnp.float32(value) for key, value in metrics.items()}
    state = controller.update(state, shown | {'reward': jnp.float32(metrics.get('reward', step))})
  return values


def test_there_are_twelve_and_four_are_fixed():
  assert len(NAMES) == 12
  fixed = [name for name in NAMES if name.startswith('alpha = ')]
  assert len(fixed) == 4
  for name in fixed:
    assert alphas(name, SHARP) == pytest.approx([float(name.removeprefix('alpha = '))] * STEPS)


@pytest.mark.parametrize('name', [name for name in NAMES if not name.startswith('alpha = ')])
def test_all_others_begin_at_the_same_alpha(name):
  assert alphas(name, SHARP)[0] == pytest.approx(AIMS.alpha)


def test_what_is_scheduled_falls_over_the_whole_run():
  linear, cosine, stages = (alphas(name, SHARP) for name in ('linear', 'cosine', 'stages'))
  assert linear == sorted(linear, reverse=True) and 0 < linear[-1] < 0.05 * AIMS.alpha
  assert linear[STEPS // 2] == pytest.approx(AIMS.alpha / 2)
  assert cosine == sorted(cosine, reverse=True)
  assert 0.1 * AIMS.alpha < cosine[-1] < 0.11 * AIMS.alpha
  levels = sorted(set(stages), reverse=True)
  assert levels == pytest.approx([AIMS.alpha, AIMS.alpha / 3, AIMS.alpha / 9])
  assert {stages.count(level) for level in levels} <= {STEPS // 3, STEPS // 3 + 1, STEPS // 3 - 1}


@pytest.mark.parametrize('name', ['dual to entropy', 'dual to semantic entropy', 'KL-adaptive'])
def test_what_is_learned_rises_for_a_sharp_policy_and_falls_for_a_flat_one(name):
  up, down = alphas(name, SHARP), alphas(name, FLAT)
  assert up[-1] > 1.2 * AIMS.alpha and down[-1] < AIMS.alpha / 1.2
  assert up == sorted(up) and down == sorted(down, reverse=True)
  assert min(down) >= alpha_schedules.LOW and max(up) <= alpha_schedules.HIGH + 1e-6


def test_alpha_is_raised_while_the_reward_stands_still_and_never_while_it_rises():
  assert alphas('raised when stuck', SHARP)[-1] > 2 * AIMS.alpha
  assert alphas('raised when stuck', FLAT) == pytest.approx([AIMS.alpha] * STEPS)


@pytest.mark.parametrize('name', NAMES)
def test_every_schedule_builds(name, tmp_path):
  """Its update is traced, so that a controller that observes what there is not is refused."""
  made = config(name).copy_and_resolve_references()
  made.init = ''
  build.rollout_run(shrunk(made, steps=3), tmp_path)


@pytest.mark.parametrize('task', alpha_schedules.TASKS)
def test_every_task_has_a_config_for_every_schedule_and_size(task):
  needs = task in alpha_schedules.PRETRAINED
  folders = ('weights', 'files') if needs else ('', '')
  for preset, size in alpha_schedules.PRESETS.items():
    of = alpha_schedules.get_sweep(','.join([task, preset, *folders]).rstrip(','))
    assert [point.name for point in of.points] == list(NAMES) and of.seeds == size.seeds
    start = of.config(sweep.Point(sweep.START, {}), 0, '')
    run = of.config(of.points[0], 0, 'start')
    assert start.task == run.task == task and run.algorithm == 'vargrad'
    assert start.steps == 0 if needs else start.algorithm == 'imitation'
    assert run.temperature.beta > 0 and run.eval.samples == size.samples
    assert not needs or run[task].data_dir == 'files'


def test_a_model_that_is_there_is_the_start_of_all_seeds():
  of = alpha_schedules.get_sweep('list_functions,cpu,weights')
  start = of.config(sweep.Point(sweep.START, {}), 2, '')
  assert (start.steps, start.init) == (0, 'weights')


def test_what_is_missing_is_told():
  with pytest.raises(ValueError, match='countdown, graph_coloring, .* smoke, cpu, h200'):
    alpha_schedules.get_sweep('chess,cpu')
  with pytest.raises(ValueError, match='gsm8k starts from weights and reads files'):
    alpha_schedules.get_sweep('gsm8k,h200,weights')
