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
# # 01 The soft-Q view by hand
#
# A language of fifteen strings is small enough to do everything exactly. You will see
#
# 1. the soft-optimal policy computed in three ways that agree: by backward induction, by listing
#    all strings, and by reading a language model's logits as soft Q-values;
# 2. the soft Bellman residual, zero on every path at the optimum and nowhere else;
# 3. two objectives that lead a table of logits, and a small transformer, to that optimum, and a
#    common mistake that does not.

# %%
import functools
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd

from maxent_lm import cli, masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis.plots import STYLES
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.soft import exact, operators, residual
from maxent_lm.types import Batch, Params, Scores, Temperature, Views

cli.prepare()
jax.config.update('jax_enable_x64', True)  # so that zero is zero
SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # fewer steps, for tests

# %% [markdown]
# ## A language
#
# Three actions: `.` ends a string, `a` and `b` go on, and after three actions it is over in any
# case. A string is worth 1 for every `ab` in it, and 0.4 more if it ends itself. The reference
# prefers `a` to `b` and likes to stop.

# %%
LETTERS, EOS, LENGTH = '.ab', 0, 3


def reward(string: exact.Tokens) -> float:
  """1 for every 'ab', 0.4 for an end of its own."""
  text = ''.join(LETTERS[token] for token in string)
  return text.count('ab') + 0.4 * text.endswith('.')


states = sum((len(LETTERS) - 1) ** n for n in range(LENGTH))
log_ref = np.tile(np.log([0.4, 0.4, 0.2]), (states, 1))
language = exact.from_function(reward, log_ref, eos=EOS, length=LENGTH)
rows = exact.strings(language)
names = [
  ''.join(LETTERS[token] for token in tokens[mask])
  for tokens, mask in zip(rows.tokens, rows.mask, strict=True)
]
prefixes = [
  ''.join(LETTERS[token] for token in prefix) or '(start)' for prefix in language.prefixes
]
assert (len(names), len(prefixes)) == (15, 7)

# %% [markdown]
# ## The optimum, three times
#
# We maximise reward plus $\alpha$ times entropy minus $\beta$ times the KL to the reference,
#
# $$\mathbb{E}\Big[\sum_t r_t + \alpha\, H(\pi(\cdot|s_t))
#   - \beta\, \mathrm{KL}(\pi(\cdot|s_t)\,\|\,\mathrm{ref}(\cdot|s_t))\Big].$$
#
# With $\kappa = \alpha + \beta$ and $\log\rho = \tfrac{\beta}{\kappa}\log\mathrm{ref}$ (not
# renormalised) the optimum obeys
#
# $$Q(s,a) = r(s,a) + V(sa), \qquad V(s) = \kappa \log \sum_a \rho(a|s)\, e^{Q(s,a)/\kappa},
#   \qquad \pi^*(a|s) = \rho(a|s)\, e^{(Q(s,a) - V(s))/\kappa}.$$
#
# A state's value needs only those of longer prefixes, so one sweep from the longest prefixes to the
# empty one is enough.

# %%
ALPHA, BETA = 0.1, 0.2
kappa = ALPHA + BETA
log_rho = BETA / kappa * language.log_ref

value = np.zeros(len(prefixes))
q = np.zeros_like(language.reward)
for state in reversed(range(len(prefixes))):
  after = [0.0 if child < 0 else value[child] for child in language.child[state]]
  q[state] = language.reward[state] + after
  value[state] = kappa * np.log(np.sum(np.exp(log_rho[state] + q[state] / kappa)))
log_pi = log_rho + (q - value[:, None]) / kappa

table = pd.DataFrame(np.exp(log_pi), index=prefixes, columns=[f'pi({c}|s)' for c in LETTERS])
table.insert(0, 'V(s)', value)
table.round(3)

# %% [markdown]
# The second way forgets states and lists all strings:
#
# $$\pi^*(y) = \mathrm{ref}(y)^{\beta/\kappa}\, e^{R(y)/\kappa} / Z, \quad V(s_0) = \kappa \log Z.$$

# %%
log_p, log_z = exact.brute_force(language, ALPHA, BETA)
by_hand = exact.string_logp(language, log_pi)
assert np.allclose(by_hand, log_p, atol=1e-12)
assert np.isclose(value[0], kappa * log_z, atol=1e-12)
assert np.allclose(log_pi, exact.solve(language, ALPHA, BETA).log_pi, atol=1e-12)  # the library's

strings = pd.DataFrame(
  {
    'string': names,
    'reward': rows.reward.sum(axis=1),
    'ref': np.exp(exact.string_logp(language, language.log_ref)),
    'optimum': np.exp(log_p),
  }
)
strings.sort_values('optimum', ascending=False).set_index('string').round(3)

# %%
order = np.argsort(-strings['optimum'].to_numpy())
figure, axes = plt.subplots(figsize=(9, 3), layout='constrained')
for offset, (column, hatch) in enumerate((('ref', '//'), ('optimum', ''))):
  axes.bar(
    np.arange(len(names)) + 0.4 * offset - 0.2,
    strings[column].to_numpy()[order],
    0.4,
    color=STYLES[offset][0],
    hatch=hatch,
    edgecolor='white',
    label=column,
  )
axes.set_xticks(range(len(names)), [names[i] for i in order])
axes.set(xlabel='string', ylabel='probability')
axes.legend()
plt.show()

# %% [markdown]
# The third way is the view of the whole package. A language model puts out one logit for each
# action. Let that logit be the *folded* soft Q-value $Q/\kappa + \log\rho$: then its softmax is
# $\pi^*$, and its log-sum-exp is $V/\kappa$. The model *is* the energy-based Q-function, and no
# other network is needed.

# %%
folded = operators.fold(jnp.asarray(q), jnp.asarray(kappa), jnp.asarray(log_rho))
assert jnp.allclose(jax.nn.log_softmax(folded), log_pi, atol=1e-12)
assert jnp.allclose(kappa * jax.nn.logsumexp(folded, axis=-1), value, atol=1e-12)

# %% [markdown]
# ## The residual
#
# All soft Bellman objectives are choices around one quantity, which adds up along a path:
#
# $$\delta_{i:j} = V(s_i) - V(s_j) + \sum_{i \le t < j}
#   \big[\kappa\, (\log\pi - \log\rho)(a_t|s_t) - r_t\big].$$
#
# A loss sees a policy only through four numbers a token, its `Scores`. Here they come from a table
# of logits; every string is one row of the batch.

# %%
batch = exact.to_batch(language)
at = jnp.asarray(np.pad(rows.states, ((0, 0), (0, 1))))  # the states, a column wider like the batch
temperature = Temperature(jnp.asarray(ALPHA), jnp.asarray(BETA))
reference = exact.tabular_scores(jnp.asarray(language.log_ref), at, batch.tokens)


def one_step(logits: jax.Array) -> jax.Array:
  """[N, T] residual of every token of every string."""
  scores = exact.tabular_scores(logits, at, batch.tokens)
  return residual.one_step(residual.read(scores, reference, batch, temperature))


at_optimum = one_step(folded)
at_reference = one_step(jnp.asarray(language.log_ref))
whole = residual.path(
  residual.read(
    exact.tabular_scores(jnp.asarray(language.log_ref), at, batch.tokens),
    reference,
    batch,
    temperature,
  )
)
assert jnp.abs(at_optimum).max() < 1e-12
assert jnp.abs(at_reference).max() > 0.5
assert jnp.allclose(at_reference.sum(axis=1), whole, atol=1e-12)  # it adds up

figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), layout='constrained', sharey=True)
width = float(jnp.abs(at_reference).max())
for axes, delta, title in zip(
  panels, (at_reference, at_optimum), ('reference', 'optimum'), strict=True
):
  shown = np.where(rows.mask, np.asarray(delta)[:, :LENGTH], np.nan)
  image = axes.imshow(shown, cmap='PuOr', vmin=-width, vmax=width, aspect='auto')
  axes.set_xticks(range(LENGTH), [f'token {t + 1}' for t in range(LENGTH)])
  axes.set_yticks(range(len(names)), names)
  axes.set_title(f'logits of the {title}')
figure.colorbar(image, ax=panels, label='one-step residual, reward units')
plt.show()

# %% [markdown]
# ## Learning it
#
# Now the table of logits starts at random and is trained on all strings, each with the same weight
# (nothing here is on-policy). `soft_q` makes the residual of every suffix small, `vargrad` that of
# whole strings with $V(s_0)$ the mean over the group. The control is `vargrad` again with the
# log-probability of the end left out of the path, as some code does it.

# %%
STEPS = 600 if SMALL else 2000


def train_table(name: str, seen: Batch, **options: object) -> tuple[np.ndarray, np.ndarray]:
  """(KL(pi* || pi) at every 20th step, final log_pi) of a table of logits."""
  loss = functools.partial(LOSSES[name], **options)
  optimizer = optax.adam(optax.cosine_decay_schedule(0.05, STEPS))

  def objective(logits: jax.Array) -> jax.Array:
    views = Views(exact.tabular_scores(logits, at, seen.tokens), reference=reference)
    return masked.sequence_sum(loss(views, seen, temperature)[0], seen.mask)

  def step(carry: tuple, _: None) -> tuple[tuple, jax.Array]:
    logits, state = carry
    updates, state = optimizer.update(jax.grad(objective)(logits), state)
    return (optax.apply_updates(logits, updates), state), jax.nn.log_softmax(logits)

  start = jax.random.normal(jax.random.key(0), language.reward.shape)
  (end, _), path = jax.jit(
    lambda logits: jax.lax.scan(step, (logits, optimizer.init(logits)), length=STEPS)
  )(start)
  final = np.asarray(jax.nn.log_softmax(end))
  kls = [exact.kl(language, log_pi, np.asarray(each)) for each in [*path[::20], final]]
  return np.array(kls), final


ended = jnp.asarray([name.endswith('.') for name in names])
without = batch.mask & ~(masked.last_action(batch.mask) & ended[:, None])
total = batch.reward.sum(axis=1, keepdims=True)  # now on the last token that is left
no_end = batch._replace(mask=without, reward=jnp.where(masked.last_action(without), total, 0))

curves = {
  'soft_q, lambda 0.9': train_table('soft_q', batch, lam=0.9, gradient='semi', value='lse')[0],
  'vargrad': train_table('vargrad', batch)[0],
  'control: no log-prob of the end': train_table('vargrad', no_end)[0],
}

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout='constrained')
for (name, kls), (colour, marker, line) in zip(curves.items(), STYLES, strict=False):
  steps = np.minimum(20 * np.arange(len(kls)), STEPS)
  shown = np.maximum(kls, 1e-16)
  axes.semilogy(steps, shown, line, color=colour, marker=marker, markevery=12, label=name)
axes.set(xlabel='step', ylabel='KL(optimum || policy), nats')
axes.grid(alpha=0.3)
axes.legend()
plt.show()

for name, kls in curves.items():
  print(f'{name}: {kls[-1]:.1e} nats')
  assert (kls[-1] > 0.01) if name.startswith('control') else (kls[-1] < 1e-8)

# %% [markdown]
# Both objectives end within $10^{-8}$ nats of the optimum; the control stays above $10^{-2}$ for
# ever, since it solves another problem. A reward curve would hardly tell them apart.
#
# ## A transformer
#
# The same loss and the same batch, but the scores come from a transformer of two layers in float32.
# `make_scorer` is the only place where training touches a model.

# %%
lm = LM(
  LMConfig(
    **{'vocab_size': len(LETTERS), 'd_model': 32, 'num_layers': 2, 'num_heads': 2},
    **{'num_kv_heads': 1, 'head_dim': 16, 'd_ff': 64, 'tied': False},
  )
)
prompted = exact.with_prompt(batch, EOS)  # the prompt: one token before every string
prompted = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, prompted)
wide = Scores(*[jnp.pad(x, ((0, 0), (1, 0))) for x in reference[:4]])
scorer = make_scorer(lm, chunk=prompted.tokens.size)
LM_STEPS = 300 if SMALL else 1500
optimizer = optax.chain(
  optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(3e-3, LM_STEPS))
)


def lm_objective(params: Params) -> jax.Array:
  """soft_q of all strings."""
  views = Views(scorer(params, prompted.tokens, prompted.mask), reference=wide)
  values, _ = LOSSES['soft_q'](views, prompted, temperature, lam=1.0, gradient='semi', value='lse')
  return masked.sequence_sum(values, prompted.mask)


@jax.jit
def lm_step(params: Params, state: optax.OptState) -> tuple[Params, optax.OptState]:
  """One step of Adam."""
  updates, state = optimizer.update(jax.grad(lm_objective)(params), state, params)
  return optax.apply_updates(params, updates), state


def kl_of(params: Params) -> float:
  """KL(pi* || model) over strings."""
  logp = scorer(params, prompted.tokens, prompted.mask).logp
  total = np.where(prompted.mask, np.asarray(logp, np.float64), 0).sum(axis=1)
  return float(np.exp(log_p) @ (log_p - total))


params = lm.init(0)
opt_state = optimizer.init(params)
before, lm_curve = kl_of(params), []
for step in range(LM_STEPS):
  params, opt_state = lm_step(params, opt_state)
  if step % 20 == 0 or step == LM_STEPS - 1:
    lm_curve.append((step, kl_of(params)))
print(f'{before:.3f} nats before, {lm_curve[-1][1]:.1e} after')
assert lm_curve[-1][1] < (1e-3 if SMALL else 1e-5)

# %%
figure, axes = plt.subplots(figsize=(7, 3.2), layout='constrained')
axes.semilogy(*np.array(lm_curve).T, color=STYLES[0][0])
axes.set(xlabel='step', ylabel='KL(optimum || transformer), nats')
axes.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## Try
#
# - Set `BETA = 0`: pure entropy. Which strings gain? (Notebook 06 says why.)
# - Give `train_table` another name from `LOSSES`, `pairwise` or `path` with `value='lse'`.
# - Leave the strings that the length cap ended out of the batch: what is the optimum then?
# - Change `reward` to anything; nothing else has to change.
