"""Which soft objectives end at the soft-optimal policy, and which only say so.

python experiments/tables/fixed_points.py --preset=cpu --workdir=runs/tables/fixed_points --check

Tables of logits in float64, trained from random numbers on every string of languages with 31
strings (EOS at any length up to the cap of 4, and truncation), off-policy; KL(pi* || pi) over
strings, |V - V*| over the states whose value the objective determines, and the largest row sum of
the gradient at the start (0: a shift of the logits, the value, is not trained). Members must come
within 1e-8 on every language, at both temperatures, with and without a prior; controls, published
objectives and common mistakes, must stay beyond 1e-2.
"""

import functools
import importlib
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.analysis import fixed_points as fp
from maxent_lm.analysis import tables
from maxent_lm.soft import exact

TESTS = pathlib.Path(__file__).parents[2] / 'tests'  # the controls live there
KNOBS = {
  'prior': ((0.1, 0.25), (0.3, 0.7)),  # kappa .35 and 1
  'no prior': ((0.35, 0.0), (1.0, 0.0)),
}
GUIDED_KNOBS = {'prior': ((0.0, 0.1), (0.0, 0.2))}  # guidance of the reference: alpha = 0
LIMITS = {'member': '<= 1e-8', 'control': '> 1e-2'}
LEVELS = {'Bernoulli': 2, '11 atoms': 11}
LANGUAGES = {'smoke': 0, 'cpu': 4, 'full': 64}  # random ones, beside the toy
COLUMNS = ('objective', 'kind', 'KL', '|V - V*|', 'row sum', 'steps', 'cases', 'gate')

Case = tuple[exact.Language, float, float]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Fits everything."""
  del workdir
  sys.path.insert(0, str(TESTS))
  negative_controls = importlib.import_module('negative_controls')
  toy = importlib.import_module('toy_language').toy

  languages = [toy(), *(random_language(seed) for seed in range(LANGUAGES[preset]))]
  rows = []
  with jax.enable_x64(True):
    for kind, members in (('member', fp.MEMBERS), ('control', negative_controls.CONTROLS)):
      for name, member in members.items():
        rows.append(row(name, kind, member, cases(languages, KNOBS), atoms=2))
    guided = (('member', fp.GUIDED), ('control', negative_controls.GUIDED_CONTROLS))
    for kind, members in guided:
      for name, member in members.items():
        for label, levels in LEVELS.items():
          on_atoms = [rounded(language, levels) for language in languages]
          where = cases(on_atoms, GUIDED_KNOBS)
          rows.append(row(f'{name}, {label}', kind, member, where, atoms=levels))
  gates = [gate(kind, [row for row in rows if row['kind'] == kind]) for kind in LIMITS]
  note = (
    f'{len(languages)} languages, kappa .35 and 1 (guided: .1 and .2). Members: the largest KL '
    'and |V - V*| of all cases; controls: the smallest. Published: all of them claim the '
    'soft-optimal policy.'
  )
  return tables.Table(COLUMNS, rows, note, gates)


def gate(kind: str, rows: Sequence[Mapping[str, Any]]) -> tables.Gate:
  """All of a kind on their side of the limit; who is not is named."""
  wrong = [row['objective'] for row in rows if not row['holds']]
  what = f'every {kind} has KL {LIMITS[kind]}'
  return tables.Gate(f'{what}, but not {", ".join(wrong)}' if wrong else what, not wrong)


def row(
  name: str, kind: str, member: fp.Member, where: Sequence[Case], *, atoms: int
) -> dict[str, Any]:
  """Fits all cases at once; the worst one counts, for a control the one that gets nearest."""
  problems = [fp.make_problem(*case) for case in where]
  start = fp.start(problems[0], atoms=atoms, seed=1)
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
  fits = jax.jit(jax.vmap(functools.partial(fp.fit, member), in_axes=(0, None)))(stacked, start)
  judged = [
    fp.judge(*case, member, jax.tree.map(lambda leaf, i=i: leaf[i], fits))
    for i, case in enumerate(where)
  ]
  kls = [verdict['kl'] for verdict in judged]
  kl = max(kls) if kind == 'member' else min(kls)
  error = max(verdict['value_error'] for verdict in judged)
  return {
    'objective': name,
    'kind': kind,
    'KL': f'{kl:.1e}',
    '|V - V*|': None if np.isnan(error) or kind == 'control' else f'{error:.1e}',
    'row sum': f'{max(verdict["row_sum"] for verdict in judged):.1e}',
    'steps': member.steps,
    'cases': len(where),
    'gate': LIMITS[kind],
    'holds': kl <= 1e-8 if kind == 'member' else kl > 1e-2,
  }


def cases(languages: Sequence[exact.Language], knobs: Mapping[str, Sequence]) -> list[Case]:
  """Every language at every setting of (alpha, beta)."""
  return [(language, *pair) for language in languages for pairs in knobs.values() for pair in pairs]


def random_language(seed: int) -> exact.Language:
  """Rewards on every action, any of the three actions as EOS."""
  return exact.random(np.random.default_rng(seed), actions=3, length=4, eos=seed % 3)


def rounded(language: exact.Language, levels: int) -> exact.Language:
  """Rewards on the last action only, moved to `levels` values evenly spaced in [0, 1]."""
  rewards = np.where(language.child < 0, np.abs(language.reward), 0)
  return language._replace(reward=np.round(rewards * (levels - 1)) / (levels - 1))


if __name__ == '__main__':
  tables.script('fixed_points', build)
