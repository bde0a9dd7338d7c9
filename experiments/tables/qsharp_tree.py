"""A sure small reward against a rare large one [Q-sharp, Figure 4 and Theorem 4.1].

python experiments/tables/qsharp_tree.py --workdir=runs/tables/qsharp_tree --check

The reference goes left or right with probability 1/2. Left pays 0.1, right pays 1 with probability
.05 and else 0. The KL-regularised optimum goes right as the temperature eta falls; controlled
decoding, which weighs by the mean reward instead of its exponential mean, goes left. Exact.
"""

import pathlib
from typing import Any

import numpy as np

from maxent_lm.analysis import tables
from maxent_lm.soft import exact

LEFT, RIGHT, EOS = 0, 1, 2
ETAS = (1.0, 0.3, 0.1, 0.05, 0.02)
COLUMNS = (
  *('eta', 'published', 'controlled decoding', 'Q-sharp', 'soft-optimal'),
  *('KL, controlled', 'KL, Q-sharp', 'remark'),
)
# P(left), computed independently from the closed form.
EXPECTED = {
  'controlled decoding': (0.5125, 0.5416, 0.6225, 0.7311, 0.9241),
  'Q-sharp': (0.5044, 0.3724, 0.0025, 0.0, 0.0),
}


def tree() -> exact.Language:
  """States '', 'L', 'R'; EOS has probability 0 under the reference."""
  ref = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0.05, 0.95, 0]])
  reward = np.array([[0, 0, 0], [0.1, 0.1, 0], [1, 0, 0]], float)
  with np.errstate(divide='ignore'):
    return exact.from_tables(EOS, 2, reward, np.log(ref))


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Nothing to train: all presets are the same."""
  del preset, workdir
  language = tree()
  rows: list[dict[str, Any]] = []
  for eta in ETAS:
    policies = {
      'controlled decoding': guided(language, mean_value(language), eta),
      'Q-sharp': guided(language, exponential_value(language, eta), eta),
    }
    left = {name: float(np.exp(log_pi[0, LEFT])) for name, log_pi in policies.items()}
    best = float(np.exp(exact.solve(language, 0.0, eta).log_pi[0, LEFT]))
    kls = {name: exact.kl(language, p, language.log_ref) for name, p in policies.items()}
    rows.append(
      {
        'eta': eta,
        'published': 'CD left, Q-sharp right' if eta == ETAS[-1] else None,
        **left,
        'soft-optimal': best,
        'KL, controlled': kls['controlled decoding'],
        'KL, Q-sharp': kls['Q-sharp'],
        'remark': 'the paper proves the limit eta -> 0' if eta == ETAS[-1] else None,
      }
    )
  gates = [
    tables.Gate(
      f'P(left) of {name} is {", ".join(map(str, values))}',
      all(abs(row[name] - value) < 6e-5 for row, value in zip(rows, values, strict=True)),
    )
    for name, values in EXPECTED.items()
  ]
  same = all(abs(row['Q-sharp'] - row['soft-optimal']) < 1e-12 for row in rows)
  gates.append(tables.Gate('Q-sharp is the soft-optimal policy', same))
  note = 'P(left) of each policy, and KL to the reference in nats a string. Exact, no seeds.'
  return tables.Table(COLUMNS, rows, note, gates)


def mean_value(language: exact.Language) -> np.ndarray:
  """[S, A] E_ref[R | s, a]."""
  value = exact.policy_value(language, language.log_ref, 0.0, 0.0)
  return language.reward + np.where(language.child < 0, 0, value[language.child])


def exponential_value(language: exact.Language, eta: float) -> np.ndarray:
  """[S, A] eta log E_ref[exp(R / eta) | s, a], from the completions and not from a Bellman step."""
  rows = exact.strings(language)
  total = rows.reward.sum(axis=1)
  logp = exact.string_logp(language, language.log_ref)
  value = np.zeros_like(language.reward)
  for state, prefix in enumerate(language.prefixes):
    n = len(prefix)
    for action in range(language.reward.shape[1]):
      start = [*prefix, action]
      here = rows.mask[:, n] & (rows.tokens[:, : n + 1] == start).all(axis=1)
      mass = np.exp(logp[here])
      if mass.sum() > 0:
        value[state, action] = eta * np.log(mass @ np.exp(total[here] / eta) / mass.sum())
  return value


def guided(language: exact.Language, value: np.ndarray, eta: float) -> np.ndarray:
  """[S, A] log of ref exp(value / eta), normalised."""
  logits = language.log_ref + value / eta
  return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


if __name__ == '__main__':
  tables.script('qsharp_tree', build)
