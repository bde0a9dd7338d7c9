"""Whole runs on 2 x 2 x 2 devices, and moved between meshes."""

import jax
import numpy as np
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.train.metrics import read_metrics

SPREAD = {'mesh__data': 2, 'mesh__fsdp': 2, 'mesh__tensor': 2}


def test_eight_devices_run_as_one(tmp_path):
  rows = {}
  for name, mesh in (('one', {}), ('eight', SPREAD)):
    run = build.rollout_run(tiny_config('vargrad', steps=1, **mesh), tmp_path / name)
    run.train()
    [rows[name]] = read_metrics(tmp_path / name / 'metrics.jsonl')
  assert rows['one'].keys() == rows['eight'].keys()
  for key, value in rows['one'].items():
    np.testing.assert_allclose(rows['eight'][key], value, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_run_goes_on_on_another_mesh(tmp_path):
  first = build.rollout_run(tiny_config('vargrad', steps=1), tmp_path / 'run').train()
  moved = build.rollout_run(tiny_config('vargrad', steps=2, **SPREAD), tmp_path / 'run')
  jax.tree.map(np.testing.assert_array_equal, moved.state.params, first.params)
  assert len(moved.state.params['head'].sharding.device_set) == 8
  assert moved.train().step == 2
