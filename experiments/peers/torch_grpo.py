"""GRPO as one would write it with transformers and torch alone.

  python -m experiments.peers.torch_grpo --preset=S --lengths=fixed --rounds=3

`generate` decodes all rows at once until the longest response ends. The update takes `--microbatch`
rows at a time, padded to the longest of them; rows of about the same length are taken together
unless `--order=sampled`. Logits are computed for responses only, and no old log-probabilities,
which are those of the policy in the one update of a batch.
"""

from collections.abc import Sequence

import torch
from absl import app, flags

from experiments.peers import clock as clock_lib
from experiments.peers import torch_model, work

_MICROBATCH = flags.DEFINE_integer('microbatch', 16, 'Rows at a time in the update.')
_ORDER = flags.DEFINE_enum('order', 'length', ['length', 'sampled'], 'Which rows go together.')


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  shape, lengths = work.SHAPES[clock_lib.PRESET.value], clock_lib.LENGTHS.value
  model = torch_model.make_model(shape)
  optimizer = torch.optim.AdamW(model.parameters(), lr=work.LEARNING_RATE)
  ending = torch_model.Ending(lengths)
  prompts = torch.from_numpy(work.make_prompts(shape)).long().repeat_interleave(shape.group_size, 0)
  clock = clock_lib.Clock()
  for _ in range(clock_lib.ROUNDS.value + 1):
    with clock.rollout():
      samples = torch_model.sample(model, prompts, ending, work.RESPONSE[lengths])
    clock.count(int(samples.length.sum()))
    advantage = torch_model.advantages(samples, shape.group_size)
    order = samples.length.argsort() if _ORDER.value == 'length' else torch.arange(shape.rows)
    torch_model.update(model, optimizer, samples, advantage, order.split(_MICROBATCH.value))
    clock.end()
  clock_lib.tell('torch', 'transformers', clock, microbatch=_MICROBATCH.value, order=_ORDER.value)


if __name__ == '__main__':
  app.run(main)
