"""The main claim in a few minutes on two CPU cores.

python experiments/quickstart.py --workdir=runs/quickstart [--seed=0]

Warm-starts a tiny model on Countdown, trains it from that same start with GRPO and with a soft
Bellman objective with a learned temperature, and evaluates all three on problems that training
never drew. Prints one table; writes `summary.json` and `report.png`. Started again, it goes on
where it was.
"""

import pathlib
import time
from typing import Any

import ml_collections
from absl import app, flags

from maxent_lm import build, cli
from maxent_lm.analysis import plots, tables
from maxent_lm.train import folder
from maxent_lm.train.metrics import read_metrics

WORKDIR = flags.DEFINE_string('workdir', 'runs/quickstart', 'Folder for the three runs.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of weights, problems and samples.')

COLUMNS = (
  *('name', 'objective', 'pass@1', 'pass@16', 'coverage@16', 'distinct@16'),
  *('entropy', 'kl', 'alpha', 'beta', 'seconds'),
)


def main(_: list[str]) -> None:
  """Runs, or finishes, the whole comparison."""
  from configs import countdown

  began = time.perf_counter()
  workdir = pathlib.Path(WORKDIR.value)
  warm = countdown.get_config('pretrain')
  rows = [run(warm, workdir / 'warm_start', name='warm_start')]
  for name, variant in (('grpo', 'grpo'), ('soft_q', 'soft_q')):
    config = countdown.get_config(variant)
    config.init = str(workdir / 'warm_start' / 'model')
    rows.append(run(config, workdir / name, name=name))
  summary = {'rows': rows, 'seconds': round(time.perf_counter() - began, 1), 'seed': SEED.value}
  folder.write_json(workdir / 'summary.json', summary | {'versions': folder.versions()})
  curves = {name: read_metrics(workdir / name / 'metrics.jsonl') for name in ('grpo', 'soft_q')}
  plots.report(workdir / 'report.png', rows, curves, samples=warm.eval.samples)
  print(tables.markdown(rows, COLUMNS))
  print(f'\n{summary["seconds"]} s; {workdir}/summary.json, {workdir}/report.png')


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path, *, name: str) -> dict[str, Any]:
  """Trains (or finishes training) in `workdir` and evaluates: one row of the table."""
  config.name = name
  config.seed = SEED.value
  began = time.perf_counter()
  with cli.user_errors():
    make = build.demonstration_run if config.algorithm == 'imitation' else build.rollout_run
    trained = make(config, workdir)
  state = trained.train()
  evaluation = build.make_evaluation(config, trained.policy)
  # A supervised start is its own reference.
  reference = state.params if trained.reference is None else trained.reference
  row = evaluation(state.params, reference)
  return {
    'name': name,
    'objective': config.algorithm,
    **row,
    'alpha': float(state.alpha.value),
    'beta': float(state.beta.value),
    'seconds': round(time.perf_counter() - began, 1),
  }


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
