"""The main claim in a few minutes on two CPU cores.

python experiments/quickstart.py --workdir=runs/quickstart [--seed=0]

Warm-starts a tiny model on Countdown, trains it from that same start with GRPO and with a soft
Bellman objective whose temperature is learned, and evaluates all three on problems that training
never drew. Prints one table; writes `summary.json` and `report.png`. Started again, it goes on
where it was.
"""

import pathlib
import time

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import compare, plots, tables
from maxent_lm.train import folder
from maxent_lm.train.metrics import read_metrics

WORKDIR = flags.DEFINE_string('workdir', 'runs/quickstart', 'Folder for the three runs.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of weights, problems and samples.')

RUNS = {'warm_start': 'pretrain', 'grpo': 'grpo', 'soft_q': 'vargrad'}  # row: countdown variant
COLUMNS = (
  *('name', 'objective', 'pass@1', 'pass@16', 'coverage@16', 'distinct@16'),
  *('entropy', 'kl', 'alpha', 'beta', 'train_seconds'),
)


def main(_: list[str]) -> None:
  """Runs, or finishes, the whole comparison."""
  from configs import countdown

  began = time.perf_counter()
  workdir = pathlib.Path(WORKDIR.value)
  rows = []
  for name, variant in RUNS.items():
    config = countdown.get_config(variant)
    config.update(name=name, seed=SEED.value)
    config.init = '' if name == 'warm_start' else str(workdir / 'warm_start' / 'model')
    rows.append(compare.finished_row(config, workdir / name))
  seconds = round(time.perf_counter() - began, 1)
  summary = {'rows': rows, 'seconds': seconds, 'seed': SEED.value, 'versions': folder.versions()}
  folder.write_json(workdir / 'summary.json', summary)
  curves = {name: read_metrics(workdir / name / 'metrics.jsonl') for name in ('grpo', 'soft_q')}
  plots.report(workdir / 'report.png', rows, curves, samples=rows[0]['samples'])
  print(tables.markdown(rows, COLUMNS))
  print(f'\n{seconds} s; written: {workdir}/summary.json, {workdir}/report.png')


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
