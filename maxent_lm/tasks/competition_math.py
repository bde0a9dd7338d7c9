r"""MATH: competition problems with an answer of any form [Hendrycks et al. 2021].

Worked example:

  prompt         'Question: What is the smallest positive perfect cube that can be written as the
                  sum of three consecutive integers?\nAnswer:'
  demonstration  ' The sum of three consecutive integers takes the form $(k-1)+(k)+(k+1)=3k$ and
                  hence is a multiple of 3. ... is $3^3=\boxed{27}$.'
  reward         1 for a response whose final answer (answers.py) says 27 (equivalence):
                  '\boxed{27.0}', 'The answer is $27$.'; 0 for '\boxed{3^3}', not worked out
  cluster        what the final answer says: '27'; '1/2' for \frac12 and 0.5 alike

Any file of rows with `problem` and `solution` will do. `answer` may be left out: then it is what
the last \boxed{} of the solution holds. `level` (5 or 'Level 5') and `subject` or `type` are for
the filters. The training split is train.jsonl, the test split math500.jsonl, the 500 problems of
[Lightman et al. 2023]; both names can be changed.

Some problems ask for nothing but another form ('Simplify $\sqrt{242}$'): on 15 of the 500 a formula
of the question has the value of the answer. A formula that is copied from the question is wrong,
unless the gold answer stands there, too.

Known limits: one that is copied with a change, \sqrt{242} + 0, is right; nor does an answer have to
be worked out where the gold answer is no single number. Drawings are [asy] programs in the text.
What the equality cannot show to be equal earns nothing.
"""

import re
from collections.abc import Sequence

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import AnswerTask, question, same
from maxent_lm.tasks.tfds import jsonl

SUBJECTS = (
  *('Algebra', 'Counting & Probability', 'Geometry', 'Intermediate Algebra', 'Number Theory'),
  *('Prealgebra', 'Precalculus'),
)
LEVELS = (1, 2, 3, 4, 5)
_LAYOUT = re.compile(r'\s|\$|\\[,;!]|\\(?:left|right)(?![a-zA-Z])')


class CompetitionMath(AnswerTask):
  """The problems of `<data_dir>/<train_file or test_file>.jsonl[.gz]`, in file order.

  `levels` and `subjects` say which problems are asked (empty: all, also those without). Other
  arguments as `FileTask`.

  Raises:
    ValueError: as `FileTask`, and for an unknown level or subject.
  """

  NAME = 'math'
  FIELDS = {'problem': 'text', 'solution': 'text'} | dict.fromkeys(
    ('answer', 'level', 'subject', 'type'), 'optional'
  )

  def __init__(
    self,
    *,
    data_dir: str,
    split: str,
    train_file: str = 'train',
    test_file: str = 'math500',
    levels: Sequence[int] = (),
    subjects: Sequence[str] = (),
    cache_dir: str = '',
    max_problems: int | None = None,
  ) -> None:
    for kind, asked, known in (('level', levels, LEVELS), ('subject', subjects, SUBJECTS)):
      for each in asked:
        if each not in known:
          raise ValueError(
            f'MATH has no {kind} {each!r}: choose among {", ".join(map(str, known))}.'
          )
    self.FILES = {'train': train_file, 'test': test_file}
    self._levels, self._subjects = {str(level) for level in levels}, set(subjects)
    super().__init__(data_dir=data_dir, split=split, cache_dir=cache_dir, max_problems=max_problems)

  def wanted(self, row: jsonl.Row) -> bool:
    """Whether level and subject are asked for."""
    level, subject = row['level'].removeprefix('Level ').strip(), row['subject'] or row['type']
    return (not self._levels or level in self._levels) and (
      not self._subjects or subject in self._subjects
    )

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the solution; None without an answer that is understood."""
    solution = row['solution'].strip()
    gold = (row['answer'] or answers.extract_boxed(solution) or '').strip()
    if not gold or not equivalence.readable(gold):
      return None
    stated = answers.extract(solution)
    if stated is None or not same(gold, stated):
      solution = f'{solution}\n\\boxed{{{gold}}}'
    return Problem(name, question(row['problem']), gold, solution)

  def agree(self, problem: Problem, final: str) -> bool:
    """Whether a final answer is right, and no copy of a formula of the question."""
    return same(problem.answer, final) and not copied(problem, final)


def copied(problem: Problem, final: str) -> bool:
  """Whether a formula stands in the question as it is, and the gold answer does not."""
  shown, formula = _plain(problem.prompt), _plain(final)
  return not formula.isalnum() and formula in shown and _plain(problem.answer) not in shown


def _plain(text: str) -> str:
  """Without what is only layout."""
  return _LAYOUT.sub('', text).replace('dfrac', 'frac').replace('tfrac', 'frac')
