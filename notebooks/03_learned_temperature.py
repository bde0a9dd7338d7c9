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
# # 03 Schedules of alpha, and learned temperature
#
# Every coefficient is steered by a *controller*, two pure functions: `init()` gives a state,
# `update(state, metrics)` the next one. You will see
#
# 1. controllers that look at the step alone: constants, any schedule of optax, stages;
# 2. controllers that observe, in a world where the right $\alpha$ is known exactly;
# 3. a target that nothing can reach;
# 4. the same controllers in a training run.

# %%
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from maxent_lm import build, cli
from maxent_lm.analysis import plots
from maxent_lm.analysis.plots import STYLES
from maxent_lm.soft import exact, frontier
from maxent_lm.temperature import CONTROLLERS, moving_average
from maxent_lm.train.metrics import read_metrics
from maxent_lm.types import Controller

cli.prepare()
from configs import two_numbers

SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # fewer steps, for tests
print('controllers:', ', '.join(CONTROLLERS))

# %% [markdown]
# ## Controllers that only count
#
# `play` is all that a run does with a controller: what was measured goes in, the coefficient of the
# next step comes out.

# %%
World = Callable[[float], Mapping[str, float]]  # what is measured while the coefficient has a value


def play(controller: Controller, world: World, steps: int) -> tuple[np.ndarray, list, list]:
  """([steps] coefficient in force at each step, what was measured, the controller's states)."""
  state, values, seen, states = controller.init(), [], [], []
  update = jax.jit(controller.update)
  for _ in range(steps):
    values.append(float(state.value))
    seen.append(world(values[-1]))
    state = update(state, {name: jnp.float32(x) for name, x in seen[-1].items()})
    states.append(state)
  return np.array(values), seen, states


STEPS = 60
counting = {
  'fixed': CONTROLLERS['fixed'](0.1),
  'linear': CONTROLLERS['schedule'](
    0.2, name='linear_schedule', arguments={'end_value': 0.02, 'transition_steps': STEPS}
  ),
  'cosine': CONTROLLERS['schedule'](
    0.2, name='cosine_decay_schedule', arguments={'decay_steps': STEPS, 'alpha': 0.1}
  ),
  'stages': CONTROLLERS['stages'](0.05, boundaries=(20, 40), values=(0.15, 0.02)),
}
figure, axes = plt.subplots(figsize=(7, 3.6), layout='constrained')
for (name, controller), (colour, marker, line) in zip(counting.items(), STYLES, strict=False):
  values, _, _ = play(controller, lambda _: {}, STEPS)
  axes.plot(values, line, color=colour, marker=marker, markevery=10, label=name)
axes.set(xlabel='step', ylabel='alpha', ylim=(0, 0.22))
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %% [markdown]
# ## Controllers that observe
#
# The entropy that an $\alpha$ leads to is known where a language is solved: with $\beta = 0$ it
# rises, $dH/d\alpha = \mathrm{Var}_{\pi^*}(R) / \alpha^3$, so a target has exactly one $\alpha$. In
# this world the policy follows at once, each step a tenth of the way. Observations are noisy, as
# those of a batch are.

# %%
language = exact.random(np.random.default_rng(0), actions=3, length=3, eos=0)
low_h, high_h = frontier.entropy_limits(language)
TARGET = 1.5
right_alpha = frontier.alpha_for_entropy(language, TARGET)
print(
  f'entropies from {low_h:.2f} to {high_h:.2f} nats can be had; '
  f'{TARGET} is at alpha = {right_alpha:.4f}'
)
assert low_h < TARGET < high_h

GRID = np.geomspace(1e-3, 10, 200)
ENTROPY = frontier.frontier(language, GRID, alpha_share=1.0).entropy


def lagging(noise: float) -> World:
  """A policy whose entropy moves a tenth of the way to the optimum's at every step."""
  rng, entropy = np.random.default_rng(1), high_h

  def world(alpha: float) -> dict[str, float]:
    nonlocal entropy
    entropy += 0.1 * (np.interp(np.log(alpha), np.log(GRID), ENTROPY) - entropy)
    return {'entropy': float(entropy + noise * rng.normal())}

  return world


BOX = {'low': 1e-2, 'high': 5.0}
watch = {'observe': 'entropy', 'target': TARGET, 'direction': 'hold_up'}
watching = {
  'dual': CONTROLLERS['target_entropy'](1.0, target=TARGET, learning_rate=0.05, **BOX),
  'pi': CONTROLLERS['pi'](1.0, proportional=0.5, integral=0.05, **watch, **BOX),
  'step': CONTROLLERS['step'](1.0, delta=0.02, dead_band=0.05, gate='none', **watch, **BOX),
  'bang-bang': CONTROLLERS['bang_bang'](
    1.0, observe='entropy', target=TARGET, cold=BOX['low'], hot=1.0
  ),
}
watching['dual, averaged'] = moving_average(watching['dual'], decay=0.8)

STEPS = 400
figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
for (name, controller), (colour, marker, line) in zip(watching.items(), STYLES, strict=False):
  values, seen, _ = play(controller, lagging(noise=0.1), STEPS)
  entropy = np.array([each['entropy'] for each in seen])
  late = slice(3 * STEPS // 4, None)
  print(
    f'{name:15} alpha {values[late].mean():.3f} +- {values[late].std():.3f}, '
    f'entropy {entropy[late].mean():.3f}'
  )
  assert abs(entropy[late].mean() - TARGET) < 0.1
  if name != 'bang-bang':
    assert abs(values[late].mean() / right_alpha - 1) < 0.15
  look = {'color': colour, 'marker': marker, 'markevery': 50, 'label': name}
  if name != 'bang-bang':
    left.semilogy(values, line, **look)
  middle.plot(np.convolve(entropy, np.ones(10) / 10, mode='valid'), line, **look)
left.axhline(right_alpha, color=STYLES[6][0], linewidth=0.8)
middle.axhline(TARGET, color=STYLES[6][0], linewidth=0.8)
left.set(xlabel='step', ylabel='alpha')
middle.set(xlabel='step', ylabel='entropy, nats (mean of ten steps)')
for axes in (left, middle):
  axes.grid(alpha=0.3)
left.legend()
plt.show()

# %% [markdown]
# All hold the entropy, and all but one find the $\alpha$ that the oracle names (black line).
# Bang-bang, not drawn on the left, jumps between two values, which holds the entropy on average
# without an $\alpha$ of its own. `dual` is gradient ascent on the dual of $\max \mathbb{E}[R]$
# subject to $H \ge$ target, on the logarithm of $\alpha$:
#
# $$\log \alpha \leftarrow \log \alpha + \eta\, (H_\text{target} - H).$$
#
# ## A target that nothing reaches
#
# Above the entropy of all strings alike, or below that of the best ones, no $\alpha$ will do, and
# the multiplier runs away. So no controller is without a box, and `clamped` in the metrics says
# that it stands at a bound.

# %%
for target, bound in ((high_h + 0.3, BOX['high']), (low_h - 0.3, BOX['low'])):
  controller = CONTROLLERS['target_entropy'](1.0, target=target, learning_rate=0.2, **BOX)
  values, _, states = play(controller, lagging(noise=0.0), STEPS)
  print(f'target {target:.2f} nats: alpha ends at {values[-1]:g}, clamped {states[-1].clamped:g}')
  assert np.isclose(values[-1], bound) and states[-1].clamped == 1

# %% [markdown]
# ## In a run
#
# A model of a few thousand weights learns Countdown with two numbers: first from demonstrations,
# then with VarGrad from that start, in three ways:
#
# - **fixed**: $\alpha$ and $\beta$ stay where they are;
# - **held**: $\beta$ is learned, so that the KL to the start grows to 0.4 nats and no further;
# - **eager**: $\alpha$ is learned, with a large rate and a wide box.
#
# In a config a controller is a name, and its arguments are the section of that name.

# %%
BUDGET = 0.4
folder = pathlib.Path(tempfile.mkdtemp())
build.demonstration_run(two_numbers.get_config('pretrain'), folder / 'start').train()


def train(name: str, alpha_control: str, beta_control: str) -> list[dict]:
  """The metrics of a run with these controllers."""
  config = two_numbers.get_config('vargrad')
  config.update(name=name, init=str(folder / 'start' / 'model'), steps=90 if SMALL else 120)
  config.checkpoint.every = config.steps
  config.temperature.update(alpha=0.02, alpha_control=alpha_control)
  config.temperature.update(beta=0.04, beta_control=beta_control)
  config.alpha.target_entropy.update(target=0.8, learning_rate=0.6, low=0.01, high=0.5)
  config.beta.target_kl.update(target=BUDGET, learning_rate=1.0, low=0.02, high=1.0)
  build.rollout_run(config, folder / name).train()
  return read_metrics(folder / name / 'metrics.jsonl')


runs = {
  'fixed': train('fixed', 'fixed', 'fixed'),
  'held': train('held', 'fixed', 'target_kl'),
  'eager': train('eager', 'target_entropy', 'fixed'),
}

# %%
styles = dict(zip(runs, STYLES, strict=False))
figure, panels = plt.subplots(2, 3, figsize=(13, 7), layout='constrained')
labels = {
  **{'alpha': 'alpha', 'entropy': 'entropy, nats per token', 'length': 'tokens a response'},
  **{'beta': 'beta', 'kl': 'KL to the start, nats', 'success': 'accuracy of samples'},
}
for axes, (metric, label) in zip(panels.flat, labels.items(), strict=True):
  plots.learning_curve(axes, runs, styles, metric, label)
panels[1, 1].set_ylim(0, 3)
panels[1, 1].axhline(BUDGET, color=STYLES[6][0], linewidth=0.8)
panels[0, 0].legend()
plt.show()

last = {
  name: {key: np.mean([row[key] for row in rows[-20:]]) for key in labels}
  for name, rows in runs.items()
}
print({name: round(float(row['kl']), 2) for name, row in last.items()}, 'nats of KL in the end')
assert abs(last['held']['kl'] - BUDGET) < 0.3 < last['fixed']['kl'] - BUDGET
assert max(row['entropy'] for row in runs['eager']) > 1.5
assert last['eager']['success'] < last['held']['success']

# %% [markdown]
# The budget holds, with a swing. The eager run shows what the simulated world did not: a policy
# follows its temperature slowly. Entropy falls below the target and goes on falling while $\alpha$
# is already rising; when it answers, $\alpha$ is far too high, entropy jumps, and responses run to
# the length limit (notebook 06: babble). So learned temperatures want small rates, narrow boxes,
# and a $\beta$ that holds the policy meanwhile.
#
# ## Try
#
# - `learning_rate=0.5` for `dual` in the lagging world: at which rate does it start to swing?
# - Make the eager run a careful one: `high=0.06`, or a rate of 0.05.
# - Another controller: `beta_control='adaptive_kl'` with
#   `config.beta.adaptive_kl.update(target=0.4)`.
# - Observe something else, as `config.alpha.dual.update(observe='semantic_entropy', target=1.0)`.
