"""A real pretrained model on real text: stories260K ends its stories, hero and thing included.

The weights are Karpathy's 260K-parameter Llama trained on TinyStories, as a Hugging Face folder.

  python experiments/train.py --config=configs/stories.py --workdir=runs/stories \
    --config.init=FOLDER
  python experiments/evaluate.py --config=configs/stories.py --workdir=runs/stories
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """VarGrad with beta learned to a KL budget per story."""
  config = base.get_config()
  config.name = 'stories'
  config.task = 'stories'
  config.tokenizer.stop_token = '<s>'  # what separates stories in this model's training data
  config.steps = 30
  config.batch.prompts = 16
  config.batch.group_size = 8
  config.batch.max_new_tokens = 128
  config.batch.prompt_multiple = 96
  config.algorithm = 'vargrad'
  config.temperature.beta = 0.05
  config.optimizer.learning_rate = 5e-4
  config.eval.problems = 64
  config.eval.samples = 16
  config.eval.prompts = 16
  config.checkpoint.every = 10
  return config
