"""Fourteen mechanisms and two soft objectives from one warm start a seed, three seeds.

python experiments/sweep.py --sweep=configs/sweeps/mechanisms.py --workdir=runs/mechanisms
"""

import ml_collections

from configs import countdown, methods
from maxent_lm.analysis import sweep

COMPARED = (
  *('grpo', 'dr_grpo', 'dapo', 'rloo', 'kl_cov', 'pass_at_k', 'w_reinforce'),
  *('entropy_bonus', 'semantic_alpha', 'top_entropy_tokens', 'entropy_advantage', 'empo'),
  *('semantic_bonus', 'rnd'),
)
SOFT = {
  'vargrad (soft)': 'vargrad',  # both temperatures learned
  'soft_q(0.9) (soft)': 'soft_q',
}
MEASURED = (
  *('pass@1', 'pass@16', 'coverage@16', 'entropy', 'semantic_entropy', 'kl', 'auroc_semantic'),
  *('auroc_token', 'alpha', 'beta'),
)
STEPS, PROMPTS = 120, 32


def make_config(point: sweep.Point, seed: int, init: str) -> ml_collections.ConfigDict:
  """The warm start of a seed, or a method from there.

  All take the same number of updates and, but for dapo's further rounds of sampling, of samples.
  """
  if not init:
    config = countdown.get_config('pretrain')
  elif point.name in SOFT:
    config = countdown.get_config(SOFT[point.name])
  else:
    config = methods.get_config(point.name)
  config.update(name=point.name, seed=seed, init=init)
  if init:
    config.steps = STEPS
    config.batch.prompts = PROMPTS
  config.eval.update(problems=128)
  config.update_from_flattened_dict(dict(point.changes))
  return config


def get_sweep() -> sweep.Sweep:
  """Every method as published, at the project's learning rate for Countdown."""
  return sweep.Sweep(
    name='mechanisms',
    config=make_config,
    points=sweep.listed(dict.fromkeys((*COMPARED, *SOFT), {})),
    seeds=3,
    measured=MEASURED,
    plane=('pass@1', 'coverage@16'),
    note=(
      f'{STEPS} steps of {PROMPTS} prompts x 8 samples, one learning rate for all; dapo samples up '
      'to three times as many to choose from. Mean ± standard deviation over seeds; entropy in '
      'nats a token, semantic entropy in nats a problem, KL to the start in nats a response; '
      'AUROC: how well high entropy tells a wrong majority answer.'
    ),
  )
