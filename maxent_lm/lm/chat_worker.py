"""Renders a chat template under limits; a program of its own, started by chat.py.

Reads lines of JSON: first the template, its special tokens and the limits, then prompts. Writes a
line a prompt, its text, or {"error": reason} and ends. Too much processor time kills the process
(SIGPROF), whatever it is doing; too much memory is an error.
"""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes, sandbox
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser


class Generation(Extension):
  """`{% generation %}` marks what an assistant said; here it is only text."""

  tags = {'generation'}  # noqa: RUF012 (jinja's own declaration)

  def parse(self, parser: Parser) -> nodes.Node:
    """What stands between the marks."""
    line = next(parser.stream).lineno
    body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
    return nodes.Scope(body).set_lineno(line)


def refuse(message: str) -> NoReturn:
  """`raise_exception` of templates."""
  raise jinja2.TemplateError(message)


def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
  """Without jinja's escapes for HTML."""
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def environment() -> sandbox.ImmutableSandboxedEnvironment:
  """As templates for chats expect it, without the date."""
  made = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
  )
  made.filters['tojson'] = tojson
  return made


def limit(memory: int) -> None:
  """So much address space, no files, no processes, no core."""
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  for each in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
    resource.setrlimit(each, (0, 0))


def allow(seconds: float) -> None:
  """So much processor time from now on."""
  signal.setitimer(signal.ITIMER_PROF, seconds)


def whole(pieces: Iterator[str], most: int) -> str:
  """The text of all pieces, unless it gets too long."""
  found, count = [], 0
  for piece in pieces:
    count += len(piece)
    if count > most:
      raise ValueError(f'it wrote more than {most:,} characters')
    found.append(piece)
  return ''.join(found)


def replies(lines: Iterator[str]) -> Iterator[Any]:
  """What is written, line by line."""
  try:
    request = json.loads(next(lines))
    allow(request['seconds'])
    template = environment().from_string(request['template'], globals={'raise_exception': refuse})
    for line in lines:
      allow(request['seconds'])
      prompt = json.loads(line)
      pieces = template.generate(
        messages=[{'role': 'user', 'content': prompt}],
        tools=None,
        documents=None,
        add_generation_prompt=True,
        **request['tokens'],
      )
      yield whole(pieces, request['output'] + len(prompt))
  except Exception as error:  # whatever a template makes of its freedom
    text = ' '.join(str(error).split())[:200]
    yield {'error': f'{text} ({type(error).__name__})' if text else type(error).__name__}


def main() -> None:
  """Standard input to standard output."""
  lines = iter(sys.stdin)
  first = next(lines)
  limit(json.loads(first)['memory'])

  def all_lines() -> Iterator[str]:
    yield first
    yield from lines

  for reply in replies(all_lines()):
    sys.stdout.write(json.dumps(reply) + '\n')
  sys.stdout.flush()


if __name__ == '__main__':
  main()
