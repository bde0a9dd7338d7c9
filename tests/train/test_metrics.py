import json

from maxent_lm.train.metrics import MetricsWriter, read_metrics


def test_rows_come_back_and_non_finite_numbers_are_null(tmp_path):
  writer = MetricsWriter(tmp_path, start=0)
  assert writer.write(0, {'loss': 1.5, 'bad': float('nan')})['loss'] == 1.5
  writer.write(1, {'loss': 2.5, 'bad': float('inf')})
  writer.close()
  assert read_metrics(tmp_path / 'metrics.jsonl') == [
    {'step': 0, 'loss': 1.5, 'bad': None},
    {'step': 1, 'loss': 2.5, 'bad': None},
  ]
  assert list((tmp_path / 'tensorboard').glob('events.out.tfevents.*'))


def test_a_resumed_run_has_every_step_once(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text(''.join(json.dumps({'step': step}) + '\n' for step in range(5)) + '{"step": 5')
  assert [row['step'] for row in read_metrics(path)] == [0, 1, 2, 3, 4]
  writer = MetricsWriter(tmp_path, start=3)
  writer.write(3, {'loss': 0.0})
  writer.close()
  assert [row['step'] for row in read_metrics(path)] == [0, 1, 2, 3]


def test_a_missing_file_has_no_rows(tmp_path):
  assert read_metrics(tmp_path / 'metrics.jsonl') == []
