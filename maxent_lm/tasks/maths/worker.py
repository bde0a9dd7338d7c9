"""The process that asks sympy: started by symbolic.py, never imported by it.

It imports sympy, says 'ready', and then answers one JSON line {"left": tree, "right": tree,
"seconds": s} after another with 'equal', 'different', 'undecided' or 'timeout'. Each question is
answered in a fork of its own with limits on memory, processor time, files and processes; the fork
is killed when its time is over, and the next one starts in milliseconds. Trees are plain data: no
text is parsed here.

Where the kernel has seccomp, the fork is also behind the filter of the code sandbox (its tier
`pure`: no file can be opened, no socket made, no process started or signalled). That is a second
wall: sympy sees nothing but trees that our own bounded parser has built. Where there is none, on
macOS or another processor, the limits alone hold, and 'ready' is not followed by 'locked'.
"""

import contextlib
import importlib
import json
import os
import pathlib
import resource
import select
import signal
import sys
import types
from collections.abc import Callable
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


# --- forks ---------------------------------------------------------------------------------------


class Lock:
  """The seccomp filter; of no effect where the kernel does not take it, which a fork has tried."""

  def __init__(self) -> None:
    self.holds = False
    with contextlib.suppress(OSError, AttributeError, ImportError):
      jail = _sandbox('jail')
      self._kernel, self._program = _sandbox('kernel'), jail.build_program('pure')
      self.holds = _succeeds(self._try)

  def _try(self) -> bool:
    self._close()
    try:
      os.close(os.open('/dev/null', os.O_RDONLY))
    except PermissionError:
      return True
    return False

  def _close(self) -> None:
    self._kernel.prctl(self._kernel.PR_SET_NO_NEW_PRIVS, 1)
    self._kernel.install_filter(self._program)

  def close(self) -> None:
    """Locks this process in, for good."""
    if self.holds:
      self._close()


def _sandbox(name: str) -> Any:
  """A module of the code sandbox, without the packages above it, which import NumPy."""
  package = 'maxent_lm.tasks.sandbox'
  if package not in sys.modules:
    for each in ('maxent_lm', 'maxent_lm.tasks', package):
      sys.modules[each] = types.ModuleType(each)
    folder = pathlib.Path(__file__).resolve().parents[1] / 'sandbox'
    sys.modules[package].__path__ = [str(folder)]
  return importlib.import_module(f'{package}.{name}')


def _succeeds(body: Callable[[], bool]) -> bool:
  """Whether a fork that runs `body` finds it true."""
  child = os.fork()
  if child == 0:
    done = False
    try:
      done = body()
    finally:
      os._exit(not done)
  return os.waitpid(child, 0)[1] == 0


def _answer(line: str, pipe: int, lock: Lock) -> None:
  """Writes the verdict to `pipe`; runs in a fork, under limits."""
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
  resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
  for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
    resource.setrlimit(limit, (0, 0))
  lock.close()
  verdict = 'undecided'
  with contextlib.suppress(Exception):  # whatever sympy trips over, and MemoryError
    question = json.loads(line)
    verdict = decide(question['left'], question['right'])
  os.write(pipe, verdict.encode())


def ask(line: str, lock: Lock) -> str:
  """The verdict on one question; 'timeout' if the fork did not finish or died."""
  reader, writer = os.pipe()
  child = os.fork()
  if child == 0:
    try:
      os.close(reader)
      _answer(line, writer, lock)
    finally:
      os._exit(0)
  os.close(writer)
  ready, _, _ = select.select([reader], [], [], json.loads(line)['seconds'])
  verdict = os.read(reader, 64).decode() if ready else ''
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  os.close(reader)
  return verdict or 'timeout'


def load() -> None:
  """Has sympy import what it imports late, which no locked fork could."""
  two, three, x = ['num', [2, 1]], ['num', [3, 1]], ['var', 'x', False]
  root = ['root', three, 2]
  squares = [['pow', ['call', name, [x]], two] for name in ('sin', 'cos')]
  nested = ['root', ['add', [['num', [4, 1]], ['mul', [two, root]]]], 2]
  decide(nested, ['add', [['num', [1, 1]], root]])
  decide(['add', squares], ['num', [1, 1]])


def main() -> None:
  """Serves until standard input ends."""
  load()
  lock = Lock()
  print('ready locked' if lock.holds else 'ready', flush=True)
  for line in sys.stdin:
    print(ask(line, lock), flush=True)


if __name__ == '__main__':
  main()
