"""Sizes that experiments/benchmark.py measures: models, and what is asked of them in a step.

experiments/peers/work.py tells the same to other libraries.
"""

from typing import NamedTuple

from maxent_lm.lm.config import LMConfig

PROMPT, EOS, ENDS = 32, 1, 1 / 64
RESPONSE = {'fixed': 64, 'geometric': 256}  # most tokens of a response
LOGITS = 1 << 24  # that exist at a time in an update, 64 MB
WIDTHS = 7  # of an update's pieces, as configs/base.py has it


class Work(NamedTuple):
  """A model and how much is asked of it; responses have at most `response` tokens."""

  config: LMConfig
  prompts: int
  group_size: int
  microbatch: int
  response: int = 0  # 0: as `RESPONSE` has it
  logits: int = LOGITS
  widths: int = WIDTHS


PRESETS = {
  'smoke': Work(
    LMConfig(
      vocab_size=32,
      d_model=16,
      num_layers=2,
      num_heads=2,
      num_kv_heads=1,
      head_dim=8,
      d_ff=32,
    ),
    2,
    4,
    400,
  ),
  'S': Work(
    LMConfig(
      vocab_size=512,
      d_model=128,
      num_layers=4,
      num_heads=4,
      num_kv_heads=2,
      head_dim=32,
      d_ff=512,
    ),
    64,
    8,
    2200,
  ),
  'M': Work(
    LMConfig(
      vocab_size=4096,
      d_model=512,
      num_layers=8,
      num_heads=8,
      num_kv_heads=4,
      head_dim=64,
      d_ff=1536,
    ),
    16,
    8,
    1100,
  ),
  'gpu': Work(
    LMConfig(
      vocab_size=8192,
      d_model=768,
      num_layers=12,
      num_heads=12,
      num_kv_heads=4,
      head_dim=64,
      d_ff=2048,
      dtype='bfloat16',
    ),
    128,
    16,
    32_768,
    response=256,
    logits=1 << 28,
    widths=1,  # more for --lengths=geometric: each is compiled, a minute on a GPU
  ),
}
