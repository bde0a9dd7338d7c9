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

import numpy as np

from maxent_lm.tasks import answers
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.tfds import jsonl

FIELDS = {'question': 'text', 'answer': 'text'}
CALCULATOR = re.compile(r'<<[^<>]*>>')


class GSM8K:
  """The problems of `<data_dir>/<split>.jsonl[.gz]`, in file order.

  `max_problems` keeps the first ones. `cache_dir` is where the prepared data goes ('': see
  tfds/jsonl.py). A cut response is graded like any other, but a number right at the cut may have
  gone on: it counts for nothing.

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split, an empty file, a bad line, a gold answer that is no number.
  """

  def __init__(
    self, *, data_dir: str, split: str, cache_dir: str = '', max_problems: int | None = None
  ) -> None:
    if split not in ('train', 'test'):
      raise ValueError(f"GSM8K has no split '{split}': choose 'train' or 'test'.")
    path = jsonl.find_file(data_dir, split)
    self._split = split
    self._rows = jsonl.open_rows(path, FIELDS, cache_dir=cache_dir)
    self._length = min(len(self._rows), max_problems or len(self._rows))

  def __len__(self) -> int:
    """Number of problems."""
    return self._length

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data is the gold answer text without calculator marks."""
    if not 0 <= index < self._length:
      raise IndexError(f'GSM8K has problems 0 to {self._length - 1}, not {index}.')
    row = self._rows[index]
    gold = answers.extract_final(row['answer'])
    if gold is None:
      raise ValueError(
        f"row {index} of GSM8K's {self._split} split has no final answer: remove it."
      )
    text = CALCULATOR.sub('', row['answer']).strip()
    return Problem(f'gsm8k/{self._split}/{index}', _prompt(row['question']), gold, text)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the final answer of the response equals the gold answer, else 0."""
    final = answers.extract_final(response)
    if final is None or (not finished and response.endswith(final)):
      return 0.0
    return float(answers.equal(problem.answer, final))

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The final answer in lowest terms."""
    value = answers.parse_number(answers.extract_final(response) or '')
    return None if value is None else str(value)

  def modes(self, problem: Problem) -> int:
    """One: every correct response has the same final answer."""
    return 1

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The gold solution, ending in `#### N`, with a space before it."""
    return ' ' + problem.data


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
    groups.setdefault(_prompt(row['question']), []).append(completion)
  for prompt, completions in groups.items():
    yield {'prompt': prompt, 'completions': completions}


def _prompt(question: str) -> str:
  return f'Question: {question.strip()}\nAnswer:'
