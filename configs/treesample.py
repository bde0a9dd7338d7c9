"""Samples of a factor graph, 6 variables x 4 categories, from a model that starts uniform.

  python experiments/pretrain.py --config=configs/treesample.py:pretrain --workdir=runs/uniform
  python experiments/train.py --config=configs/treesample.py:pcl --workdir=runs/pcl \
    --config.init=runs/uniform/model

The warm start, on assignments drawn uniformly, takes the place of the mask that allows the
samplers of the original nothing but assignments. `experiments/tables/treesample.py` compares the
variants.
"""

import functools
from typing import Any

import ml_collections

from configs import base

# What each objective changes in configs/base.py; at alpha = 1, beta = 0 the optimum is exp(-E) / Z.
MEMBERS: dict[str, dict[str, Any]] = {
  'one_step': {'algorithm': 'soft_q', 'soft_q.lam': 0.0},
  'one_step_target': {'algorithm': 'soft_q', 'soft_q.lam': 0.0, 'target.rule': 'polyak'},
  'soft_q': {'algorithm': 'soft_q', 'soft_q.lam': 0.9},
  'pcl': {'algorithm': 'pcl', 'pcl.value': 'lse_minus_ref', 'pcl.length': 6},
  'tb': {'algorithm': 'path', 'path.value': 'head', 'critic.kind': 'value'},
  'subtb': {
    **{'algorithm': 'subtb', 'critic.kind': 'value'},
    # A value in every state: it learns better with layers of its own.
    **{'critic.value.trunk': 'own', 'critic.learning_rate': 1e-3},
  },
  'vargrad': {'algorithm': 'vargrad'},
  'sac': {
    **{'algorithm': 'sac', 'target.rule': 'polyak'},
    **{'critic.kind': 'twin', 'critic.learning_rate': 1e-3},
  },
}


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain, or one of the objectives above."""
  variants = {
    'pretrain': _pretrain,
    **{name: functools.partial(_member, name) for name in MEMBERS},
  }
  if arg not in variants:
    raise ValueError(f'configs/treesample.py:{arg} is unknown; choose one of {", ".join(variants)}')
  config = base.get_config()
  config.name = f'treesample_{arg}'
  config.task = 'treesample'
  config.tokenizer.alphabet = 'abcd:'
  config.model.update(num_layers=2, d_model=64, num_heads=4, num_kv_heads=4, head_dim=16, d_ff=128)
  config.model.max_length = 16
  # There is one problem: its samples are one group, on one device. The cap is the assignment's end.
  config.batch.update(prompts=1, group_size=128, max_new_tokens=6, prompt_multiple=1)
  config.mesh.data = 1
  config.eval.update(problems=1, samples=1024, prompts=1)
  config.steps = 1500
  config.checkpoint.every = 1000
  config.samples_every = 100
  config.optimizer.update(learning_rate=1e-3, decay='linear')
  variants[arg](config)
  return config


def _pretrain(config: ml_collections.ConfigDict) -> None:
  """Maximum likelihood on assignments drawn uniformly."""
  config.algorithm = 'imitation'
  config.reduction = 'token_mean'
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.steps = 200
  config.batch.prompts = 256
  config.optimizer.update(learning_rate=3e-3, decay='cosine', warmup_steps=20)


def _member(name: str, config: ml_collections.ConfigDict) -> None:
  config.temperature.update(alpha=1.0, beta=0.0)
  config.critic.learning_rate = 1e-2
  config.update_from_flattened_dict(MEMBERS[name])
