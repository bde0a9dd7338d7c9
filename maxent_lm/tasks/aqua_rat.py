"""AQuA-RAT: algebra word problems with five choices and a rationale [Ling et al. 2017].

Worked example:

  prompt         'Question: Find out which of the following values is the multiple of X, if it is
                  divisible by 9 and 12?\nOptions: A) 36 B) 15 C) 17 D) 5 E) 7\nAnswer:'
  demonstration  ' 9=3*3\n12=3*4\n ... So, 36 is the multiple of X\n#### A'
  reward         1 for a response that chooses A: '#### A', 'The answer is (A) 36.', 'A'
  cluster        the letter that is chosen: 'A'; None for '36', '#### A or B', 'A nice problem'

A choice is the letter that answers.extract_choice finds: first in the box or on the line that
`####` or `answer is` opens; two different letters there are no choice: hedging earns nothing.

Files are train.jsonl, dev.jsonl and test.jsonl of github.com/google-deepmind/AQuA. Known limits:
a choice named by its value alone is not read; guessing is right on a fifth of the problems, for
reasons that need not be any; the rationales are people's and some are poor, but end in their letter
here.
"""

from maxent_lm.tasks import answers
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import FileTask, question
from maxent_lm.tasks.tfds import jsonl

LETTERS = 'ABCDE'


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
    return Problem(name, prompt, gold, f'{row["rationale"].strip()}\n#### {gold}')

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response chooses the right letter; one that was cut might have gone on to hedge."""
    return float(finished and answers.extract_choice(response, LETTERS) == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The letter that is chosen."""
    return answers.extract_choice(response, LETTERS)
