r"""MBPP: short Python functions from one sentence and a test [Austin et al. 2021].

Worked example (with show_tests=1):

  prompt         'You are an expert Python programmer, and here is your task: Write a function to
                  find the volume of a sphere. Your code should pass these tests:\n\n
                  assert math.isclose(volume_sphere(10), 4188.79...)\n\n[BEGIN]\n'
  demonstration  'import math\ndef volume_sphere(r):\n ...\n[DONE]'
  reward         1 for any response whose program passes all tests, the hidden ones too
  cluster        the tokens of the program: comments and blanks do not count

A response is the program up to [DONE], or its last fenced block. The prompt shows `show_tests` of
the tests, of which there are three (the paper shows all): what is shown can be answered from a
table, so with fewer a program has to be right. Known limits: three tests let wrong programs pass;
clusters are not semantic.

The file is full.jsonl[.gz] or sanitized.jsonl[.gz]: the rows of github.com/google-research
/google-research, mbpp/, each with its `split` (prompt, test, validation, train).
"""

import ast
from typing import Any, NamedTuple

import numpy as np

from maxent_lm.tasks import code_answers
from maxent_lm.tasks.base import Fingerprinted, Problem
from maxent_lm.tasks.code_answers import CodeTask
from maxent_lm.tasks.sandbox import Program
from maxent_lm.tasks.tfds import jsonl

COMMON = {'code': 'text', 'task_id': 'integer', 'test_list': 'texts', 'split': 'text'}
FIELDS = {
  'full': {
    **COMMON,
    **{'text': 'text', 'test_setup_code': 'text', 'challenge_test_list': 'texts'},
  },
  'sanitized': {**COMMON, 'prompt': 'text', 'test_imports': 'texts'},
}
SPLITS = ('train', 'validation', 'test', 'prompt')
# Their tests handle objects of the program, which cannot cross into the process of the tests.
EXCLUDED = frozenset({367, 601, 927})
STOPS = ('[DONE]', '\n```')
PROMPT = (
  'You are an expert Python programmer, and here is your task: {task} '
  'Your code should pass these tests:\n\n{tests}\n\n[BEGIN]\n'
)


class Asked(NamedTuple):
  """What a response is verified with: the tests, and the names that they take from a program."""

  tests: str
  names: tuple[str, ...]


class MBPP(CodeTask, Fingerprinted):
  """The problems of one split of `<data_dir>/<variant>.jsonl[.gz]`, in file order.

  `max_problems` keeps the first ones; `timeout_s` and `memory_mb` bound a program, and
  `minimum_tier` is the weakest sandbox to accept (sandbox/jail.py).

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split or variant, an empty file, a bad line, two rows with one id.
  """

  def __init__(
    self,
    *,
    data_dir: str,
    split: str,
    variant: str = 'full',
    show_tests: int = 1,
    cache_dir: str = '',
    max_problems: int | None = None,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    minimum_tier: str = 'pure',
  ) -> None:
    if split not in SPLITS or variant not in FIELDS:
      raise ValueError(
        f"MBPP has no split '{split}' of a variant '{variant}': choose among {', '.join(SPLITS)} "
        f'and {", ".join(FIELDS)}.'
      )
    path = jsonl.find_file(data_dir, variant)
    self._fingerprint = jsonl.fingerprint(path)
    self._rows = jsonl.open_rows(path, FIELDS[variant], cache_dir=cache_dir)
    mine = [i for i in range(len(self._rows)) if self._wanted(self._rows[i], split)]
    self._indices = mine[:max_problems]
    code_answers.check_ids((self._rows[i]['task_id'] for i in self._indices), path)
    self._show_tests = show_tests
    self._limits = Program(code='', timeout_s=timeout_s, memory_mb=memory_mb)
    super().__init__(minimum_tier)

  def _wanted(self, row: dict[str, Any], split: str) -> bool:
    return row['split'] == split and row['task_id'] not in EXCLUDED

  def fingerprint(self) -> str:
    """Of the file as it was when the task was made."""
    return self._fingerprint

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._indices)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`."""
    if not 0 <= index < len(self):
      raise IndexError(f'MBPP has problems 0 to {len(self) - 1}, not {index}.')
    row = self._rows[self._indices[index]]
    code = row['code'].replace('\r\n', '\n')
    setup = [row.get('test_setup_code', ''), *row.get('test_imports', [])]
    tests = '\n'.join([*setup, *row['test_list'], *row.get('challenge_test_list', [])])
    shown = '\n'.join(row['test_list'][: self._show_tests])
    prompt = PROMPT.format(task=row.get('text') or row.get('prompt'), tests=shown)
    asked = Asked(tests, functions(code, tests))
    return Problem(f'mbpp/{row["task_id"]}', prompt, code, asked)

  def program(self, problem: Problem, response: str) -> Program:
    """The program of a response, with its tests."""
    code = code_answers.fenced(response)
    if code is None:
      code = code_answers.until(response, STOPS)
    tests, names = problem.data
    return self._limits._replace(code=code, tests=tests, names=names)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The reference solution and the end mark."""
    return f'{problem.answer.rstrip()}\n[DONE]'


def functions(code: str, tests: str) -> tuple[str, ...]:
  """What the tests call and the reference solution defines, at its top level."""
  kinds = ast.FunctionDef | ast.ClassDef
  defined = {node.name for node in ast.parse(code).body if isinstance(node, kinds)}
  used = {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)}
  return tuple(sorted(defined & used))
