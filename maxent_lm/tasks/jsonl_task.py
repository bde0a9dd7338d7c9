r"""Any JSON-lines file of prompts and answers as a task.

Worked example, rows {"prompt": "2+2=", "answer": "4"} in train.jsonl and test.jsonl:

  prompt         '2+2='        as it is in the file
  demonstration  '4'           as it is in the file
  verify=exact   '4' and ' 4 ' get reward 1, anything else 0; the class is the text, stripped
  verify=number  'so 4', '#### 4.0' get reward 1: final answers are compared (answers.py)
  verify=choice  '(D)', 'the answer is D' get reward 1 where the answer is D (answers.py)
  verify=maths   '\boxed{x = 4.0}' gets reward 1: any form of answer (equivalence)

For 'number' and 'maths' the answer of a row may be a whole solution that ends in it, as in GSM8K
and MATH; one for 'maths' that is the answer alone is demonstrated in a box. Rows with answers that
cannot be read by the rule are left out and listed (files.py). For rows with completions and
rewards, see config.offline. Known limit: one correct answer a prompt.
"""

import operator
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Problem, Undecided
from maxent_lm.tasks.files import FileTask, left_open, same
from maxent_lm.tasks.tfds import jsonl


class Read(Protocol):
  """The final answer of a text, None without; `finished` says it was not cut."""

  def __call__(self, text: str, *, finished: bool = True) -> str | None:
    """See above."""
    ...


class Rule(NamedTuple):
  """How responses are read, and the answer of a row; what is the same as what; names of classes.

  `left_open` says whether it cannot be told if two answers are the same.
  """

  read: Read
  gold: Callable[[str], str | None]
  same: Callable[[str, str], bool] = operator.eq
  name: Callable[[str], str] = str
  left_open: Callable[[str, str], bool] = lambda gold, said: False


def _exact(text: str, *, finished: bool = True) -> str | None:
  return (text.strip() or None) if finished else None


def _number(text: str, *, finished: bool = True) -> str | None:
  value = equivalence.value(answers.extract(text, finished=finished) or '')
  return None if value is None else str(value)


def _choice(text: str, *, finished: bool = True) -> str | None:
  return answers.extract_choice(text) if finished else None


def _maths_gold(text: str) -> str | None:
  """What the text states, else the text itself; None if it is not understood."""
  gold = text.strip() if answers.stated(text) is None else answers.extract(text)
  return gold if gold and equivalence.readable(gold) else None


VERIFY = {
  'exact': Rule(_exact, _exact),
  'number': Rule(_number, _number),
  'choice': Rule(_choice, _choice),
  'maths': Rule(answers.extract, _maths_gold, same, equivalence.label, left_open),
}


class Names(NamedTuple):
  """The fields of a row."""

  prompt: str
  answer: str


class Jsonl(FileTask, Undecided):
  """The rows of `<data_dir>/<split>.jsonl[.gz]`.

  `verify` is a name in VERIFY; `prompt` and `answer` name the fields of a row. Other arguments as
  `FileTask`.

  Raises:
    ValueError: as `FileTask`, and for an unknown `verify`.
  """

  NAME = 'jsonl'

  def __init__(
    self,
    *,
    data_dir: str,
    split: str,
    verify: str = 'exact',
    prompt: str = 'prompt',
    answer: str = 'answer',
    cache_dir: str = '',
    max_problems: int | None = None,
  ) -> None:
    if verify not in VERIFY:
      raise ValueError(f'Jsonl: verify={verify!r} must be one of {", ".join(VERIFY)}.')
    self._rule, self._names = VERIFY[verify], Names(prompt, answer)
    self.FIELDS = {prompt: 'text', answer: 'text'}
    super().__init__(data_dir=data_dir, split=split, cache_dir=cache_dir, max_problems=max_problems)

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its answer is what the rule reads from the row's answer, its data a text that has it."""
    text = row[self._names.answer]
    gold = self._rule.gold(text)
    if gold is None:
      return None
    shown = text if self._says(gold, text) else f'\\boxed{{{gold}}}'
    return Problem(name, row[self._names.prompt], gold, shown)

  def _says(self, gold: str, text: str, *, finished: bool = True) -> bool:
    said = self._rule.read(text, finished=finished)
    return said is not None and self._rule.same(gold, said)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the rule reads the answer from the response, else 0."""
    return float(self._says(problem.answer, response, finished=finished))

  def undecided(self, problem: Problem, response: str, finished: bool) -> bool:
    """As for an AnswerTask, with verify=maths; the other rules always decide."""
    said = self._rule.read(response, finished=finished)
    return said is not None and self._rule.left_open(problem.answer, said)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """A name for what the rule reads; what is right has the class of the gold answer."""
    said = self._rule.read(response)
    if said is None:
      return None
    return self._rule.name(problem.answer if self._says(problem.answer, response) else said)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The answer of the file."""
    return problem.data
