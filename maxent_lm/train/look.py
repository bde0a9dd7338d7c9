"""Responses for people to look at, with numbers for every token: `rollouts.jsonl` of a run folder.

One line a response, of a few problems of a step:

  step, problem, group        group: which problem of the step
  prompt, tokens              tokens: the pieces of text that the response is made of
  reward, class, finished     reward: that the update saw
  entropy                     H(pi(.|s_t)), nats
  logp                        log pi(a_t|s_t), nats
  value                       V(s_t), reward units; `value_of`: a name of algorithms/values.py
  soft_advantage              kappa (log pi - log rho)(a_t|s_t) = Q - V of the policy, reward units
  advantage                   as the transforms made it, where some do

They are what the update that learns from the responses computed before it changed the policy, so
that they cost nothing but a few rows of its arrays. Numbers have five digits.

Shapes: B rows, T columns, n rows that are looked at.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.algorithms import values
from maxent_lm.lm.tokenizer import pieces
from maxent_lm.replay import Group
from maxent_lm.types import Array, Batch, Temperature, Views

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
PREFIX = 'look/'  # of the arrays among the numbers that an update gives


class Named(NamedTuple):
  """What a group is about: the problem's id, and the class of each response."""

  problem: str
  classes: list[str | None]


class Fresh(NamedTuple):
  """The groups that a batch begins with, sampled for this very step, and their names."""

  groups: Sequence[Group]
  names: Sequence[Named]


@dataclasses.dataclass(frozen=True)
class Look:
  """Which responses are kept, and what of them.

  Attributes:
    problems, samples: the first so many groups of a batch, and rows of each.
    group_size: rows of a group.
    value: a name in `values.VALUES`.
    advantage: whether the transforms make one.
  """

  problems: int
  samples: int
  group_size: int
  value: str
  advantage: bool
  tokenizer: 'PreTrainedTokenizerBase'
  eos_id: int

  @property
  def rows(self) -> list[int]:
    """[n] rows of the batch; a batch that is traced for its shape alone may have fewer."""
    return [
      group * self.group_size + row
      for group in range(self.problems)
      for row in range(min(self.samples, self.group_size))
    ]

  def numbers(self, views: Views, batch: Batch, temperature: Temperature) -> dict[str, Array]:
    """{look/name: [n, T]}, 0 outside the mask; `batch` is as the transforms make it."""
    views = jax.lax.stop_gradient(views)
    steps = values.trained('look', views, batch, temperature, self.value)
    implied = jnp.where(steps.kappa > 0, steps.kappa * steps.log_ratio, 0)
    found = {
      'entropy': views.policy.entropy,
      'logp': views.policy.logp,
      'value': steps.value,
      'soft_advantage': implied,
      **({'advantage': batch.advantage} if self.advantage else {}),
    }
    rows = jnp.array([row for row in self.rows if row < len(batch.mask)], jnp.int32)
    return {f'{PREFIX}{name}': jnp.where(batch.mask, x, 0)[rows] for name, x in found.items()}

  def lines(self, fresh: Fresh, numbers: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """What is written of a step; `numbers` as above. Rows of unknown reward are left out."""
    for place, row in enumerate(self.rows):
      number, at = divmod(row, self.group_size)
      if number >= len(fresh.groups) or not fresh.groups[number].responses[at]:
        continue
      group, name = fresh.groups[number], fresh.names[number]
      response, start = group.responses[at], len(group.prompt)
      columns = slice(start, start + len(response))
      yield {
        'problem': name.problem,
        'group': number,
        'prompt': ''.join(pieces(self.tokenizer, group.prompt)),
        'tokens': pieces(self.tokenizer, response),
        'reward': _finite(float(group.reward[at])),
        'class': name.classes[at],
        'finished': response[-1] == self.eos_id,
        'value_of': self.value,
        **{
          name.removeprefix(PREFIX): [_rounded(x) for x in each[place, columns].tolist()]
          for name, each in numbers.items()
        },
      }


def split(metrics: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
  """(what is looked at, the numbers of the step)."""
  shown = {name: each for name, each in metrics.items() if name.startswith(PREFIX)}
  return shown, {name: each for name, each in metrics.items() if name not in shown}


def _rounded(value: float) -> float | None:
  return _finite(float(f'{value:.5g}'))


def _finite(value: float) -> float | None:
  """None, as JSON has it, for what is not a finite number."""
  return value if math.isfinite(value) else None
