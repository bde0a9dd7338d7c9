"""Countdown with a 0.2 M parameter model from random weights: minutes on two CPU cores.

  python experiments/pretrain.py --config=configs/countdown.py:pretrain --workdir=runs/warm_start
  python experiments/train.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q \
    --config.init=runs/warm_start/model
  python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q
"""

import ml_collections

from configs import base


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain | soft_q | vargrad | grpo."""
  config = base.get_config()
  config.name = f'countdown_{arg}'
  config.task = 'countdown'
  config.tokenizer.alphabet = '0123456789+-*/()=,:'
  config.batch.max_new_tokens = 24
  config.batch.prompt_multiple = 16
  variants = {'pretrain': _pretrain, 'soft_q': _soft_q, 'vargrad': _vargrad, 'grpo': _grpo}
  if arg not in variants:
    raise ValueError(f'configs/countdown.py:{arg} is unknown; choose one of {", ".join(variants)}')
  variants[arg](config)
  return config


def _pretrain(config: ml_collections.ConfigDict) -> None:
  config.algorithm = 'imitation'
  config.reduction = 'token_mean'
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.steps = 400
  config.batch.prompts = 256
  config.optimizer.learning_rate = 3e-3
  config.optimizer.decay = 'cosine'
  config.optimizer.warmup_steps = 20


def _soft_q(config: ml_collections.ConfigDict) -> None:
  config.algorithm = 'soft_q'


def _vargrad(config: ml_collections.ConfigDict) -> None:
  config.algorithm = 'vargrad'


def _grpo(config: ml_collections.ConfigDict) -> None:
  config.algorithm = 'grpo'
  config.transforms = ('group_normalised',)
  config.reduction = 'token_mean'
  config.temperature.beta = 0.0
