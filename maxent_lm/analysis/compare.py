"""Runs that are compared with each other: train, evaluate, one row a run."""

import functools
import json
import pathlib
import time
from typing import Any, cast

import jax
import ml_collections

from maxent_lm import build
from maxent_lm.analysis import enumerated, tables
from maxent_lm.train import folder, lock
from maxent_lm.train.metrics import read_metrics
from maxent_lm.train.state import TrainState

ROW = 'row.json'  # of a run that is finished and evaluated, with the config it is about
CURVE = 'curve.json'  # of a run whose distances were measured, likewise


def finished_row(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains the run in `workdir` to its end and evaluates it: one row of a table.

  A supervised run (`imitation`) learns from demonstrations and is its own start. With no steps at
  all `config.init` is evaluated as it is. A run that is finished and evaluated with this very
  config is not touched again: its row is read back.

  Raises:
    ValueError: `workdir` holds a run of another config (see `folder.check_config`).
    BlockingIOError: another process is at work there.
  """
  known = stored_row(config, workdir)
  if known is not None:
    return known
  with lock.hold(workdir):
    row = _trained(config, workdir) if config.steps else _as_it_is(config, workdir)
    folder.write_json(workdir / ROW, {'config': _plain(config), 'row': row})
  return row


def _trained(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  began = time.perf_counter()
  supervised = config.algorithm == 'imitation'
  run = (build.demonstration_run if supervised else build.rollout_run)(config, workdir)
  first = int(run.state.step)
  state = jax.block_until_ready(run.train())
  seconds = time.perf_counter() - began
  evaluation = build.make_evaluation(config, run.policy)
  return {
    'name': config.name,
    'objective': objective(config),
    **evaluation(state.params, state.params if supervised else run.policy.params),
    'alpha': float(state.alpha.value),
    'beta': float(state.beta.value),
    'steps': int(state.step),
    'train_seconds': round(seconds, 1) if first == 0 else None,  # unknown for a resumed run
  }


def _as_it_is(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
  """The row of weights that are there already, which are copied to `workdir/model`."""
  if not config.init:
    raise ValueError('config.steps=0 evaluates weights that are there: name their config.init')
  policy = build.make_policy(config, workdir)
  evaluation = build.make_evaluation(config, policy)
  figures = evaluation(policy.params, policy.params)
  workdir.mkdir(parents=True, exist_ok=True)
  folder.make_once(workdir / 'model', lambda path: policy.save(path, policy.params))
  objective_of = {'name': config.name, 'objective': 'none', **figures}
  return {**objective_of, 'alpha': 0.0, 'beta': 0.0, 'steps': 0, 'train_seconds': 0.0}


def stored_row(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any] | None:
  """The row of a run that was finished and evaluated with this very config, else None."""
  path = workdir / ROW
  stored = folder.read_json(path) if path.exists() else {}
  row = stored.get('row')
  return row if isinstance(row, dict) and stored.get('config') == _plain(config) else None


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The config as JSON gives it back."""
  return json.loads(json.dumps(config.to_dict()))


def finished_curve(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, *, every: int
) -> list[dict[str, float]]:
  """Trains the run in `workdir` to its end: its distances every so many steps.

  A list of `enumerated.Distances` with their `step`, the last one after all steps. The task is
  `enumerated.Enumerable`. A run that is finished is read back.
  """
  path = workdir / CURVE
  settings = {'config': config.to_dict(), 'every': every}
  return tables.stored(path, settings, functools.partial(_curve, config, workdir, every))['curve']


def _curve(config: ml_collections.ConfigDict, workdir: pathlib.Path, every: int) -> dict[str, Any]:
  with lock.hold(workdir):
    return _measured(config, workdir, every)


def _measured(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, every: int
) -> dict[str, Any]:
  run = build.rollout_run(config, workdir)
  reader = build.make_reader(config, run.policy, split='test')
  task = cast(enumerated.Enumerable, reader.task)
  target = enumerated.tokenised(
    reader, task[0], task.log_target(task[0]), max_new_tokens=config.batch.max_new_tokens
  )
  scorer = jax.jit(build.make_run_scorer(config, run.policy))
  rows = min(len(target.responses), enumerated.ROWS)

  def measure(state: TrainState) -> dict[str, float]:
    logp = enumerated.log_probs(scorer, state.params, target, rows=rows)
    found = enumerated.distances(target.logp, logp)._asdict()
    return {f'exact/{name}': value for name, value in found.items()}

  run.collect = enumerated.Watched(run.collect, measure, every)
  last = measure(run.train())
  lines = read_metrics(workdir / 'metrics.jsonl')
  points = [*(line for line in lines if 'exact/kl' in line), {'step': config.steps, **last}]
  names = enumerated.Distances._fields
  return {
    'curve': [
      {'step': point['step'], **{name: point[f'exact/{name}'] for name in names}}
      for point in points
    ]
  }


def objective(config: ml_collections.ConfigDict) -> str:
  """The objective with the choices that make it: 'soft_q(lam=0.9)', 'vargrad', 'grpo'."""
  if config.algorithm == 'soft_q':
    return f'soft_q(lam={config.soft_q.lam:g})'
  return config.algorithm
