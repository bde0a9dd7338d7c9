"""Programs from examples with a 0.3 M parameter model from random weights, on CPU.

  python experiments/pretrain.py --config=configs/list_functions.py:pretrain --workdir=runs/warm
  python experiments/train.py --config=configs/list_functions.py:soft_q --workdir=runs/soft_q \
    --config.init=runs/warm/model
  python experiments/evaluate.py --config=configs/list_functions.py:soft_q --workdir=runs/soft_q

Three examples a problem; some 4,500 functions to train on and 1,100 others to be tested on, each
with 2 to 8 programs. Rewards come from running the programs. On 512 problems about test functions
(`--config.list_functions.seed=1`), 16 samples each, one seed, on two CPU cores that did other work:

  after                             pass@1               pass@16   coverage@16
  pretrain (3,000 steps, 25 min)    .160 [.146, .173]    .793      .402
  soft_q (250 steps, 12 min)        .248 [.229, .268]    .815      .373

A warm start learns late from which place of the list a number comes, and not always: six others
stood at a success of .08 to .10 after their 3,000 steps, one at .168.
"""

import ml_collections

from configs import base
from maxent_lm.tasks.list_programs import ALPHABET


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: pretrain, soft_q or grpo."""
  variants = {'pretrain': _pretrain, 'soft_q': _soft_q, 'grpo': _grpo}
  if arg not in variants:
    raise ValueError(
      f'configs/list_functions.py:{arg} is unknown; choose one of {", ".join(variants)}'
    )
  config = base.get_config()
  config.name = f'list_functions_{arg}'
  config.task = 'list_functions'
  config.tokenizer.alphabet = ALPHABET
  config.model.update(num_layers=3, d_model=96, num_heads=4, num_kv_heads=4, head_dim=24, d_ff=192)
  config.batch.update(prompts=32, group_size=8, max_new_tokens=32, prompt_multiple=28)
  config.steps = 250
  config.optimizer.update(learning_rate=4e-4, decay='linear')
  variants[arg](config)
  return config


def _pretrain(config: ml_collections.ConfigDict) -> None:
  """Maximum likelihood on random right programs of the training problems."""
  config.algorithm = 'imitation'
  config.reduction = 'token_mean'
  config.reference = 'none'
  config.temperature.beta = 0.0
  config.steps = 3000
  config.batch.prompts = 64
  config.optimizer.update(learning_rate=3e-3, decay='cosine', warmup_steps=50, weight_decay=0.1)
  config.checkpoint.every = 500


def _soft_q(config: ml_collections.ConfigDict) -> None:
  """The residual of every suffix, with a value head, at a fixed temperature."""
  config.algorithm = 'soft_q'
  config.soft_q.update(lam=1.0, gradient='semi', value='head')
  config.critic.kind = 'value'
  config.temperature.update(alpha=0.0, beta=0.1)


def _grpo(config: ml_collections.ConfigDict) -> None:
  """The baseline: clipped surrogate, normalised advantages, a small entropy bonus, no KL."""
  config.algorithm = 'grpo'
  config.transforms = ('group_normalised',)
  config.reduction = 'token_mean'
  config.temperature.update(alpha=0.001, beta=0.0)
