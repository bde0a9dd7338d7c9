r"""HumanEval: the body of a Python function from its signature and docstring [Chen et al. 2021].

Worked example:

  prompt         'def strlen(string: str) -> int:\n    " Return length of given string ... "\n'
  demonstration  '    return len(string)\n'
  reward         1 for any response whose program passes the hidden tests in the sandbox
  cluster        the tokens of the response: comments and blanks do not count

A response is the rest of the function: it ends where a new top-level statement begins. Or it has a
fenced block, the last one, which is then the program: the whole function, or its rest.

The tests take only the function that is asked for from the program; helpers that the prompt defines
(`poly` of problem 32) are the prompt's own there, or a program could replace the judge. Known
limits: 7.7 tests a problem let some wrong programs pass; clusters are not semantic, so equal
programs written differently are different ones.

The file is test.jsonl[.gz] with the rows of github.com/openai/human-eval, HumanEval.jsonl.gz.
"""

import ast
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import code_answers
from maxent_lm.tasks.base import Fingerprinted, Problem
from maxent_lm.tasks.code_answers import CodeTask
from maxent_lm.tasks.sandbox import Program
from maxent_lm.tasks.tfds import jsonl

FIELDS = dict.fromkeys(('task_id', 'prompt', 'entry_point', 'canonical_solution', 'test'), 'text')
STOPS = ('\ndef ', '\nclass ', '\nif ', '\nprint', '\n#', '\n@', '\nassert', '\n```')


class Asked(NamedTuple):
  """What a response is verified with: the prompt, the function's name, the source of the tests."""

  prompt: str
  name: str
  tests: str


class HumanEval(CodeTask, Fingerprinted):
  """The problems of `<data_dir>/test.jsonl[.gz]`, in file order; there is no other split.

  `max_problems` keeps the first ones; `timeout_s` and `memory_mb` bound a program, and
  `minimum_tier` is the weakest sandbox to accept (sandbox/jail.py).

  Raises:
    FileNotFoundError: the folder or the file is missing.
    ValueError: an unknown split, an empty file, a bad line, two rows with one id.
  """

  def __init__(
    self,
    *,
    data_dir: str,
    split: str = 'test',
    cache_dir: str = '',
    max_problems: int | None = None,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    minimum_tier: str = 'pure',
  ) -> None:
    if split != 'test':
      raise ValueError(f"HumanEval has no split '{split}': choose 'test'.")
    path = jsonl.find_file(data_dir, split)
    self._fingerprint = jsonl.fingerprint(path)
    self._rows = jsonl.open_rows(path, FIELDS, cache_dir=cache_dir)
    self._length = min(len(self._rows), max_problems or len(self._rows))
    code_answers.check_ids((self._rows[i]['task_id'] for i in range(self._length)), path)
    self._limits = Program(code='', timeout_s=timeout_s, memory_mb=memory_mb)
    super().__init__(minimum_tier)

  def fingerprint(self) -> str:
    """Of the file as it was when the task was made."""
    return self._fingerprint

  def __len__(self) -> int:
    """Number of problems."""
    return self._length

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`."""
    if not 0 <= index < self._length:
      raise IndexError(f'HumanEval has problems 0 to {self._length - 1}, not {index}.')
    row = self._rows[index]
    name = row['entry_point']
    tests = f'{helpers(row["prompt"], name)}\n{row["test"]}\ncheck({name})\n'
    asked = Asked(row['prompt'], name, tests)
    return Problem(f'human_eval/{row["task_id"]}', row['prompt'], row['canonical_solution'], asked)

  def program(self, problem: Problem, response: str) -> Program:
    """The program of a response, with its tests."""
    asked = problem.data
    block = code_answers.fenced(response)
    if block is None:
      code = asked.prompt + code_answers.until(response, STOPS)
    elif f'def {asked.name}' in block:
      code = f'{helpers(asked.prompt, asked.name)}\n{block}'
    else:
      code = asked.prompt + block
    return self._limits._replace(code=code, tests=asked.tests, names=(asked.name,))

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The canonical solution."""
    return problem.answer


def helpers(prompt: str, name: str) -> str:
  """The imports and functions of a prompt but the one that is asked for."""
  body = ast.parse(prompt).body
  rest = [node for node in body if not (isinstance(node, ast.FunctionDef) and node.name == name)]
  return '\n'.join(map(ast.unparse, rest))
