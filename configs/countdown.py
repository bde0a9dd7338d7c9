"""Countdown with a 0.3 M parameter model from random weights: minutes on two CPU cores.

  python experiments/pretrain.py --config=configs/countdown.py:pretrain --workdir=runs/warm_start
  python experiments/train.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q \
    --config.init=runs/warm_start/model
  python experiments/evaluate.py --config=configs/countdown.py:soft_q --workdir=runs/soft_q

Three numbers up to 40, targets up to 99, at least two different solutions each. `make quickstart`
compares the variants; README has its numbers. Four numbers (--config.countdown.num_numbers='(4,)')
need far longer training than a quickstart.
"""

import ml_collections

from configs import base


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain | soft_q | vargrad | grpo."""
  variants = {'pretrain': _pretrain, 'soft_q': _soft_q, 'vargrad': _vargrad, 'grpo': _grpo}
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


def _grpo(config: ml_collections.ConfigDict) -> None:
  """The baseline: clipped surrogate, normalised advantages, a small entropy bonus, no KL."""
  config.algorithm = 'grpo'
  config.transforms = ('group_normalised',)
  config.reduction = 'token_mean'
  config.temperature.update(alpha=0.001, beta=0.0)
