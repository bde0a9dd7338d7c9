"""Q-values of the uniform policy on a tree with four right leaves [ROVER, Figure 5].

python experiments/tables/rover_tree.py --workdir=runs/tables/rover_tree --check

Letters ABCD, three of them, reward 1 for ACD, BDC, CAB, DBA and 0 otherwise. A policy may be greedy
in Q, sample softmax(Q_u / rho) with Q_u the value of the uniform policy, or be soft-optimal. All
numbers are exact; success is the probability of a right leaf, modes the number of right leaves with
a probability above 1%, evenness the entropy over right leaves as a share of log 4.
"""

import pathlib
from typing import Any

import numpy as np

from maxent_lm.analysis import tables
from maxent_lm.soft import exact, frontier

RIGHT = ('ACD', 'BDC', 'CAB', 'DBA')
TEMPERATURES = (1.0, 0.3, 0.1, 0.03)
PUBLISHED = {
  'Q_u, first letter': '0.06',
  'Q_u, second letter': '0.25',
  'Q_u, third letter': '1.00',
  'greedy in Q*': '1 of 4 modes',
  'greedy in Q_u': '1 of 4 modes',
  'softmax(Q_u / rho), 1': '4 of 4 modes, 100% success',
}
REMARK = 'the printed formula succeeds in 1 of 7 samples at rho = 1; 99.9% needs rho = 0.03'
COLUMNS = ('policy', 'published', 'ours', 'success', 'modes', 'evenness', 'remark')
EOS = 4


def tree() -> exact.Language:
  """Letters 0 ... 3; EOS has probability 0 under the reference, so every string has length 3."""
  log_ref = np.full((21, 5), -np.log(4.0))
  log_ref[:, EOS] = -np.inf
  right = [tuple('ABCD'.index(letter) for letter in word) for word in RIGHT]
  return exact.from_function(lambda string: float(string in right), log_ref, eos=EOS, length=3)


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Nothing to train: all presets are the same."""
  del preset, workdir
  language = tree()
  uniform = action_values(language, language.log_ref)
  rows = value_rows(uniform)
  rows.append(row('greedy in Q*', language, greedy(best_values(language))))
  rows.append(row('greedy in Q_u', language, greedy(uniform)))
  for rho in TEMPERATURES:
    sampled = language.log_ref + uniform / rho
    rows.append(row(f'softmax(Q_u / rho), {rho:g}', language, normalised(sampled)))
  for kappa in TEMPERATURES:
    best = exact.solve(language, 0.0, kappa).log_pi
    rows.append(row(f'soft-optimal, kappa {kappa:g}', language, best))
  found = {r['policy']: r for r in rows}
  found['softmax(Q_u / rho), 1']['remark'] = REMARK
  cold = found['soft-optimal, kappa 0.1']
  expected = 4 * np.exp(10) / (4 * np.exp(10) + 60)
  printed = np.exp(0.25) / (np.exp(0.25) + 3) * np.e / (np.e + 3)
  gates = [
    tables.Gate('Q_u is 1/16, 1/4 and 1', [r['ours'] for r in rows[:3]] == [1 / 16, 1 / 4, 1.0]),
    tables.Gate('soft-optimal at 0.1 succeeds .9993', abs(cold['success'] - expected) < 1e-12),
    tables.Gate('its modes are uniform', abs(cold['evenness'] - 1) < 1e-12),
    tables.Gate(
      'softmax(Q_u / 1) succeeds 14.2%, not 100%',
      abs(found['softmax(Q_u / rho), 1']['success'] - printed) < 1e-12,
    ),
  ]
  return tables.Table(COLUMNS, rows, 'Exact: 64 strings, no samples and no seeds.', gates)


def action_values(language: exact.Language, log_pi: np.ndarray) -> np.ndarray:
  """[S, A] Q^pi without entropy."""
  value = exact.policy_value(language, log_pi, 0.0, 0.0)
  return language.reward + np.where(language.child < 0, 0, value[language.child])


def best_values(language: exact.Language) -> np.ndarray:
  """[S, A] Q* of the hard maximum, the limit of temperature 0."""
  q = np.zeros_like(language.reward)
  value = np.zeros(len(q))
  for state in reversed(range(len(q))):
    ahead = np.where(language.child[state] < 0, 0, value[language.child[state]])
    q[state] = language.reward[state] + ahead
    value[state] = q[state, :EOS].max()
  return q


def greedy(q: np.ndarray) -> np.ndarray:
  """Log-probabilities of the first best letter."""
  best = np.argmax(q[:, :EOS], axis=1)
  return np.where(np.arange(5)[None, :] == best[:, None], 0.0, -np.inf)


def normalised(logits: np.ndarray) -> np.ndarray:
  """log softmax over the actions."""
  return logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))


def value_rows(q: np.ndarray) -> list[dict[str, Any]]:
  """Q_u along the right word ACD."""
  states, actions = (0, 1, 1 + 4 + 2), (0, 2, 3)  # '', 'A', 'AC'
  names = ('Q_u, first letter', 'Q_u, second letter', 'Q_u, third letter')
  return [
    {'policy': name, 'published': PUBLISHED[name], 'ours': float(q[state, action])}
    for name, state, action in zip(names, states, actions, strict=True)
  ]


def row(name: str, language: exact.Language, log_pi: np.ndarray) -> dict[str, Any]:
  """How a policy does on the right leaves."""
  total = exact.strings(language).reward.sum(axis=1)
  numbers = np.where(total > 0, np.cumsum(total > 0) - 1, -1)
  masses = frontier.class_masses(language, log_pi, numbers)
  success = float(masses.sum())
  return {
    'policy': name,
    'published': PUBLISHED.get(name),
    'ours': f'{np.count_nonzero(masses > 0.01)} of 4 modes, {100 * success:.1f}% success',
    'success': success,
    'modes': int(np.count_nonzero(masses > 0.01)),
    'evenness': abs(frontier.class_entropy(masses)) / np.log(4),
  }


if __name__ == '__main__':
  tables.script('rover_tree', build)
