"""Uniform random numbers from a model that prefers some, in a minute on one CPU core.

  python experiments/pretrain.py --config=configs/random_numbers.py:pretrain \
    --workdir=runs/habit
  python experiments/train.py --config=configs/random_numbers.py:tb --workdir=runs/tb \
    --config.init=runs/habit/model

`experiments/tables/random_numbers.py` compares the variants.
"""

import functools
from typing import Any

import ml_collections

from configs import base

# What each objective changes in configs/base.py. At alpha = 1, beta = 0 the optimum is uniform.
SOFT: dict[str, dict[str, Any]] = {
  'tb': {'algorithm': 'path', 'path.value': 'head', 'critic.kind': 'value'},
  'vargrad': {'algorithm': 'vargrad'},
  'subtb': {'algorithm': 'subtb', 'critic.kind': 'value'},
  'one_step': {'algorithm': 'soft_q', 'soft_q.lam': 0.0},
  'one_step_target': {'algorithm': 'soft_q', 'soft_q.lam': 0.0, 'target.rule': 'polyak'},
  'soft_q': {'algorithm': 'soft_q', 'soft_q.lam': 0.9},
}
# The baselines maximise the reward, with no or next to no entropy bonus.
PLAIN: dict[str, dict[str, Any]] = {
  'ppo': {'algorithm': 'ppo', 'critic.kind': 'value'},
  'grpo': {'algorithm': 'grpo', 'transforms': ('group_normalised',)},
}


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain, or one of the objectives above."""
  variants = {
    'pretrain': _pretrain,
    **{name: functools.partial(_soft, name) for name in SOFT},
    **{name: functools.partial(_plain, name) for name in PLAIN},
  }
  if arg not in variants:
    raise ValueError(
      f'configs/random_numbers.py:{arg} is unknown; choose one of {", ".join(variants)}'
    )
  config = base.get_config()
  config.name = f'random_numbers_{arg}'
  config.task = 'random_numbers'
  config.tokenizer.alphabet = '0123456789:'
  config.model.update(num_layers=2, d_model=64, num_heads=4, num_kv_heads=4, head_dim=16, d_ff=128)
  config.model.max_length = 16
  # There is one problem: its samples are one group, on one device.
  config.batch.update(prompts=1, group_size=128, max_new_tokens=5, prompt_multiple=1)
  config.mesh.data = 1
  config.eval.update(problems=1, samples=1024, prompts=1)
  config.steps = 1000
  config.checkpoint.every = 500
  config.samples_every = 100
  config.optimizer.update(learning_rate=1e-3, decay='linear')
  variants[arg](config)
  return config


def _pretrain(config: ml_collections.ConfigDict) -> None:
  """Maximum likelihood on numbers drawn with a preference for small ones."""
  config.algorithm = 'imitation'
  config.reduction = 'token_mean'
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.steps = 1000
  config.batch.prompts = 256
  config.optimizer.update(learning_rate=3e-3, decay='cosine', warmup_steps=20)


def _soft(name: str, config: ml_collections.ConfigDict) -> None:
  config.temperature.update(alpha=1.0, beta=0.0)
  config.critic.learning_rate = 1e-2
  config.update_from_flattened_dict(SOFT[name])


def _plain(name: str, config: ml_collections.ConfigDict) -> None:
  config.reduction = 'token_mean'
  config.temperature.update(alpha=0.001, beta=0.0)
  config.update_from_flattened_dict(PLAIN[name])
