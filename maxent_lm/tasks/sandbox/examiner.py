"""The process of the tests: it calls the candidate over a channel and alone knows the verdict.

Names that the tests use and do not define are functions of the candidate; each becomes a proxy
that sends its arguments and rebuilds the answer from plain data. Built-in names are never taken
from the candidate unless asked for by name, so it cannot replace the `abs` or `all` of a test;
modules of the standard library used as `math.isclose(...)` are the real ones.

Whatever comes from the candidate is a value, an exception of the tests or the end of the run, never
a fault of this process: it is held back from its report (`MAX_DETAIL`), and the board notes that it
was there, so that an end of this process that nobody foresaw counts against the candidate.
"""

import ast
import builtins
import importlib
import json
import mmap
import os
import symtable
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from maxent_lm.tasks.sandbox import wire

# The board, two bytes: who has to move, the candidate or the tests; whether the candidate has been
# heard.
WAITING, WORKING = 1, 0
TURN, HEARD = 0, 1
BOARD_BYTES = 2
MAX_DETAIL = 500  # characters

# Raised in the tests as themselves; others as CandidateError. StopIteration is not among them: it
# would end a `map` or a `next` of the tests early, and an empty rest passes every `all`.
EXCEPTIONS = {
  kind.__name__: kind
  for kind in (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, Exception),
    *(FloatingPointError, IndexError, KeyError, LookupError, NameError, NotImplementedError),
    *(OSError, OverflowError, PermissionError, RecursionError, RuntimeError, TypeError),
    *(UnboundLocalError, ValueError, ZeroDivisionError),
  )
}


# What a candidate may say of itself; never that it passed, or that somebody else is at fault.
CONFESSIONS = ('candidate_load_error', 'syntax', 'oom', 'output_limit', 'not_plain_data')


class CandidateError(Exception):
  """An exception of the candidate that has no class here."""


class Stopped(BaseException):
  """The run is over whatever the tests would say; not an Exception, so no test catches it."""

  def __init__(self, status: str, detail: str) -> None:
    super().__init__(status)
    self.status, self.detail = status, detail[:MAX_DETAIL]


class Candidate:
  """The other process, seen through its channel."""

  def __init__(self, channel: int, board: mmap.mmap) -> None:
    self._channel, self._board = channel, board
    self.calls = 0
    self._over: Stopped | None = None

  def _stop(self, status: str, detail: str) -> NoReturn:
    self._over = Stopped(status, detail)
    raise self._over

  def _receive(self) -> tuple[Any, ...]:
    """The answer to call `self.calls`; a frame of another form ends the run."""
    self._board[TURN], self._board[HEARD] = WAITING, 1
    try:
      answer = wire.receive(self._channel)
    except (EOFError, OSError):
      self._stop('crashed', 'the candidate ended without an answer')
    except wire.TooLarge as error:
      self._stop('output_limit', str(error))
    except wire.WireError as error:
      self._stop('not_plain_data', str(error))
    finally:
      self._board[TURN] = WORKING
    if not _is_answer(answer, self.calls):
      self._stop('protocol', 'the candidate sent something that is no answer')
    return answer

  def loaded(self) -> None:
    """Waits until the candidate's code is defined."""
    self._result(self._receive())

  def _result(self, answer: tuple[Any, ...]) -> Any:
    match answer[1:]:
      case ('value', value):
        return value
      case ('raised', str(name), str(text)):
        raise EXCEPTIONS.get(name, CandidateError)(text)
      case ('stopped', str(status), str(text)) if status in CONFESSIONS:
        self._stop(status, text)
    self._stop('protocol', 'the candidate sent something that is no answer')

  def proxy(self, name: str) -> Callable[..., Any]:
    """A function that calls the candidate's function `name`."""

    def call(*args: Any, **kwargs: Any) -> Any:
      if self._over:  # a test may have caught it with a bare except
        raise self._over
      try:
        data = wire.encode((self.calls + 1, name, list(args), kwargs))
      except wire.WireError as error:
        self._stop('not_plain_data', f'an argument: {error}')
      self.calls += 1
      self._board[TURN] = WAITING  # it may refuse to read, too
      try:
        wire.write_all(self._channel, wire.COUNT.pack(len(data)) + data)
      except OSError:
        self._stop('crashed', 'the candidate is gone')
      return self._result(self._receive())

    call.__name__ = call.__qualname__ = name
    return call

  def check_over(self) -> None:
    """Raises what ended the run, if a test swallowed it."""
    if self._over:
      raise self._over


def _is_answer(answer: Any, call: int) -> bool:
  """Whether it has the form of one; of other types even a comparison may raise."""
  return type(answer) is tuple and len(answer) >= 3 and type(answer[0]) is int and answer[0] == call


def _text(error: BaseException) -> str:
  """An exception in words, as far as it has any: an int of the candidate may be too long."""
  try:
    return f'{type(error).__name__}: {error}'[:MAX_DETAIL]
  except Exception:
    return type(error).__name__[:MAX_DETAIL]


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
  yield table
  for child in table.get_children():
    yield from _tables(child)


def free_names(tests: str) -> list[str]:
  """Global names that the tests use and neither define nor find among the built-in ones."""
  used, defined = set(), set(dir(builtins)) | {'__name__', '__file__'}
  for table in _tables(symtable.symtable(tests, '<tests>', 'exec')):
    top = table.get_type() == 'module'
    for symbol in table.get_symbols():
      if not (top or symbol.is_global()):
        continue
      if symbol.is_referenced():
        used.add(symbol.get_name())
      if symbol.is_assigned() or symbol.is_imported():
        defined.add(symbol.get_name())
  return sorted(used - defined)


def used_modules(tests: str) -> set[str]:
  """Names of standard modules that occur as `name.attribute`."""
  owners = {
    node.value.id
    for node in ast.walk(ast.parse(tests))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
  }
  return owners & sys.stdlib_module_names


def imported(tests: str) -> set[str]:
  """Names of the modules that the tests import by statements, with those of their packages."""
  names = []
  for node in ast.walk(ast.parse(tests)):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names.append(node.module or '')
  parts = [name.split('.') for name in names]
  return {'.'.join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def _namespace(candidate: Candidate, tests: str, names: list[str]) -> dict[str, Any]:
  free = free_names(tests)
  modules = {name: importlib.import_module(name) for name in used_modules(tests) & set(free)}
  functions = {name: candidate.proxy(name) for name in names or free if name not in modules}
  return {'__name__': 'tests', **functions, **modules}


def judge(tests: str, names: list[str], channel: int, board: mmap.mmap) -> tuple[str, str]:
  """(status, detail) of running the tests on the candidate: ('passed', '') if they end well."""
  candidate = Candidate(channel, board)
  try:
    program = compile(tests, '<tests>', 'exec', dont_inherit=True)
    namespace = _namespace(candidate, tests, names)
  except (SyntaxError, ValueError, ImportError) as error:
    return 'invalid_tests', _text(error)
  try:
    candidate.loaded()
    exec(program, namespace)
    candidate.check_over()
  except Stopped as stopped:
    return stopped.status, stopped.detail
  except MemoryError:
    return 'oom', 'in the tests'
  except BaseException as error:
    if isinstance(error, ModuleNotFoundError) and error.name in imported(tests):
      return 'invalid_tests', _text(error)  # no candidate can raise it
    opaque = wire.Opaque.received > 0  # what came was not there to be compared
    return 'not_plain_data' if opaque else 'failed', _text(error)
  return ('passed', '') if candidate.calls else ('no_calls', 'the tests call no candidate function')


def examine(payload: str, channel: int, verdict: int, board_fd: int) -> None:
  """Judges and reports on a pipe that only this process and the supervisor hold."""
  request = json.loads(payload)
  with mmap.mmap(board_fd, BOARD_BYTES) as board:
    status, detail = judge(request['tests'], request['names'], channel, board)
  wire.write_all(verdict, json.dumps({'status': status, 'detail': detail}).encode())
  os.close(verdict)
