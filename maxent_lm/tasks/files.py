"""Tasks whose problems are the rows of a local file, with one correct answer each.

Worked example, a task of its own:

  class Sums(AnswerTask):
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
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Fingerprinted, Problem, Undecided
from maxent_lm.tasks.tfds import jsonl

LISTED = 10  # excluded rows that the warning names


class FileTask(Fingerprinted):
  """The problems of `<data_dir>/<file of the split>.jsonl[.gz]`, in file order.

  `max_problems` keeps the first ones. `cache_dir` is where the prepared data goes ('': see
  tfds/jsonl.py).

  Attributes:
    excluded: ids of the rows whose gold answer cannot be read.

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split, an empty file, a bad line, no row that is asked for or none with
      a gold answer.
  """

  NAME: ClassVar[str]  # begins the ids
  FIELDS: Mapping[str, str]  # of a row, see tfds/jsonl.py
  FILES: Mapping[str, str] = MappingProxyType({'train': 'train', 'test': 'test'})  # split -> file

  def __init__(
    self, *, data_dir: str, split: str, cache_dir: str = '', max_problems: int | None = None
  ) -> None:
    if split not in self.FILES:
      known = ' or '.join(f"'{name}'" for name in self.FILES)
      raise ValueError(f"{self.NAME} has no split '{split}': choose {known}.")
    path = jsonl.find_file(data_dir, self.FILES[split])
    self._fingerprint = jsonl.fingerprint(path)
    rows = jsonl.open_rows(path, self.FIELDS, cache_dir=cache_dir)
    self._problems: list[Problem] = []
    excluded = []
    for index in range(len(rows)):
      if len(self._problems) == (max_problems or len(rows)):
        break
      if not self.wanted(row := rows[index]):
        continue
      name = f'{self.NAME}/{split}/{index}'
      problem = self.read(name, row)
      if problem is None:
        excluded.append(name)
      else:
        self._problems.append(problem)
    self.excluded = tuple(excluded)
    self._tell(path)

  def _tell(self, path: str) -> None:
    if not self._problems and not self.excluded:
      raise ValueError(f"no row of '{path}' is asked for: widen the limits of {self.NAME}.")
    if not self._problems:
      raise ValueError(f"no row of '{path}' has a gold answer that can be read: correct the file.")
    if self.excluded:
      named = ', '.join(self.excluded[:LISTED]) + (' ...' if len(self.excluded) > LISTED else '')
      logging.getLogger(__name__).warning(
        "%d rows of '%s' are left out, their gold answers cannot be read: %s",
        len(self.excluded), path, named,
      )  # fmt: skip

  def wanted(self, row: jsonl.Row) -> bool:
    """Whether the row is one of those that are asked for."""
    return True

  @abc.abstractmethod
  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """The problem of a row, with the id `name`; None if its gold answer cannot be read."""

  @abc.abstractmethod
  def cluster(self, problem: Problem, response: str) -> str | None:
    """Canonical class of the final answer, right or wrong."""

  @abc.abstractmethod
  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the final answer is right, else 0."""

  def fingerprint(self) -> str:
    """Of the file as it was when the task was made."""
    return self._fingerprint

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


class AnswerTask(FileTask, Undecided):
  """Final answers are found by answers.py and compared by equivalence.

  Where the gold answer is a number, the final one has to be a number, too: an expression that has
  the right value, such as 6 * 7 or the question itself, is not worked out. A cut response is graded
  like any other, but for an answer right at the cut.
  """

  def agree(self, problem: Problem, final: str) -> bool:
    """Whether a final answer is right."""
    return same(problem.answer, final)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the final answer of the response is the gold answer, else 0."""
    final = answers.extract(response, finished=finished)
    return float(final is not None and self.agree(problem, final))

  def undecided(self, problem: Problem, response: str, finished: bool) -> bool:
    """Whether the final answer is not understood, or cannot be compared with the gold answer."""
    final = answers.extract(response, finished=finished)
    return final is not None and left_open(problem.answer, final)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """A name for what the final answer says; what is right has the class of the gold answer."""
    final = answers.extract(response)
    if final is None:
      return None
    return equivalence.label(problem.answer if self.agree(problem, final) else final)


def same(gold: str, final: str) -> bool:
  """Whether two answers are equal, and both are written out if the gold one is a number."""
  if equivalence.value(gold) is not None and equivalence.value(final) is None:
    return False
  return equivalence.equal(gold, final)


def left_open(gold: str, final: str) -> bool:
  """Whether it cannot be told if two answers are the same; `same` then takes them for different."""
  return equivalence.status(gold, final) is equivalence.Status.UNVERIFIABLE


def plain(number: float) -> str:
  """A number as text without exponent, exactly as the shortest text of the float has it."""
  return np.format_float_positional(number, trim='-')


def question(text: str, *more: Any) -> str:
  """The prompt of a word problem."""
  return '\n'.join([f'Question: {text.strip()}', *map(str, more), 'Answer:'])
