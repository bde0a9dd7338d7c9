"""Qwen3 shapes on many devices: what `experiments/plan.py` plans, and `train.py` trains.

  python experiments/plan.py --config=configs/qwen3.py:8b --topology=v5p:4x4x4 \
    --mesh=fsdp:16,tensor:4
  python experiments/train.py --config=configs/qwen3.py:8b --workdir=runs/qwen3_8b \
    --config.init=FOLDER --config.gsm8k.data_dir=FOLDER_WITH_train.jsonl.gz

Shapes are those of the config.json files that Qwen publishes [Qwen Team 2025, Qwen3 Technical
Report]. FOLDER is a Hugging Face folder; without one the weights are random and the tokenizer is
bytes, which is enough for a plan.
"""

from typing import Any

import ml_collections

from configs import base

SHAPES: dict[str, dict[str, Any]] = {
  '0.6b': {'d_model': 1024, 'num_layers': 28, 'num_heads': 16, 'd_ff': 3072, 'tied': True},
  '8b': {'d_model': 4096, 'num_layers': 36, 'num_heads': 32, 'd_ff': 12288, 'tied': False},
  '32b': {'d_model': 5120, 'num_layers': 64, 'num_heads': 64, 'd_ff': 25600, 'tied': False},
}
SHARED = {
  **{'family': 'qwen3', 'num_kv_heads': 8, 'head_dim': 128, 'vocab_size': 151_936},
  **{'rope_theta': 1e6, 'norm_eps': 1e-6, 'max_length': 40_960},
}


def get_config(arg: str = '0.6b') -> ml_collections.ConfigDict:
  """`arg`: one of `SHAPES`."""
  if arg not in SHAPES:
    raise ValueError(f'configs/qwen3.py:{arg} is unknown; choose one of {", ".join(SHAPES)}')
  config = base.get_config()
  config.name = f'qwen3_{arg}'
  config.task = 'gsm8k'
  config.tokenizer.kind = 'bytes'
  config.model.update(**SHARED, **SHAPES[arg])
  config.compute.update(dtype='bfloat16', remat=True, scan_layers=True)
  config.compute.logits = 8192 * config.model.vocab_size  # a scan of few, large products
  config.compute.microbatch = 16_384  # weights are gathered once a piece: few, large ones
  config.mesh.update(data=1, fsdp=-1, tensor=1)
  config.batch.update(prompts=64, group_size=8, max_new_tokens=1024, max_prompt_tokens=512)
  config.batch.prompt_multiple = 128
  config.algorithm = 'soft_q'
  config.temperature.beta = 0.05
  config.optimizer.learning_rate = 1e-6
  return config
