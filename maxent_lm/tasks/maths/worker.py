"""The process that asks sympy: started by symbolic.py, never imported by it.

It imports sympy, says 'ready', and then answers one JSON line {"left": tree, "right": tree,
"seconds": s} after another with 'equal', 'different', 'undecided' or 'timeout'. Each question is
answered in a fork of its own with limits on memory, processor time, files and processes; the fork
is killed when its time is over, and the next one starts in milliseconds. Trees are plain data: no
text is parsed here.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
from typing import Any

import sympy

MEMORY = 1 << 30  # bytes of address space

_FUNCTIONS: dict[str, Any] = {
  **{name: getattr(sympy, name) for name in 'sin cos tan cot sec csc sinh cosh tanh'.split()},
  **{f'arc{name}': getattr(sympy, f'a{name}') for name in ('sin', 'cos', 'tan')},
  'ln': sympy.log,
  'abs': sympy.Abs,
  'floor': sympy.floor,
  'ceil': sympy.ceiling,
  'factorial': sympy.factorial,
  'binom': sympy.binomial,
}
_CONSTANTS = {'pi': sympy.pi, 'e': sympy.E, 'i': sympy.I}


def expression(tree: Any) -> Any:
  """A tree of nodes.py, written as JSON, as a sympy expression; KeyError for what is no scalar."""
  kind = tree[0]
  if kind == 'num':
    return sympy.Rational(*tree[1])
  if kind == 'var':
    return sympy.Symbol(tree[1], **({'integer': True} if tree[2] else {'real': True}))
  if kind == 'const':
    return _CONSTANTS[tree[1]]
  if kind == 'root':
    return sympy.real_root(expression(tree[1]), tree[2])
  if kind == 'call':
    return _FUNCTIONS[tree[1]](*map(expression, tree[2]))
  if kind == 'div':
    return expression(tree[1]) / expression(tree[2])
  if kind == 'pow':
    return expression(tree[1]) ** expression(tree[2])
  parts = [expression(part) for part in tree[1]]
  return {'add': sympy.Add, 'mul': sympy.Mul}[kind](*parts)


def decide(left: Any, right: Any) -> str:
  """'equal' if a proof is found, 'different' if a counterexample, else 'undecided'."""
  difference = expression(left) - expression(right)
  if difference.has(sympy.zoo, sympy.nan, sympy.oo):
    return 'undecided'
  for rewrite in (sympy.sqrtdenest, sympy.simplify, lambda d: sympy.simplify(d.rewrite('exp'))):
    if rewrite(difference) == 0:
      return 'equal'
  verdict = difference.equals(0)
  return 'undecided' if verdict is None else 'equal' if verdict else 'different'


def _answer(line: str, pipe: int) -> None:
  """Writes the verdict to `pipe`; runs in a fork, under limits."""
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
  resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
  verdict = 'undecided'
  with contextlib.suppress(Exception):  # whatever sympy trips over, and MemoryError
    question = json.loads(line)
    verdict = decide(question['left'], question['right'])
  os.write(pipe, verdict.encode())


def ask(line: str) -> str:
  """The verdict on one question; 'timeout' if the fork did not finish or died."""
  reader, writer = os.pipe()
  child = os.fork()
  if child == 0:
    try:
      os.close(reader)
      _answer(line, writer)
    finally:
      os._exit(0)
  os.close(writer)
  ready, _, _ = select.select([reader], [], [], json.loads(line)['seconds'])
  verdict = os.read(reader, 64).decode() if ready else ''
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  os.close(reader)
  return verdict or 'timeout'


def main() -> None:
  """Serves until standard input ends."""
  print('ready', flush=True)
  for line in sys.stdin:
    print(ask(line), flush=True)


if __name__ == '__main__':
  main()
