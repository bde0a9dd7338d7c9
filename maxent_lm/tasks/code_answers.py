"""Programs in responses: where one ends, which ones are the same, what one is worth.

Worked example:

  fenced('So:\n```python\ndef f(x):\n  return x\n```')    'def f(x):\n  return x\n'
  until('  return x\n\ndef g():', ('\ndef ',))            '  return x\n'
  same('return x+1  # one more')                          same('return x + 1')
"""

import abc
import collections
import functools
import hashlib
import io
import re
import threading
import tokenize
from collections.abc import Iterable, Sequence

from maxent_lm.tasks.base import Batched, Problem, Sandboxed, Task
from maxent_lm.tasks.sandbox import Program, Sandbox, SandboxFault, Verdict, shared_sandbox
from maxent_lm.tasks.sandbox.jail import TIERS

MAX_CHARACTERS = 2**16
BY_CHANCE = ('infra_error', 'timeout', 'oom')  # may be another on an idle machine
FENCE = re.compile(r'^```[\w+-]*[ \t]*\n(.*?)^```', re.MULTILINE | re.DOTALL)
SILENT = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
LAYOUT = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)


def fenced(response: str) -> str | None:
  """The last fenced block that is closed; None without one."""
  blocks = FENCE.findall(response[-MAX_CHARACTERS:])
  return blocks[-1] if blocks else None


def until(response: str, stops: tuple[str, ...]) -> str:
  """The response up to the first of the stop texts, with its last line ended."""
  places = [place for place in map(response.find, stops) if place >= 0]
  return response[: min(places, default=len(response))].rstrip() + '\n'


def same(code: str) -> str | None:
  """A name that programs share if they differ in comments and blanks only; None for no program.

  Works on the tokens: parsing a hostile program may end the process that does it. Takes time linear
  in the length: it stops at the first text that is no token, as after a stray quote every further
  one would have the rest of its line read again.
  """
  if len(code) > MAX_CHARACTERS or '\0' in code:
    return None
  told = []
  try:
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
      if token.type == tokenize.ERRORTOKEN:
        return None
      if token.type not in SILENT:
        told.append((token.type, '' if token.type in LAYOUT else token.string))
  except (tokenize.TokenError, SyntaxError, ValueError):
    return None
  return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def weakest_tier(*tasks: Task) -> str:
  """The weakest sandbox that one of the tasks is run in; '' if none runs anything.

  Raises:
    SandboxUnavailable: none that is strong enough works on this machine.
  """
  tiers = {task.tier() for task in tasks if isinstance(task, Sandboxed)} - {''}
  return max(tiers, key=TIERS.index, default='')


def check_ids(ids: Iterable[str | int], path: str) -> None:
  """Raises ValueError if two rows of the file say that they are the same problem."""
  twice = [name for name, count in collections.Counter(ids).items() if count > 1]
  if twice:
    raise ValueError(
      f"{len(twice)} ids stand on several rows of '{path}', the first one is {twice[0]}: correct "
      'or remove them.'
    )


class Grader:
  """Grades programs in `sandbox`, many at a time and each different one once.

  Verdicts of the last `size` programs are remembered, but those that a busy machine could have
  brought about.
  """

  def __init__(self, sandbox: Sandbox, *, size: int = 2**16) -> None:
    self._sandbox, self._size = sandbox, size
    self._known: collections.OrderedDict[bytes, Verdict] = collections.OrderedDict()
    self._lock = threading.Lock()

  def verdicts(self, programs: Sequence[Program]) -> list[Verdict]:
    """In the order of the programs."""
    names = [_digest(program) for program in programs]
    with self._lock:
      found = {name: self._known[name] for name in names if name in self._known}
    new = {name: each for name, each in zip(names, programs, strict=True) if name not in found}
    found |= zip(new, self._sandbox.run_all(new.values()), strict=True)
    with self._lock:
      for name in dict.fromkeys(names):
        self._remember(name, found[name])
    return [found[name] for name in names]

  def _remember(self, name: bytes, verdict: Verdict) -> None:
    if verdict.status in BY_CHANCE:
      return
    self._known[name] = verdict
    self._known.move_to_end(name)
    if len(self._known) > self._size:
      self._known.popitem(last=False)


def _digest(program: Program) -> bytes:
  return hashlib.sha256(repr(program).encode('utf-8', 'surrogatepass')).digest()


@functools.cache
def shared_grader(minimum_tier: str) -> Grader:
  """The one grader of this process for that tier."""
  return Grader(shared_sandbox(minimum_tier))


def rewards(programs: Sequence[Program], minimum_tier: str) -> list[float | None]:
  """1 for each program that passes its tests in the sandbox, 0 for one that does not.

  None: twice, the run said nothing about the program.
  """
  return [verdict.reward for verdict in shared_grader(minimum_tier).verdicts(programs)]


def reward(program: Program, minimum_tier: str) -> float:
  """`rewards` of one program.

  Raises:
    SandboxFault: twice, the run said nothing about the program.
    SandboxUnavailable: code is not run on this machine.
  """
  (verdict,) = shared_grader(minimum_tier).verdicts([program])
  if verdict.reward is None:
    raise SandboxFault(verdict.detail)
  return verdict.reward


class CodeTask(Batched, Sandboxed):
  """A task whose responses are programs, right if their tests pass and equal if their tokens are.

  `minimum_tier` is the weakest sandbox to accept.
  """

  def __init__(self, minimum_tier: str) -> None:
    self._minimum_tier = minimum_tier

  @abc.abstractmethod
  def program(self, problem: Problem, response: str) -> Program:
    """The program of a response, with its tests."""

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the program passes, else 0; a cut response is graded like any other."""
    del finished
    return reward(self.program(problem, response), self._minimum_tier)

  def rewards(
    self, problems: Sequence[Problem], responses: Sequence[str], finished: Sequence[bool]
  ) -> list[float | None]:
    """Likewise, in parallel; None where the sandbox failed."""
    del finished
    programs = list(map(self.program, problems, responses))
    return rewards(programs, self._minimum_tier)

  def tier(self) -> str:
    """The sandbox of this process."""
    return shared_sandbox(self._minimum_tier).tier

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The tokens of the program."""
    return same(self.program(problem, response).code)

  def modes(self, problem: Problem) -> int | None:
    """Unknown: a function can be written in many ways."""
    return None
