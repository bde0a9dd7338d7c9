"""What is run and what comes out.

Worked example:

  Program(code='def add(a, b):\n  return a + b', tests='assert add(1, 2) == 3')
  Program(code='print(int(input()) + 1)', cases=(('1\n', '2\n'),))
"""

from typing import NamedTuple

# How a run can end. What is not 'passed' or one of UNKNOWN is a failure of the program.
STATUSES = {
  'passed': 'the tests ran to their end and called the program, or every output was right',
  'failed': 'a test was false or raised; a program on stdin printed something else or raised',
  'timeout': 'more CPU seconds than allowed, or asleep for longer than twice that and 1 s',
  'oom': 'more memory than allowed',
  'syntax': 'not a Python program',
  'candidate_load_error': 'an exception before any function was called',
  'not_plain_data': 'a function returned, or was given, something that cannot cross',
  'output_limit': 'a value or an output that is too large',
  'crashed': 'the process ended itself or its connection',
  'protocol': 'the process wrote to the connection itself',
  'no_calls': 'the tests called no function of the program',
  'invalid_tests': 'the tests are no program, or import what is not there: nothing is known either',
  'infra_error': 'nothing is known about the program: to be masked, never a reward of 0',
}
UNKNOWN = ('invalid_tests', 'infra_error')


class Program(NamedTuple):
  """One program and its tests: Python `tests`, or `cases` of stdin and stdout.

  Attributes:
    code: the program; never trusted.
    tests: Python source whose free names are functions of the program; trusted, and never shown
      to the program. It passes by ending without an exception.
    cases: pairs (stdin, expected stdout); compared line by line, blanks at line ends apart.
    names: the functions that the tests take from the program; () for their free names, which
      are never built-in ones. With names given, a built-in one among them is taken too.
    timeout_s: CPU seconds for the program, and again for the tests.
    memory_mb: MiB of memory beyond those of an idle interpreter.
  """

  code: str
  tests: str = ''
  cases: tuple[tuple[str, str], ...] = ()
  names: tuple[str, ...] = ()
  timeout_s: float = 5.0
  memory_mb: int = 512


class Verdict(NamedTuple):
  """How a run ended: one of STATUSES, and a line for people."""

  status: str
  detail: str = ''

  @property
  def passed(self) -> bool:
    """Whether the program is right."""
    return self.status == 'passed'

  @property
  def reward(self) -> float | None:
    """1 or 0, or None where the run says nothing about the program."""
    return None if self.status in UNKNOWN else float(self.passed)


def check(program: Program) -> None:
  """Raises ValueError for a program that cannot be run as it is described."""
  if bool(program.tests) == bool(program.cases):
    raise ValueError('a program needs either tests or cases of stdin and stdout.')
  if not 0.01 <= program.timeout_s <= 3600 or not 1 <= program.memory_mb <= 2**16:
    raise ValueError(
      f'timeout_s={program.timeout_s} and memory_mb={program.memory_mb}: the first must be '
      'between 0.01 and 3600, the second between 1 and 65536.'
    )
