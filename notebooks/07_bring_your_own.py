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
# # 07 Bring your own
#
# A task, an objective, a transform, a controller, a model: each in one cell, and nothing in the
# package changes. You will see
#
# 1. the tables in which a run looks up the names of its config, and how to hand it larger ones;
# 2. a run made of nothing but your own parts;
# 3. whether your objective ends at the soft optimum, exactly;
# 4. another network under the same losses.

# %%
import dataclasses
import functools
import itertools
import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from maxent_lm import build, cli, masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import fixed_points, plots
from maxent_lm.analysis.plots import STYLES
from maxent_lm.build import NAMES
from maxent_lm.evaluation import summary
from maxent_lm.lm.scores import make_scorer
from maxent_lm.soft import exact, residual, semantic
from maxent_lm.tasks.base import Problem, take_split
from maxent_lm.temperature import fixed
from maxent_lm.train.metrics import read_metrics
from maxent_lm.train.state import init_state
from maxent_lm.train.step import Parts, make_update
from maxent_lm.types import (
  Array,
  Batch,
  Controller,
  ControllerState,
  Metrics,
  Params,
  Temperature,
  Views,
)

cli.prepare()
from configs import two_numbers

SMALL = bool(os.environ.get('MAXENT_LM_SMALL'))  # fewer steps, for tests
for table, entries in NAMES._asdict().items():
  print(f'{table} ({len(entries)}): {", ".join(entries)}')

# %% [markdown]
# These four tables are `TASKS`, `LOSSES`, `TRANSFORMS` and `CONTROLLERS`. They are plain
# dictionaries that nothing ever writes to. A run is given others with `names=`, and looks for the
# keyword arguments of an entry in the config section of its name.
#
# ## A task
#
# Problems, a verifier, and what is known of the right answers: `cluster` says which responses mean
# the same, `modes` how many right meanings there are. Here: two digits that the prompt does not
# have.


# %%
class Missing:
  """'483:' is answered by '29': two different digits that are not in it, in any order."""

  def __init__(self, split: str, *, seed: int) -> None:
    ids = map(''.join, itertools.permutations('0123456789', 3))
    self.ids = take_split(ids, split=split, test_fraction=0.3, size=None, seed=seed)

  def __len__(self) -> int:
    return len(self.ids)

  def __getitem__(self, index: int) -> Problem:
    digits = self.ids[index]
    left = [digit for digit in '0123456789' if digit not in digits]
    return Problem(id=digits, prompt=f'{digits}:', answer=''.join(left[:2]), data=''.join(left))

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    return float(
      finished
      and len(response) == 2
      and self.cluster(problem, response) is not None
      and set(response) <= set(problem.data)
    )

  def cluster(self, problem: Problem, response: str) -> str | None:
    digits = ''.join(sorted(set(response)))
    return digits if len(digits) == 2 and digits.isdecimal() else None

  def modes(self, problem: Problem) -> int:
    return len(problem.data) * (len(problem.data) - 1) // 2

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    return ''.join(rng.choice(list(problem.data), 2, replace=False))


task = Missing('test', seed=0)
problem, rng = task[0], np.random.default_rng(0)
responses = [task.demonstration(problem, rng) for _ in range(1000)]
assert all(task.reward(problem, response, True) == 1 for response in responses)
shown = {str(task.cluster(problem, response)) for response in responses}
assert len(shown) == task.modes(problem) == 21
print(problem.prompt, 'has', len(shown), 'answers:', ', '.join(sorted(shown)))

# %% [markdown]
# ## An objective
#
# A pure function of what the policies say of a batch (`views`), the batch and the temperature. It
# returns one value a token, 0 outside the mask, and numbers to watch; its options come after `*`.
# Here: VarGrad with the loss of Huber, so that one surprising response does not dominate,
#
# $$\ell(V(s_0) - S), \qquad S = \sum_t r_t - \kappa\,(\log\pi - \log\rho)(a_t|s_t), \qquad
#   V(s_0) = \text{mean of } S \text{ over the group}.$$


# %%
def huber_balance(
  views: Views, batch: Batch, temperature: Temperature, *, width: float
) -> tuple[Array, dict[str, Array]]:
  """Huber's loss of the residual of whole responses, on their last tokens."""
  steps = residual.read(views.policy, views.reference, batch, temperature)
  steps = steps._replace(value=jnp.zeros_like(steps.value))
  gain = -residual.path(steps)
  rows = len(gain)
  total = jax.ops.segment_sum(gain, batch.group, num_segments=rows)
  count = jax.ops.segment_sum(jnp.ones_like(gain), batch.group, num_segments=rows)
  mean = (total / jnp.maximum(count, 1))[batch.group]
  error = jax.lax.stop_gradient(mean) - gain
  value = optax.huber_loss(error, delta=width)
  last = masked.last_action(batch.mask)
  return jnp.where(last, value[:, None], 0), {'error': jnp.mean(jnp.abs(error))}


# %% [markdown]
# Does it end where it should? `fixed_points` trains a table of logits on every string of a language
# that the oracle solves, in float64, and compares.

# %%
with jax.enable_x64(True):
  language = exact.random(np.random.default_rng(5), actions=3, length=3, eos=0)
  member = fixed_points.Member(functools.partial(huber_balance, width=0.5), steps=3000)
  puzzle = fixed_points.make_problem(language, 0.1, 0.25)
  start = fixed_points.start(puzzle, atoms=2, seed=1)
  fit = jax.jit(functools.partial(fixed_points.fit, member))(puzzle, start)
  verdict = fixed_points.judge(language, 0.1, 0.25, member, fit)
print(f'KL(optimum || where it ends) = {verdict["kl"]:.1e} nats')
assert verdict['kl'] < 1e-8

# %% [markdown]
# ## A transform
#
# Batch in, batch out; it may look at the views. Here: samples of a group that mean the same share
# their reward.


# %%
def shared_reward(batch: Batch, views: Views, *, power: float) -> Batch:
  """Reward divided by (samples of the same class)^power."""
  del views
  same = semantic.counts(semantic.batch_classes(batch, missing='own'))
  return batch._replace(reward=batch.reward / jnp.maximum(same, 1)[:, None] ** power)


# %% [markdown]
# ## A controller
#
# Two pure functions; all that they remember is in the state, which goes into checkpoints. Here:
# $\alpha$ falls with the share of samples that are right.


# %%
def by_success(initial: float, *, decay: float) -> Controller:
  """alpha = initial (1 - m), m a moving average of the metric `success`."""

  def init() -> ControllerState:
    return ControllerState(jnp.float32(initial), jnp.int32(0), jnp.float32(0), (jnp.float32(0),))

  def update(state: ControllerState, metrics: Metrics) -> ControllerState:
    (mean,) = state.memory
    mean = decay * mean + (1 - decay) * metrics['success']
    return state._replace(value=initial * (1 - mean), count=state.count + 1, memory=(mean,))

  return Controller(init, update, bounds=(0.0, initial), observes=('success',))


# %% [markdown]
# ## A run of all four

# %%
mine = NAMES._replace(
  tasks={**NAMES.tasks, 'missing': Missing},
  losses={**NAMES.losses, 'huber_balance': huber_balance},
  transforms={**NAMES.transforms, 'shared_reward': shared_reward},
  controllers={**NAMES.controllers, 'by_success': by_success},
)
folder = pathlib.Path(tempfile.mkdtemp())

config = two_numbers.get_config('pretrain')
config.update(task='missing', missing={'seed': 0}, steps=100)
config.batch.max_new_tokens = 4
build.demonstration_run(config, folder / 'start', names=mine).train()

config = two_numbers.get_config('vargrad')
config.update(task='missing', missing={'seed': 0}, init=str(folder / 'start' / 'model'))
config.update(algorithm='huber_balance', huber_balance={'width': 0.5})
config.update(transforms=('shared_reward',), shared_reward={'power': 0.25})
config.temperature.update(alpha=0.005, alpha_control='by_success', beta=0.05, beta_control='fixed')
config.alpha.by_success = {'decay': 0.8}
config.batch.max_new_tokens = 4
config.steps = 150 if SMALL else 300
run = build.rollout_run(config, folder / 'run', names=mine)
state = run.train()

# %%
metrics = read_metrics(folder / 'run' / 'metrics.jsonl')
figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), layout='constrained')
labels = {
  'solved': 'problems with a right sample',
  'alpha': 'alpha',
  'error': 'metric of the objective',
}
for axes, (metric, label) in zip(panels, labels.items(), strict=True):
  plots.learning_curve(axes, {'mine': metrics}, {'mine': STYLES[0]}, metric, label)
plt.show()

evaluation = build.make_evaluation(config, run.policy, names=mine)
rows = {
  name: summary(evaluation.measure(weights, None))
  for name, weights in (('start', run.policy.params), ('trained', state.params))
}
for name, row in rows.items():
  print(f'{name:8} pass@1 {row["pass@1"]:.3f}, distinct@16 {row["distinct@16"]:.2f}')
assert rows['trained']['pass@1'] > rows['start']['pass@1']
assert not any('missing' in table for table in NAMES)  # the package's tables are as they were

# %% [markdown]
# From a script it is the same: `experiments/train.py` is ten lines around `build.rollout_run`.
#
# ## A model
#
# Weights of your own are `config.init = FOLDER`, a Hugging Face folder of Llama, Qwen2 or Qwen3
# shape; another shape is `config.model`. A network of another kind is four functions
# (`lm/network.py`): `hidden` and `head` to be trained, `empty` and `decode` to be played token by
# token. Here: no attention, only the last tokens through two layers.


# %%
@dataclasses.dataclass(frozen=True)
class Sizes:
  """What others build on."""

  vocab_size: int
  d_model: int
  window: int


@dataclasses.dataclass(frozen=True)
class Window:
  """A network that sees the last `window` tokens and nothing else."""

  config: Sizes

  def init(self, seed: int) -> Params:
    """Random parameters."""
    c, keys = self.config, jax.random.split(jax.random.key(seed), 3)
    return {
      'read': jax.random.normal(keys[0], (c.window, c.vocab_size + 1, c.d_model)),
      'mix': jax.random.normal(keys[1], (c.d_model, c.d_model)) / np.sqrt(c.d_model),
      'head': 0.1 * jax.random.normal(keys[2], (c.d_model, c.vocab_size)),
    }

  def hidden(self, params: Params, tokens: Array) -> Array:
    """[B, T] -> [B, T, D]; column t has read tokens[:, :t + 1]."""
    nothing = self.config.vocab_size
    padded = jnp.pad(tokens, ((0, 0), (self.config.window - 1, 0)), constant_values=nothing)
    seen = [padded[:, i : i + tokens.shape[1]] for i in range(self.config.window)]
    first = sum(table[ids] for table, ids in zip(params['read'], seen, strict=True))
    return jnp.tanh(jnp.tanh(first) @ params['mix'])

  def head(self, params: Params) -> Array:
    """The output matrix [D, V]."""
    return params['head']

  def empty(self, *, batch: int, slots: int) -> Array:
    """The last tokens of rows that have read nothing."""
    del slots
    return jnp.full((batch, self.config.window), self.config.vocab_size, jnp.int32)

  def decode(self, params: Params, token: Array, memory: Array) -> tuple[Array, Array]:
    """Reads one token [B] a row; returns the output [B, D] and the memory."""
    memory = jnp.concatenate([memory[:, 1:], token[:, None]], axis=1)
    return self.hidden(params, memory)[:, -1], memory


# %% [markdown]
# `make_scorer` makes of it what every loss sees, `make_update` the one jitted step of training. On
# the language of above its distance to the optimum is known.

# %%
STEPS = 400 if SMALL else 2000
network = Window(Sizes(vocab_size=3, d_model=64, window=4))
batch = exact.with_prompt(exact.to_batch(language), token=0)
start = network.init(0)
whole, memory = network.hidden(start, batch.tokens), network.empty(batch=len(batch.tokens), slots=0)
for column in range(batch.tokens.shape[1]):  # it plays as it reads
  output, memory = network.decode(start, batch.tokens[:, column], memory)
  assert jnp.allclose(output, whole[:, column], atol=1e-5)

scorer = make_scorer(network, chunk=batch.tokens.size)
parts = Parts(
  scorer=scorer,
  loss=functools.partial(LOSSES['soft_q'], lam=1.0, gradient='semi', value='lse'),
  transform=lambda batch, views: batch,
  reduction=masked.sequence_sum,
  optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, STEPS)),
  alpha=fixed(0.4),
  beta=fixed(0.0),
)
update = make_update(parts)
state = init_state(
  start,
  optimizer=parts.optimizer,
  alpha=parts.alpha,
  beta=parts.beta,
  has_target=False,
  seed=0,
)
log_p, _ = exact.brute_force(language, 0.4, 0.0)


def distance(params: Params) -> float:
  """KL(pi* || network) over strings, nats."""
  logp = np.asarray(scorer(params, batch.tokens, batch.mask).logp, np.float64)
  return float(np.exp(log_p) @ (log_p - np.where(batch.mask, logp, 0).sum(axis=1)))


curve = []
for step in range(STEPS):
  if step % 20 == 0:
    curve.append((step, distance(state.params)))
  state, _ = update(state, None, batch)
curve.append((STEPS, distance(state.params)))
print(f'{curve[0][1]:.3f} nats before, {curve[-1][1]:.1e} after')
assert curve[-1][1] < 1e-3

figure, axes = plt.subplots(figsize=(6.5, 3.4), layout='constrained')
axes.semilogy(*np.array(curve).T, color=STYLES[0][0])
axes.set(xlabel='step', ylabel='KL(optimum || network), nats')
axes.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## Try
#
# - `window=1`: what the network cannot tell apart, no loss can teach it. How far does it get?
# - Break `huber_balance`, say by leaving out $\log\rho$, and ask `fixed_points` again with $\beta >
#   0$.
# - `config.task = 'mixture'`, `config.mixture.tasks = ('missing', 'countdown')`: yours beside
#   others.
