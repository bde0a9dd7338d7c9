"""From problems to rectangular arrays and from sampled tokens to verdicts, on the host.

Shapes: N prompts, P prompt columns, B rows, T columns. Rows of a batch are right-padded (prompt,
response, padding) so that causal attention alone keeps padding out; prompts for decoding are
left-padded so that every row writes the same cache slot. Lengths are rounded up to buckets, so that
only a few shapes are ever compiled.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from maxent_lm import hosts
from maxent_lm.lm import partition
from maxent_lm.lm.tokenizer import encode
from maxent_lm.tasks.base import Problem, Task, grade
from maxent_lm.types import Batch

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase


Show = Callable[[Sequence[str]], Sequence[str]]


class Sequences(NamedTuple):
  """B prompt-response pairs as token lists, with what is known about each.

  `logp`: behaviour log-probabilities of the response tokens; `reward`: of the whole response, in
  reward units; `group`, `cluster`, `bootstrap`: see `types.Batch`.
  """

  prompts: Sequence[Sequence[int]]
  responses: Sequence[Sequence[int]]
  logp: Sequence[ArrayLike]
  reward: ArrayLike
  group: ArrayLike
  cluster: ArrayLike
  bootstrap: ArrayLike

  @classmethod
  def unweighted(
    cls, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], reward: float = 0.0
  ) -> 'Sequences':
    """Pairs that nobody sampled: behaviour log-probability 0, every row a group of its own."""
    rows = len(prompts)
    return cls(
      prompts=prompts,
      responses=responses,
      logp=[[0.0] * len(response) for response in responses],
      reward=np.full(rows, reward),
      group=np.arange(rows),
      cluster=np.full(rows, -1),
      bootstrap=np.zeros(rows, bool),
    )


def bucket(length: int, size: int) -> int:
  """The smallest multiple of `size` that is at least `length` (and at least `size`)."""
  return max(size, -(-length // size) * size)


def pad_prompts(
  prompts: Sequence[Sequence[int]], *, multiple: int
) -> tuple[np.ndarray, np.ndarray]:
  """Left-pads: ([N, P] int32 tokens, [N, P] bool valid), P rounded up to `multiple`.

  Raises:
    ValueError: a prompt is empty; there is no state to predict from.
  """
  if not all(len(prompt) for prompt in prompts):
    raise ValueError('a prompt has no tokens: give the task a non-empty prompt or the model a BOS')
  width = bucket(max(map(len, prompts)), multiple)
  tokens = np.zeros((len(prompts), width), np.int32)
  valid = np.zeros((len(prompts), width), bool)
  for row, prompt in enumerate(prompts):
    tokens[row, width - len(prompt) :] = prompt
    valid[row, width - len(prompt) :] = True
  return tokens, valid


def make_batch(
  sequences: Sequences, *, columns: int, sharding: jax.sharding.Sharding | None = None
) -> Batch:
  """Right-pads to a `Batch` with T = `columns`, its rows laid out by `sharding`.

  The reward sits on the last response token. At least one column is left free after the longest
  response: it holds the value at the cut.

  Raises:
    ValueError: a row does not fit into `columns` - 1 tokens.
  """
  rows = len(sequences.prompts)
  tokens = np.zeros((rows, columns), np.int32)
  mask = np.zeros((rows, columns), bool)
  logp = np.zeros((rows, columns), np.float32)
  reward = np.zeros((rows, columns), np.float32)
  total = np.asarray(sequences.reward, np.float32)
  pairs = zip(sequences.prompts, sequences.responses, strict=True)
  for row, (prompt, response) in enumerate(pairs):
    start, end = len(prompt), len(prompt) + len(response)
    if end >= columns:
      raise ValueError(
        f'row {row} has {end} tokens but a batch of {columns} columns holds one less'
      )
    tokens[row, :end] = [*prompt, *response]
    mask[row, start:end] = True
    logp[row, start:end] = sequences.logp[row]
    if end > start:
      reward[row, end - 1] = total[row]
  arrays = {
    'tokens': tokens,
    'mask': mask,
    'logp': logp,
    'reward': reward,
    'weight': np.ones((rows, columns), np.float32),
    'advantage': np.zeros((rows, columns), np.float32),
    'group': np.asarray(sequences.group, np.int32),
    'cluster': np.asarray(sequences.cluster, np.int32),
    'bootstrap': np.asarray(sequences.bootstrap, bool),
  }
  return Batch(**{name: partition.place(values, sharding) for name, values in arrays.items()})


def abstract_batch(rows: int, columns: int, mesh: jax.sharding.Mesh) -> Batch:
  """A `Batch` of such a size as shapes, laid out by `partition.batch_sharding`."""
  sequences = Sequences.unweighted([[0]] * rows, [[0]] * rows)
  shapes = jax.eval_shape(lambda: make_batch(sequences, columns=columns))
  return partition.abstract_rows(shapes, mesh)


class Graded(NamedTuple):
  """Responses as text with their verdicts; every list has one entry a row.

  A reward that is not known is NaN, and the class None: of a program, when the sandbox fails.
  """

  texts: list[str]
  tokens: list[list[int]]
  finished: np.ndarray
  rewards: np.ndarray
  classes: list[str | None]


@dataclasses.dataclass(frozen=True)
class Reader:
  """Turns problems into token arrays and back; `show` makes of prompts what the model is shown."""

  task: Task
  tokenizer: 'PreTrainedTokenizerBase'
  eos_id: int
  prompt_multiple: int
  show: Show = list

  def prompts(self, problems: Sequence[Problem]) -> list[list[int]]:
    """The prompts' token lists."""
    shown = self.show([problem.prompt for problem in problems])
    return [encode(self.tokenizer, text) for text in shown]

  def columns(self, prompts: list[list[int]], max_new_tokens: int) -> int:
    """Width of a training batch: bucketed prompt, response, and one column for the cut."""
    return bucket(max(map(len, prompts)), self.prompt_multiple) + max_new_tokens + 1

  def padded(self, prompts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The prompts as decoding wants them, see `pad_prompts`."""
    return pad_prompts(prompts, multiple=self.prompt_multiple)

  def grade(
    self, problems: Sequence[Problem], tokens: np.ndarray, length: np.ndarray, finished: np.ndarray
  ) -> Graded:
    """Decodes and verifies [B, R] responses of `length`; `problems` has one entry a row.

    Of several processes each verifies its part of the rows, and all get all verdicts.
    """
    rows = [row[:end].tolist() for row, end in zip(tokens, length, strict=True)]
    bodies = [row[:-1] if ended else row for row, ended in zip(rows, finished, strict=True)]
    # Special tokens stay in the text: a response that holds one is not the response without it.
    texts = self.tokenizer.batch_decode(bodies, skip_special_tokens=False)
    answers = list(zip(problems, texts, np.asarray(finished, bool).tolist(), strict=True))
    verdicts = hosts.share(answers, self._verdicts)
    rewards = np.array([np.nan if each is None else each for each, _ in verdicts], np.float32)
    return Graded(texts, rows, finished, rewards, [kind for _, kind in verdicts])

  def _verdicts(
    self, answers: Sequence[tuple[Problem, str, bool]]
  ) -> list[tuple[float | None, str | None]]:
    """Reward and class of each answer."""
    if not answers:
      return []
    problems, texts, finished = map(list, zip(*answers, strict=True))
    rewards = grade(self.task, problems, texts, finished)
    return [
      (None, None) if reward is None else (float(reward), self.task.cluster(problem, text))
      for reward, problem, text in zip(rewards, problems, texts, strict=True)
    ]


def number_classes(classes: Sequence[str | None], group: np.ndarray) -> np.ndarray:
  """[B] numbers 0, 1, ... of the semantic classes within each group, in order of appearance."""
  seen: dict[int, dict[str, int]] = {}
  numbers = []
  for row, name in zip(group.tolist(), classes, strict=True):
    known = seen.setdefault(row, {})
    numbers.append(-1 if name is None else known.setdefault(name, len(known)))
  return np.array(numbers, np.int32)
