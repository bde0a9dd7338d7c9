"""experiments/evaluate.py on a run folder, and experiments/evaluate_seeds.py on two of them."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from answered import row
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.analysis import evaluated
from maxent_lm.evaluation import boltzmann, pooled, summary

ROOT = pathlib.Path(__file__).parents[2]
SAME = {'log_ratio': np.zeros(2)}
FILES = ('evaluation.json', 'evaluation.jsonl')


def evaluate(config, workdir):
  """The script's main function."""
  spec = importlib.util.spec_from_file_location('script', ROOT / 'experiments' / 'evaluate.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  module.main(config, workdir)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  config, workdir = tiny_config('soft_q', steps=2), tmp_path_factory.mktemp('runs') / 'run'
  state = build.rollout_run(config, workdir).train()
  return config, workdir, state


def test_a_run_folder_evaluated_twice_gives_the_same_bytes(run, capsys):
  config, workdir, state = run
  evaluate(config, workdir)
  once = [(workdir / name).read_bytes() for name in FILES]
  for name in (*FILES, 'evaluation.png'):
    (workdir / name).rename(workdir / f'before_{name}')
  evaluate(config, workdir)
  assert [(workdir / name).read_bytes() for name in FILES] == once
  table, rows = json.loads(once[0]), [json.loads(line) for line in once[1].splitlines()]
  assert (table['step'], table['problems'], len(rows)) == (2, 8, 8)
  assert table['alpha'] == float(state.alpha.value) and table['beta'] == float(state.beta.value)
  assert summary(rows).items() <= table.items()  # the rows are all there is to the table
  assert not {'seconds', 'time'} & table.keys()
  told = capsys.readouterr().out
  assert f'pass@4  {table["pass@4"]:.4g}  [{table["pass@4_low"]:.4g}, ' in told
  assert 's; written: ' in told


def test_the_log_ratio_of_a_sample_is_that_of_its_tokens(run):
  """At the start it is nothing; after training its mean is the KL, from the same samples."""
  config, workdir, state = run
  policy = build.make_policy(config, workdir)
  evaluation = build.make_evaluation(config, policy)
  for each in evaluation.measure(policy.params, policy.params):
    assert each['sample_log_ratio'] == [0] * 4 and each['kl'] == 0
    assert len(each['sample_logp']) == len(each['sample_repeat']) == 4
  trained = evaluation.measure(state.params, policy.params)
  assert any(ratio != 0 for each in trained for ratio in each['sample_log_ratio'])


def test_a_hugging_face_folder_is_evaluated_alike(run, tmp_path):
  """The exported model gives the numbers of its run; it has no other start, and no slope."""
  config, workdir, _ = run
  evaluate(config, workdir)
  evaluate(tiny_config('soft_q', steps=2, init=str(workdir / 'model')), tmp_path / 'new')
  run_table, table = (
    json.loads((each / 'evaluation.json').read_text()) for each in (workdir, tmp_path / 'new')
  )
  assert (table['step'], table['kl']) == (0, 0)
  for name in ('pass@1', 'coverage@4', 'entropy', 'logp', 'length', 'self_bleu'):
    assert table[name] == run_table[name]
  assert not any(name.startswith('boltzmann') for name in table)


def test_knobs_are_those_of_the_checkpoint_or_of_the_config(run, tmp_path):
  config, workdir, state = run
  assert build.trained_knobs(config, workdir) == (state.alpha.value, state.beta.value)
  start = build.trained_knobs(config, tmp_path)
  assert start == (config.temperature.alpha, config.temperature.beta)
  assert start != build.trained_knobs(config, workdir)  # soft_q learns its alpha


def answered(*right):
  return [row(list('ab'), each, name=f'problem {at}') for at, each in enumerate(right)]


def test_a_table_over_seeds(tmp_path):
  runs = [answered([1, 0], [1, 1]), answered([0, 0], [1, 0])]
  for number, rows in enumerate(runs):
    evaluated.write(tmp_path / f'run_{number}', {'name': f'run_{number}'}, [rows])
  folders = ','.join(str(tmp_path / f'run_{number}') for number in range(2))
  command = [sys.executable, 'experiments/evaluate_seeds.py', f'--workdir={tmp_path}/both']
  ran = subprocess.run(
    [*command, f'--runs={folders}'], capture_output=True, text=True, check=False, cwd=ROOT
  )
  assert ran.returncode == 0, ran.stderr
  table = json.loads((tmp_path / 'both' / 'evaluation.json').read_text())
  assert pooled(runs).items() <= table.items()
  assert (table['seeds'], table['pass@1'], table['problems']) == (2, 0.5, 2)
  assert not (tmp_path / 'both' / 'evaluation.jsonl').exists()


def test_an_empty_evaluation_is_told_in_one_line(tmp_path):
  (tmp_path / 'evaluation.jsonl').touch()
  command = [sys.executable, 'experiments/evaluate_seeds.py', f'--workdir={tmp_path}/both']
  ran = subprocess.run(
    [*command, f'--runs={tmp_path}'], capture_output=True, text=True, check=False, cwd=ROOT
  )
  assert ran.returncode == 1
  assert 'evaluation.jsonl is empty: evaluate the run' in ran.stderr.splitlines()[-1]


def test_the_picture_and_the_figures_of_the_slope(tmp_path):
  """Two responses whose log-probabilities differ by exactly their rewards / kappa."""
  rows = [
    row(list('ab'), [1, 0], name=str(at), logp=np.array([-1.0, -3.0]) - at, **SAME)
    for at in range(3)
  ]
  points = boltzmann.of_rows(rows, alpha=0.5, beta=0.0)
  table = evaluated.write(tmp_path / 'with', {}, [rows], points)
  assert table['boltzmann_slope'] == pytest.approx(1)
  assert (table['boltzmann_problems'], table['boltzmann_left_out']) == (3, 0)
  assert table['boltzmann_slope_low'] == pytest.approx(1)
  without = evaluated.write(tmp_path / 'without', {}, [rows])
  assert not any(name.startswith('boltzmann') for name in without)
  sizes = [(tmp_path / name / 'evaluation.png').stat().st_size for name in ('with', 'without')]
  assert sizes[0] > sizes[1] > 1000
  assert 'boltzmann_slope  1  [1, 1]' in evaluated.text(table)


def test_where_all_rewards_are_equal_there_is_no_slope(tmp_path):
  rows = [row(list('ab'), [1, 1], logp=np.array([-1.0, -2.0]), **SAME)]
  points = boltzmann.of_rows(rows, alpha=0.5, beta=0.0)
  table = evaluated.write(tmp_path, {}, [rows], points)
  assert 'boltzmann_slope' not in table
