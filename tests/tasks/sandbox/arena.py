"""Canaries around the sandbox, and the command line run as root or as nobody."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent.parent.parent
NOBODY = 65534
# As `python -m maxent_lm.tasks.sandbox`, without what else is in maxent_lm.tasks: the interpreter
# that nobody can read may have no NumPy.
START = """
import runpy, sys, types
folder = sys.argv.pop(1)
for name, path in (('maxent_lm', ''), ('maxent_lm.tasks', '/tasks')):
  sys.modules[name] = types.ModuleType(name)
  sys.modules[name].__path__ = [folder + path]
BEFORE
runpy.run_module('maxent_lm.tasks.sandbox', run_name='__main__', alter_sys=True)
"""


def attacks() -> dict[str, str]:
  """Name to program."""
  text = (pathlib.Path(__file__).parent / 'attacks.txt').read_text()
  parts = [part.split('\n', 1) for part in text.split('%% ')[1:]]
  corpus = {name: code for name, code in parts}
  assert len(corpus) == len(parts)
  corpus['source/nul'] = 'import os\nos._exit(0)\n\0def solve(i): return 0'
  corpus['source/surrogate'] = 'def solve(i): return 0\n"\ud800"'
  corpus['source/form feed and carriage return'] = 'def solve(i):\r\x0c return 0'
  return corpus


def users() -> list[int]:
  """Who can run the sandbox here: ourselves, and nobody if we are root."""
  return [os.getuid(), NOBODY] if os.getuid() == 0 else [os.getuid()]


def interpreter(user: int) -> str | None:
  """An interpreter that the user can run, at least 3.11."""
  check = 'import sys, ctypes, sqlite3; sys.exit(sys.version_info < (3, 11))'
  for python in (os.path.realpath(sys.executable), shutil.which('python3', path='/usr/bin:/bin')):
    with contextlib.suppress(OSError, TypeError):
      ran = subprocess.run([python, '-c', check], capture_output=True, cwd='/', **identity(user))
      if ran.returncode == 0:
        return python
  return None


def identity(user: int) -> dict[str, Any]:
  """Arguments of subprocess for running as that user."""
  if user == os.getuid():
    return {}
  return {'user': user, 'group': user, 'extra_groups': []}


def command_line(
  user: int, arguments: list[str], stdin: str, before: str = '', **environment: str
) -> Any:
  """Runs the command line as a user, after the code `before`; it must leave no process."""
  python = interpreter(user)
  assert python
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    package = pathlib.Path(folder) / 'maxent_lm' / 'tasks' / 'sandbox'
    shutil.copytree(ROOT / 'maxent_lm' / 'tasks' / 'sandbox', package)
    ran = subprocess.run(
      [python, '-B', '-c', START.replace('BEFORE', before), f'{folder}/maxent_lm', *arguments],
      input=stdin,
      env={'PATH': '/usr/bin:/bin', **environment},
      capture_output=True,
      text=True,
      cwd='/',
      timeout=500,
      **identity(user),
    )
    assert not survivors(folder)
    return ran


def batch(user: int, tier: str, rows: list[dict[str, Any]], **environment: str) -> list[Any]:
  """The verdicts of many programs in one tier, eight at a time."""
  text = '\n'.join(map(json.dumps, rows))
  ran = command_line(user, ['--batch', '--tier', tier, '--parallel', '8'], text, **environment)
  assert ran.returncode in (0, 3), ran.stderr
  return [json.loads(line) for line in ran.stdout.splitlines()]


class Arena:
  """Things to harm, all of them ours, and owned by the user who runs the sandbox."""

  def __init__(self, user: int) -> None:
    self.user = user
    self.answers = [secrets.randbelow(10**9) + 10**9 for _ in range(2)]
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> 'Arena':
    enter = self._stack.enter_context
    self.folder = pathlib.Path(enter(tempfile.TemporaryDirectory(prefix='arena-')))
    (self.folder / 'secret').write_text(' '.join(map(str, self.answers)))
    self.victim = subprocess.Popen(['/bin/sleep', '600'], **identity(self.user))
    self._stack.callback(self._bury)
    self.tcp = enter(socket.create_server(('127.0.0.1', 0)))
    self.udp = enter(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    self.udp.bind(('127.0.0.1', 0))
    self.abstract = enter(socket.socket(socket.AF_UNIX))
    self.name = f'arena-{secrets.token_hex(8)}'
    self.abstract.bind(f'\0{self.name}')
    self.path = enter(socket.socket(socket.AF_UNIX))
    self.path.bind(f'{self.folder}/socket')
    for listener in (self.abstract, self.path):
      listener.listen()
    for path in (self.folder, *self.folder.iterdir()):
      os.chown(path, self.user, -1)
      os.chmod(path, 0o777)
    self._before = self._state()
    return self

  def _bury(self) -> None:
    self.victim.kill()
    self.victim.wait()

  def __exit__(self, *_: object) -> None:
    self._stack.close()

  def fill(self, code: str) -> str:
    """A program with our canaries in it."""
    words = {
      'FOLDER': self.folder,
      'TCP': self.tcp.getsockname()[1],
      'UDP': self.udp.getsockname()[1],
      'ABSTRACT': self.name,
      'VICTIM': self.victim.pid,
    }
    for word, value in words.items():
      code = code.replace(f'@{word}@', str(value))
    return code

  @property
  def tests(self) -> str:
    """What the programs are asked."""
    first, second = self.answers
    return f'assert solve(0) == {first} \nassert solve(1) == {second} \n'

  def _state(self) -> dict[str, Any]:
    files = sorted(self.folder.rglob('*'))
    stat = pathlib.Path(f'/proc/{self.victim.pid}/stat').read_text().rsplit(')', 1)[1].split()
    return {
      'files': [(str(f), f.lstat().st_mode, f.lstat().st_mtime_ns) for f in files],
      'secret': (self.folder / 'secret').read_text(),
      'victim': (stat[0] in 'SRD', stat[16]),  # alive and not stopped; its priority
      'limits': pathlib.Path(f'/proc/{self.victim.pid}/limits').read_text(),
      'litter': [p for d in ('/tmp', '/var/tmp', '/dev/shm', '/', '/usr/lib') for p in litter(d)],
      'memory': str(0x6D617865) in pathlib.Path('/proc/sysvipc/shm').read_text(),
      'messages': self._messages(),
    }

  def _messages(self) -> list[int]:
    seen = []
    for number, listener in enumerate((self.tcp, self.udp, self.abstract, self.path)):
      listener.settimeout(0.02)
      with contextlib.suppress(TimeoutError):
        listener.recv(1) if listener is self.udp else listener.accept()
        seen.append(number)
    return seen

  def check(self) -> None:
    """Nothing was touched."""
    assert self._state() == self._before


def litter(folder: str) -> list[str]:
  """Files there that an attack made."""
  with contextlib.suppress(OSError):
    return [name for name in os.listdir(folder) if name.startswith('maxent-attack')]
  return []


def survivors(folder: str) -> list[str]:
  """Processes of a zygote of that folder, or started by an attack, that are there after a while."""
  for _ in range(50):
    left = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
      with contextlib.suppress(OSError):
        line = (process / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
        if folder in line or 'sleep 30.7153' in line:
          left.append(f'{process.name} {line[:60]}')
    if not left:
      return []
    time.sleep(0.1)
  return left
