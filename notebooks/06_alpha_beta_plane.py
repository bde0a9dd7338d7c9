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
# # 06 KL against entropy: the (alpha, beta) plane
#
# Both knobs soften a policy, $\alpha$ towards all strings, $\beta$ towards the reference. On a
# language that is solved exactly you will see
#
# 1. what every pair $(\alpha, \beta)$ ends at: reward, coverage, KL, and where policies collapse or
#    babble;
# 2. the frontier: which reward costs how much KL;
# 3. the length bias of pure entropy, and how it grows with the vocabulary.
#
# Nothing is trained or sampled here.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from maxent_lm import cli
from maxent_lm.analysis.plots import STYLES
from maxent_lm.soft import exact, frontier

cli.prepare()
SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # a coarser grid, for tests

# %% [markdown]
# ## A language with six right answers
#
# Four letters and an end; strings of at most five actions. A string is right, and worth 1, if it is
# two or three letters in the order of the alphabet, `a` among them, and then the end. The reference
# is a habit: it likes the first letters and ends with probability 0.4.

# %%
LETTERS, EOS, LENGTH, K = 'abcd', 0, 5, 8


def is_right(string: exact.Tokens) -> bool:
  """Two or three letters that ascend, the first letter among them, and then the end."""
  *letters, end = string
  return end == EOS and len(letters) in (2, 3) and letters == sorted(set(letters)) and 1 in letters


def make_language(letters: int, length: int) -> exact.Language:
  """The task over so many letters, with the reference of habit."""
  ref = np.array([0.4, *(0.6 * 0.5 ** np.arange(1, letters + 1))])
  ref[-1] += 1 - ref.sum()
  states = sum(letters**n for n in range(length))
  log_ref = np.tile(np.log(ref), (states, 1))
  return exact.from_function(lambda y: float(is_right(y)), log_ref, eos=EOS, length=length)


language = make_language(len(LETTERS), LENGTH)
rows = exact.strings(language)
right = rows.reward.sum(axis=1) == 1
lengths = rows.mask.sum(axis=1)
answers = [
  ''.join(LETTERS[token - 1] for token in tokens[mask][:-1])
  for tokens, mask in zip(rows.tokens[right], rows.mask[right], strict=True)
]
print(f'{len(right)} strings, right: {", ".join(answers)}')
assert sorted(answers) == ['ab', 'abc', 'abd', 'ac', 'acd', 'ad']

# %% [markdown]
# ## The plane
#
# For each pair `exact.solve` gives the policy that any exact soft objective ends at, and with it
#
# - the expected reward $\mathbb{E}[R]$;
# - coverage@8, the share of the six answers that eight samples find,
#   $\tfrac16 \sum_y 1 - (1 - \pi(y))^8$;
# - $\mathrm{KL}(\pi\,\|\,\mathrm{ref})$ in nats per string;
# - the share of strings that never end themselves.

# %%
GRID = np.geomspace(0.01, 3, 6 if SMALL else 14)


def measure(alpha: float, beta: float) -> tuple[float, float, float, float]:
  """Reward, coverage, KL and share of cut strings at the optimum of (alpha, beta)."""
  log_pi = exact.solve(language, alpha, beta).log_pi
  p = np.exp(exact.string_logp(language, log_pi))
  return (
    float(p @ right),
    exact.coverage_at_k(language, log_pi, right, K),
    exact.kl(language, log_pi, language.log_ref),
    float(p[(lengths == LENGTH) & (rows.tokens[:, -1] != EOS)].sum()),
  )


plane = np.array([[measure(alpha, beta) for beta in GRID] for alpha in GRID])
reward, coverage, kl, cut = np.moveaxis(plane, -1, 0)

# %%
titles = ('reward', f'coverage@{K}', 'KL to the reference, nats', 'share that is cut')
figure, panels = plt.subplots(2, 2, figsize=(9, 7.4), layout='constrained')
for axes, values, title in zip(panels.flat, np.moveaxis(plane, -1, 0), titles, strict=True):
  mesh = axes.pcolormesh(GRID, GRID, values, cmap='cividis', shading='nearest')
  axes.contour(GRID, GRID, cut, [0.5], colors='white', linestyles='--')
  axes.set(xscale='log', yscale='log', xlabel='beta', ylabel='alpha', title=title)
  figure.colorbar(mesh, ax=axes)
plt.show()

# %% [markdown]
# Dark blue is low. Above the dashed line more than half of the strings never end: the policy
# **babbles**. There are more long strings than short ones, and $\alpha$ counts them all alike, so
# reward falls with coverage. At the lower right the policy stays with the **habit**: little KL,
# little reward. At the lower left reward is 1. Which answers share that reward differs along the
# edges:

# %%
TINY, LITTLE = 0.01, 0.1
corners = {
  'reference': language.log_ref,
  f'only beta = {TINY}': exact.solve(language, 0.0, TINY).log_pi,
  f'only beta = {LITTLE}': exact.solve(language, 0.0, LITTLE).log_pi,
  f'only alpha = {TINY}': exact.solve(language, TINY, 0.0).log_pi,
  f'only alpha = {LITTLE}': exact.solve(language, LITTLE, 0.0).log_pi,
}
shares = {}
for name, log_pi in corners.items():
  p = np.exp(exact.string_logp(language, log_pi))[right]
  shares[name] = p / p.sum()
  print(
    f'{name:18} right {p.sum():.3f}, of that',
    dict(zip(answers, shares[name].round(3).tolist(), strict=True)),
  )

assert np.allclose(shares['reference'], shares[f'only beta = {TINY}'])  # habit, for ever
assert np.allclose(shares[f'only alpha = {TINY}'], 1 / len(answers))  # all alike

# %% [markdown]
# Among equally rewarded strings $\beta$ keeps the proportions of the reference, however small it
# is: it does not collapse, and it does not even out either. $\alpha$ makes them equal.
# **Collapse**, one answer for all, is no optimum of any point in this plane with positive
# temperature. It is what training without a temperature drifts to, from which no reward leads back
# (notebook 05).
#
# ## The frontier
#
# Along a ray, $\alpha$ a fixed share of $\kappa$, temperature trades reward for KL. With
# $\alpha = 0$ no policy has more reward at the same KL. As $\kappa \to 0$ the KL tends to
# $-\log \mathrm{ref}(\arg\max R)$, here $\log(1/p)$ with $p$ the success of the reference; a target
# above it has no $\beta$.

# %%
KAPPAS = np.geomspace(0.02, 5, 10 if SMALL else 40)
lines = {share: frontier.frontier(language, KAPPAS, alpha_share=share) for share in (0.0, 0.5, 1.0)}
limit = frontier.largest_kl(language)
success = exact.expected_reward(language, language.log_ref)
assert np.isclose(limit, -np.log(success))

figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
for (share, line), (colour, marker, dash) in zip(lines.items(), STYLES, strict=False):
  look = {'color': colour, 'marker': marker, 'markevery': 4, 'label': f'alpha = {share:g} kappa'}
  left.plot(line.kl, line.reward, dash, **look)
  middle.semilogx(line.kappa, line.entropy, dash, **look)
left.axvline(limit, color=STYLES[7][0], linestyle=':')
left.set(xlabel='KL to the reference, nats', ylabel='reward')
middle.set(xlabel='kappa', ylabel='entropy of strings, nats')
for axes in (left, middle):
  axes.grid(alpha=0.3)
left.legend()
plt.show()

best = lines[0.0]
for share in (0.5, 1.0):  # at the same KL, beta alone has the most reward
  other = lines[share]
  inside = (other.kl > best.kl.min()) & (other.kl < best.kl.max())
  order = np.argsort(best.kl)
  assert np.all(
    np.interp(other.kl[inside], best.kl[order], best.reward[order]) >= other.reward[inside] - 0.01
  )

# %% [markdown]
# The reverse question, which $\beta$ holds a KL, has one answer, since
# $d\,\mathrm{KL}/d\beta = -\mathrm{Var}_{\pi^*}(R)/\beta^3$. The same holds for $\alpha$ and
# entropy. These are the values that learned temperatures have to find (notebook 03).

# %%
TARGET = 0.5 * limit
beta = frontier.beta_for_kl(language, TARGET)
found = exact.kl(language, exact.solve(language, 0.0, beta).log_pi, language.log_ref)
assert np.isclose(found, TARGET)
print(f'KL of {TARGET:.3f} nats: beta = {beta:.4f}')

# %% [markdown]
# ## Length bias
#
# With $\beta = 0$ every further token is worth up to $\alpha \log |A|$, whether it helps or not.
# The optimum weighs a string by $e^{R/\alpha}$. So right answers together outweigh all others while
# $\#\text{right} \cdot e^{1/\alpha} > \#\text{wrong}$, and most of the wrong ones are long: there
# are $n^L$ strings of $L$ letters. How many depends on the vocabulary.

# %%
ALPHAS = np.geomspace(0.02, 1.0, 8 if SMALL else 20)
VOCABULARIES = (2, 3, 4) if SMALL else (2, 4, 6)
figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
threshold = {}
for letters, (colour, marker, dash) in zip(VOCABULARIES, STYLES, strict=False):
  wide = make_language(letters, LENGTH)
  there = exact.strings(wide)
  good, long = there.reward.sum(axis=1) == 1, there.mask.sum(axis=1)
  pure, both = [], []
  for alpha in ALPHAS:
    for kept, beta in ((pure, 0.0), (both, 4 * alpha)):
      kept.append(np.exp(exact.string_logp(wide, exact.solve(wide, alpha, beta).log_pi)) @ long)
  look = {'color': colour, 'marker': marker, 'markevery': 4, 'label': f'{letters} letters'}
  left.semilogx(ALPHAS, pure, dash, **look)
  middle.semilogx(ALPHAS, both, dash, **look)
  # Right and wrong strings weigh the same where good e^(1/alpha) = others.
  threshold[letters] = 1 / np.log((~good).sum() / good.sum())
  left.axvline(threshold[letters], color=colour, linestyle=dash, linewidth=0.8)
  assert both[-1] < pure[-1] - 0.5
  at_threshold = exact.solve(wide, threshold[letters], 0.0).log_pi
  assert np.isclose(exact.expected_reward(wide, at_threshold), 0.5)
left.set(xlabel='alpha', ylabel='mean length', title='beta = 0', ylim=(1, LENGTH))
middle.set(xlabel='alpha', title='beta = 4 alpha', ylim=(1, LENGTH))
for axes in (left, middle):
  axes.grid(alpha=0.3)
left.legend()
plt.show()
assert sorted(threshold.values(), reverse=True) == list(threshold.values())

# %% [markdown]
# Thin vertical lines: the $\alpha$ at which right and wrong strings weigh the same,
# $1 / \log(\#\text{wrong} / \#\text{right})$, where reward is exactly one half. It falls as the
# vocabulary grows. With $\beta$ well above $\alpha$ the reference decides how long strings are, and
# strings stay short.
#
# ## Try
#
# - Pay for length in `is_right`, or take it out of the reward: `len(letters) / LENGTH` more.
# - Draw `measure` for a reference that never says `d`: which answers can $\beta$ reach, and which
#   $\alpha$?
# - Set `K = 64` in the plane. Where does coverage still suffer?
