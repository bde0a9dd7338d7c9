"""Tasks whose problems are the rows of a local file, with one correct answer each.

Worked example, a task of its own:

  class Sums(NumberTask):
    NAME, FIELDS, FILES = 'sums', {'text': 'text', 'sum': 'text'}, {'test': 'test'}

    def read(self, name, row):
      return Problem(name, f'{row["text"]} =', row['sum'], row['sum'])

Every row is read when the task is made, and one whose gold answer cannot be read is left out: it is
listed in `excluded`, by the id that it would have had, and a warning tells of it. So no problem is
asked that no response could solve.
"""

import abc
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from maxent_lm.tasks import answers
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.tfds import jsonl

LISTED = 10  # excluded rows that the warning names


class FileTask(abc.ABC):
  """The problems of `<data_dir>/<file of the split>.jsonl[.gz]`, in file order.

  `max_problems` keeps the first ones. `cache_dir` is where the prepared data goes ('': see
  tfds/jsonl.py).

  Attributes:
    excluded: ids of the rows whose gold answer cannot be read.

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split, an empty file, a bad line, no row with a gold answer.
  """

  NAME: ClassVar[str]  # begins the ids
  FIELDS: Mapping[str, str]  # of a row, see tfds/jsonl.py
  FILES: ClassVar[Mapping[str, str]] = {'train': 'train', 'test': 'test'}  # split -> file

  def __init__(
    self, *, data_dir: str, split: str, cache_dir: str = '', max_problems: int | None = None
  ) -> None:
    if split not in self.FILES:
      known = ' or '.join(f"'{name}'" for name in self.FILES)
      raise ValueError(f"{self.NAME} has no split '{split}': choose {known}.")
    path = jsonl.find_file(data_dir, self.FILES[split])
    rows = jsonl.open_rows(path, self.FIELDS, cache_dir=cache_dir)
    self._problems: list[Problem] = []
    excluded = []
    for index in range(len(rows)):
      if len(self._problems) == (max_problems or len(rows)):
        break
      name = f'{self.NAME}/{split}/{index}'
      problem = self.read(name, rows[index])
      if problem is None:
        excluded.append(name)
      else:
        self._problems.append(problem)
    self.excluded = tuple(excluded)
    self._tell(path)

  def _tell(self, path: str) -> None:
    if not self._problems:
      raise ValueError(f"no row of '{path}' has a gold answer that can be read: correct the file.")
    if self.excluded:
      named = ', '.join(self.excluded[:LISTED]) + (' ...' if len(self.excluded) > LISTED else '')
      logging.getLogger(__name__).warning(
        "%d rows of '%s' are left out, their gold answers cannot be read: %s",
        len(self.excluded), path, named,
      )  # fmt: skip

  @abc.abstractmethod
  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """The problem of a row, with the id `name`; None if its gold answer cannot be read."""

  @abc.abstractmethod
  def cluster(self, problem: Problem, response: str) -> str | None:
    """Canonical class of the final answer, right or wrong."""

  @abc.abstractmethod
  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the final answer is right, else 0."""

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._problems)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`."""
    if not 0 <= index < len(self):
      raise IndexError(f'{self.NAME} has problems 0 to {len(self) - 1}, not {index}.')
    return self._problems[index]

  def modes(self, problem: Problem) -> int | None:
    """One: every correct response has the same final answer."""
    return 1

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The solution of the file, which the problem has as its data, with a space before it."""
    return f' {problem.data}'


class NumberTask(FileTask):
  """Answers are numbers, read from a response by answers.py.

  A cut response is graded like any other, but a number right at the cut may have gone on: it counts
  for nothing.
  """

  def agree(self, gold: str, final: str) -> bool:
    """Whether a final answer is right."""
    return answers.equal(gold, final)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the final answer of the response is the gold answer, else 0."""
    final = answers.extract_final(response)
    if final is None or (not finished and response.endswith(final)):
      return 0.0
    return float(self.agree(problem.answer, final))

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The final answer in lowest terms; what is right has the class of the gold answer."""
    final = answers.extract_final(response)
    if final is not None and self.agree(problem.answer, final):
      final = problem.answer
    value = answers.parse_number(final or '')
    return None if value is None else str(value)


def plain(number: float) -> str:
  """A number as text without exponent, exactly as the shortest text of the float has it."""
  return np.format_float_positional(number, trim='-')


def question(text: str, *more: Any) -> str:
  """The prompt of a word problem."""
  return '\n'.join([f'Question: {text.strip()}', *map(str, more), 'Answer:'])
