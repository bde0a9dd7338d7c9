"""List functions: write a Python expression that computes what the examples show.

Worked example, where four digits stand before '>' and the numbers of the function's value after it:

  prompt    '1495>10 5 -5,1346>10 6 -6,6372>20 2 -2:'
  response  '[min(x)*10,x[-1],-x[3]]'          reward 1, one of 4 modes, its own cluster
  response  '[ min(x)*10,x[-1],-x[3] ]  # so'  the same program: reward 1 and the same cluster
  response  '[10*min(x),x[3],-x[3]]'           reward 1, but not of the language: cluster None
  response  '[x[0]*10,x[3],-x[3]]'             reward 0, its own cluster
  response  '[x[0', 'return x'                   no expression: reward 0, cluster None

A response is one line with one expression in x. It becomes the body of a function that is run, in
the sandbox, on the shown lists and on 24 hidden ones (list_programs.PROBES) that have larger
numbers, some of them twice; so a table of what is shown is wrong. Values must have the right type,
too: True is not 1 and a tuple is no list.

The problems are about the functions of a small language (list_programs.py) all of whose programs
are known. A mode is one program of the language, whatever its blanks and comments, and `modes` is
the number of right ones. The examples are such that one function of the language agrees with them.
A function is in 'train' or in 'test' by what it computes, however it is written: in a test problem
the right function is always a new one.

Known limits: functions of both splits are made of the same parts; lists have four numbers, and a
program outside of the language may be right on all of the tests and wrong on other lists.

Functions on lists, to be found from examples, are a common test of program induction; [Rule 2020,
The child as hacker] has 250 of them, of which these are no copy.
"""

import functools
import io
import itertools
import tokenize
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks import code_answers
from maxent_lm.tasks.base import Batched, Problem, Sandboxed, draw_in_split, stable_hash
from maxent_lm.tasks.list_programs import EXAMPLES, PROBES, Function, functions, in_language, parts
from maxent_lm.tasks.sandbox import Program, shared_sandbox

MAX_CHARACTERS = 200
OPENING, CLOSING = frozenset('([{'), frozenset(')]}')
DRAWS = 100  # of a function, and of examples until they tell it
WORDS = (tokenize.NAME, tokenize.NUMBER)
SILENT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)


class Asked(NamedTuple):
  """What a response is verified with: the right programs of the language, and the tests."""

  programs: tuple[str, ...]
  tests: str


def canonical(response: str) -> str | None:
  """The expression without comments and needless blanks; None if the text is no expression.

  An expression is on one line and closes its brackets and no others, and so stays inside those that
  `wrapped` puts around it. Works on the tokens: parsing a hostile text may end the process.
  """
  if len(response) > MAX_CHARACTERS or not response.isprintable():
    return None
  try:
    tokens = list(tokenize.generate_tokens(io.StringIO(f'({response}\n)').readline))
  except (tokenize.TokenError, SyntaxError, ValueError):
    return None
  told = [token for token in tokens if token.type not in SILENT]
  depths = itertools.accumulate(_step(token.string) for token in told)
  closed = [place for place, depth in enumerate(depths) if depth <= 0]
  if closed != [len(told) - 1] or len(told) == 2:  # our own bracket, the last token, and no other
    return None
  return _joined(told[1:-1])


def _step(token: str) -> int:
  """How much deeper a token leads into brackets."""
  return (token in OPENING) - (token in CLOSING)


def _joined(tokens: Sequence[tokenize.TokenInfo]) -> str:
  """The tokens, with a blank before a word that follows another or a closing bracket."""
  text, ended = '', False
  for token in tokens:
    word = token.type in WORDS
    text += f' {token.string}' if ended and word else token.string
    ended = word or token.string in CLOSING
  return text


def wrapped(response: str) -> str:
  """The program of an expression: the function `f`."""
  return f'def f(x):\n  return ({response}\n)\n'


def tests(function: Function, shown: Sequence[int]) -> str:
  """Python that runs `f` on the shown and on all hidden lists."""
  inputs = [EXAMPLES[i] for i in shown] + list(PROBES)
  columns = [[part.shown[i] for i in shown] + list(part.hidden) for part in function.parts]
  outputs = [repr(list(row)) for row in zip(*columns, strict=True)]
  pairs = [(list(x), y) for x, y in zip(inputs, outputs, strict=True)]
  return f'for x, y in {pairs}:\n  assert repr(f(x)) == y'


class ListFunctions(Batched, Sandboxed):
  """`size` problems about the functions of a language of programs.

  Asked for are functions of `elements` parts with min_modes to max_modes programs; each is as
  likely as any other, then `shown` examples are drawn. `timeout_s` and `memory_mb` bound a program,
  `minimum_tier` is the weakest sandbox to accept (sandbox/jail.py).

  Raises:
    ValueError: an unknown split, sizes that make no problem, or no function is left.
  """

  def __init__(
    self,
    *,
    split: str,
    elements: int = 3,
    shown: int = 3,
    min_modes: int = 2,
    max_modes: int = 32,
    test_fraction: float = 0.2,
    size: int = 20_000,
    seed: int = 0,
    timeout_s: float = 1.0,
    memory_mb: int = 128,
    minimum_tier: str = 'pure',
  ) -> None:
    if not 1 <= elements <= 3 or not 1 <= shown <= 16 or size < 1:
      raise ValueError(
        f'ListFunctions: elements={elements} must be 1 to 3, shown={shown} 1 to 16 and '
        f'size={size} at least 1.'
      )
    self._asked = [
      function for function in functions(elements) if min_modes <= function.modes <= max_modes
    ]
    if not self._asked:
      raise ValueError(
        f'ListFunctions: no function of {elements} elements has {min_modes} to {max_modes} '
        'programs: widen the limits.'
      )
    self._values = np.array([part.shown for part in parts()])
    self._shown, self._size, self._seed = shown, size, seed
    self._split, self._test_fraction = split, test_fraction
    self._limits = Program(code='', timeout_s=timeout_s, memory_mb=memory_mb)
    self._minimum_tier = minimum_tier
    self[0]  # refuses now what it would refuse later

  def __len__(self) -> int:
    """Number of problems."""
    return self._size

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its answer is the simplest right program of the language."""
    if not 0 <= index < self._size:
      raise IndexError(f'ListFunctions has problems 0 to {self._size - 1}, not {index}.')
    function, shown = draw_in_split(
      self._draw,
      lambda drawn: name(drawn[0]),
      split=self._split,
      test_fraction=self._test_fraction,
      seed=self._seed,
      index=index,
    )
    lines = (_line(EXAMPLES[i], _value(function, i)) for i in shown)
    programs = function.programs
    title = f'{name(function)}/{".".join(map(str, shown))}'
    asked = Asked(programs, tests(function, shown))
    return Problem(title, f'{",".join(lines)}:', programs[0], asked)

  def _draw(self, rng: np.random.Generator) -> tuple[Function, tuple[int, ...]]:
    """A function, and examples that tell it."""
    for _ in range(DRAWS):
      function = self._asked[int(rng.integers(len(self._asked)))]
      for _ in range(DRAWS):
        shown = rng.choice(len(EXAMPLES), self._shown, replace=False)
        if self._tell(function, shown):
          return function, tuple(shown.tolist())
    raise ValueError(f'ListFunctions: shown={self._shown} examples tell no function: show more.')

  def _tell(self, function: Function, shown: np.ndarray) -> bool:
    """Whether no other part of the language agrees with one of the function's."""
    values = self._values[:, shown]
    own = np.array([_value(function, i) for i in shown]).T
    return bool(((values[:, None] == own[None, :]).all(axis=2).sum(axis=0) == 1).all())

  def program(self, problem: Problem, response: str) -> Program:
    """The program of a response, with its tests."""
    return self._limits._replace(code=wrapped(response), tests=problem.data.tests, names=('f',))

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response computes the function, else 0.

    Raises:
      SandboxFault: twice, the run said nothing about the program.
      SandboxUnavailable: code is not run on this machine.
    """
    if not finished or canonical(response) is None:
      return 0.0
    return code_answers.reward(self.program(problem, response), self._minimum_tier)

  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """Likewise, in parallel; None where the sandbox failed."""
    rows = [
      row
      for row, (response, ended) in enumerate(zip(responses, finished, strict=True))
      if ended and canonical(response) is not None
    ]
    programs = [self.program(problems[row], responses[row]) for row in rows]
    rewards: list[float | None] = [0.0] * len(responses)
    for row, reward in zip(rows, code_answers.rewards(programs, self._minimum_tier), strict=True):
      rewards[row] = reward
    return rewards

  def tier(self) -> str:
    """The sandbox of this process."""
    return shared_sandbox(self._minimum_tier).tier

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The expression without blanks and comments, right or wrong, if it is in the language."""
    text = canonical(response)
    return text if text is not None and in_language(text) else None

  def modes(self, problem: Problem) -> int:
    """Number of right programs in the language."""
    return len(problem.data.programs)

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A right program of the language, uniformly."""
    programs = problem.data.programs
    return programs[int(rng.integers(len(programs)))]


def name(function: Function) -> str:
  """Names a function by what it does."""
  return _name(tuple(part.spellings[0] for part in function.parts))


@functools.cache
def _name(spelled: tuple[str, ...]) -> str:
  """Likewise, by a spelling of each part; written out, a part has thousands of numbers."""
  done = ', '.join(_done(part) for part in spelled)
  return f'{stable_hash(f"[{done}]"):016x}'


@functools.cache
def _done(spelled: str) -> str:
  """What a part does on all lists."""
  part = next(part for part in parts() if part.spellings[0] == spelled)
  return repr((part.shown, part.hidden))


def _value(function: Function, example: int) -> tuple[int, ...]:
  return tuple(part.shown[example] for part in function.parts)


def _line(numbers: Sequence[int], value: Sequence[int]) -> str:
  return f'{"".join(map(str, numbers))}>{" ".join(map(str, value))}'
