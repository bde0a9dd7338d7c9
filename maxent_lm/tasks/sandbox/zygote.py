"""The process that every candidate and every examiner is forked from.

It is started by exec with an empty environment, locks itself in, and from then on only forks and
reaps: programs and tests reach the children through file descriptors that it passes on unread.

Requests and answers are JSON on a SOCK_SEQPACKET socket, with file descriptors beside them:

  {"run": "examine", ...} + 6 descriptors    {"pids": [c, t]} + a pidfd of each
  {"run": "program", ...} + 3 descriptors    {"pids": [c]} + its pidfd
  {"reap": [pid, ...]}                       {"ends": [[exit status or -signal, CPU seconds], ...]}
"""

import gc
import importlib
import json
import os
import pkgutil
import random
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

from maxent_lm.tasks.sandbox import candidate, examiner, jail, kernel, wire

# Loaded before the fork: at hand even where no file can be opened, and paid for once.
PRELOADED = """
  abc argparse array ast base64 bisect builtins calendar cmath collections collections.abc colorsys
  contextlib copy copyreg csv dataclasses datetime _strptime decimal difflib enum errno fnmatch
  fractions functools graphlib hashlib heapq html inspect io itertools json keyword linecache locale
  math numbers operator os pprint queue random re reprlib secrets statistics string stringprep
  struct sys textwrap threading time timeit token tokenize traceback types typing unicodedata
  unittest uuid warnings weakref zlib zoneinfo
""".split()

EXAMINE_FDS, PROGRAM_FDS = 6, 3
MIB = 2**20
EXAMINER_BYTES = 2**30


class Zygote:
  """The loop, and what its children need to know."""

  def __init__(self, control: socket.socket, tier: str, base: int) -> None:
    self.control, self.base = control, base
    self.program = jail.build_program(tier)
    self.pid = os.getpid()

  def serve(self) -> None:
    """Answers requests until the supervisor closes its end."""
    while True:
      message, fds, _, _ = socket.recv_fds(self.control, 2**16, EXAMINE_FDS)
      if not message:
        return
      request = json.loads(message)
      if 'reap' in request:
        self._answer({'ends': [_reap(pid) for pid in request['reap']]}, [])
        continue
      pids = self._start(request, fds)
      for fd in fds:
        os.close(fd)
      pidfds = [os.pidfd_open(pid) for pid in pids]
      self._answer({'pids': pids}, pidfds)
      for fd in pidfds:
        os.close(fd)

  def _answer(self, answer: dict[str, Any], fds: list[int]) -> None:
    socket.send_fds(self.control, [json.dumps(answer).encode()], fds)

  def _start(self, request: dict[str, Any], fds: list[int]) -> list[int]:
    memory = self.base + request['memory_mb'] * MIB
    if request['run'] == 'program':
      source, stdin, stdout = fds
      return [self._fork(request, memory, [source, stdin, stdout], _program)]
    source, channel = fds[:2]
    return [
      self._fork(request, memory, [source, channel], _candidate),
      self._fork(request, self.base + EXAMINER_BYTES, fds[2:], _examiner),
    ]

  def _fork(
    self, request: dict[str, Any], memory: int, fds: list[int], body: Callable[[list[int]], int]
  ) -> int:
    pid = os.fork()
    if pid:
      return pid
    status = candidate.RAISED
    try:
      candidate.close_all_but(fds)
      os.dup2(1, 2)
      random.seed(0)  # Python reseeds after a fork, and rewards should repeat
      jail.lock(self.program, parent=self.pid, address_space=memory, cpu_s=request['timeout_s'])
      status = body(fds)
    finally:
      os._exit(status)


def _text(fd: int) -> str:
  """All of a file whose length is what matters, not its offset; closed afterwards."""
  data = wire.read_exactly(fd, os.fstat(fd).st_size)
  os.close(fd)
  return data.decode('utf-8', 'surrogatepass')


def _candidate(fds: list[int]) -> int:
  source, channel = fds
  candidate.answer_calls(_text(source), channel)
  return 0


def _examiner(fds: list[int]) -> int:
  payload, channel, verdict, board = fds
  examiner.examine(_text(payload), channel, verdict, board)
  return 0


def _program(fds: list[int]) -> int:
  source, stdin, stdout = fds
  code = _text(source)
  os.dup2(stdin, 0)
  os.dup2(stdout, 1)
  os.close(stdin)
  os.close(stdout)
  return candidate.run_program(code)


def _reap(pid: int) -> tuple[int, float]:
  _, status, usage = os.wait4(pid, 0)
  return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _become_init(control: socket.socket) -> None:
  """Goes on as process 1 of the new pid namespace; the outer process waits for it and ends."""
  pid = os.fork()
  if not pid:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    return
  control.close()
  os.waitpid(pid, 0)
  os._exit(0)


def _preload() -> None:
  for name in PRELOADED:
    importlib.import_module(name)
  for module in pkgutil.iter_modules(sys.modules['encodings'].__path__, 'encodings.'):
    if module.name.split('.')[1] in ('ascii', 'cp1252', 'idna', 'latin_1', 'utf_16', 'utf_32'):
      importlib.import_module(module.name)
  resource.getrusage(resource.RUSAGE_SELF)
  gc.collect()
  gc.freeze()


def main(control_fd: int, tier: str) -> None:
  """Locks this process in, says 'ready' or why not, and serves."""
  control = socket.socket(fileno=control_fd)
  try:
    _preload()
    with open('/proc/self/oom_score_adj', 'w') as file:
      file.write('800')  # if memory runs out, it is not the trainer that goes
    base = jail.used_address_space()
    if tier == 'ns':
      jail.unshare_all()
      _become_init(control)
      jail.enter_empty_root()
    os.chdir('/')
    jail.restrict(tier)
    zygote = Zygote(control, tier, base)
  except Exception as error:
    control.send(json.dumps({'refused': f'{type(error).__name__}: {error}'}).encode())
    return
  control.send(json.dumps({'ready': tier}).encode())
  zygote.serve()
