"""Countdown with four numbers and 76 M parameters from random weights, on one GPU of 80 GB or more.

  python experiments/pretrain.py --config=configs/h200.py:pretrain --workdir=runs/h200_warm_start
  python experiments/train.py --config=configs/h200.py:soft_q --workdir=runs/h200_soft_q \
    --config.init=runs/h200_warm_start/model
  python experiments/evaluate.py --config=configs/h200.py:soft_q --workdir=runs/h200_soft_q

configs/countdown.py says what the variants are; here is what a GPU changes. On an H100 a step of
soft_q takes about a second once it is compiled, a minute and a half; nothing was tuned to learn
best there: docs/how-to/gpu.md has what to try.
"""

import ml_collections

from configs import countdown

VARIANTS = ('pretrain', 'soft_q', 'vargrad', 'grpo')


def get_config(arg: str = 'soft_q') -> ml_collections.ConfigDict:
  """`arg`: one of `VARIANTS`."""
  if arg not in VARIANTS:
    raise ValueError(f'configs/h200.py:{arg} is unknown; choose one of {", ".join(VARIANTS)}')
  config = countdown.get_config(arg)
  config.name = f'h200_{arg}'
  config.countdown.update(num_numbers=(4,), sets=20_000)
  config.model.update(num_layers=12, d_model=768, num_heads=12, num_kv_heads=4, head_dim=64)
  config.model.d_ff = 2048
  # Parameters, optimiser and sums of log-probabilities stay float32.
  config.compute.dtype = 'bfloat16'
  # xla | cudnn: pays where rows are long, and these have 34 tokens.
  config.compute.attention = 'xla'
  # Tokens of an update at a time: as many as fit. Each piece reads all weights once more, and its
  # products should be large; half of it, or remat=True, where memory is short.
  config.compute.microbatch = 65_536
  # Numbers: 1 GB of logits for one large product. With 22 tokens of vocabulary all fit anyway.
  config.compute.logits = 1 << 28
  # A decode step reads all weights for any number of rows, so all are decoded at a time; when half
  # of them have ended, the others are dropped.
  config.compute.slots = 0
  config.batch.update(prompts=512, group_size=16, max_new_tokens=18, prompt_multiple=16)
  config.batch.max_prompt_tokens = 16
  config.steps = 1000
  config.optimizer.update(learning_rate=5e-5, warmup_steps=20)
  if arg == 'pretrain':
    config.batch.prompts = 4096  # rows: one demonstration a problem
    config.steps = 2000
    config.optimizer.update(learning_rate=6e-4, warmup_steps=100)
  return config
