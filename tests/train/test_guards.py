"""Guards: when they ring, what they do, and that a resumed run has the same ones."""

import json
import math

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.train.guards import Alarm, Guards, Lift, Watch
from maxent_lm.train.metrics import read_metrics


def alarm(**changes):
  return Alarm(
    **{
      **{'name': 'collapse', 'observe': 'entropy', 'low': 0.1, 'high': None, 'factor': None},
      **{'steps': 2, 'response': 'log'},
      **changes,
    }
  )


def rings(guards, seen):
  watch = Watch(guards)
  return [watch.see(step, {'entropy': value})['alarm_collapse'] for step, value in enumerate(seen)]


def test_it_rings_after_so_many_steps_in_a_row_and_stops_when_they_end():
  guards = Guards((alarm(),))
  assert rings(guards, [0.05, 0.2, 0.05, 0.05, 0.05, 0.1]) == [0, 0, 0, 1, 1, 0]
  assert rings(guards, [0.05, math.nan, 0.05, math.nan, None]) == [0, 0, 1, 1, 1]


def test_upper_limits():
  high = Guards((alarm(low=None, high=1.0, steps=1),))
  assert rings(high, [0.5, 1.0, 1.1]) == [0, 0, 1]
  factor = Guards((alarm(low=None, factor=3.0, steps=1),))
  assert rings(factor, [math.nan, 0.5, 1.5, 1.6, 0.0]) == [0, 0, 0, 1, 0]


def test_news_are_one_line_an_alarm():
  watch = Watch(Guards((alarm(),)))
  for step in range(5):
    watch.see(step, {'entropy': 0.05})
  assert watch.news == ['step 1: alarm collapse: entropy is 0.05, below 0.1, for 2 steps']


def test_a_resumed_watch_knows_what_the_uninterrupted_one_knows():
  """Rows as they lie in metrics.jsonl: null for nan, and the watch's own columns."""
  guards = Guards(
    (
      alarm(response='raise_alpha', steps=1),
      alarm(name='explosion', low=None, factor=2.0, response='stop'),
    ),
    Lift(factor=2.0, high=1.0, every=3),
  )
  rng = np.random.default_rng(0)
  seen = [math.nan, *rng.uniform(0.0, 0.4, size=40)]
  whole, rows = Watch(guards), []
  for step, value in enumerate(seen):
    row = {'entropy': value, **whole.see(step, {'entropy': value})}
    known = {name: None if math.isnan(number) else number for name, number in row.items()}
    rows.append(json.loads(json.dumps({'step': step, **known})))
  assert 0 < sum(row['alpha_raised'] for row in rows) < sum(row['alarm_collapse'] for row in rows)
  for cut in (0, 1, 2, 5, 17):
    watch = guards.watch(rows[:cut])
    assert watch.news == []
    for row in rows[cut:]:
      again = watch.see(row['step'], {'entropy': row['entropy']})
      assert again.items() <= row.items()
    assert watch.reason == whole.reason and [watch.over(s) for s in range(50)] == [
      whole.over(s) for s in range(50)
    ]


def test_what_is_not_measured_is_told_at_the_first_step():
  watch = Watch(Guards((alarm(observe='entrpy'),)))
  with pytest.raises(
    ValueError, match="collapse.observe='entrpy' is not measured .* of entropy, kl"
  ):
    watch.see(0, {'kl': 1.0, 'entropy': 1.0})


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'response': 'shout'}, "response='shout' is unknown; choose one of log, raise_alpha, stop"),
    ({'low': None}, 'needs steps >= 1 and a low, high or factor'),
    ({'steps': 0}, 'needs steps >= 1'),
  ],
)
def test_wrong_alarms_are_told(changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    alarm(**changes)


# --- Runs ----------------------------------------------------------------------------------------

ALWAYS = {  # rings at every step from the second on
  'guards__alarms': ('collapse',),
  'guards__collapse__low': 100.0,
  'guards__collapse__steps': 2,
}
RAISE = {**ALWAYS, 'guards__collapse__response': 'raise_alpha', 'guards__raise_alpha__every': 2}
LEARNED = {
  'temperature__alpha': 0.01,
  'temperature__alpha_control': 'step',
  'alpha__step__gate': 'at_or_below',
  'alpha__step__target': 100.0,
  'alpha__step__delta': 0.002,
  'alpha__average': 0.5,
  'checkpoint__every': 3,
}


def leaves(state):
  return jax.device_get(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))


def run(folder, steps, **options):
  return build.rollout_run(tiny_config('vargrad', steps=steps, **options), folder).train()


@pytest.mark.parametrize('cut', [3, 4])
def test_alpha_is_raised_two_steps_later_also_across_a_restart(cut, tmp_path):
  """A cut at 4 writes a checkpoint where the whole run has none."""
  options = {**RAISE, **LEARNED}
  whole = run(tmp_path / 'whole', 7, **options)
  run(tmp_path / 'part', cut, **options)
  part = run(tmp_path / 'part', 7, **options)
  for left, right in zip(leaves(whole), leaves(part), strict=True):
    np.testing.assert_array_equal(left, right)
  rows = read_metrics(tmp_path / 'whole' / 'metrics.jsonl')
  assert rows == read_metrics(tmp_path / 'part' / 'metrics.jsonl')
  assert [row['alarm_collapse'] for row in rows] == [0, 1, 1, 1, 1, 1, 1]
  assert [row['alpha_raised'] for row in rows] == [0, 1, 0, 1, 0, 1, 0]
  plain = [0.01 + 0.002 * step for step in range(7)]
  lifted = [plain[0], plain[1], plain[2], 1.5 * plain[3], 1.5 * plain[4]]
  lifted += [1.5**2 * plain[5], 1.5**2 * plain[6]]
  np.testing.assert_allclose([row['alpha'] for row in rows], lifted, rtol=1e-5)


def test_a_guard_stops_the_run_after_a_checkpoint(tmp_path, capsys):
  options = {**ALWAYS, 'guards__collapse__response': 'stop'}
  state = run(tmp_path / 'run', 9, **options)
  assert state.step == 3  # rings at step 1, which is known after step 2
  said = capsys.readouterr().err
  assert 'step 1: alarm collapse: entropy is' in said
  assert 'stopped by collapse at step 1; change config.guards to go on' in said
  again = run(tmp_path / 'run', 9, **options)
  for left, right in zip(leaves(state), leaves(again), strict=True):
    np.testing.assert_array_equal(left, right)
  assert len(read_metrics(tmp_path / 'run' / 'metrics.jsonl')) == 3
  assert run(tmp_path / 'run', 5, guards__alarms=()).step == 5
  raised = {**RAISE, 'guards__raise_alpha__every': 1}
  assert run(tmp_path / 'run', 8, **raised).step == 8
  rows = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert rows[-1]['alpha_raised'] == 1 and rows[-1]['alpha'] > rows[4]['alpha']


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'guards__alarms': ('colapse',)}, "config.guards.alarms='colapse' is unknown; choose one of"),
    ({**RAISE, 'temperature__alpha': 0.0}, 'raise_alpha multiplies alpha, which starts at 0'),
    ({**RAISE, 'guards__raise_alpha__factor': 1.0}, 'raise_alpha: needs factor > 1'),
    ({'guards__alarms': ('mismatch',), 'sampling__top_k': 3}, 'mismatch compares fresh samples'),
    ({'guards__alarms': ('mismatch',), 'temperature__sampler': 1.1}, 'mismatch compares'),
    ({'guards__alarms': ('mismatch',), 'replay__kind': 'fifo'}, 'mismatch compares'),
    ({'guards__alarms': ('mismatch',), 'batch__ahead': 1}, 'mismatch compares'),
    ({'temperature__sampler': 0.0}, 'divides the logits and must stay above 0'),
    ({'temperature__alpha_control': 'dual', 'alpha__dual__observe': 'entrpy'}, "observe='entrpy'"),
    ({'temperature__beta_control': 'raw_dual', 'beta__raw_dual__low': 0.0}, 'above 0 throughout'),
    ({'temperature__beta_control': 'step', 'beta__step__gate': 'below'}, 'above 0 throughout'),
    (
      {'temperature__alpha_control': 'adaptive_kl', 'reference': 'none', 'temperature__beta': 0.0},
      'needs a reference',
    ),
  ],
)
def test_wrong_controls_are_told_before_anything_is_written(changes, sentence, tmp_path):
  fixed = {'temperature__alpha_control': 'fixed', 'temperature__beta_control': 'fixed'}
  alpha = {'temperature__alpha': 0.01 if 'temperature__alpha_control' in changes else 0.0}
  with pytest.raises(ValueError, match=sentence):
    run(tmp_path / 'run', 1, **{**fixed, **alpha, **changes})
  assert not (tmp_path / 'run').exists()
