"""Whether a zygote really keeps its promises: hostile code is run in it, with canaries around it.

A tier is never taken from what the kernel says about itself: a system may let one step pass and
refuse the next, or promise a filter and not apply it.
"""

import json
import os
import socket
import tempfile

from maxent_lm.tasks.sandbox import runs
from maxent_lm.tasks.sandbox.programs import Program
from maxent_lm.tasks.sandbox.supervisor import Refused, Zygote

# Returns the names of what it managed to do; nothing of it harms anybody but the canaries.
HOSTILE = """
import ctypes, os, socket
libc = ctypes.CDLL(None)

def tries(canary, folder, port):
  return {
    'read a file': lambda: open(canary).read(),
    'change a file': lambda: open(canary, 'a').write('x'),
    'delete a file': lambda: os.remove(canary),
    'make a file': lambda: os.mkdir(folder + '/made'),
    'connect': lambda: socket.create_connection(('127.0.0.1', port), 1),
    'make a socket': lambda: socket.socket(socket.AF_UNIX),
    'fork': lambda: os._exit(0) if os.fork() == 0 else None,
    'start a program': lambda: __import__('subprocess').run(['/bin/true']),
    'replace itself': lambda: os.execv('/bin/true', ['true']),
    'signal': lambda: os.kill(os.getpid(), 0),
    'make a pipe': lambda: os.pipe(),
    'hold memory in a file': lambda: os.memfd_create('x'),
    'see a secret': lambda: os.environ['MAXENT_LM_CANARY'],
    'unshare': lambda: 1 / (libc.unshare(0x10000000) == 0),
    'trace': lambda: 1 / (libc.ptrace(0, 0, 0, 0) == 0),
    'hold much memory': lambda: bytearray(2 ** 30),
  }

def did(*canaries):
  done = []
  for name, attempt in tries(*canaries).items():
    try:
      attempt()
    except BaseException:
      continue
    done.append(name)
  return done
"""


def verify(zygote: Zygote) -> None:
  """Runs a right, a wrong and a hostile program.

  Raises:
    Refused: what came out is not what the tier promises.
    InfraError, ZygoteGone: nothing came out.
  """
  right = 'def double(x):\n  return 2 * x'
  for test, status in (('assert double(4) == 8', 'passed'), ('assert double(4) == 9', 'failed')):
    verdict = runs.run(zygote, Program(code=right, tests=test, timeout_s=10))
    if verdict.status != status:
      raise Refused(f"a program that should have {status} is '{verdict.status}' {verdict.detail}")
  with tempfile.TemporaryDirectory() as folder, socket.create_server(('127.0.0.1', 0)) as server:
    canary = os.path.join(folder, 'canary')
    with open(canary, 'w') as file:
      file.write('canary')
    where = json.dumps([canary, folder, server.getsockname()[1]])
    tests = f'done = did(*{where})\nassert not done, done'
    verdict = runs.run(zygote, Program(code=HOSTILE, tests=tests, timeout_s=10))
    if not verdict.passed or os.listdir(folder) != ['canary']:
      raise Refused(f'hostile code was not held: {verdict.status} {verdict.detail}')
