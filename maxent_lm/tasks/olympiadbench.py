r"""OlympiadBench: open-ended mathematics of olympiads, in English, text only [He et al. 2024].

Worked example:

  prompt         'Question: Determine all integer values of $x$ such that $\left(x^{2}-3\right)
                  \left(x^{2}+5\right)<0$.\nGive all answers, separated by commas.\nAnswer:'
  demonstration  ' Since $x^{2} \geq 0$ for all $x, ... Thus $x=-1,0,1$.\n\boxed{-1,0,1}'
  reward         1 for a response whose final answer (answers.py) says -1, 0 and 1, in any order
                  (equivalence): '\boxed{1, 0, -1}', 'The answer is $x = 0$ or $x = \pm 1$.'
  cluster        what the final answer says; what is right has the class of the gold answer

A problem may have several answers (`is_multiple_answer`), which then are all to be given; their
order does not count. Its `unit` is asked for in the prompt, and may be left out of the answer, but
not replaced by another. Where the file gives an `error`, a number is right within it.

The file is that of OE_TO_maths_en_COMP as test.jsonl: rows with `question`, `context`, `solution`
and `final_answer`, lists of texts, and the fields above. Known limits: three gold answers of 675
are not understood and left out (named angles, a family of functions, a misprint); an `error` is not
known for several answers at once; only a single number has to be worked out (files.py).
"""

import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import AnswerTask, question, same
from maxent_lm.tasks.tfds import jsonl

DELIMITER = re.compile(r'(?<!\\)\$')
ALL_ANSWERS = 'Give all answers, separated by commas.'


class Asked(NamedTuple):
  """What a demonstration and the verdict need: the solution, the unit, the tolerance (0: exact)."""

  solution: str
  unit: str
  error: Fraction


class OlympiadBench(AnswerTask):
  """The problems of `<data_dir>/test.jsonl[.gz]`; arguments as `FileTask`."""

  NAME = 'olympiadbench'
  FIELDS = {
    'question': 'text',
    'solution': 'texts',
    'final_answer': 'texts',
    'is_multiple_answer': 'boolean',
    'context': 'optional',
    'unit': 'optional',
    'error': 'optional',
  }

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its answer is what stands in the box of a demonstration."""
    gold = ', '.join(text.strip() for text in row['final_answer'])
    error = Fraction(0) if not row['error'] else equivalence.value(row['error'])
    known = equivalence.readable(gold) and error is not None and error >= 0
    if not known or (error and equivalence.value(gold) is None):
      return None
    unit = row['unit'].replace('$', '').strip()
    more = [f'Unit of the answer: {unit}'] if unit else []
    more += [ALL_ANSWERS] if row['is_multiple_answer'] else []
    prompt = question(f'{row["context"]}\n{row["question"]}', *more)
    box = f'\\boxed{{{DELIMITER.sub("", gold)}}}'
    solution = '\n'.join([*(text.strip() for text in row['solution'][:1]), box])
    return Problem(name, prompt, gold, Asked(solution, unit, error or Fraction(0)))

  def agree(self, problem: Problem, final: str) -> bool:
    """Equal, or a number within the tolerance; with the unit that is asked for, or none."""
    _, wanted, error = problem.data
    given = equivalence.unit(final)
    if wanted and given and given != equivalence.unit(f'1 {wanted}'):
      return False
    if not error:
      return same(problem.answer, final)
    gold, got = equivalence.value(problem.answer), equivalence.value(final)
    return gold is not None and got is not None and abs(gold - got) <= error

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The first solution of the file, with the answer in a box, and a space before it."""
    return f' {problem.data.solution}'
