import json

import pytest
from tiny_runs import tiny_config

from maxent_lm.analysis import compare, plots, tables
from maxent_lm.train.metrics import read_metrics


def test_a_row_tells_the_run_and_is_not_computed_twice(tmp_path, monkeypatch):
  config = tiny_config('vargrad', steps=2)
  row = compare.finished_row(config, tmp_path / 'run')
  assert row['objective'] == 'vargrad'
  assert row['steps'] == 2
  assert {'pass@1', 'coverage@4', 'kl', 'alpha', 'beta'} <= row.keys()
  assert json.loads((tmp_path / 'run' / 'row.json').read_text())['row'] == row
  monkeypatch.setattr(compare.build, 'rollout_run', None)  # calling it would raise
  assert compare.finished_row(config, tmp_path / 'run') == row


def test_a_row_of_another_config_is_not_taken_for_this_one(tmp_path):
  compare.finished_row(tiny_config('vargrad', steps=1), tmp_path / 'run')
  assert compare.finished_row(tiny_config('vargrad', steps=2), tmp_path / 'run')['steps'] == 2
  with pytest.raises(ValueError, match='config.seed was 0 and is 1; choose another --workdir'):
    compare.finished_row(tiny_config('vargrad', steps=2, seed=1), tmp_path / 'run')


def test_a_supervised_run_is_its_own_start(tmp_path):
  row = compare.finished_row(tiny_config('pretrain', steps=2), tmp_path / 'run')
  assert row['kl'] == 0


def test_without_steps_the_weights_are_evaluated_as_they_are(tmp_path):
  trained = compare.finished_row(tiny_config('pretrain', steps=2), tmp_path / 'run')
  config = tiny_config('soft_q', steps=0, init=str(tmp_path / 'run' / 'model'))
  row = compare.finished_row(config, tmp_path / 'start')
  assert (row['steps'], row['kl'], row['train_seconds']) == (0, 0, 0)
  assert row['entropy'] == pytest.approx(trained['entropy'])
  again = tiny_config('soft_q', steps=0, init=str(tmp_path / 'start' / 'model'))
  assert compare.finished_row(again, tmp_path / 'again')['pass@1'] == row['pass@1']
  with pytest.raises(ValueError, match='name their config.init'):
    compare.finished_row(tiny_config('soft_q', steps=0), tmp_path / 'none')


def test_objectives_are_named_with_their_choices():
  assert compare.objective(tiny_config('soft_q')) == 'soft_q(lam=0.9)'
  assert compare.objective(tiny_config('grpo')) == 'grpo'


def test_markdown():
  rows = [{'name': 'a', 'x': 0.12345, 'n': 3}, {'name': 'bb', 'x': 123.4, 'y': 1}]
  assert tables.markdown(rows, ('name', 'x', 'n')).splitlines() == [
    '| name |     x | n |',
    '|-----:|------:|--:|',
    '|    a | 0.123 | 3 |',
    '|   bb |   123 |   |',
  ]


@pytest.mark.parametrize('steps', [1, 30])
def test_the_report_is_a_picture(tmp_path, steps):
  metrics = ('success', 'distinct', 'entropy', 'kl', 'kappa')
  path = tmp_path / 'metrics.jsonl'
  lines = [json.dumps({'step': i, **dict.fromkeys(metrics, i / 7)}) for i in range(steps)]
  path.write_text('\n'.join(lines))
  rows = [{'name': name, 'pass@1': 0.3, 'coverage@16': 0.4} for name in ('start', 'a', 'b')]
  runs = {'a': read_metrics(path), 'b': [{'step': 0, 'success': None}]}
  plots.report(tmp_path / 'report.png', rows, runs, samples=16)
  assert (tmp_path / 'report.png').read_bytes()[:8] == b'\x89PNG\r\n\x1a\n'
