"""Countdown with two numbers and a model of a few thousand weights: seconds on one core.

  python experiments/pretrain.py --config=configs/two_numbers.py:pretrain --workdir=runs/start
  python experiments/train.py --config=configs/two_numbers.py:vargrad --workdir=runs/vargrad \
    --config.init=runs/start/model

To see that things work, and to look at a run; the numbers of `configs/countdown.py` are other ones.
"""

import ml_collections

from configs import countdown


def get_config(arg: str = 'vargrad') -> ml_collections.ConfigDict:
  """`arg`: a variant of `configs/countdown.py`."""
  config = countdown.get_config(arg)
  config.name = f'two_numbers_{arg}'
  config.countdown.update(num_numbers=(2,), max_number=9, min_modes=1, test_fraction=0.3)
  config.model.update(d_model=32, num_heads=2, num_kv_heads=2, head_dim=16, d_ff=48)
  config.batch.update(prompts=16, group_size=8, max_new_tokens=8, prompt_multiple=8)
  config.steps = 60
  config.optimizer.update(learning_rate=1e-3, warmup_steps=2, decay='constant')
  config.eval.update(problems=64, samples=16, prompts=32)
  config.compute.microbatch = 0  # one program to compile
  config.mesh.data = 1
  if config.algorithm == 'imitation':
    config.steps = 45
    config.batch.prompts = 64
    config.optimizer.learning_rate = 5e-3
  return config
