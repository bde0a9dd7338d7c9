"""Countdown with a 0.3 M parameter model from random weights: minutes on two CPU cores.

  python experiments/pretrain.py --config=configs/countdown.py:pretrain --workdir=runs/warm_start
  python experiments/train.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q \
    --config.init=runs/warm_start/model
  python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q

Three numbers up to 40, targets up to 99, at least two different solutions each. `make quickstart`
compares the variants; README has its numbers. Four numbers (--config.countdown.num_numbers='(4,)')
need far longer training than a quickstart.
"""

import functools
from typing import Any

import ml_collections

from configs import base

# The other members of the family: what each changes in configs/base.py, at kappa = beta = 0.1.
MEMBERS: dict[str, dict[str, Any]] = {
  'one_step': {'algorithm': 'soft_q', 'soft_q.lam': 0.0},
  'residual': {'algorithm': 'soft_q', 'soft_q.gradient': 'residual'},
  'double_q': {
    **{'algorithm': 'soft_q', 'soft_q.lam': 0.0, 'target.rule': 'polyak'},
    **{'critic.kind': 'twin', 'critic.twin.count': 1, 'critic.learning_rate': 4e-4},
  },
  'dqo': {'algorithm': 'soft_q', 'soft_q.value': 'head', 'critic.kind': 'value'},
  'pcl': {'algorithm': 'pcl', 'pcl.value': 'head', 'critic.kind': 'value'},
  'unified_pcl': {'algorithm': 'pcl', 'pcl.value': 'lse_minus_ref'},
  'oreo': {'algorithm': 'oreo', 'critic.kind': 'value'},
  'tbrm': {'algorithm': 'path', 'path.value': 'lse'},
  'reval': {
    **{'algorithm': 'path', 'path.value': 'lse_minus_ref', 'reference_update.rule': 'periodic'},
    **{'replay.kind': 'fifo', 'replay.every': 2, 'replay.prompts': 0},
  },
  'tb': {'algorithm': 'path', 'path.value': 'head', 'critic.kind': 'value'},
  'subtb': {'algorithm': 'subtb', 'critic.kind': 'value'},
  'pairwise': {'algorithm': 'pairwise'},
  'mirror_descent': {'algorithm': 'mirror_descent'},
  'sac': {'algorithm': 'sac', 'critic.kind': 'twin', 'target.rule': 'polyak'},
  'ilql': {'algorithm': 'ilql', 'critic.kind': 'ilql', 'target.rule': 'polyak'},
  'q_sharp': {'algorithm': 'q_sharp', 'critic.kind': 'atoms'},
}

# Self-training in rounds (experiments/self_train.py), from a warm start.
SELF_TRAINING: dict[str, dict[str, Any]] = {
  'star': {'filters': ('correct',), 'hint': '{answer},{prompt}', 'continue_from': 'start'},
  'rest': {'filters': ('threshold', 'balanced'), 'continue_from': 'start'},
  'raft': {'filters': ('correct', 'best'), 'continue_from': 'current'},
}


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain, or one of the objectives below."""
  variants = {
    'pretrain': _pretrain,
    'soft_q': _soft_q,
    'vargrad': _vargrad,
    'grpo': _grpo,
    'ppo': _ppo,
    **dict.fromkeys(SELF_TRAINING, functools.partial(_self_training, arg)),
    **dict.fromkeys(MEMBERS, functools.partial(_member, arg)),
  }
  if arg not in variants:
    raise ValueError(f'configs/countdown.py:{arg} is unknown; choose one of {", ".join(variants)}')
  config = base.get_config()
  config.name = f'countdown_{arg}'
  config.task = 'countdown'
  config.tokenizer.alphabet = '0123456789+-*/()=,:'
  config.model.update(num_layers=2, d_model=128, num_heads=4, num_kv_heads=4, head_dim=32, d_ff=256)
  config.batch.update(prompts=64, group_size=8, max_new_tokens=11, prompt_multiple=12)
  config.steps = 250
  config.optimizer.update(learning_rate=4e-4, decay='linear')
  variants[arg](config)
  return config


def _pretrain(config: ml_collections.ConfigDict) -> None:
  """Maximum likelihood on random solutions of the training problems."""
  config.algorithm = 'imitation'
  config.reduction = 'token_mean'
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.steps = 200
  config.batch.prompts = 256
  config.optimizer.update(learning_rate=3e-3, decay='cosine', warmup_steps=20)


def _self_training(name: str, config: ml_collections.ConfigDict) -> None:
  """A member of SELF_TRAINING: maximum likelihood on what the policy's own samples kept."""
  _pretrain(config)
  config.steps = 60
  config.optimizer.update(learning_rate=4e-4, warmup_steps=5)
  config.self_training.update(SELF_TRAINING[name])


def _vargrad(config: ml_collections.ConfigDict) -> None:
  """The residual of whole responses, V(s_0) from the group; both temperatures learned."""
  config.algorithm = 'vargrad'
  _learned_temperature(config)


def _soft_q(config: ml_collections.ConfigDict) -> None:
  """The residual of every suffix, V(s_t) from the logits; both temperatures learned."""
  config.algorithm = 'soft_q'
  config.soft_q.update(lam=0.9, gradient='semi', value='lse_minus_ref')
  _learned_temperature(config)


def _learned_temperature(config: ml_collections.ConfigDict) -> None:
  """alpha holds the entropy up, beta lets the KL grow to its budget and no further."""
  config.temperature.update(
    alpha=0.02, alpha_control='target_entropy', beta=0.08, beta_control='target_kl'
  )
  config.alpha.target_entropy.update(target=0.35, learning_rate=0.05, low=1e-3, high=0.1)
  config.beta.target_kl.update(target=0.6, learning_rate=0.02, low=0.02, high=1.0)


def _member(name: str, config: ml_collections.ConfigDict) -> None:
  """A member of MEMBERS at a fixed temperature."""
  config.temperature.update(alpha=0.0, beta=0.1)
  config.update_from_flattened_dict(MEMBERS[name])


def _ppo(config: ml_collections.ConfigDict) -> None:
  """The baseline with a value head: advantages by GAE, a small entropy bonus, no KL."""
  config.algorithm = 'ppo'
  config.critic.kind = 'value'
  config.reduction = 'token_mean'
  config.temperature.update(alpha=0.001, beta=0.0)


def _grpo(config: ml_collections.ConfigDict) -> None:
  """The baseline: clipped surrogate, normalised advantages, a small entropy bonus, no KL."""
  config.algorithm = 'grpo'
  config.transforms = ('group_normalised',)
  config.reduction = 'token_mean'
  config.temperature.update(alpha=0.001, beta=0.0)
