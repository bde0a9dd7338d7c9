r"""BIG-Bench Hard: 27 kinds of short questions on language and logic [Suzgun et al. 2023].

Worked example, subtask boolean_expressions:

  prompt         'Question: not ( True ) and ( True ) is\nAnswer:'
  demonstration  ' #### False'
  reward         1 for a response that settles on False: '#### false', '\boxed{False}', 'False'
  cluster        what it settles on: 'False'; None for '#### True or False'

How the answers of a subtask are read (SUBTASKS, by answers.py):

  a letter       (A) to (R), of the options that the question lists
  a word         one of two: True/False, Yes/No, yes/no, valid/invalid
  a number       as in grade-school problems; the expression of the question is no answer
  words          in their order (word_sorting); commas between them do not count
  brackets       in their order (dyck_languages); spaces between them do not count

The file is test.jsonl, rows with `task`, `input` and `target`: bbh/*.json of
github.com/suzgunmirac/BIG-Bench-Hard, 187 to 250 questions each (penguins_in_a_table: 146,
snarks: 178). Questions that do not list their target among two options or more are left out: one of
movie_recommendation, two of ruin_names, one of snarks.

Known limits: two options can be guessed; an answer named by its text instead of its letter is not
read; ruin_names, snarks, causal_judgement and disambiguation_qa ask for the judgement of people.
"""

import re
from collections.abc import Callable

import numpy as np

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import FileTask, question
from maxent_lm.tasks.tfds import jsonl

Read = Callable[[str], str | None]  # what a response answers, in one spelling

LETTERS = 'ABCDEFGHIJKLMNOPQR'
BRACKETS = '()[]{}<>'


def _letter(response: str) -> str | None:
  letter = answers.extract_choice(response, LETTERS)
  return f'({letter})' if letter else None


def _word(*words: str) -> Read:
  return lambda response: answers.extract_word(response, words)


def _number(response: str) -> str | None:
  value = equivalence.value(answers.extract(response) or '')
  return None if value is None else str(value)


def _said(response: str) -> str:
  """Where the answer is stated; a response of one line is one itself."""
  line = answers.stated(response)
  alone = response.strip()
  return line if line is not None else alone if '\n' not in alone else ''


def _words(response: str) -> str | None:
  found = re.split(r'[\s,]+', _said(response[-answers.MAX_TEXT :]).strip(' ,.*'))
  return ' '.join(found).lower() or None


def _brackets(response: str) -> str | None:
  found = re.sub(r'[\s\\*]|\.$', '', _said(response[-answers.MAX_TEXT :]))
  return ' '.join(found) if found and set(found) <= set(BRACKETS) else None


CHOICES = """
  date_understanding disambiguation_qa geometric_shapes hyperbaton logical_deduction_five_objects
  logical_deduction_seven_objects logical_deduction_three_objects movie_recommendation
  penguins_in_a_table reasoning_about_colored_objects ruin_names
  salient_translation_error_detection snarks temporal_sequences
  tracking_shuffled_objects_five_objects tracking_shuffled_objects_seven_objects
  tracking_shuffled_objects_three_objects
""".split()
SUBTASKS: dict[str, Read] = {
  **dict.fromkeys(CHOICES, _letter),
  'boolean_expressions': _word('True', 'False'),
  'causal_judgement': _word('Yes', 'No'),
  'dyck_languages': _brackets,
  'formal_fallacies': _word('valid', 'invalid'),
  'multistep_arithmetic_two': _number,
  'navigate': _word('Yes', 'No'),
  'object_counting': _number,
  'sports_understanding': _word('yes', 'no'),
  'web_of_lies': _word('Yes', 'No'),
  'word_sorting': _words,
}


class BBH(FileTask):
  """The questions of one `subtask` in `<data_dir>/test.jsonl[.gz]`; arguments as `FileTask`.

  Raises:
    ValueError: as `FileTask`, and for an unknown subtask.
  """

  NAME = 'bbh'
  FIELDS = {'task': 'text', 'input': 'text', 'target': 'text'}

  def __init__(
    self,
    *,
    data_dir: str,
    split: str,
    subtask: str = 'boolean_expressions',
    cache_dir: str = '',
    max_problems: int | None = None,
  ) -> None:
    if subtask not in SUBTASKS:
      raise ValueError(
        f"BBH has no subtask '{subtask}': choose among {', '.join(sorted(SUBTASKS))}."
      )
    self._subtask, self._read = subtask, SUBTASKS[subtask]
    super().__init__(data_dir=data_dir, split=split, cache_dir=cache_dir, max_problems=max_problems)

  def wanted(self, row: jsonl.Row) -> bool:
    """Whether the row is one of the subtask."""
    return row['task'] == self._subtask

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the target as it is in the file; None for what is no option of the question."""
    asked, target = row['input'].strip(), row['target'].strip()
    gold = self._read(f'#### {target}')
    if gold is None or (self._read is _letter and not {gold, '(B)'} <= set(asked.split())):
      return None
    return Problem(name, question(asked), gold, target)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response settles on the gold answer; one that was cut might have gone on."""
    return float(finished and self._read(response) == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """What the response settles on."""
    return self._read(response)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The target, behind its mark."""
    return f' #### {problem.data}'
