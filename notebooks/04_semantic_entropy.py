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
# # 04 Semantic entropy and uncertainty
#
# The same answer can be worded in many ways, and a model that hesitates only between wordings is
# not unsure. You will see
#
# 1. token entropy against the entropy over meanings, on a language where both are known;
# 2. estimators of it from a few samples, and how they are biased;
# 3. on a trained model: which score finds the wrong answers (AUROC), and whether the majority's
#    share is a probability that can be trusted (calibration).

# %%
import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from maxent_lm import build, cli
from maxent_lm.analysis import plots
from maxent_lm.analysis.plots import STYLES
from maxent_lm.evaluation import detection
from maxent_lm.soft import exact, frontier, semantic

cli.prepare()
from configs import countdown, two_numbers

SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # a smaller task, for tests

# %% [markdown]
# ## Wordings and meanings
#
# Strings of `a` and `b`, at most five actions with the end. Let the meaning of a string be its
# multiset of letters: `aab`, `aba` and `baa` say the same. With $p(c) = \sum_{y \in c} \pi(y)$ the
# entropy over meanings is
#
# $$H_{\text{sem}} = -\sum_c p(c) \log p(c) \;\le\; H(\pi(y)).$$

# %%
language = exact.random(np.random.default_rng(4), actions=3, length=5, eos=0)
rows = exact.strings(language)
texts = [
  ''.join('.ab'[token] for token in tokens[mask]).rstrip('.')
  for tokens, mask in zip(rows.tokens, rows.mask, strict=True)
]
meanings = [''.join(sorted(text)) for text in texts]
number = {meaning: index for index, meaning in enumerate(dict.fromkeys(meanings))}
classes = np.array([number[meaning] for meaning in meanings])
masses = frontier.class_masses(language, language.log_ref, classes)
TRUE = frontier.class_entropy(masses)
wording = exact.sequence_entropy(language, language.log_ref)
print(
  f'{len(texts)} strings with {len(number)} meanings; entropy {wording:.3f} of strings, '
  f'{TRUE:.3f} of meanings, nats'
)
assert TRUE < wording

# %% [markdown]
# ## Estimates from a few samples
#
# Counting is biased downwards, by about $(C - 1)/2n$ for $C$ classes and $n$ samples, since classes
# that were not seen count as impossible. `miller_madow` adds this back for the classes that were
# seen, `chao_shen` estimates the ones that were not. `rao` weighs samples by their probabilities:
# applied to all samples it counts $\pi(y)$ twice and tends to another number; `distinct` first
# makes it right.

# %%
GROUPS, SIZES = (100, (4, 8, 16, 64)) if SMALL else (400, (4, 8, 16, 32, 64, 128))
logp = exact.string_logp(language, language.log_ref)
rng = np.random.default_rng(0)


@jax.jit
def estimates(drawn: jax.Array, group: jax.Array) -> dict[str, jax.Array]:
  """Mean over the groups of every estimate; `drawn` [B] are numbers of strings."""
  these = semantic.classes(
    jnp.asarray(classes)[drawn], group, jnp.ones(len(drawn), bool), missing='own'
  )
  different, log_y = semantic.distinct(these, drawn), jnp.asarray(logp)[drawn]
  found = {
    'discrete': semantic.discrete(these),
    'Miller-Madow': semantic.miller_madow(these),
    'Chao-Shen': semantic.chao_shen(these),
    'Rao': semantic.rao(these, log_y),
    'Rao of distinct': semantic.rao(different, log_y),
  }
  return {name: values.mean() for name, values in found.items()}


means: dict[str, list[float]] = {}
for size in SIZES:
  drawn = jnp.asarray(rng.choice(len(texts), GROUPS * size, p=np.exp(logp)))
  group = jnp.repeat(jnp.arange(GROUPS), size)
  for name, value in estimates(drawn, group).items():
    means.setdefault(name, []).append(float(value))

figure, axes = plt.subplots(figsize=(7, 4), layout='constrained')
for (name, values), (colour, marker, line) in zip(means.items(), STYLES, strict=False):
  axes.plot(SIZES, values, line, color=colour, marker=marker, label=name)
axes.axhline(TRUE, color=STYLES[6][0], linewidth=0.8)
axes.set_xscale('log', base=2)
axes.set(xlabel='samples n', ylabel='mean estimate, nats')
axes.grid(alpha=0.3)
axes.legend()
plt.show()

errors = {name: [value - TRUE for value in values] for name, values in means.items()}
assert max(errors['discrete']) < 0  # always low
assert all(abs(errors['Miller-Madow'][i]) < abs(errors['discrete'][i]) for i in range(len(SIZES)))
assert abs(errors['Chao-Shen'][-1]) < 0.05
assert abs(errors['Rao'][-1]) > abs(errors['Rao of distinct'][-1])
pd.DataFrame(errors, index=pd.Index(SIZES, name='n')).round(3)

# %% [markdown]
# The black line is the truth, the table the error. Four samples are few: two groups are only
# comparable with the same number of samples.
#
# ## Which answers are wrong?
#
# A model is warm-started on Countdown, and answers every test problem 16 times. The answer is the
# majority's. A score that is higher for wrong answers than for right ones with probability $A$ has
# AUROC $A$; 0.5 is chance.

# %%
configs = two_numbers if SMALL else countdown
config = configs.get_config('pretrain')
if SMALL:
  config.countdown.max_number = 15
  config.steps = 90
config.checkpoint.every = config.steps
run = build.demonstration_run(config, pathlib.Path(tempfile.mkdtemp()) / 'run')
state = run.train()
problems = pd.DataFrame(build.make_evaluation(config, run.policy).measure(state.params, None))
wrong = ~problems['majority_right'].to_numpy(bool)
print(f'{len(problems)} problems, {wrong.mean():.0%} wrong')
assert 0.05 < wrong.mean() < 0.95

# %%
scores = {
  'semantic entropy': problems['semantic_entropy'],
  'semantic, Rao': problems['semantic_entropy_rao'],
  'token entropy': problems['entropy'],
  '- log-probability': -problems['logp'],
  '1 - majority share': 1 - problems['majority_share'],
}
found = {name: detection.auroc(score, wrong) for name, score in scores.items()}
figure, (left, middle) = plt.subplots(1, 2, figsize=(11, 4), layout='constrained')
for place, (name, each) in enumerate(found.items()):
  colour, marker, _ = STYLES[place]
  error = [[each.value - each.low], [each.high - each.value]]
  left.errorbar(each.value, place, xerr=error, color=colour, marker=marker, capsize=3)
  risk = detection.risk_coverage(scores[name], wrong)
  middle.plot(
    np.arange(1, len(risk) + 1) / len(risk), risk, STYLES[place][2], color=colour, label=name
  )
left.axvline(0.5, color=STYLES[6][0], linewidth=0.8)
left.set_yticks(range(len(found)), list(found))
left.invert_yaxis()
left.set(xlabel='AUROC with 95% interval')
middle.set(xlabel='share of the problems answered, surest first', ylabel='share of them wrong')
for axes in (left, middle):
  axes.grid(alpha=0.3)
middle.legend(fontsize=8)
plt.show()
if not SMALL:  # few problems have wide intervals
  assert found['semantic entropy'].low > 0.5  # it does find them

# %% [markdown]
# Whether one score is better than another is a question about the same problems, so the difference
# has its own, narrower interval:

# %%
difference = detection.auroc_difference(scores['semantic entropy'], scores['token entropy'], wrong)
print(
  f'semantic - token: {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})'
)
assert difference.low <= difference.value <= difference.high

# %% [markdown]
# ## Calibration
#
# Of the answers with a majority share of 70%, 70% should be right. The expected calibration error
# is the mean distance from the diagonal; the Brier score also rewards being sharp.

# %%
share, right = problems['majority_share'].to_numpy(), ~wrong
table = detection.reliability(share, right, bins=6)
figure, axes = plt.subplots(figsize=(4.6, 4.6), layout='constrained')
plots.reliability(axes, *table)
plt.show()
ece, brier = detection.ece(share, right, bins=6), detection.brier(share, right)
print(
  f'ECE {ece:.3f}, Brier {brier:.3f}; always saying {right.mean():.2f}: Brier '
  f'{right.mean() * wrong.mean():.3f}'
)
assert np.isclose(ece, np.average(np.abs(table.accuracy - table.confidence), weights=table.count))
assert table.count.sum() == len(problems)

# %% [markdown]
# ## Try
#
# - `config.eval.samples = 4`: how much of the AUROC is left?
# - Train the model with GRPO or VarGrad (notebook 05) and evaluate again. README says what happened
#   there: GRPO made the majority's share a worse estimate of being right, VarGrad a better one.
# - Weigh the samples yourself: `problems['sample_logp']` has a list for every problem.
