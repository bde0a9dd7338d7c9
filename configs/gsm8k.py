"""GSM8K from the weights in a Hugging Face folder; the files are read from a local folder.

  python experiments/train.py --config=configs/gsm8k.py --workdir=runs/gsm8k \
    --config.init=FOLDER --config.gsm8k.data_dir=FOLDER_WITH_train.jsonl.gz

Sizes suit a model of a few hundred thousand parameters on two CPU cores, which solves next to
nothing (see docs/results.md); for a real model raise max_new_tokens and max_prompt_tokens.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """Soft Q-learning over whole suffixes, values measured from the reference's."""
  config = base.get_config()
  config.name = 'gsm8k'
  config.task = 'gsm8k'
  config.steps = 20
  config.batch.prompts = 8
  config.batch.group_size = 4
  config.batch.max_new_tokens = 64
  config.batch.max_prompt_tokens = 192
  config.batch.prompt_multiple = 64
  config.algorithm = 'soft_q'
  config.soft_q.lam = 1.0
  config.soft_q.value = 'lse_minus_ref'
  config.temperature.beta = 0.05
  config.optimizer.learning_rate = 1e-4
  config.eval.problems = 64
  config.eval.samples = 4
  config.eval.prompts = 16
  config.checkpoint.every = 5
  return config
