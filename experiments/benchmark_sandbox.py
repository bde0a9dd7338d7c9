r"""Measures how many programs the sandbox runs in a second, by tier and by number at a time.

  python experiments/benchmark_sandbox.py --runs=500

prints one line of JSON for each tier that this machine gives and each number in --parallel: runs a
second, and the median and 99th percentile of the seconds of one run. The program is a small
function with three calls; a hundredth of the programs, if --hostile, loop until their CPU limit.

  python experiments/benchmark_sandbox.py --leaks --runs=10000

runs so many programs that end in all kinds of ways, and prints for each tier what is there more
afterwards than before: processes, open file descriptors, and files in the folders for temporary
ones (--folders; programs of others that write there meanwhile are taken for ours). Exit status 1 if
there is anything.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from absl import app, flags

from maxent_lm.tasks.sandbox import Program, Sandbox, SandboxUnavailable
from maxent_lm.tasks.sandbox.jail import TIERS

_RUNS = flags.DEFINE_integer('runs', 500, 'Programs in each measurement.', lower_bound=1)
_PARALLEL = flags.DEFINE_list('parallel', ['1', '2', '4'], 'Programs at a time, a list.')
_TIERS = flags.DEFINE_list('tiers', list(TIERS), 'Tiers to measure.')
_HOSTILE = flags.DEFINE_bool('hostile', False, 'Whether a hundredth of the programs loop.')
_LEAKS = flags.DEFINE_bool('leaks', False, 'Whether to look for what is left behind instead.')
_FOLDERS = flags.DEFINE_list(
  'folders', ['/tmp', '/var/tmp', '/dev/shm'], 'Where to look for files.'
)

RIGHT = Program(
  code='def count(words):\n  return {word: words.count(word) for word in words}',
  tests='assert count(["a", "b", "a"]) == {"a": 2, "b": 1}\nassert count([]) == {}\n'
  'assert count([(1, 2), None]) == {(1, 2): 1, None: 1}',
)
LOOP = RIGHT._replace(code='def count(words):\n  while True: pass', timeout_s=0.5)

ECHO = Program(code='print(input())', cases=(('a', 'a'), ('b', 'b')))
LITTER = """import os
def count(words):
  for folder in ('/tmp', '/var/tmp', '/dev/shm', '/'):
    try: open(folder + '/left', 'w').close()
    except OSError: pass
  import tempfile
  return tempfile.mkstemp()"""
# How a program may end, with the status; each is run as often, but LOOP once in a hundred.
ENDINGS = [
  (RIGHT, 'passed'),
  (RIGHT._replace(code='def count(words):\n  return {}'), 'failed'),
  (RIGHT._replace(code='def count('), 'syntax'),
  (RIGHT._replace(code='1 / 0'), 'candidate_load_error'),
  (RIGHT._replace(code='import os\nos._exit(0)'), 'crashed'),
  (RIGHT._replace(code='def count(words):\n  import os\n  os.abort()'), 'crashed'),
  (RIGHT._replace(code='import os\nos.closerange(3, 99)\nwhile True: pass'), 'crashed'),
  (RIGHT._replace(code='def count(words):\n  return bytearray(2**30)'), 'oom'),
  (RIGHT._replace(code='def count(words):\n  return count'), 'not_plain_data'),
  (RIGHT._replace(code='def count(words):\n  return "x" * 2**24'), 'output_limit'),
  (RIGHT._replace(code='import os\ndef count(words):\n  os.fork()'), 'failed'),
  (RIGHT._replace(code=LITTER), 'failed'),
  (RIGHT._replace(tests='assert ('), 'invalid_tests'),
  (ECHO, 'passed'),
  (ECHO._replace(code='print(input() * 2)'), 'failed'),
  (ECHO._replace(code='while True: print("x" * 2**16)'), 'output_limit'),
]


def measure(tier: str, parallel: int, runs: int, hostile: bool) -> dict[str, float | str]:
  """Runs a second, and seconds of one run, in a sandbox that has been warmed up."""
  programs = [LOOP if hostile and i % 100 == 50 else RIGHT for i in range(runs)]
  with (
    Sandbox(tier=tier, parallel=parallel) as sandbox,
    concurrent.futures.ThreadPoolExecutor(parallel) as threads,
  ):

    def timed(program: Program) -> float:
      start = time.perf_counter()
      verdict = sandbox.run(program)
      if verdict.status != ('timeout' if program is LOOP else 'passed'):
        raise RuntimeError(f'a run ended with {verdict}')
      return time.perf_counter() - start

    list(threads.map(timed, programs[:20]))
    start = time.perf_counter()
    seconds = sorted(threads.map(timed, programs))
    total = time.perf_counter() - start
  return {
    'tier': tier,
    'parallel': parallel,
    'runs_per_s': round(runs / total, 1),
    'median_s': round(seconds[runs // 2], 4),
    'p99_s': round(seconds[runs * 99 // 100], 4),
  }


def descendants(pid: int) -> list[int]:
  """The processes below one, as far as they have not ended."""
  found: list[int] = []
  with contextlib.suppress(OSError):
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
      found += map(int, (task / 'children').read_text().split())
  return found + [deeper for child in found for deeper in descendants(child)]


def descriptors(pid: int) -> list[str]:
  """What a process has open, without the numbers that tell equal ones apart."""
  kinds = []
  for link in pathlib.Path(f'/proc/{pid}/fd').iterdir():
    with contextlib.suppress(FileNotFoundError):  # that of the listing itself
      kinds.append(os.readlink(link).split(':[')[0])
  return kinds


def inventory(sandbox: Sandbox | None, folders: Sequence[str]) -> collections.Counter[str]:
  """Processes, file descriptors and files, each with how many of them there are."""
  ours = descendants(os.getpid())
  found = [f'process {pid}' for pid in ours]
  found += [f'descriptor {kind}' for kind in descriptors(os.getpid())]
  if sandbox is not None:
    zygotes = [sandbox.zygote_pid, *descendants(sandbox.zygote_pid)]
    found += [f'descriptor of process {pid} {kind}' for pid in zygotes for kind in descriptors(pid)]
  for folder in folders:
    found += [f'file {folder}/{name}' for name in os.listdir(folder)]
  return collections.Counter(found)


def settled(
  before: collections.Counter[str], sandbox: Sandbox | None, folders: Sequence[str]
) -> list[str]:
  """What is there more than before; what is on its way out gets 5 s."""
  for _ in range(50):
    more = inventory(sandbox, folders) - before
    if not more:
      break
    time.sleep(0.1)
  return sorted(more.elements())


def leaks(tier: str, runs: int, parallel: int, folders: Sequence[str]) -> dict[str, object]:
  """What `runs` programs leave behind, while the sandbox is open and when it is closed."""
  kinds = itertools.cycle(ENDINGS)
  planned = [(LOOP, 'timeout') if i % 100 == 50 else next(kinds) for i in range(runs)]
  start = inventory(None, folders)
  with Sandbox(tier=tier, parallel=parallel) as sandbox:
    sandbox.run_all([program for program, _ in planned[:100]])
    warm = inventory(sandbox, folders)
    verdicts = sandbox.run_all([program for program, _ in planned])
    left = {*settled(warm, sandbox, folders)}
  left |= {*settled(start, None, folders)}
  other = [
    f'{status} was {verdict.status} {verdict.detail}'
    for (_, status), verdict in zip(planned, verdicts, strict=True)
    if verdict.status != status
  ]
  counts = dict(collections.Counter(verdict.status for verdict in verdicts))
  return {
    'tier': tier,
    'runs': runs,
    'statuses': counts,
    'left': sorted(left),
    'unexpected': other[:9],
  }


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  leaked = False
  for tier in _TIERS.value:
    for parallel in map(int, _PARALLEL.value[-1:] if _LEAKS.value else _PARALLEL.value):
      try:
        if _LEAKS.value:
          told = leaks(tier, _RUNS.value, parallel, _FOLDERS.value)
          leaked |= bool(told['left'])
        else:
          told = measure(tier, parallel, _RUNS.value, _HOSTILE.value)
      except SandboxUnavailable as error:
        told = {'tier': tier, 'unavailable': str(error)}
      print(json.dumps(told), flush=True)
  sys.exit(leaked)


if __name__ == '__main__':
  app.run(main)
