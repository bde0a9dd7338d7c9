"""A run that is poisoned for ever, as its user sees it: one sentence, a status, a dump."""

import json

import launch
import numpy as np
import pytest

from maxent_lm.train.metrics import read_metrics

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('processes', [1, 2])
def test_too_many_skipped_updates_end_all_processes(tmp_path, processes):
  """A temperature whose square is not a float32 makes every loss infinite."""
  changes = {'temperature.alpha': 1e38, 'temperature.alpha_control': 'fixed', 'steps': 50}
  changes |= {'skips.in_a_row': 3, 'mesh.data': -1}
  keys = [f'--config.{key}={value}' for key, value in changes.items()]
  config = '--config=tests/tiny_runs.py:vargrad'
  command = ['experiments/train.py', config, f'--workdir={tmp_path}', *keys]
  ended = launch.finish(launch.start(command, processes=processes, devices=2 // processes))
  sentence = 'error: stopped at step 2: 3 updates in a row were skipped, the last one for loss'
  for status, _, told in ended:
    assert status == 1
    assert sentence in told and 'Traceback' not in told
  assert f'its batch and numbers are in {tmp_path / "dump-2"}; ' in ended[0][2]
  assert [row['skipped'] for row in read_metrics(tmp_path / 'metrics.jsonl')] == [1, 1, 1]
  assert 'loss' in json.loads((tmp_path / 'dump-2' / 'report.json').read_text())['wrong']
  with np.load(tmp_path / 'dump-2' / 'batch.npz', allow_pickle=False) as batch:
    assert batch['tokens'].shape[0] == 8 and np.isfinite(batch['logp']).all()
  assert not (tmp_path / 'model').exists()
