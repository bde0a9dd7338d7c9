"""The process of the model-written code: defines it, then answers calls with plain data.

It never sees tests or expected values, so nothing it can do to itself makes a wrong value right:
the frames it sends only claim what a function returned. `answer_calls` serves tests in Python,
`run_program` problems on stdin and stdout.
"""

import os
import sys
import types
from typing import Any

from maxent_lm.tasks.sandbox import wire

# How `run_program` says why it ended; forging one of them only chooses the name of a failure.
RAISED, SYNTAX, OUT_OF_MEMORY = 1, 120, 121


def _define(code: str, name: str) -> types.ModuleType:
  """A module with `code` executed in it; its text is never in a file or beside other source."""
  module = types.ModuleType(name)
  sys.modules[name] = module
  exec(_compile(code), module.__dict__)
  return module


def _compile(code: str) -> types.CodeType:
  """Compiled from text: no encoding line counts, and a NUL is an error instead of an end."""
  try:
    return compile(code, '<candidate>', 'exec', dont_inherit=True)
  except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
    raise Uncompilable(str(error)) from None


class Uncompilable(Exception):
  """The text is no Python program."""


def _why(error: BaseException) -> str:
  """The status of an error that is not the code's result: '' for an ordinary one."""
  for kind, status in STATUSES.items():
    if isinstance(error, kind):
      return status
  return ''


STATUSES: dict[type[BaseException], str] = {
  MemoryError: 'oom',
  Uncompilable: 'syntax',
  wire.TooLarge: 'output_limit',
  wire.WireError: 'not_plain_data',
}


def _name(error: BaseException) -> str:
  return type(error).__name__[:100]


def _text(error: BaseException) -> str:
  try:
    return str(error)[:500]
  except BaseException:  # its own __str__ may do anything
    return ''


def answer_calls(code: str, channel: int) -> None:
  """Loads the code, says so, and answers calls (number, name, args, kwargs) until the end.

  Answers are (number, 'value', value), (number, 'raised', name of the exception, text) and
  (number, 'stopped', status, text); loading is call number 0.
  """
  try:
    module = _define(code, 'candidate')
  except BaseException as error:
    status = _why(error) or 'candidate_load_error'
    wire.send(channel, (0, 'stopped', status, f'{_name(error)}: {_text(error)}'))
    return
  wire.send(channel, (0, 'value', None))
  while True:
    number, name, args, kwargs = wire.receive(channel)
    try:
      wire.send(channel, (number, 'value', _call(module, name, args, kwargs)))
    except BaseException as error:
      status = _why(error)
      if status:
        wire.send(channel, (number, 'stopped', status, _text(error)))
      else:
        wire.send(channel, (number, 'raised', _name(error), _text(error)))


def _call(module: types.ModuleType, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
  if name not in module.__dict__:
    raise NameError(f"name '{name}' is not defined")
  return module.__dict__[name](*args, **kwargs)


def run_program(code: str) -> int:
  """Runs the code as a script on the process's own stdin and stdout; the exit status."""
  try:
    _define(code, '__main__')
  except SystemExit as error:
    if error.code not in (None, 0):
      return RAISED
  except BaseException as error:
    return {'oom': OUT_OF_MEMORY, 'syntax': SYNTAX}.get(_why(error), RAISED)
  sys.stdout.flush()
  return 0


def close_all_but(kept: list[int]) -> None:
  """Closes every file descriptor but stdin, stdout, stderr and those."""
  low = 3
  for fd in sorted(kept):
    os.closerange(low, fd)
    low = fd + 1
  os.closerange(low, 2**20)
