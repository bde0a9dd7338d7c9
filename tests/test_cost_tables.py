"""Tables of cost: what is compared with what, what is told of a peer that is not there."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from maxent_lm.analysis import benchmarks

SHARES = {
  f'{name}_{key}': 0.25
  for name in ('rollout', 'update')
  for key in ('share', 'products_s', 'bytes_s')
}
FOLDER = pathlib.Path(__file__).parent.parent / 'experiments' / 'tables'


def script(monkeypatch, name):
  monkeypatch.syspath_prepend(str(FOLDER))
  module = importlib.import_module(name)
  sys.modules.pop(name)
  return module


def told(step, tokens=100, peak=500.0):
  """What a benchmark prints."""
  parts = {
    'rollout_s': step / 4,
    'update_s': 3 * step / 4,
    'first_step_s': 9.0,
    'start_s': 1.0,
    'first_peak_mb': 900.0,
  }
  work = {'prompts': 2, 'group_size': 4, 'update_gflop': 10.0, 'version': '1.0'}
  return {
    'step_s': step,
    'tokens': tokens,
    'peak_mb': peak,
    'first_peak_mb': 900.0,
    **parts,
    **work,
  }


@pytest.fixture
def peers(monkeypatch):
  module = script(monkeypatch, 'peers')
  monkeypatch.setattr(module, 'has', lambda python, package: package != 'trl')
  return module


def test_ratios_are_of_seconds_a_token_in_the_same_round(peers, monkeypatch, tmp_path):
  case = peers.Case('S', 'fixed')
  monkeypatch.setitem(peers.PRESETS, 'cpu', peers.Plan((case,), rounds=3, steps=1))
  steps = iter([1.0, 2.0, 9.0, 8.0, 3.0, 3.0, 9.0, 8.0, 2.0, 4.0, 9.0, 8.0])

  def measure(command):
    ours = 'experiments/benchmark.py' in command
    return told(next(steps), tokens=100 if ours else 50, peak=500 if ours else 400)

  monkeypatch.setattr(peers, 'measure', measure)
  table = peers.build('cpu', tmp_path, {})
  rows = {row['library']: row for row in table.rows}
  assert rows['maxent_lm']['step s'] == 2.0
  torch = rows['transformers + torch']
  assert torch['step s'] == 3.0 and torch['ratio'] == 4.0  # 4, 2 and 4 times the seconds a token
  assert torch['memory ratio'] == pytest.approx(0.8) and torch['at least'] == 1.75
  assert rows['TRL']['remark'] == 'not installed: trl' and 'ratio' not in rows['TRL']
  holds = {gate.what: gate.holds for gate in table.gates}
  assert not holds['all libraries were measured in every case: all but TRL']
  assert holds['S, fixed: transformers + torch takes 4.00 times as long; at least 1.75']
  assert not holds['S, fixed: transformers + torch needs 0.80 times the memory; more than 1']
  assert (tmp_path / 'peers.png').exists()
  monkeypatch.setattr(peers, 'measure', lambda _: pytest.fail('what is finished is kept'))
  assert peers.build('cpu', tmp_path, {}).rows == table.rows
  assert peers.build('cpu', tmp_path, {}, rounds=1).rows[0]['step s'] == 1.0


def test_what_fails_is_said_and_tried_again(peers, monkeypatch, tmp_path):
  def measure(command):
    if 'experiments.peers.tunix_grpo' in command:
      raise benchmarks.Failed('ended with 1: no memory')
    return told(1.0)

  monkeypatch.setattr(peers, 'measure', measure)
  rows = peers.build('smoke', tmp_path, {}).rows
  remarks = {row.get('remark') for row in rows if row['library'].startswith('tunix')}
  assert remarks == {'ended with 1: no memory'}
  monkeypatch.setattr(peers, 'measure', lambda _: told(1.0))
  again = peers.build('smoke', tmp_path, {}).rows
  assert all('remark' not in row for row in again if row['library'] != 'TRL')


def test_a_benchmark_without_a_result_says_why(peers):
  with pytest.raises(benchmarks.Failed, match=r'^json.nothing ended with 1: .*No module named'):
    peers.measure([sys.executable, '-m', 'json.nothing'])


def test_interpreters_and_best_options(peers):
  case = peers.Case('S', 'geometric')
  commands = dict(peers.commands(case, 2, {'tunix': 'elsewhere/python'}))
  assert commands['maxent_lm'][-1] == '--slots=192' and '--rounds=2' in commands['TRL']
  assert commands['tunix, 2 prompts at a time'][0] == 'elsewhere/python'
  assert commands['TRL'][0] == sys.executable and 'tunix' not in commands


@pytest.mark.parametrize('given', ['tunix', 'tunix=', 'trll=python'])
def test_interpreters_of_nobody_are_told(peers, given):
  assert peers.python_paths(['tunix=a=b', 'trl=c']) == {'tunix': 'a=b', 'trl': 'c'}
  with pytest.raises(ValueError, match=f'--python={given} must be NAME=PATH .* trl, torch, tunix'):
    peers.python_paths([given])


def growing(worse):
  """What a benchmark prints whose updates cost 0.03 s and 1 ms a token, `worse` at 256 rows."""

  def measure(command):
    given = dict(each[2:].split('=') for each in command if each.startswith('--'))
    rows = int(given.get('prompts', 64)) * int(given.get('group_size', 8))
    tokens = rows * int(given.get('response', 64))
    update = (0.03 + 1e-3 * tokens) * (worse if given.get('prompts') == '32' else 1)
    return {
      **told(4.0, tokens=tokens, peak=1000.0 if given.get('scorer') == 'naive' else 200.0),
      **SHARES,
      'update_s': update,
      'update_gflop': tokens / 10,
    }

  return measure


@pytest.mark.parametrize('worse', [1.0, 1.5])
def test_growth(monkeypatch, tmp_path, worse):
  growth = script(monkeypatch, 'growth')
  monkeypatch.setattr(growth, 'measure', growing(worse))
  table = growth.build('cpu', tmp_path)
  batch = [row for row in table.rows if row['varied'] == 'batch']
  assert [row['value'] for row in batch] == [8, 16, 32, 64, 128, 256, 512]
  assert batch[0]['update us a token'] == pytest.approx(1000 + 30_000 / 512)
  assert batch[0]['update share'] == 0.25 and set(batch[0]) == set(growth.COLUMNS)
  holds = [gate.holds for gate in table.gates]
  # flat (batch of S and of M, responses), on a line, memory, time
  assert holds == [worse == 1.0, True, True, worse == 1.0, True, True, True]
  of_m = [row['value'] for row in table.rows if row['varied'] == 'batch of M']
  assert of_m == [8, 32, 128, 512]
  if worse == 1.0:
    line = 'cost of an update, batch 8 to 512: 30 ms and 1e+03 us a token, which no point is off'
    assert table.gates[3].what.startswith(line)
  assert (tmp_path / 'growth.png').exists()


@pytest.mark.parametrize('speed', [170.0, 190.0])
def test_refill(monkeypatch, tmp_path, speed):
  refill = script(monkeypatch, 'refill')

  def measure(command):
    given = dict(each[2:].split('=') for each in command if each.startswith('--'))
    waits, slots = given.get('decoder') == 'plain', int(given['slots'])
    rate = 100.0 if waits else speed if slots in (64, 192) else 150.0
    own = {'preset': given['preset'], 'slots': slots, 'rollout_tokens_per_s': rate}
    return told(4.0) | SHARES | own

  monkeypatch.setattr(refill, 'measure', measure)
  table = refill.build('cpu', tmp_path)
  found = [(row['preset'], row['decoding'], row['slots'], row['times']) for row in table.rows]
  assert found[:2] == [('S', 'rows wait', 'all', 1.0), ('S', 'rows dropped', 'all', 1.5)]
  assert found[3] == ('S', 'slots refilled', 192, speed / 100) and len(found) == 7
  assert set(table.rows[0]) == set(refill.COLUMNS)
  assert [gate.holds for gate in table.gates] == [speed == 190.0] * 2


def test_a_line_through_costs_is_where_the_worst_point_says(monkeypatch):
  line = script(monkeypatch, 'growth').Line
  amounts = np.array([1.0, 2.0, 4.0, 8.0])
  assert line.through(amounts, 0.5 + 3 * amounts) == pytest.approx((0.5, 3.0, 0.0), abs=1e-9)
  assert line.through(amounts, amounts**2).worst > 0.15  # a cost that grows with the square


def test_a_row_of_the_gpus_table_is_kept_with_its_commit(monkeypatch, tmp_path):
  gpu = script(monkeypatch, 'gpu')

  def measure(command, *, cwd, settings):
    assert (cwd / command[1]).exists()
    numbers = dict.fromkeys(('tokens_per_s', 's', 'share', 'products_s', 'bytes_s'), 0.25)
    told = {f'{name}_{key}': x for name in ('rollout', 'update') for key, x in numbers.items()}
    options = {'attention': 'xla', 'scan_layers': '--scan_layers' in command, 'widths': 2}
    lengths = next(each.split('=')[1] for each in command if each.startswith('--lengths'))
    machine = {'device': 'some', 'device_peak_mb': None, 'step_s': 1.0}
    return {**told, **options, **machine, 'lengths': lengths, 'slots': 0, 'microbatch': 400}

  monkeypatch.setattr(benchmarks, 'measure', measure)
  monkeypatch.setattr(gpu.folder, 'commit', lambda: 'a' * 40)
  rows = gpu.build('smoke', tmp_path).rows
  assert [row['lengths'] for row in rows] == ['fixed', 'variable']
  assert [row['layers'] for row in rows] == ['unrolled', 'scanned']
  assert rows[0]['update bound'] == 'products 100%' and set(gpu.COLUMNS) == set(rows[0])
  monkeypatch.setattr(gpu.folder, 'commit', lambda: 'b' * 40)
  assert gpu.build('smoke', tmp_path).rows == rows and rows[0]['commit'] == 'a' * 12
  assert benchmarks.bound(2.0, 0.25, 0.5) == 'rest 62%'
  assert benchmarks.bound(2.0, 0.5, 1.25) == 'bytes 62%'
