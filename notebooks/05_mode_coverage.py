# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 Mode coverage and collapse
#
# Most problems have many right answers. You will see
#
# 1. coverage measured exactly, on a task that knows all its solutions;
# 2. what $k$ samples of a policy can find, as a formula and from samples;
# 3. GRPO against VarGrad from the same start: similar accuracy, different coverage.

# %%
import os
import pathlib
import tempfile
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from maxent_lm import build, cli
from maxent_lm.analysis import plots
from maxent_lm.analysis.plots import STYLES
from maxent_lm.evaluation import at_k, summary
from maxent_lm.soft import frontier
from maxent_lm.tasks import TASKS
from maxent_lm.train.metrics import read_metrics

cli.prepare()
from configs import countdown, two_numbers

SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # a smaller task, for tests

# %% [markdown]
# ## A problem with all its answers
#
# Countdown asks for an expression over given numbers with a given value. Two expressions are the
# same solution if reordering, regrouping or rewriting signs turns one into the other; `cluster`
# gives the canonical form, and `modes` says how many there are.

# %%
task = TASKS['countdown'](split='test', num_numbers=(3,), max_number=12, min_modes=4)
problem = task[0]
rng = np.random.default_rng(0)
found: dict[str, str] = {}
while len(found) < task.modes(problem):
  response = task.demonstration(problem, rng)
  found.setdefault(task.cluster(problem, response), response)
print(problem.prompt, 'has', task.modes(problem), 'solutions:')
pd.DataFrame({'canonical form': list(found), 'one way to write it': list(found.values())})

# %%
assert all(task.reward(problem, response, True) == 1 for response in found.values())
wordings = {task.demonstration(problem, rng) for _ in range(500)}
assert len(wordings) > len(found)
assert {task.cluster(problem, text) for text in wordings} == set(found)
print(f'{len(wordings)} wordings, {len(found)} solutions')

# %% [markdown]
# ## What k samples find
#
# A policy with probability $p_c$ on solution $c$ finds in $k$ samples the share
#
# $$\text{coverage}@k = \frac1C \sum_c 1 - (1 - p_c)^k.$$
#
# With $n \ge k$ samples, $m_c$ of them in class $c$, the unbiased estimate averages over all
# choices of $k$ of them, $1 - \binom{n - m_c}{k} / \binom{n}{k}$. Three policies that are right
# equally often:

# %%
CLASSES, KS = 8, [1, 2, 4, 8, 16, 32]
policies = {
  'even': np.full(CLASSES, 0.1),
  'skewed': 0.8 * 0.6 ** np.arange(CLASSES) / np.sum(0.6 ** np.arange(CLASSES)),
  'collapsed': np.array([0.8, *np.zeros(CLASSES - 1)]),
}
figure, axes = plt.subplots(figsize=(6.5, 4), layout='constrained')
for (name, masses), (colour, marker, line) in zip(policies.items(), STYLES, strict=False):
  assert np.isclose(masses.sum(), 0.8)
  truth = frontier.coverage_curve(masses, KS)
  draws = rng.multinomial(64, [*masses, 0.2], size=300)[:, :CLASSES]
  sampled = [
    np.mean([at_k.distinct_at_k(row, samples=64, k=k) for row in draws]) / CLASSES for k in KS
  ]
  assert np.allclose(truth, sampled, atol=0.03)  # the estimate has no bias
  axes.plot(KS, truth, line, color=colour, marker=marker, label=name)
axes.set_xscale('log', base=2)
axes.xaxis.set_major_formatter('{x:.0f}')
axes.set(xlabel='samples k', ylabel='coverage@k', ylim=(0, 1.02))
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %% [markdown]
# pass@1 is 0.8 for all three, and nothing but coverage tells them apart.
#
# The soft optimum is even wherever rewards are: without a reference it gives equally rewarded
# answers the same probability. A policy gradient without a temperature has no such preference. In a
# bandit with two equally right answers its expected gradient between them is zero where they are
# equal, and whichever is ahead is pushed further:


# %%
def gap_after(steps: int, alpha: float, seed: int) -> float:
  """|p_0 - p_1| of two right answers (a third is wrong), trained on groups of eight samples."""
  draw, logits = np.random.default_rng(seed), np.zeros(3)
  for _ in range(steps):
    p = np.exp(logits - logits.max())
    p /= p.sum()
    chosen = draw.choice(3, size=8, p=p)
    gain = (chosen < 2) - alpha * np.log(p[chosen])
    advantage = gain - gain.mean()
    one_hot = np.eye(3)[chosen]
    logits += 0.5 * (advantage[:, None] * (one_hot - p)).mean(axis=0)
  return float(abs(p[0] - p[1]))


STEPS = 400 if SMALL else 2000
gaps = {alpha: [gap_after(STEPS, alpha, seed) for seed in range(20)] for alpha in (0.0, 0.1)}
print({alpha: round(float(np.mean(each)), 3) for alpha, each in gaps.items()})
assert np.mean(gaps[0.1]) < 0.1 < 0.15 < np.mean(gaps[0.0])

# %% [markdown]
# ## GRPO against VarGrad
#
# The same start, the same problems and as many steps. VarGrad holds an entropy with $\alpha$ and a
# KL budget with $\beta$. All three policies are evaluated on problems that training never drew;
# this takes some minutes (`make quickstart` is the same with a page of results).

# %%
configs = two_numbers if SMALL else countdown
folder = pathlib.Path(tempfile.mkdtemp())
VARIANTS = {'warm start': 'pretrain', 'GRPO': 'grpo', 'VarGrad': 'vargrad'}
problems: dict[str, list[dict]] = {}
for name, variant in VARIANTS.items():
  config = configs.get_config(variant)
  config.name = name
  config.checkpoint.every = config.steps
  config.init = '' if variant == 'pretrain' else str(folder / 'pretrain' / 'model')
  make = build.demonstration_run if variant == 'pretrain' else build.rollout_run
  run = make(config, folder / variant)
  state = run.train()
  start = None if variant == 'pretrain' else run.policy.params
  problems[name] = build.make_evaluation(config, run.policy).measure(state.params, start)
tables: dict[str, Any] = {name: {'name': name, **summary(rows)} for name, rows in problems.items()}

# %%
SAMPLES = tables['GRPO']['samples']
columns = [
  'pass@1',
  f'pass@{SAMPLES}',
  f'coverage@{SAMPLES}',
  f'distinct@{SAMPLES}',
  'entropy',
  'kl',
]
pd.DataFrame(tables).T.reindex(columns=columns).astype(float).round(3)

# %%
curves = {name: read_metrics(folder / VARIANTS[name] / 'metrics.jsonl') for name in tables}
styles = dict(zip(tables, STYLES, strict=False))
figure, panels = plt.subplots(2, 2, figsize=(10, 7.6), layout='constrained')
trained = {name: curves[name] for name in ('GRPO', 'VarGrad')}
plots.learning_curve(panels[0, 0], trained, styles, 'success', 'accuracy of the samples')
plots.learning_curve(panels[0, 1], trained, styles, 'entropy', 'entropy, nats per token')
panels[0, 0].legend()
plots.plane(panels[1, 0], list(tables.values()), styles, 'pass@1', f'coverage@{SAMPLES}')
for name, table in tables.items():
  colour, marker, line = styles[name]
  ks = at_k.sizes(SAMPLES)
  shown = [table[f'coverage@{k}'] for k in ks]
  panels[1, 1].plot(ks, shown, line, color=colour, marker=marker, label=name)
panels[1, 1].set_xscale('log', base=2)
panels[1, 1].xaxis.set_major_formatter('{x:.0f}')
panels[1, 1].set(xlabel='samples k', ylabel='coverage@k', ylim=(0, 1))
panels[1, 1].grid(alpha=0.3)
panels[1, 1].legend()
plt.show()

assert tables['GRPO']['pass@1'] > tables['warm start']['pass@1']
assert tables['VarGrad']['pass@1'] > tables['warm start']['pass@1']
assert tables['GRPO']['entropy'] < tables['VarGrad']['entropy']
if not SMALL:  # the small task has about one solution a problem
  assert tables['GRPO'][f'coverage@{SAMPLES}'] < 0.8 * tables['VarGrad'][f'coverage@{SAMPLES}']

# %% [markdown]
# `pass@k` for large $k$ already hints at it, but counts a problem as done with its first answer.
# Coverage does not.
#
# ## One problem, before and after


# %%
warm = problems['warm start']
number = max(range(len(warm)), key=lambda i: warm[i]['distinct'])
rows = {name: each[number] for name, each in problems.items()}
known = dict.fromkeys(answer for row in rows.values() for answer in row['classes'])
looks = dict(zip(known, STYLES, strict=False))  # the rest is grey
figure, axes = plt.subplots(figsize=(9, 3.2), layout='constrained')
for place, row in enumerate(rows.values()):
  left = 0.0
  for answer in known:
    share = row['classes'].get(answer, 0) / row['samples']
    colour = looks.get(answer, STYLES[-1])[0]
    hatch = plots.HATCHES[list(known).index(answer) % len(plots.HATCHES)]
    label = answer if place == 0 and answer in looks else None
    axes.barh(place, share, left=left, color=colour, hatch=hatch, edgecolor='white', label=label)
    left += share
axes.set_yticks(range(len(rows)), list(rows))
axes.invert_yaxis()
axes.set(xlabel='share of the samples', xlim=(0, 1), title=warm[number]['prompt'])
figure.legend(loc='outside right upper', fontsize=8)
plt.show()

# %% [markdown]
# ## Try
#
# - `config.temperature.update(alpha=0.0, beta=0.4, beta_control='fixed')` for VarGrad: README's row
#   with all of the coverage.
# - `config.transforms = ('group_normalised', 'seed_grpo')` or another entropy mechanism for GRPO.
# - `graph_coloring` in place of Countdown (`configs/graph_coloring.py`): all colourings are known.
