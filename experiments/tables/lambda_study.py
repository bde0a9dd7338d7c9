"""When one-step soft-Q fails with a real model although its table is exact.

python experiments/tables/lambda_study.py --preset=cpu --workdir=runs/tables/lambda_study

Every variant has the soft-optimal policy as its only fixed point (`fixed_points`), so what differs
here is function approximation and a finite number of steps: Countdown, one reward at the end, the
same start, temperature (kappa = beta = 0.1), learning rate and samples. Rows: lambda from one step
to the whole suffix, target networks, values from the logits or from a head, and the residual of
whole responses [Yuan et al. 2025, Figure 5: one-step residuals collapse, whole responses learn].
"""

import pathlib
from typing import Any

import ml_collections

from maxent_lm.analysis import compare, tables

POLYAK = {'target.rule': 'polyak'}
HEAD = {'critic.kind': 'value', 'critic.value.trunk': 'own', 'critic.learning_rate': 4e-4}


def soft_q(lam: float, value: str = 'lse_minus_ref', gradient: str = 'semi') -> dict[str, Any]:
  """The changes to a config for a soft_q variant."""
  return {
    **{'algorithm': 'soft_q', 'soft_q.lam': lam, 'soft_q.value': value},
    **{'soft_q.gradient': gradient, **(HEAD if value == 'head' else {})},
  }


VARIANTS: dict[str, dict[str, Any]] = {
  'soft_q(0)': soft_q(0.0),
  'soft_q(0), polyak target': {**soft_q(0.0), **POLYAK},
  'soft_q(0), periodic target': {**soft_q(0.0), 'target.rule': 'periodic'},
  'soft_q(0), residual gradient': soft_q(0.0, gradient='residual'),
  'soft_q(0), V = LSE': soft_q(0.0, 'lse'),
  'soft_q(0), V head': soft_q(0.0, 'head'),
  'soft_q(0.5)': soft_q(0.5),
  'soft_q(0.9)': soft_q(0.9),
  'soft_q(0.9), V head': soft_q(0.9, 'head'),
  'soft_q(1)': soft_q(1.0),
  'soft_q(1), V head (OREO)': soft_q(1.0, 'head'),
  'whole response, V = LSE (TBRM)': {'algorithm': 'path', 'path.value': 'lse'},
  'whole response (ReVal)': {'algorithm': 'path', 'path.value': 'lse_minus_ref'},
  'whole response, V head (TB)': {'algorithm': 'path', 'path.value': 'head', **HEAD},
  'whole response, group mean (VarGrad)': {'algorithm': 'vargrad'},
}
PUBLISHED = {  # [Yuan et al. 2025, Figure 5], a plot without numbers
  'soft_q(0), residual gradient': 'collapses',
  'whole response, V = LSE (TBRM)': 'learns',
}
THEIRS = 'theirs: a 1.5B model and 2,048 tokens; ours: 0.3M parameters and 11 tokens'
REMARK = dict.fromkeys(PUBLISHED, THEIRS)
MEASURED = ('pass@1', 'pass@16', 'coverage@16', 'entropy', 'kl')
COLUMNS = ('variant', 'seeds', *MEASURED, 'published', 'remark')


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains what is missing."""
  seeds = {'smoke': 1, 'cpu': 2, 'full': 5}[preset]
  rows = []
  for seed in range(seeds):
    start = workdir / f'warm_start_{seed}'
    rows.append(
      {'variant': 'start', **compare.finished_row(make_config(preset, seed, {}, ''), start)}
    )
    for number, (name, changes) in enumerate(VARIANTS.items()):
      config = make_config(preset, seed, changes, str(start / 'model'))
      row = compare.finished_row(config, workdir / f'{number}_{seed}')
      rows.append({'variant': name, **row})
  merged = tables.over_seeds(rows, by=('variant',), measured=MEASURED)
  for row in merged:
    row.update(published=PUBLISHED.get(row['variant']), remark=REMARK.get(row['variant']))
  return tables.Table(COLUMNS, merged, NOTE, gates(rows, preset))


NOTE = (
  'kappa = beta = 0.1, the same learning rate for all. Mean ± standard deviation over seeds; '
  'entropy in nats a token, KL to the start in nats a response.'
)


def gates(rows: list[dict[str, Any]], preset: str) -> list[tables.Gate]:
  """Whole responses and suffixes gain on one step, for every seed together."""
  if preset == 'smoke':
    return []

  def mean(name: str) -> float:
    values = [row['pass@1'] for row in rows if row['variant'] == name]
    return sum(values) / len(values)

  start, one_step = mean('start'), mean('soft_q(0)')
  return [
    tables.Gate(f'{name} gains at least .05 over the start', mean(name) > start + 0.05)
    for name in ('soft_q(0.9)', 'soft_q(1)', 'whole response, group mean (VarGrad)')
  ] + [tables.Gate('soft_q(0.9) gains more than soft_q(0)', mean('soft_q(0.9)') > one_step)]


def make_config(
  preset: str, seed: int, changes: dict[str, Any], init: str
) -> ml_collections.ConfigDict:
  """A warm start without `init`, else the variant from there."""
  from configs import countdown

  config = countdown.get_config('vargrad' if init else 'pretrain')
  config.update(name='lambda_study', seed=seed, init=init)
  if init:
    config.update(steps=150)
    config.batch.prompts = 32
    config.temperature.update(alpha=0.0, alpha_control='fixed', beta=0.1, beta_control='fixed')
    config.update_from_flattened_dict(changes)
  config.eval.update(problems=128)
  if preset == 'smoke':
    config.update(steps=2)
    config.eval.update(problems=8, prompts=8)
  return config


if __name__ == '__main__':
  tables.script('lambda_study', build)
