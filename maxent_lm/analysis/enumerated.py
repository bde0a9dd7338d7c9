"""How far a language model is from a known distribution, where all its responses can be listed.

Shapes: N responses to one prompt, B rows, T columns. Log-probabilities are of whole responses, EOS
included, in nats, float64; what the scorer gives for tokens is float32.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from maxent_lm.data import Reader, Sequences, make_batch
from maxent_lm.tasks.base import Problem, Task
from maxent_lm.train.collect import Collected
from maxent_lm.train.state import TrainState
from maxent_lm.types import Params, Scorer


class Enumerable(Task, Protocol):
  """A task of one problem whose optimal distribution is known response by response."""

  def log_target(self, problem: Problem) -> Mapping[str, float]:
    """log-probability of every response that the optimum may give."""
    ...


class Target(NamedTuple):
  """A distribution over a list of responses to one prompt.

  Attributes:
    prompt: token list.
    responses: N token lists, EOS included where there is one.
    logp: [N] log-probabilities, that sum to 1.
  """

  prompt: list[int]
  responses: list[list[int]]
  logp: np.ndarray


class Distances(NamedTuple):
  """Between a target and a policy pi; nats, but for shares of probability.

  Attributes:
    kl: KL(target || pi).
    reverse_kl: KL(pi || target) within the list, pi renormalised there.
    jsd: Jensen-Shannon divergence, at most log 2, pi's mass outside the list included.
    total_variation: half the sum of |target - pi|, likewise.
    outside: probability that pi gives to what is not in the list.
    entropy: of pi within the list, renormalised there.
  """

  kl: float
  reverse_kl: float
  jsd: float
  total_variation: float
  outside: float
  entropy: float


ROWS = 1024  # responses that are scored at a time


def tokenised(
  reader: Reader, problem: Problem, log_target: Mapping[str, float], *, max_new_tokens: int
) -> Target:
  """The target over texts as the model writes them: with EOS, but where the length cap cuts.

  Raises:
    ValueError: a text has more than `max_new_tokens` tokens, or the probabilities do not sum to 1.
  """
  texts = list(log_target)
  encoded = reader.tokenizer(texts, add_special_tokens=False)['input_ids']
  longest = max(map(len, encoded))
  if longest > max_new_tokens:
    raise ValueError(
      f'the target has a response of {longest} tokens, but max_new_tokens is {max_new_tokens}; '
      'raise it'
    )
  logp = np.array([log_target[text] for text in texts], np.float64)
  if not np.isclose(np.logaddexp.reduce(logp), 0, atol=1e-6):
    raise ValueError(f'the target sums to {np.exp(np.logaddexp.reduce(logp))}, not to 1')
  responses = [[*ids, reader.eos_id][:max_new_tokens] for ids in encoded]
  return Target(reader.prompts([problem])[0], responses, logp)


def log_probs(scorer: Scorer, params: Params, target: Target, *, rows: int) -> np.ndarray:
  """[N] log pi(y) of every response, `rows` of them at a time.

  Tokens are scored in float32 and summed in float64; `scorer` should be compiled.
  """
  columns = len(target.prompt) + max(map(len, target.responses)) + 1
  total = []
  for at in range(0, len(target.responses), rows):
    some = target.responses[at : at + rows]
    padded = some + [some[-1]] * (rows - len(some))  # one shape, one compilation
    batch = make_batch(Sequences.unweighted([target.prompt] * rows, padded), columns=columns)
    logp = np.asarray(scorer(params, batch.tokens, batch.mask).logp, np.float64)
    total.append(np.sum(np.where(batch.mask, logp, 0), axis=1)[: len(some)])
  return np.concatenate(total)


def distances(log_target: np.ndarray, log_pi: np.ndarray) -> Distances:
  """How far the policy with log-probabilities `log_pi` [N] on the list is from the target [N]."""
  target, pi = np.exp(log_target), np.exp(log_pi)
  inside = np.logaddexp.reduce(log_pi)
  outside = max(-np.expm1(inside), 0.0)  # rounding may leave a sum of 1 + 1e-7
  log_within = log_pi - inside
  within = np.exp(log_within)
  log_mean = np.logaddexp(log_target, log_pi) - np.log(2)
  jsd = np.sum(target * (log_target - log_mean)) + np.sum(pi * (log_pi - log_mean))
  return Distances(
    kl=float(np.sum(target * (log_target - log_pi))),
    reverse_kl=float(np.sum(within * (log_within - log_target))),
    jsd=float(0.5 * (jsd + outside * np.log(2))),
    total_variation=float(0.5 * (np.sum(np.abs(target - pi)) + outside)),
    outside=float(outside),
    entropy=float(-np.sum(within * log_within)),
  )


@dataclasses.dataclass(frozen=True)
class Watched:
  """A collector that also measures the state, every so many steps: a curve in `metrics.jsonl`."""

  collect: Callable[[int, TrainState], Collected]
  measure: Callable[[TrainState], Mapping[str, float]]
  every: int

  def __call__(self, step: int, state: TrainState) -> Collected:
    """What `collect` gives, with the numbers of the state before the step where one is due."""
    collected = self.collect(step, state)
    if step % self.every:
      return collected
    return collected._replace(metrics={**collected.metrics, **self.measure(state)})
