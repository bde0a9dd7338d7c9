"""Training from a file of graded responses: preferences, or any other rewards.

The file has one JSON object a line (.jsonl or .jsonl.gz), in either form:

  {"prompt": "...", "chosen": "...", "rejected": "..."}
  {"prompt": "...", "completions": [{"text": "...", "reward": 1.0}, ...]}

The first is the second with rewards 1 and 0. Responses are text without the token that ends them.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from maxent_lm import data
from maxent_lm.lm.tokenizer import encode
from maxent_lm.tasks.base import batch_indices
from maxent_lm.tasks.tfds import jsonl
from maxent_lm.train.collect import SHOWN, Collected
from maxent_lm.train.state import TrainState
from maxent_lm.types import Batch

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase


LARGEST = 2.0**127  # a reward that float32 holds


class Example(NamedTuple):
  """A prompt with its responses and their rewards; `line` is where the file has it."""

  prompt: str
  texts: list[str]
  rewards: list[float]
  line: int = 0


class Encoded(NamedTuple):
  """An example in tokens: every response ends with the token that ends responses."""

  prompt: list[int]
  responses: list[list[int]]
  rewards: list[float]


def read_examples(path: str) -> list[Example]:
  """All examples of the file, in its order.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is in neither form, or there is none; names the file and the line.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(
      f"'{path}' is not a file: set config.offline.path to a .jsonl file of graded responses."
    )
  examples = []
  for number, row in jsonl.read_objects(path):
    problem = _problem(row)
    if problem:
      raise ValueError(f"line {number} of '{path}' {problem}: correct or remove it.")
    examples.append(_example(row, number))
  if not examples:
    raise ValueError(f"'{path}' has no rows: write one JSON object a line.")
  return examples


def write_examples(path: pathlib.Path, rows: Iterable[dict[str, Any]]) -> int:
  """Writes the rows, one a line, and gives their number; a reader never sees half of the file."""
  temporary = path.with_name(f'{path.name}.tmp')
  count = 0
  with temporary.open('w', encoding='utf-8') as file:
    for row in rows:
      file.write(json.dumps(row, ensure_ascii=False) + '\n')
      count += 1
  temporary.replace(path)
  return count


def has_pair(row: dict[str, Any]) -> bool:
  """Whether the completions of a row have different rewards."""
  return len({completion['reward'] for completion in row['completions']}) > 1


def encode_examples(
  examples: Sequence[Example],
  tokenizer: 'PreTrainedTokenizerBase',
  eos_id: int,
  show: data.Show = list,
) -> list[Encoded]:
  """The examples in tokens, prompts as `show` makes them.

  Raises ValueError for a prompt without tokens, naming its line.
  """
  encoded = []
  shown = show([example.prompt for example in examples])
  for example, text in zip(examples, shown, strict=True):
    prompt = encode(tokenizer, text)
    if not prompt:
      raise ValueError(f'line {example.line} has a prompt without tokens: correct or remove it.')
    ids = tokenizer(example.texts, add_special_tokens=False)['input_ids']
    responses = [[*response, eos_id] for response in ids]
    encoded.append(Encoded(prompt, responses, example.rewards))
  return encoded


@dataclasses.dataclass(frozen=True)
class Offline:
  """N examples of the file a step, G rows each: a function of the step and the seed.

  Attributes:
    examples: as read, for people to see.
    encoded: the same in tokens.
    prompts_per_step: N.
    group_size: G; of more responses than these, G are drawn anew each time without replacement;
      where there are fewer, empty rows fill up, which do not count.
    max_new_tokens: longer responses are cut there (the share is reported).
    prompt_multiple: prompt lengths are rounded up to a multiple of this.
  """

  examples: Sequence[Example]
  encoded: Sequence[Encoded]
  prompts_per_step: int
  group_size: int
  max_new_tokens: int
  prompt_multiple: int
  seed: int
  sharding: jax.sharding.Sharding

  def __call__(self, step: int, state: TrainState) -> Collected:
    """The step's batch; behaviour log-probabilities are unknown and 0, classes are none."""
    del state
    rng = np.random.default_rng((self.seed, step))
    indices = batch_indices(step, self.prompts_per_step, len(self.encoded), self.seed).tolist()
    chosen = [self._choose(len(self.encoded[i].responses), rng) for i in indices]
    whole = [
      self.encoded[i].responses[row] if row >= 0 else []
      for i, rows in zip(indices, chosen, strict=True)
      for row in rows
    ]
    rewards = [
      self.encoded[i].rewards[row] if row >= 0 else 0.0
      for i, rows in zip(indices, chosen, strict=True)
      for row in rows
    ]
    prompts = [self.encoded[i].prompt for i in indices for _ in range(self.group_size)]
    batch = self._batch(prompts, [ids[: self.max_new_tokens] for ids in whole], rewards)
    lengths = np.array([len(ids) for ids in whole if ids])
    metrics = {
      'cut': float((lengths > self.max_new_tokens).mean()),
      'length': float(np.minimum(lengths, self.max_new_tokens).mean()),
      'filled': len(lengths) / len(whole),
    }
    return Collected(batch, metrics, self._samples(indices[:SHOWN], chosen))

  def _choose(self, count: int, rng: np.random.Generator) -> list[int]:
    """G rows of an example; -1 for a row that stays empty."""
    if count > self.group_size:
      return rng.choice(count, size=self.group_size, replace=False).tolist()
    return [*range(count), *[-1] * (self.group_size - count)]

  def _batch(
    self, prompts: list[list[int]], responses: list[list[int]], rewards: list[float]
  ) -> Batch:
    sequences = data.Sequences.unweighted(prompts, responses)._replace(
      reward=np.array(rewards), group=np.repeat(np.arange(self.prompts_per_step), self.group_size)
    )
    longest = data.bucket(max(map(len, prompts)), self.prompt_multiple)
    columns = longest + self.max_new_tokens + 1
    return data.make_batch(sequences, columns=columns, sharding=self.sharding)

  def _samples(self, indices: list[int], chosen: list[list[int]]) -> list[dict[str, Any]]:
    return [
      {'prompt': example.prompt, 'response': example.texts[row], 'reward': example.rewards[row]}
      for example, rows in zip([self.examples[i] for i in indices], chosen, strict=False)
      for row in rows
      if row >= 0
    ]


def _problem(row: dict[str, Any]) -> str:
  """What is wrong with a line; '' if nothing."""
  if not isinstance(row.get('prompt'), str) or not row['prompt']:
    return "has no text in 'prompt'"
  if 'completions' not in row:
    texts = [row.get('chosen'), row.get('rejected')]
    good = all(isinstance(text, str) for text in texts)
    return '' if good else "has neither texts in 'chosen' and 'rejected' nor 'completions'"
  completions = row['completions']
  if not isinstance(completions, list) or not completions:
    return "has no list of objects in 'completions'"
  if not all(isinstance(each, dict) and isinstance(each.get('text'), str) for each in completions):
    return "has a completion without a text in 'text'"
  if not all(_is_number(each.get('reward')) for each in completions):
    return "has a completion without a finite number in 'reward'"
  return ''


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and abs(value) < LARGEST


def _example(row: dict[str, Any], line: int) -> Example:
  if 'completions' not in row:
    return Example(row['prompt'], [row['chosen'], row['rejected']], [1.0, 0.0], line)
  completions = row['completions']
  texts = [each['text'] for each in completions]
  return Example(row['prompt'], texts, [float(each['reward']) for each in completions], line)
