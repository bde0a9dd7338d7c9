"""GSM-hard: the GSM8K test problems with large numbers in them [Gao et al. 2023, PAL].

Worked example:

  prompt         'Question: A robe takes 2287720 bolts of blue fiber and half that much white fiber.
                  How many bolts in total does it take?\nAnswer:'
  demonstration  ' #### 3431580'
  reward         1 for any response whose final answer (answers.py) is 3431580, as '3,431,580.00'
  cluster        the final answer as a fraction in lowest terms: '3431580'

The file is gsmhardv2.jsonl of github.com/reasoning-machines/pal, as test.jsonl: 1,319 problems. A
whole answer must be met exactly. The others, 303, are floating-point results of a program: a final
answer is right within 0.001 of one, as published, and within a thousandth part of it, which the
published test does not ask: it takes 0 for 0.0000020107.

Known limits: the problems were made by replacing one number by machine. Some have become nonsense
(negative earnings, parts of eggs), and in some the number was replaced in more places of the text
than of the program, so that the gold answer is wrong ('sprints 1793815 sprints 1793815 times a
week', but three times in the program). There are no worked solutions in words; a demonstration is
the answer.
"""

from fractions import Fraction

from maxent_lm.tasks import equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import AnswerTask, plain, question
from maxent_lm.tasks.tfds import jsonl

TOLERANCE = Fraction(1, 1000)  # absolute and relative


class GSMHard(AnswerTask):
  """The problems of `<data_dir>/test.jsonl[.gz]`; arguments as `FileTask`."""

  NAME = 'gsm_hard'
  FIELDS = {'input': 'text', 'target': 'number'}

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the answer behind its mark."""
    gold = plain(row['target'])
    if equivalence.value(gold) is None:
      return None
    return Problem(name, question(row['input']), gold, f'#### {gold}')

  def agree(self, problem: Problem, final: str) -> bool:
    """Equal if the gold answer is whole, else close."""
    wanted, got = equivalence.value(problem.answer), equivalence.value(final)
    if wanted is None or got is None:
      return False
    whole = wanted.denominator == 1
    return wanted == got if whole else abs(wanted - got) <= TOLERANCE * min(1, abs(wanted))
