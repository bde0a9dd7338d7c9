"""Programs in responses: where one ends, which ones are the same, what one is worth.

Worked example:

  fenced('So:\n```python\ndef f(x):\n  return x\n```')    'def f(x):\n  return x\n'
  until('  return x\n\ndef g():', ('\ndef ',))            '  return x\n'
  same('return x+1  # one more')                          same('return x + 1')
"""

import hashlib
import io
import re
import tokenize

from maxent_lm.tasks.sandbox import Program, SandboxFault, shared_sandbox

MAX_CHARACTERS = 2**16
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

  Works on the tokens: parsing a hostile program may end the process that does it.
  """
  if len(code) > MAX_CHARACTERS or '\0' in code:
    return None
  try:
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
  except (tokenize.TokenError, SyntaxError, ValueError):
    return None
  told = [
    (token.type, '' if token.type in LAYOUT else token.string)
    for token in tokens
    if token.type not in SILENT
  ]
  return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def reward(program: Program, minimum_tier: str) -> float:
  """1 if the program passes its tests in the sandbox, else 0.

  Raises:
    SandboxFault: twice, the run said nothing about the program.
    SandboxUnavailable: code is not run on this machine.
  """
  verdict = shared_sandbox(minimum_tier).run(program)
  if verdict.reward is None:
    raise SandboxFault(verdict.detail)
  return verdict.reward
