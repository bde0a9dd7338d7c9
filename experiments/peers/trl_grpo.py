"""TRL's GRPOTrainer on the CPU, its weights, prompts and rewards those of the work.

  python -m experiments.peers.trl_grpo --preset=S --lengths=fixed --rounds=3

No KL term and no gradient checkpointing, which would only cost time. A batch is sampled at once,
by `generate` of transformers, and trained on `--microbatch` rows at a time.
"""

import functools
import tempfile
from collections.abc import Sequence
from typing import Any

import datasets
import tokenizers
import transformers
import trl
from absl import app, flags

from experiments.peers import clock as clock_lib
from experiments.peers import torch_model, work

_MICROBATCH = flags.DEFINE_integer('microbatch', 16, 'Rows at a time in the update.')


class Ends(transformers.TrainerCallback):
  """Tells the clock where steps end."""

  def __init__(self, clock: clock_lib.Clock) -> None:
    self._clock = clock

  def on_step_end(self, *_: Any, **__: Any) -> None:
    """After the optimizer's step."""
    self._clock.end()


def make_tokenizer(shape: work.Shape) -> transformers.PreTrainedTokenizerFast:
  """Tokens are written as their numbers."""
  pad, end = '<pad>', '<end>'  # no numbers: special tokens are found inside of words, too
  words = {str(number): number for number in range(2, shape.vocab_size)}
  words |= {pad: work.PAD, end: work.EOS}
  model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=pad))
  model.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=model, pad_token=pad, eos_token=end, padding_side='left'
  )


def make_config(shape: work.Shape, lengths: str, folder: str) -> trl.GRPOConfig:
  """One optimizer step a batch; nothing is saved or reported."""
  microbatch = min(_MICROBATCH.value, shape.rows)
  return trl.GRPOConfig(
    output_dir=folder,
    use_cpu=True,
    bf16=False,
    max_steps=clock_lib.ROUNDS.value + 1,
    per_device_train_batch_size=microbatch,
    gradient_accumulation_steps=shape.rows // microbatch,
    num_generations=shape.group_size,
    max_completion_length=work.RESPONSE[lengths],
    learning_rate=work.LEARNING_RATE,
    lr_scheduler_type='constant',
    max_grad_norm=work.NORM,
    epsilon=work.CLIP,
    beta=0.0,
    top_k=0,
    gradient_checkpointing=False,
    save_strategy='no',
    logging_strategy='no',
    report_to='none',
    disable_tqdm=True,
  )


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  shape, lengths = work.SHAPES[clock_lib.PRESET.value], clock_lib.LENGTHS.value
  model = torch_model.make_model(shape)
  texts = [' '.join(map(str, prompt)) for prompt in work.make_prompts(shape)]
  clocks: list[clock_lib.Clock] = []

  def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Whether the sum of the tokens is even."""
    clocks[0].count(sum(map(len, completion_ids)))
    return [float(sum(tokens) % 2) for tokens in completion_ids]

  plain = functools.partial(
    model.generate,
    logits_processor=transformers.LogitsProcessorList([torch_model.Ending(lengths)]),
  )

  def generate(*arguments: Any, **options: Any) -> Any:
    with clocks[0].rollout():
      return plain(*arguments, **options)

  model.generate = generate  # the trainer has no place for logits processors
  with tempfile.TemporaryDirectory() as folder:
    trainer = trl.GRPOTrainer(
      model=model,
      reward_funcs=reward,
      args=make_config(shape, lengths, folder),
      train_dataset=datasets.Dataset.from_dict({'prompt': texts}),
      processing_class=make_tokenizer(shape),
    )
    clocks.append(clock_lib.Clock())
    trainer.add_callback(Ends(clocks[0]))
    trainer.train()
  clock_lib.tell('trl', 'trl', clocks[0], microbatch=_MICROBATCH.value)


if __name__ == '__main__':
  app.run(main)
