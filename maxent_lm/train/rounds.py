"""Self-training, the pure parts: which responses a round keeps, and batches of what was kept.

A filter is a function of a list of responses that gives some of them back, in the same order; its
limits are keyword-only. FILTERS is the only list of them, and they are composed by applying one to
what another has kept. K responses answer one problem.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from maxent_lm import data
from maxent_lm.tasks.base import batch_indices
from maxent_lm.train.collect import Collected
from maxent_lm.train.state import TrainState


class Example(NamedTuple):
  """A prompt and the response to be learned, as tokens; EOS is among them if it ended itself."""

  prompt: list[int]
  response: list[int]


class Response(NamedTuple):
  """A response that was sampled and graded.

  Attributes:
    problem: the problem's id.
    prompt: the problem as the task states it, without a hint.
    text: the response.
    example: the same two as tokens.
    reward: of the task; NaN where it is unknown, and then no filter sees the response.
    kind: its semantic class; None for none.
    entropy: mean over the response's tokens of the policy's entropy, nats.
    semantic_entropy: of the classes of all K responses to the problem, nats.
    hinted: whether the policy saw the answer.
  """

  problem: str
  prompt: str
  text: str
  example: Example
  reward: float
  kind: str | None
  entropy: float
  semantic_entropy: float
  hinted: bool


Filter = Callable[[Sequence[Response]], list[Response]]


def correct(responses: Sequence[Response]) -> list[Response]:
  """Full reward. [Zelikman et al. 2022, STaR]"""
  return [response for response in responses if response.reward == 1]


def threshold(responses: Sequence[Response], *, reward: float) -> list[Response]:
  """At least this reward. [Gulcehre et al. 2023, ReST]"""
  return [response for response in responses if response.reward >= reward]


def best(responses: Sequence[Response]) -> list[Response]:
  """Each problem's highest reward; the first of equals. [Dong et al. 2023, RAFT]"""
  top: dict[str, int] = {}
  for place, response in enumerate(responses):
    if response.reward > responses[top.setdefault(response.problem, place)].reward:
      top[response.problem] = place
  return [responses[place] for place in sorted(top.values())]


def distinct(responses: Sequence[Response]) -> list[Response]:
  """The first of each class of a problem; a response without a class is one of its own."""
  seen: set[tuple[str, str]] = set()
  kept = []
  for response in responses:
    if response.kind is None:
      kept.append(response)
    elif (response.problem, response.kind) not in seen:
      seen.add((response.problem, response.kind))
      kept.append(response)
  return kept


def balanced(responses: Sequence[Response], *, count: int) -> list[Response]:
  """The first `count` of each problem, so that easy problems do not fill the batch.

  [Singh et al. 2023, ReST-EM, with 10]
  """
  taken: Counter[str] = Counter()
  kept = []
  for response in responses:
    if taken[response.problem] < count:
      taken[response.problem] += 1
      kept.append(response)
  return kept


def entropy_band(
  responses: Sequence[Response], *, low: float, high: float, scale: str
) -> list[Response]:
  """low <= token entropy <= high, the mean over the response.

  `scale`: 'nats', or 'quantile' in [0, 1] among the responses that are given.

  Raises:
    ValueError: an unknown scale.
  """
  values = [response.entropy for response in responses]
  bounds = {
    'nats': lambda limits: limits,
    'quantile': lambda limits: np.quantile(values, limits) if values else limits,
  }
  if scale not in bounds:
    raise ValueError(
      f'config.self_training.entropy_band.scale={scale!r} is unknown; choose one of '
      f'{", ".join(sorted(bounds))}'
    )
  least, most = bounds[scale]((low, high))
  return [response for response in responses if least <= response.entropy <= most]


def semantic_entropy_band(
  responses: Sequence[Response], *, low: float, high: float
) -> list[Response]:
  """low <= semantic entropy of the problem <= high, nats: neither too sure nor lost."""
  return [response for response in responses if low <= response.semantic_entropy <= high]


FILTERS: Mapping[str, Callable[..., list[Response]]] = {
  'correct': correct,
  'threshold': threshold,
  'best': best,
  'distinct': distinct,
  'balanced': balanced,
  'entropy_band': entropy_band,
  'semantic_entropy_band': semantic_entropy_band,
}


def chain(*filters: Filter) -> Filter:
  """The filters one after the other, the first first; none at all keeps everything."""

  def keep(responses: Sequence[Response]) -> list[Response]:
    for each in filters:
      responses = each(responses)
    return list(responses)

  return keep


@dataclasses.dataclass(frozen=True)
class Examples:
  """Batches of examples: reward 1, behaviour log-probability 0, one width for all."""

  examples: Sequence[Example]
  batch_size: int
  max_new_tokens: int
  prompt_multiple: int
  seed: int
  sharding: jax.sharding.Sharding

  def __call__(self, step: int, state: TrainState) -> Collected:
    """The examples of this step; every one comes once an epoch."""
    del state
    indices = batch_indices(step, self.batch_size, len(self.examples), self.seed)
    chosen = [self.examples[i] for i in indices]
    sequences = data.Sequences.unweighted(
      [each.prompt for each in chosen], [each.response for each in chosen], reward=1.0
    )
    longest = max(len(each.prompt) for each in self.examples)
    columns = data.bucket(longest, self.prompt_multiple) + self.max_new_tokens + 1
    batch = data.make_batch(sequences, columns=columns, sharding=self.sharding)
    return Collected(batch, {}, [])
