"""Any JSON-lines file of prompts and answers as a task.

Worked example, rows {"prompt": "2+2=", "answer": "4"} in train.jsonl and test.jsonl:

  prompt         '2+2='        as it is in the file
  demonstration  '4'           as it is in the file
  verify=exact   '4' and ' 4 ' get reward 1, anything else 0; the class is the text, stripped
  verify=number  'so 4', '#### 4.0' get reward 1: final answers are compared (answers.py)
  verify=choice  '(D)', 'the answer is D' get reward 1 where the answer is D (answers.py)

For 'number' the answer may be a whole solution that ends in its number, as in GSM8K. Rows with
answers that cannot be read by the rule are left out and listed (files.py). For rows with
completions and rewards, see config.offline. Known limit: one correct answer a prompt.
"""

from typing import NamedTuple, Protocol

import numpy as np

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import FileTask
from maxent_lm.tasks.tfds import jsonl


class Read(Protocol):
  """The class of the final answer of a text, None without; `finished` says it was not cut."""

  def __call__(self, text: str, finished: bool = True) -> str | None:
    """See above."""
    ...


def _exact(text: str, finished: bool = True) -> str | None:
  return (text.strip() or None) if finished else None


def _number(text: str, finished: bool = True) -> str | None:
  value = equivalence.value(answers.extract(text, finished=finished) or '')
  return None if value is None else str(value)


def _choice(text: str, finished: bool = True) -> str | None:
  return answers.extract_choice(text) if finished else None


VERIFY: dict[str, Read] = {'exact': _exact, 'number': _number, 'choice': _choice}


class Names(NamedTuple):
  """The fields of a row."""

  prompt: str
  answer: str


class Jsonl(FileTask):
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
    self._read, self._names = VERIFY[verify], Names(prompt, answer)
    self.FIELDS = {prompt: 'text', answer: 'text'}
    super().__init__(data_dir=data_dir, split=split, cache_dir=cache_dir, max_problems=max_problems)

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its answer is what the rule reads from the row's answer, its data that answer itself."""
    text = row[self._names.answer]
    gold = self._read(text)
    return None if gold is None else Problem(name, row[self._names.prompt], gold, text)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the rule reads the answer from the response, else 0."""
    return float(self._read(response, finished) == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """What the rule reads."""
    return self._read(response)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The answer of the file."""
    return problem.data
