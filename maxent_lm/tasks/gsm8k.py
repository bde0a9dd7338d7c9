"""GSM8K: grade-school maths word problems with an integer answer [Cobbe et al. 2021].

Worked example:

  prompt         'Question: Weng earns $12 an hour for babysitting. Yesterday, she just did 50
                  minutes of babysitting. How much did she earn?\nAnswer:'
  demonstration  ' Weng earns 12/60 = $0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 =
                  $10.\n#### 10'
  reward         1 for any response whose final answer (answers.py) is 10, as '... #### $10.00'
  cluster        the final answer as a fraction in lowest terms: '10', '1/5'

The files are train.jsonl and test.jsonl of github.com/openai/grade-school-math, plain or gzipped.
"""

import re
from collections.abc import Iterator
from typing import Any

from maxent_lm.tasks import answers, equivalence
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import AnswerTask, question
from maxent_lm.tasks.tfds import jsonl

CALCULATOR = re.compile(r'<<[^<>]*>>')


class GSM8K(AnswerTask):
  """The problems of `<data_dir>/<split>.jsonl[.gz]`; arguments as `FileTask`."""

  NAME = 'gsm8k'
  FIELDS = {'question': 'text', 'answer': 'text'}

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the gold solution without calculator marks."""
    gold = answers.extract(row['answer'])
    if gold is None or equivalence.value(gold) is None:
      return None
    text = CALCULATOR.sub('', row['answer']).strip()
    return Problem(name, question(row['question']), gold, text)


SOLUTION = {'question': 'text', 'solution': 'text', 'is_correct': 'boolean'}
FINAL_LINE = re.compile(r'^A:[ \t]*', re.MULTILINE)


def model_solutions(path: str) -> Iterator[dict[str, Any]]:
  """Rows of a file of graded solutions as groups, {'prompt', 'completions'}, in the file's order.

  A row has `question`, `solution` and `is_correct`; those of one question become one group, with
  reward 1 or 0. The prompt is the task's own, and a solution is written as the task writes them:
  without calculator marks, `A: N` as `#### N`. The published example_model_solutions.jsonl is about
  the TEST problems: who trains on it has no test set left.

  Raises:
    ValueError: a damaged file or a bad line, with its number.
  """
  groups: dict[str, list[dict[str, Any]]] = {}
  for row in jsonl.read_rows(path, SOLUTION):
    text = FINAL_LINE.sub('#### ', CALCULATOR.sub('', row['solution']).strip())
    completion = {'text': f' {text}', 'reward': float(row['is_correct'])}
    groups.setdefault(question(row['question']), []).append(completion)
  for prompt, completions in groups.items():
    yield {'prompt': prompt, 'completions': completions}
