"""Short ways out of logged walks: ILQL against soft Q-learning, offline [trlx, randomwalks].

python experiments/tables/random_walks.py --preset=cpu --workdir=runs/tables/random_walks --check

1,000 random walks on a graph of 21 nodes, and nothing else to learn from. A behaviour clone is the
base and the reference of all others: ILQL steers it by beta (min Q - V) with its own heads, Q-sharp
by the exponential value of its return, and the soft objectives train it. Optimality is 1 for a
shortest walk and 0 for none; it is exact: every walk to the goal is enumerated from every start and
weighed with its probability under the policy.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maxent_lm import data, temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import tables
from maxent_lm.lm import heads
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.lm.tokenizer import character_tokenizer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.sampling import guidance
from maxent_lm.shaping import chain
from maxent_lm.tasks.random_walks import LETTERS, RandomWalks
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import Parts, make_update, polyak
from maxent_lm.types import Array, Batch, Loss, Params

NODES = 21
STEPS = {'smoke': 20, 'cpu': 1000, 'full': 1000}
SEEDS = {'smoke': 1, 'cpu': 3, 'full': 10}
ROWS, COLUMNS = 100, 12  # walks a step; start, nine nodes, EOS, and the column for a cut
KAPPA = 0.05
BETAS = (0, 1, 4, 16, 100)
ATOMS = 11


class Objective(NamedTuple):
  """A loss with its options, and the networks it needs beside the policy."""

  loss: Loss
  critic: Callable[[LM], heads.CriticNet] | None = None


def _soft_q(lam: float) -> Objective:
  loss = LOSSES['soft_q']
  return Objective(functools.partial(loss, lam=lam, gradient='semi', value='lse_minus_ref'))


CLONING = Objective(LOSSES['imitation'])
ILQL = Objective(
  functools.partial(LOSSES['ilql'], expectile=0.8, cql=0.1, cloning=1.0),
  functools.partial(heads.CRITICS['ilql'], chunk=ROWS * COLUMNS, trunk='shared', width=128),
)
QSHARP = Objective(
  functools.partial(LOSSES['q_sharp'], low=0.0, high=1.0),
  functools.partial(
    heads.CRITICS['atoms'], chunk=ROWS * COLUMNS, trunk='own', width=128, count=ATOMS
  ),
)
SOFT = {
  'soft_q(0)': _soft_q(0.0),
  'soft_q(0.9)': _soft_q(0.9),
  'soft_q(1)': _soft_q(1.0),
  'ReVal': Objective(functools.partial(LOSSES['path'], value='lse_minus_ref')),
}
SHOWN = ('policy', 'seeds', 'optimality', 'arrives', 'published', 'remark')
Guide = Callable[[Array, Array], Array]


class World(NamedTuple):
  """The task, the logged walks as one batch, every way to the goal, and the model."""

  task: RandomWalks
  logged: Batch
  ways: Batch
  lm: LM


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains what is missing, seed by seed."""
  world = make_world()
  rows = []
  for seed in range(SEEDS[preset]):
    settings = {'preset': preset, 'seed': seed, 'kappa': KAPPA, 'steps': STEPS[preset]}
    compute = functools.partial(measure, world, seed, STEPS[preset])
    rows += tables.stored(workdir / f'{seed}.json', settings, compute)['rows']
  merged = tables.over_seeds(rows, by=('policy',), measured=('optimality', 'arrives'))
  for row in merged:
    if row['policy'].startswith('ILQL'):
      row['published'] = 'curves only'
      row['remark'] = 'discount 1 here, .99 there; 2 layers of 64, there 6 of 144'
  gates = [] if preset == 'smoke' else make_gates(rows)
  note = (
    'Mean over the 20 starts, exact; mean ± standard deviation over seeds. `arrives`: probability '
    f'of a walk to the goal. kappa = beta = {KAPPA:g} for the soft objectives and Q-sharp.'
  )
  return tables.Table(SHOWN, merged, note, gates)


def make_gates(rows: list[dict[str, Any]]) -> list[tables.Gate]:
  """Everybody beats the clone, the soft objectives beat ILQL at its published beta = 1."""

  def mean(name: str) -> float:
    return float(np.mean([row['optimality'] for row in rows if row['policy'] == name]))

  clone, steered = mean('behaviour clone'), mean('ILQL, beta 1')
  return [
    tables.Gate(f'{name} beats the clone by .1', mean(name) > clone + 0.1)
    for name in ('Q-sharp', 'soft_q(0.9)', 'soft_q(1)', 'ReVal')
  ] + [tables.Gate('soft_q(0.9) beats ILQL at beta 1', mean('soft_q(0.9)') > steered)]


def measure(world: World, seed: int, steps: int) -> dict[str, Any]:
  """All policies of one seed."""
  clone = train(world, CLONING, seed, steps, None).params
  found = [{'policy': 'data', **data_row(world)}]
  found.append({'policy': 'behaviour clone', **score(world, clone)})
  state = train(world, ILQL, seed, steps, clone)
  assert state.critic is not None
  for beta in BETAS:
    guide = functools.partial(ilql_guide, state.critic.params, beta)
    found.append({'policy': f'ILQL, beta {beta}', **score(world, state.params, guide)})
  state = train(world, QSHARP, seed, steps, clone)
  assert state.critic is not None
  hidden = functools.partial(world.lm.hidden, state.critic.params['trunk'])
  guide = functools.partial(qsharp_guide, state.critic.params, hidden(world.ways.tokens))
  found.append({'policy': 'Q-sharp', **score(world, clone, guide)})
  for name, objective in SOFT.items():
    found.append(
      {'policy': name, **score(world, train(world, objective, seed, steps, clone).params)}
    )
  return {'rows': found}


def train(
  world: World, objective: Objective, seed: int, steps: int, clone: Params | None
) -> TrainState:
  """Offline: each step sees 100 logged walks. Without a clone the policy starts at random."""
  scorer = make_scorer(world.lm, chunk=ROWS * COLUMNS)
  critic = objective.critic(world.lm) if objective.critic else None
  rate = optax.cosine_decay_schedule(3e-3 if clone is None else 1e-3, steps)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
  parts = Parts(
    scorer=scorer,
    loss=objective.loss,
    transform=chain(),
    reduction=REDUCTIONS['sequence_sum'],
    optimizer=optimizer,
    alpha=temperature.fixed(0.0),
    beta=temperature.fixed(KAPPA),
    target_update=polyak(rate=0.02) if objective is ILQL else None,
    critic=critic.score if critic else None,
    critic_optimizer=optimizer if critic else None,
  )
  start = world.lm.init(seed) if clone is None else clone
  state = init_state(
    jax.tree.map(jnp.copy, start),
    optimizer=optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=parts.target_update is not None,
    seed=seed,
    critic=critic.init(start, seed) if critic else None,
    critic_optimizer=parts.critic_optimizer,
  )
  update, rng = make_update(parts), np.random.default_rng([seed, 5])
  for _ in range(steps):
    rows = jnp.asarray(rng.integers(0, len(world.logged.group), ROWS))
    batch = jax.tree.map(lambda x, rows=rows: x[rows], world.logged)
    batch = batch._replace(group=jnp.arange(ROWS, dtype=jnp.int32))
    state, _ = update(state, clone, batch)
  return state


def score(world: World, params: Params, guide: Guide | None = None) -> dict[str, float]:
  """Exact optimality and probability of arriving, mean over the starts."""
  hidden = world.lm.hidden(params, world.ways.tokens)
  logits = world.lm.logits(params, world.ways.tokens)
  log_pi = jax.nn.log_softmax(logits) if guide is None else guide(hidden, logits)
  taken = jnp.take_along_axis(log_pi[:, :-1], world.ways.tokens[:, 1:, None], axis=-1)[..., 0]
  logp = np.where(world.ways.mask[:, 1:], np.asarray(taken, np.float64), 0).sum(axis=1)
  mass, starts = np.exp(logp), len(world.task)
  reward = np.asarray(world.ways.reward).sum(axis=1)
  return {'optimality': float(mass @ reward / starts), 'arrives': float(mass.sum() / starts)}


def ilql_guide(critic: Params, beta: float, hidden: Array, logits: Array) -> Array:
  """beta (min Q - V) on the cloned policy."""
  gain = guidance.ilql(critic, hidden, beta=beta)
  return guidance.guide(jax.nn.log_softmax(logits), gain, candidates=0, tail='kept')


def qsharp_guide(critic: Params, own: Array, hidden: Array, logits: Array) -> Array:
  """log E[exp(R / kappa)] on the cloned policy, from the head's own trunk."""
  del hidden
  gain = guidance.q_sharp(low=0.0, high=1.0, kappa=KAPPA)
  gains = gain(heads.atom_logp(critic['atoms'], own, ATOMS))
  return guidance.guide(jax.nn.log_softmax(logits), gains, candidates=0, tail='kept')


def data_row(world: World) -> dict[str, float]:
  """What the logged walks themselves score, start by start."""
  texts = world.task.graph.walks
  rewards: dict[str, list[float]] = {letter: [] for letter in LETTERS[1 : len(world.task) + 1]}
  for text in texts:
    rewards[text[0]].append(
      world.task.reward(world.task[LETTERS.index(text[0]) - 1], text[1:], True)
    )
  arrived = {k: [t.endswith('a') for t in texts if t[0] == k] for k in rewards}
  return {
    'optimality': float(np.mean([np.mean(r) for r in rewards.values()])),
    'arrives': float(np.mean([np.mean(a) for a in arrived.values()])),
  }


def make_world() -> World:
  """Tokens, batches, and a transformer of two layers."""
  task = RandomWalks(split='train', nodes=NODES, longest=10, walks=1000, edge=0.1, seed=1002)
  tokenizer = character_tokenizer(LETTERS[:NODES])
  lm = LM(
    LMConfig(
      vocab_size=len(tokenizer),
      d_model=64,
      num_layers=2,
      num_heads=4,
      num_kv_heads=4,
      head_dim=16,
      d_ff=128,
      max_length=16,
      tied=False,
    )
  )

  def encode(walks: list[str]) -> Batch:
    ids = tokenizer(walks, add_special_tokens=False)['input_ids']
    ended = [walk.endswith(LETTERS[0]) for walk in walks]
    eos = [tokenizer.eos_token_id]
    responses = [row[1:] + (eos if end else []) for row, end in zip(ids, ended, strict=True)]
    batch = data.Sequences.unweighted([row[:1] for row in ids], responses)
    problems = [task[LETTERS.index(walk[0]) - 1] for walk in walks]
    pairs = zip(problems, walks, ended, strict=True)
    rewards = np.array([task.reward(problem, walk[1:], end) for problem, walk, end in pairs])
    return data.make_batch(batch._replace(reward=rewards), columns=COLUMNS)

  starts = [task[i].prompt for i in range(len(task))]
  ways = [start + path for start in starts for path in task.paths(start)]
  return World(task, encode(list(task.graph.walks)), encode(ways), lm)


if __name__ == '__main__':
  tables.script('random_walks', build)
