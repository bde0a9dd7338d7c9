r"""Measures how many programs the sandbox runs in a second, by tier and by number at a time.

  python experiments/benchmark_sandbox.py --runs=500

prints one line of JSON for each tier that this machine gives and each number in --parallel: runs a
second, and the median and 99th percentile of the seconds of one run. The program is a small
function with three calls; a hundredth of the programs, if --hostile, loop until their CPU limit.
"""

import concurrent.futures
import json
import time
from collections.abc import Sequence

from absl import app, flags

from maxent_lm.tasks.sandbox import Program, Sandbox, SandboxUnavailable
from maxent_lm.tasks.sandbox.jail import TIERS

_RUNS = flags.DEFINE_integer('runs', 500, 'Programs in each measurement.', lower_bound=1)
_PARALLEL = flags.DEFINE_list('parallel', ['1', '2', '4'], 'Programs at a time, a list.')
_TIERS = flags.DEFINE_list('tiers', list(TIERS), 'Tiers to measure.')
_HOSTILE = flags.DEFINE_bool('hostile', False, 'Whether a hundredth of the programs loop.')

RIGHT = Program(
  code='def count(words):\n  return {word: words.count(word) for word in words}',
  tests='assert count(["a", "b", "a"]) == {"a": 2, "b": 1}\nassert count([]) == {}\n'
  'assert count([(1, 2), None]) == {(1, 2): 1, None: 1}',
)
LOOP = RIGHT._replace(code='def count(words):\n  while True: pass', timeout_s=0.5)


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


def main(argv: Sequence[str]) -> None:
  """Measures and prints."""
  del argv
  for tier in _TIERS.value:
    for parallel in map(int, _PARALLEL.value):
      try:
        print(json.dumps(measure(tier, parallel, _RUNS.value, _HOSTILE.value)), flush=True)
      except SandboxUnavailable as error:
        print(json.dumps({'tier': tier, 'unavailable': str(error)}), flush=True)


if __name__ == '__main__':
  app.run(main)
