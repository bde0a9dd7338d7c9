"""AQuA-RAT: algebra word problems with five choices and a rationale [Ling et al. 2017].

Worked example:

  prompt         'Question: Find out which of the following values is the multiple of X, if it is
                  divisible by 9 and 12?\nOptions: A) 36 B) 15 C) 17 D) 5 E) 7\nAnswer:'
  demonstration  ' 9=3*3\n12=3*4\n ... So, 36 is the multiple of X\n#### A'
  reward         1 for a response that chooses A: '#### A', 'The answer is (A) 36.', 'A'
  cluster        the letter that is chosen: 'A'; None for '36', '#### A or B', 'A nice problem'

A choice is the only capital letter of an option that stands alone on the line after the last
`####`, else after the last `answer is` or `answer:`; a response without these marks must be the
letter itself, in brackets or not. Two different letters there are no choice: hedging earns nothing.

Files are train.jsonl, dev.jsonl and test.jsonl of github.com/google-deepmind/AQuA. Known limits:
a choice named by its value alone is not read; guessing is right on a fifth of the problems, for
reasons that need not be any; the rationales are people's and some are poor, but end in their letter
here.
"""

import re

from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import FileTask, question
from maxent_lm.tasks.tfds import jsonl

LETTERS = 'ABCDE'
MAX_TEXT = 1 << 14  # characters at the end of a response that are searched
HARD_MARK = '####'
SOFT_MARK = re.compile(r'\banswer is\b|\banswer\s?:', re.IGNORECASE)
LETTER = re.compile(rf"(?<![\w'])[{LETTERS}](?![\w'])")
ALONE = re.compile(rf'\(?([{LETTERS}])\)?\.?')


def choice(response: str) -> str | None:
  """The letter that a response chooses, as described above."""
  text = response[-MAX_TEXT:]
  _, mark, tail = text.rpartition(HARD_MARK)
  marks = [] if mark else list(SOFT_MARK.finditer(text))
  if marks:
    tail = text[marks[-1].end() :]
  if not mark and not marks:
    alone = ALONE.fullmatch(text.strip())
    return alone[1] if alone else None
  letters = set(LETTER.findall(tail.lstrip().partition('\n')[0]))
  return letters.pop() if len(letters) == 1 else None


class AquaRat(FileTask):
  """The problems of `<data_dir>/<split>.jsonl[.gz]`; arguments as `FileTask`."""

  NAME = 'aqua_rat'
  FIELDS = {'question': 'text', 'options': 'texts', 'rationale': 'text', 'correct': 'text'}
  FILES = {'train': 'train', 'dev': 'dev', 'test': 'test'}

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the rationale and the letter; None unless the options are A) to E), with text."""
    options = [option.strip() for option in row['options']]
    begins = [option[:2] for option in options] == [f'{letter})' for letter in LETTERS]
    if not begins or not all(option[2:].strip() for option in options):
      return None
    gold = row['correct'].strip()
    if gold not in LETTERS or len(gold) != 1:
      return None
    listed = ' '.join(f'{option[:2]} {option[2:].strip()}' for option in options)
    prompt = question(row['question'], f'Options: {listed}')
    return Problem(name, prompt, gold, f'{row["rationale"].strip()}\n{HARD_MARK} {gold}')

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response chooses the right letter; one that was cut might have gone on to hedge."""
    return float(finished and choice(response) == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The letter that is chosen."""
    return choice(response)
