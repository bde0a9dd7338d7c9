"""Random numbers: say a whole number from 0 to 100, and every one of them equally often.

Worked example:

  prompt    ':'
  response  '42' and then EOS: reward 1, cluster '42', one of 101 modes
            '042', '101', 'a lot', each and then EOS, or a number that was cut: -8 for each token
  target    log(1 / 101) for each of '0', '1', ..., '100'

The motivating example of Hu et al. 2024 (GFlowNet fine-tuning of language models): a model that is
asked for a random number prefers some. All valid responses pay the same, so the maximum-entropy
optimum at alpha = 1, beta = 0 is uniform over them, but for the strings that are no numbers:

    pi*(y) = exp(R(y)) / Z,      Z = 101 e + sum over the other strings of exp(-8 tokens(y))

and the others hold about 2e-6 of it: the heaviest, EOS alone, already has e^-8. The penalty of 8 a
token is the published one; a valid number pays 1, full marks, as in every task.
"""

import math
import re

import numpy as np

from maxent_lm.tasks.base import Problem

PROMPT = ':'
ALPHABET = '0123456789' + PROMPT
TOKEN = re.compile(r'<[a-z]+>|[\s\S]')  # special tokens are written out


class RandomNumbers:
  """One problem, the same in both splits: the numbers 0 ... `high`.

  Demonstrations show the habit that training is to break: n is drawn with probability proportional
  to (m + 1)^-skew, m being n without the zeros at its end. Small and round numbers are preferred,
  and small first digits, as in Benford's law. At a skew of 2.09 they are 3.37 nats from uniform,
  KL(uniform || habit), as the model of the paper was.

  Raises:
    ValueError: an unknown split, or no numbers.
  """

  def __init__(
    self, *, split: str, high: int = 100, skew: float = 2.09, penalty: float = 8.0
  ) -> None:
    if split not in ('train', 'test'):
      raise ValueError(f"unknown split '{split}': choose 'train' or 'test'.")
    if high < 0:
      raise ValueError(f'RandomNumbers: high={high} leaves no numbers; it must be at least 0.')
    self._texts = [str(n) for n in range(high + 1)]
    weights = np.array([1.0 + int(text.rstrip('0') or 0) for text in self._texts]) ** -skew
    self._habit = weights / weights.sum()
    self._penalty = penalty

  def __len__(self) -> int:
    """One problem."""
    return 1

  def __getitem__(self, index: int) -> Problem:
    """The problem; any number is a correct answer, there is none to show."""
    if index != 0:
      raise IndexError(f'RandomNumbers has one problem, 0, not {index}')
    return Problem('random_numbers', PROMPT, '', None)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 for a number from the list that ends itself, else -penalty a token, EOS included."""
    if finished and response in self._texts:
      return 1.0
    return -self._penalty * (len(TOKEN.findall(response)) + finished)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The number itself; None for anything else."""
    return response if response in self._texts else None

  def modes(self, problem: Problem) -> int:
    """How many numbers there are."""
    return len(self._texts)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A number, small ones preferred."""
    return str(rng.choice(len(self._habit), p=self._habit))

  def log_target(self, problem: Problem) -> dict[str, float]:
    """log-probability of every valid response: uniform."""
    return dict.fromkeys(self._texts, -math.log(len(self._texts)))

  def log_habit(self, problem: Problem) -> dict[str, float]:
    """log-probability of every demonstration."""
    return dict(zip(self._texts, np.log(self._habit).tolist(), strict=True))
