r"""Runs programs of a model from the command line.

  echo '{"code": "def f(x):\n  return x + 1", "tests": "assert f(1) == 2"}' |
    python -m maxent_lm.tasks.sandbox

prints, as its last line, {"passed": true, "status": "passed"}. The object may also have
"timeout_s", "memory_mb", "names", and "cases" ([[stdin, stdout], ...]) in place of "tests".
`--batch` takes one object a line and prints one line for each, in order; `--probe` prints which
tier this machine gives, and why. Exit status 2: bad input, or no tier, and nothing was run, unless
it is tests that turn out to be no program ("status": "invalid_tests"); 3: a fault of the sandbox
("status": "infra_error"), or so many of them that no verdict is printed. Neither status says
anything about the program.
"""

import argparse
import json
import sys
from typing import Any

from maxent_lm.tasks.sandbox import (
  Program,
  Sandbox,
  SandboxUnavailable,
  TooManyFaults,
  Verdict,
)
from maxent_lm.tasks.sandbox.jail import TIERS
from maxent_lm.tasks.sandbox.programs import check

KINDS = {
  'code': str,
  'tests': str,
  'timeout_s': (int, float),
  'memory_mb': int,
  'cases': list,
  'names': list,
}


def read(line: str) -> Program:
  """The program of one JSON object; ValueError says what is wrong with it."""
  try:
    row = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'not JSON: {error}') from None
  if not isinstance(row, dict) or 'code' not in row:
    raise ValueError('not a JSON object with "code" in it.')
  for name, value in row.items():
    if name not in KINDS:
      raise ValueError(f'unknown field "{name}": choose among {", ".join(KINDS)}.')
    if not isinstance(value, KINDS[name]) or isinstance(value, bool):
      raise ValueError(f'field "{name}" has the wrong type.')
  program = Program(**_strict(row))
  check(program)
  return program


def _strict(row: dict[str, Any]) -> dict[str, Any]:
  names, cases = row.pop('names', []), row.pop('cases', [])
  pairs = all(isinstance(case, list) and len(case) == 2 for case in cases)
  if not pairs or not all(isinstance(t, str) for t in [*names, *(t for c in cases for t in c)]):
    raise ValueError('"names" is a list of texts, "cases" one of [stdin, stdout].')
  return {**row, 'names': tuple(names), 'cases': tuple(tuple(case) for case in cases)}


def read_all(text: str) -> list[Program]:
  """The programs of a text with one object a line; ValueError has the number of a bad one."""
  programs = []
  for number, line in enumerate(text.split('\n'), 1):
    if line.strip():
      try:
        programs.append(read(line))
      except ValueError as error:
        raise ValueError(f'line {number}: {error}') from None
  return programs


def show(verdict: Verdict) -> None:
  """One line of JSON."""
  line: dict[str, Any] = {'passed': verdict.passed, 'status': verdict.status}
  if verdict.detail:
    line['detail'] = verdict.detail
  print(json.dumps(line), flush=True)


def probe(minimum: str) -> int:
  """Prints what every tier gives here; the exit status says whether one is good enough."""
  reasons = {}
  for tier in TIERS:
    try:
      Sandbox(tier=tier).close()
      reasons[tier] = 'works'
    except SandboxUnavailable as error:
      reasons[tier] = str(error)
  working = [tier for tier, why in reasons.items() if why == 'works']
  best = working[0] if working else None
  print(json.dumps({'tier': best, 'why': reasons}))
  return 0 if best and TIERS.index(best) <= TIERS.index(minimum) else 2


def main() -> int:
  """Reads, runs, prints."""
  parser = argparse.ArgumentParser('maxent_lm.tasks.sandbox', description=__doc__)
  parser.add_argument('--batch', action='store_true', help='one object a line')
  parser.add_argument('--probe', action='store_true', help='which tier this machine gives')
  parser.add_argument('--minimum_tier', choices=TIERS, default='pure', help='refuse weaker ones')
  parser.add_argument('--tier', choices=TIERS, default='', help='exactly this one')
  parser.add_argument('--parallel', type=int, default=0, help='runs at a time; 0: one a CPU')
  args = parser.parse_args()
  if args.probe:
    return probe(args.minimum_tier)
  text = sys.stdin.read()
  try:
    programs = read_all(text) if args.batch else [read(text)]
    with Sandbox(minimum_tier=args.minimum_tier, tier=args.tier, parallel=args.parallel) as sandbox:
      verdicts = sandbox.run_all(programs)
  except (ValueError, SandboxUnavailable) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except TooManyFaults as error:
    print(f'error: {error}', file=sys.stderr)
    return 3
  for verdict in verdicts:
    show(verdict)
  statuses = {verdict.status for verdict in verdicts}
  return 2 if 'invalid_tests' in statuses else 3 if 'infra_error' in statuses else 0


if __name__ == '__main__':
  sys.exit(main())
