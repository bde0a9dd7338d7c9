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
# # 02 A run explored
#
# A run is a folder of plain files. You will see
#
# 1. its curves: reward, entropy, KL, temperature;
# 2. its responses, every token shaded by the entropy of the policy there;
# 3. where the policy decides: entropy along the response, before and after training, and the
#    choices at one fork.
#
# Name a run folder of yours in `RUN` (or in the environment as `MAXENT_LM_RUN`); without one a
# small run is made first.

# %%
import html
import json
import os
import pathlib
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from ml_collections import ConfigDict

from maxent_lm import build, cli
from maxent_lm.analysis import plots
from maxent_lm.analysis.plots import STYLES
from maxent_lm.data import Sequences, make_batch
from maxent_lm.lm.tokenizer import encode
from maxent_lm.types import Params, Scores

cli.prepare()
from configs import two_numbers

SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # fewer steps, for tests
RUN = os.environ.get('MAXENT_LM_RUN', '')

# %%
if not RUN:
  folder = pathlib.Path(tempfile.mkdtemp())
  build.demonstration_run(two_numbers.get_config('pretrain'), folder / 'start').train()
  made = two_numbers.get_config('vargrad')
  made.update(init=str(folder / 'start' / 'model'), steps=60 if SMALL else 150)
  build.rollout_run(made, folder / 'run').train()
  RUN = str(folder / 'run')
workdir = pathlib.Path(RUN)
sorted(path.name for path in workdir.iterdir())

# %% [markdown]
# `config.json` is the whole config, `versions.json` where and with what it ran, `metrics.jsonl` a
# line a step, `samples.jsonl` responses to read, `start/` and `model/` the policy before and after
# as Hugging Face folders.

# %%
config = ConfigDict(json.loads((workdir / 'config.json').read_text()))
config.mesh.update(data=1, fsdp=1, tensor=1)  # to look at it, one device is enough
metrics = pd.read_json(workdir / 'metrics.jsonl', lines=True)
assert len(metrics) == config.steps
print(f'{config.task}, {config.algorithm}, {len(metrics)} steps, {len(metrics.columns)} metrics')
metrics.iloc[[0, len(metrics) // 2, -1]].set_index('step').T.round(3)

# %% [markdown]
# ## Curves

# %%
curves = {config.name: metrics.to_dict('records')}
labels = {
  **{'success': 'accuracy of samples', 'entropy': 'entropy, nats per token'},
  **{'kl': 'KL to the start, nats per response', 'length': 'tokens a response'},
  **{'semantic_entropy': 'semantic entropy, nats', 'alpha': 'alpha', 'beta': 'beta'},
  'grad_norm': 'norm of the gradient',
}
there = {metric: label for metric, label in labels.items() if metric in metrics}
figure, panels = plt.subplots(2, 4, figsize=(14, 6), layout='constrained')
for axes, (metric, label) in zip(panels.flat, there.items(), strict=False):
  plots.learning_curve(axes, curves, {config.name: STYLES[0]}, metric, label)
for axes in panels.flat[len(there) :]:
  axes.axis('off')
plt.show()

# %% [markdown]
# ## Responses
#
# `samples.jsonl` has some responses of every tenth step. `class` is the meaning of a response: of
# Countdown, the canonical form of its expression.

# %%
samples = pd.read_json(workdir / 'samples.jsonl', lines=True)
by_step = samples.groupby('step').agg(
  responses=('response', 'size'), reward=('reward', 'mean'), finished=('finished', 'mean')
)
assert by_step.index[-1] == len(metrics) - 1
samples[samples['step'] == by_step.index[-1]].head(8)

# %% [markdown]
# The policy of the newest checkpoint scores the last responses again, and so does the policy that
# the run started from. `Scores` has for every token its log-probability and the exact entropy
# $H(\pi(\cdot|s_t))$ of the choice that was made there.

# %%
policy, params, step = build.trained_policy(config, workdir)
last = samples.tail(24).reset_index(drop=True)
prompts = [encode(policy.tokenizer, text) for text in last['prompt']]
responses = [
  policy.tokenizer.encode(text, add_special_tokens=False) + [policy.eos_id] * bool(finished)
  for text, finished in zip(last['response'], last['finished'], strict=True)
]
batch = make_batch(
  Sequences.unweighted(prompts, responses),
  columns=max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True)) + 1,
)
scorer = jax.jit(build.make_run_scorer(config, policy))


def response_entropies(params: Params) -> list[np.ndarray]:
  """Entropies of each response's tokens, nats."""
  scores: Scores = scorer(params, batch.tokens, batch.mask)
  entropy, mask = np.asarray(scores.entropy), np.asarray(batch.mask)
  return [row[here] for row, here in zip(entropy, mask, strict=True)]


before, after = response_entropies(policy.params), response_entropies(params)
assert [len(row) for row in after] == [len(row) for row in responses]
assert min(row.min() for row in after) >= -1e-5

# %%
highest = max(row.max() for row in after)


def shaded(row: int) -> str:
  """One response as HTML; the darker a token, the less the policy was sure of it."""
  texts = [str(policy.tokenizer.decode([token])) for token in responses[row]]
  spans = [
    f'<span title="{nats:.2f} nats" style="padding: 2px 1px; '
    f'background: rgba(213, 94, 0, {0.85 * nats / highest:.2f})">{html.escape(text)}</span>'
    for text, nats in zip(texts, after[row], strict=True)
  ]
  mark = '' if pd.isna(last['reward'][row]) else f'{last["reward"][row]:g}'
  return (
    f'<tr><td>{mark}</td><td style="text-align: left">{html.escape(last["prompt"][row])}</td>'
    f'<td style="text-align: left; font-family: monospace">{"".join(spans)}</td></tr>'
  )


HTML(
  '<table><tr><th>reward</th><th>prompt</th><th>response</th></tr>'
  + ''.join(shaded(row) for row in range(min(12, len(last))))
  + f'</table>full shade: {highest:.2f} nats; hover over a token for its entropy'
)

# %% [markdown]
# A pale token was no choice at all; the dark ones are forks.
#
# ## Where it decides

# %%
longest = max(map(len, after))
counts = np.array([sum(len(row) > place for row in after) for place in range(longest)])
figure, (left, middle) = plt.subplots(1, 2, figsize=(11, 4), layout='constrained')
stages = {'start': before, f'step {step}': after}
for (name, rows), (colour, marker, line) in zip(stages.items(), STYLES, strict=False):
  mean = [np.mean([row[place] for row in rows if len(row) > place]) for place in range(longest)]
  left.plot(mean, line, color=colour, marker=marker, markevery=max(1, longest // 12), label=name)
  flat = np.sort(np.concatenate(rows))
  middle.plot(np.linspace(0, 1, len(flat)), flat, line, color=colour, label=name)
left.xaxis.get_major_locator().set_params(integer=True)
left.set(xlabel='token of the response', ylabel='mean entropy, nats')
middle.set(xlabel='share of the tokens', ylabel='entropy at most, nats')
for axes in (left, middle):
  axes.grid(alpha=0.3)
left.legend()
plt.show()
assert counts[0] == len(last)

# %% [markdown]
# The fork with the highest entropy, and what the two policies would have said there:

# %%
row = int(np.argmax([entropies.max() for entropies in after]))
place = int(np.argmax(after[row]))
prefix = [*prompts[row], *responses[row][:place]]
# Padding stands to the right of the prefix, where attention does not look.
logits = {
  name: np.asarray(policy.lm.logits(weights, batch.tokens[row : row + 1]))[0, len(prefix) - 1]
  for name, weights in (('start', policy.params), (f'step {step}', params))
}
choices = pd.DataFrame(
  {name: np.exp(each - np.logaddexp.reduce(each)) for name, each in logits.items()},
  index=pd.Index([policy.tokenizer.decode([i]) for i in range(len(logits['start']))], name='token'),
)
newest = choices[f'step {step}'].to_numpy()
entropy = -np.sum(newest * np.log(np.maximum(newest, 1e-30)))
assert np.isclose(entropy, after[row][place], atol=1e-3)  # it is the state we meant
print(f'after {policy.tokenizer.decode(prefix)!r}: {entropy:.2f} nats')
choices.sort_values(f'step {step}', ascending=False).head(6).round(3)

# %% [markdown]
# ## Try
#
# - `python experiments/train.py ... --workdir=DIR`, then `MAXENT_LM_RUN=DIR` here, while it runs.
# - Shade by `scores.logp` or by `scores.value` instead of the entropy.
# - `metrics.plot.scatter('entropy', 'success')`: reward is often bought with entropy.
