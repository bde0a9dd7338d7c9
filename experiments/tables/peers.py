"""A step of training here and in other libraries: the same work, the same machine, by turns.

  pip install -e '.[peers]'        # and '.[tunix]' in an environment of its own
  python experiments/tables/peers.py --preset=cpu --workdir=runs/tables/peers --check
    [--python=tunix=FOLDER/bin/python] [--rounds=1]

Every measurement is a process of its own with nothing compiled before: experiments/benchmark.py or
one of experiments/peers/. In every round each case is measured here and in each peer that its
interpreter has; `--python` names interpreters of peers that are installed elsewhere. Some hours on
two cores that do nothing else; what is finished is not measured again while the commit is the same,
so that a call with `--rounds=1` gives a first table, and one without it the rest.
The figure is `peers.png`.
"""

import functools
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from maxent_lm.analysis import benchmarks, plots, tables
from maxent_lm.train import folder

ROOT = pathlib.Path(__file__).parents[2]
OURS = 'maxent_lm'
COLUMNS = (
  *('case', 'library', 'version', 'options', 'step s', 'rollout s', 'update s', 'tokens'),
  *('peak MB', 'first peak MB', 'first step s', 'start s', 'ratio', 'at least', 'memory ratio'),
  'remark',
)


class Case(NamedTuple):
  """A preset of experiments/benchmark.py and how its responses end."""

  preset: str
  lengths: str

  def __str__(self) -> str:
    return f'{self.preset}, {"variable" if self.lengths == "geometric" else "fixed"}'


class Peer(NamedTuple):
  """A script of experiments/peers/, the package it needs, its options in cases that it is for."""

  script: str
  package: str
  options: Mapping[str, Sequence[str]]  # by `Case.lengths`
  at_least: Mapping[Case, float] = {}


class Plan(NamedTuple):
  """Cases, rounds over all of them, steps that are timed in each."""

  cases: Sequence[Case]
  rounds: int
  steps: int


S, S_VARIABLE = Case('S', 'fixed'), Case('S', 'geometric')
M, M_VARIABLE = Case('M', 'fixed'), Case('M', 'geometric')
PRESETS = {
  'smoke': Plan((Case('smoke', 'fixed'), Case('smoke', 'geometric')), 1, 1),
  'cpu': Plan((S, M, S_VARIABLE, M_VARIABLE), 3, 2),
}
BEST = {  # our options
  Case('smoke', 'geometric'): ['--slots=4'],
  S_VARIABLE: ['--slots=192'],
  M_VARIABLE: ['--slots=64', '--microbatch=768'],
}
PLAIN: Mapping[str, Sequence[str]] = {'fixed': (), 'geometric': ()}
IN_PARTS = ('--microbatch=2',)
PEERS = {
  'TRL': Peer('trl_grpo', 'trl', PLAIN, {S: 2.0, M: 1.7, S_VARIABLE: 3.0, M_VARIABLE: 2.5}),
  'transformers + torch': Peer(
    'torch_grpo', 'torch', PLAIN, {S: 1.75, M: 1.5, S_VARIABLE: 2.7, M_VARIABLE: 2.2}
  ),
  'tunix': Peer('tunix_grpo', 'tunix', {'fixed': ()}, {S: 3.2, M: 2.4}),
  'tunix, 2 prompts at a time': Peer(
    'tunix_grpo',
    'tunix',
    {'fixed': IN_PARTS, 'geometric': IN_PARTS},
    {S_VARIABLE: 4.5, M_VARIABLE: 3.5},
  ),
}
NOTE = (
  'GRPO without a KL term, AdamW, float32, random weights, reward without meaning; prompts of 32 '
  'tokens. S: 4 layers of width 128, vocabulary 512, 64 prompts x 8; M: 8 layers of width 512, '
  'vocabulary 4,096, 16 prompts x 8. Fixed: 64 tokens each; variable: a response ends with '
  'probability 1/64 at every token and after 256, so that samples, and `tokens`, differ. Seconds '
  'and tokens: medians over rounds ({rounds}), each a process and in it a median over {steps} '
  'steps after the first, rewards and batches among them; our rollout and update are each of the '
  'lower one in the middle. Peak MB: of the timed steps; the first step, which compiles, has its '
  'own. '
  'Ratio: seconds a token by ours, median over rounds; memory ratio: peaks by ours. Peers: 16 rows '
  'at a time in updates, sorted by length in the loop written by hand; tunix as it is by default, '
  'all at once, and with 2 prompts at a time (variable lengths at once need more memory than such '
  'a machine has).'
)
Rows = list[dict[str, Any]]


def python_paths(given: Sequence[str]) -> dict[str, str]:
  """NAME=PATH, ... as a mapping. Raises ValueError for anything else and for unknown names."""
  known = list(dict.fromkeys(peer.package for peer in PEERS.values()))
  paths = {}
  for each in given:
    name, _, path = each.partition('=')
    if not path or name not in known:
      raise ValueError(f'--python={each} must be NAME=PATH with a name of {", ".join(known)}')
    paths[name] = path
  return paths


def build(
  preset: str, workdir: pathlib.Path, pythons: Mapping[str, str], *, rounds: int | None = None
) -> tables.Table:
  """Measures what is missing, of the preset's rounds if `rounds` is None, then compares."""
  plan = PRESETS[preset] if rounds is None else PRESETS[preset]._replace(rounds=rounds)
  there = {name for name, peer in PEERS.items() if has(python_of(peer, pythons), peer.package)}
  measured: dict[tuple[Case, str], Rows] = {}
  commit = folder.commit()  # once: what is edited meanwhile is another run
  for number in range(plan.rounds):
    for case in plan.cases:
      for name, command in commands(case, plan.steps, pythons):
        if name == OURS or name in there:
          path = workdir / 'runs' / f'{case}, {name}, {number}.json'.replace(' ', '_')
          settings = {'command': command[1:], 'commit': commit}
          try:
            row = tables.stored(path, settings, functools.partial(measure, command))
          except benchmarks.Failed as error:  # said in the table, and tried again by the next call
            row = {'failed': str(error)}
          measured.setdefault((case, name), []).append(row)
  rows = [row for case in plan.cases for row in compared(case, measured, pythons)]
  plots.panels(
    workdir / 'peers.png',
    functools.partial(plots.bars, bars=bars(rows, 'ratio'), label='seconds a token by ours'),
    functools.partial(plots.bars, bars=bars(rows, 'memory ratio'), label='peak memory by ours'),
  )
  note = NOTE.format(rounds=plan.rounds, steps=plan.steps)
  return tables.Table(COLUMNS, rows, note, gates(rows) if preset != 'smoke' else [])


def commands(case: Case, steps: int, pythons: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
  """What to run for ours and for every peer that is measured in this case."""
  asked = [f'--preset={case.preset}', f'--lengths={case.lengths}', f'--rounds={steps}']
  yield OURS, [sys.executable, 'experiments/benchmark.py', *asked, *BEST.get(case, [])]
  for name, peer in PEERS.items():
    if case.lengths in peer.options:
      module = f'experiments.peers.{peer.script}'
      options = peer.options[case.lengths]
      yield name, [python_of(peer, pythons), '-m', module, *asked, *options]


def python_of(peer: Peer, pythons: Mapping[str, str]) -> str:
  """The interpreter that runs a peer."""
  return pythons.get(peer.package, sys.executable)


def has(python: str, package: str) -> bool:
  """Whether an interpreter can import the package."""
  code = f'import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)'
  return subprocess.run([python, '-c', code], check=False, capture_output=True).returncode == 0


def measure(command: Sequence[str]) -> dict[str, Any]:
  """On the CPU; nothing is looked up on a network."""
  settings = {'HF_HUB_OFFLINE': '1', 'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
  return benchmarks.measure(command, cwd=ROOT, settings=settings)


def compared(
  case: Case, measured: Mapping[tuple[Case, str], Rows], pythons: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
  """The rows of a case."""
  ours = measured[case, OURS]
  for name, command in commands(case, 1, pythons):
    options = [each for each in command if each.split('=')[0] in ('--slots', '--microbatch')]
    row = {'case': str(case), 'library': name, 'options': ' '.join(options)}
    theirs = measured.get((case, name))
    failed = [each['failed'] for each in theirs or [] if 'failed' in each]
    if theirs is None:
      yield row | {'remark': f'not installed: {PEERS[name].package}'}
    elif failed:
      yield row | {'remark': failed[0]}
    else:
      yield row | medians(theirs) | ({} if name == OURS else against(case, name, theirs, ours))


def medians(measured: Rows) -> dict[str, Any]:
  """Over rounds."""
  keys = ('step_s', 'rollout_s', 'update_s', 'tokens', 'peak_mb', 'first_peak_mb')
  keys += ('first_step_s', 'start_s')
  names = COLUMNS[COLUMNS.index('step s') : COLUMNS.index('ratio')]
  middle = {
    name: statistics.median(each[key] for each in measured)
    for name, key in zip(names, keys, strict=True)
  }
  middle |= {name: round(middle[name]) for name in ('tokens', 'peak MB', 'first peak MB')}
  return middle | {'version': measured[0].get('version')}


def against(case: Case, name: str, theirs: Rows, ours: Rows) -> dict[str, Any]:
  """A peer's seconds a token, and its memory, by ours of the same round."""
  if any('failed' in each for each in ours):
    return {}
  pairs = list(zip(theirs, ours, strict=True))
  times = [(a['step_s'] / a['tokens']) / (b['step_s'] / b['tokens']) for a, b in pairs]
  return {
    'ratio': statistics.median(times),
    'at least': PEERS[name].at_least.get(case),
    'memory ratio': statistics.median(a['peak_mb'] / b['peak_mb'] for a, b in pairs),
  }


def bars(rows: Rows, column: str) -> dict[str, dict[str, float]]:
  """{library: {case: number}}, ours aside."""
  found: dict[str, dict[str, float]] = {}
  for row in rows:
    if row.get(column) is not None:
      found.setdefault(row['library'], {})[row['case']] = row[column]
  return found


def gates(rows: Rows) -> list[tables.Gate]:
  """Every peer was measured, takes at least so many times as long, and needs more memory."""
  missing = dict.fromkeys(row['library'] for row in rows if 'step s' not in row)
  seen = f'all but {", ".join(missing)}' if missing else 'all'
  held = [tables.Gate(f'all libraries were measured in every case: {seen}', not missing)]
  for row in rows:
    if 'ratio' in row:
      name = f'{row["case"]}: {row["library"]}'
      if row['at least'] is not None:
        what = f'{name} takes {row["ratio"]:.2f} times as long; at least {row["at least"]}'
        held.append(tables.Gate(what, row['ratio'] >= row['at least']))
      what = f'{name} needs {row["memory ratio"]:.2f} times the memory; more than 1'
      held.append(tables.Gate(what, row['memory ratio'] > 1))
  return held


if __name__ == '__main__':
  interpreters = flags.DEFINE_list('python', [], 'Interpreters of peers, as trl=PATH,tunix=PATH.')
  how_often = flags.DEFINE_integer('rounds', None, 'Rounds; default: as the preset has it.', 1)
  tables.script(
    'peers',
    lambda preset, workdir: build(
      preset,
      workdir,
      python_paths(interpreters.value),
      rounds=how_often.value,
    ),
    tuple(PRESETS),
  )
