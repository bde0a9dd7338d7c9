"""Runs that are compared with each other: train, evaluate, one row a run."""

import json
import pathlib
import time
from typing import Any

import jax
import ml_collections

from maxent_lm import build
from maxent_lm.train import folder

ROW = 'row.json'  # of a run that is finished and evaluated, with the config it is about


def finished_row(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains the run in `workdir` to its end and evaluates it: one row of a table.

  A supervised run (`imitation`) learns from demonstrations and is its own start. A run that is
  finished and evaluated with this very config is not touched again: its row is read back.

  Raises:
    ValueError: `workdir` holds a run of another config (see `folder.check_config`).
  """
  settings = json.loads(json.dumps(config.to_dict()))
  path = workdir / ROW
  stored = json.loads(path.read_text()) if path.exists() else {}
  if stored.get('config') == settings:
    return stored['row']
  began = time.perf_counter()
  supervised = config.algorithm == 'imitation'
  run = (build.demonstration_run if supervised else build.rollout_run)(config, workdir)
  first = int(run.state.step)
  state = jax.block_until_ready(run.train())
  seconds = time.perf_counter() - began
  evaluation = build.make_evaluation(config, run.policy)
  row = {
    'name': config.name,
    'objective': objective(config),
    **evaluation(state.params, state.params if supervised else run.policy.params),
    'alpha': float(state.alpha.value),
    'beta': float(state.beta.value),
    'steps': int(state.step),
    'train_seconds': round(seconds, 1) if first == 0 else None,  # unknown for a resumed run
  }
  folder.write_json(path, {'config': settings, 'row': row})
  return row


def objective(config: ml_collections.ConfigDict) -> str:
  """The objective with the choices that make it: 'soft_q(lam=0.9)', 'vargrad', 'grpo'."""
  if config.algorithm == 'soft_q':
    return f'soft_q(lam={config.soft_q.lam:g})'
  return config.algorithm
