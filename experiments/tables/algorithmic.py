"""Algorithmic tapes, learned by path consistency from a curriculum [Nachum et al. 2017, PCL].

python experiments/tables/algorithmic.py --preset=cpu --workdir=runs/tables/algorithmic

A recurrent policy plays: it reads a symbol, moves, writes, and is paid for right symbols. The
environments are made again (`tasks/algorithmic.py`), with gym's thresholds. Episodes are drawn from
the policy, and they move the curriculum. As many explore, and are learned from just the same:
residuals hold on any path. They wander (a random move a tenth of the time) or they sweep (they turn
at the ends of the tape and nowhere else). Without sweeping, Reverse is learned by heart: its policy
writes from memory instead of going back, up to inputs of 9 in 2,400 steps. A task that is not
solved when its steps are over is shown with how far it came. Killed and started again the script
goes on with the next task and seed.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from maxent_lm import temperature
from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import tables
from maxent_lm.lm import heads
from maxent_lm.lm.recurrent import Recurrent, RecurrentConfig
from maxent_lm.lm.scores import make_scorer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.sampling.interact import Interact, Played, make_interact
from maxent_lm.sampling.manners import Manner, plain, sweeping
from maxent_lm.sampling.policies import Sampling, Wandering
from maxent_lm.shaping import chain
from maxent_lm.tasks.algorithmic import TASKS, Curriculum, Episodes, Rules, advance
from maxent_lm.train.metrics import Progress
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import Parts, Update, make_update


class Recipe(NamedTuple):
  """How one task is learned.

  Attributes:
    steps: the most that it is given in the cpu preset.
    kappa: alpha = kappa, there is no reference; what is found early wants less entropy.
    manners: how the exploring half of the episodes is played, of `MANNERS`, as often each.
    length: actions of the longest sub-path.
    learning_rate: of policy and value.
  """

  steps: int
  kappa: float
  manners: tuple[str, ...]
  length: int
  learning_rate: float


EASY = Recipe(1000, 0.02, ('wandering',), 100, 4e-3)
HARD = EASY._replace(kappa=0.05)
RECIPES = {
  'Copy': EASY,
  'DuplicatedInput': EASY,
  'Reverse': HARD._replace(manners=('wandering', 'sweeping')),
  'RepeatCopy': HARD._replace(manners=('wandering', 'sweeping')),
  'ReversedAddition': HARD,
}
STEPS = {  # the most that a task is given
  'smoke': dict.fromkeys(TASKS, 2),
  'cpu': {name: recipe.steps for name, recipe in RECIPES.items()},
  'full': dict.fromkeys(TASKS, 20_000),
}
SEEDS = {'smoke': 1, 'cpu': 5, 'full': 5}
GATED = ('Copy', 'DuplicatedInput', 'Reverse')
SHARE = 0.1  # of the actions of those who wander
ROWS = 64  # episodes a step of the policy, and as many that explore
WIDTH = 64  # units of policy and value
RECENT = 100  # episodes of the policy whose mean return has to reach the threshold
MULTIPLE = 24  # columns of a batch are a multiple
THEIRS = (
  'theirs: kappa .025, discount .9, 400 episodes a step, replay; ours: discount 1, 128 episodes, '
  'half of them {}, kappa {:g}'
)
COLUMNS = (
  *('task', 'threshold', 'published', 'solved', 'steps', 'episodes', 'length', 'return'),
  *('seconds', 'remark'),
)


class Player(NamedTuple):
  """What plays, first as the policy and then exploring, and what learns."""

  rules: Rules
  play: tuple[Interact, ...]
  update: Update


class Progressed(NamedTuple):
  """Where learning is: parameters and optimiser, inputs, and the policy's last returns."""

  state: TrainState
  curriculum: Curriculum
  returns: np.ndarray

  def solved(self, rules: Rules) -> bool:
    """Whether the mean of the last `RECENT` returns reaches the threshold."""
    return len(self.returns) == RECENT and self.returns.mean() >= rules.threshold


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Plays what is missing, task by task and seed by seed."""
  rows, gates = [], []
  for name, steps in STEPS[preset].items():
    found = []
    for seed in range(SEEDS[preset]):
      sizes = {'steps': steps, 'rows': ROWS, 'width': WIDTH, 'recent': RECENT}
      settings = {**RECIPES[name]._asdict(), **sizes}
      compute = functools.partial(learn, name, seed, steps)
      found.append(tables.stored(workdir / f'{name}_{seed}.json', settings, compute))
    rows.append({'task': name, **merged(name, found)})
    if name in GATED and preset != 'smoke':
      solved = all(row['solved'] for row in found)
      gates.append(tables.Gate(f'{name} reaches its threshold from every seed', solved))
  note = (
    f'Solved: seeds whose policy reaches the threshold with the mean return of the last {RECENT} '
    'episodes drawn from it; then learning stops. Steps, episodes (all of them), seconds, and '
    'for what is not solved the shortest inputs and the mean return at the end: median over seeds.'
  )
  return tables.Table(COLUMNS, rows, note, gates)


def merged(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
  """One row of the table."""

  def median(key: str) -> float:
    return float(np.median([row[key] for row in found]))

  steps, recipe = int(median('steps')), RECIPES[name]
  return {
    'threshold': TASKS[name].threshold,
    'published': 'curves only',
    'solved': f'{sum(row["solved"] for row in found)} of {len(found)}',
    'steps': steps,
    'episodes': 2 * steps * ROWS,
    'length': int(median('length')),
    'return': median('return'),
    'seconds': int(median('seconds')),
    'remark': THEIRS.format(' and '.join(recipe.manners), recipe.kappa),
  }


def learn(name: str, seed: int, steps: int) -> dict[str, Any]:
  """Learns one task from one seed until it is solved or the steps are over."""
  began = time.perf_counter()
  player, state = make_player(TASKS[name], RECIPES[name], seed)
  at = Progressed(state, Curriculum(player.rules.shortest), np.zeros(0))
  progress = Progress(f'{name}, seed {seed}', start=0, steps=steps)
  rng, taken = np.random.default_rng([seed, 7]), 0
  while taken < steps and not at.solved(player.rules):
    at = one_step(player, at, rng, jax.random.fold_in(jax.random.key(seed), taken))
    taken += 1
    progress.update({'reward': at.returns.mean()})
  progress.close()
  return {
    'solved': bool(at.solved(player.rules)),
    'steps': taken,
    'length': at.curriculum.length,
    'return': float(at.returns.mean()),
    'seconds': round(time.perf_counter() - began),
  }


def one_step(
  player: Player, at: Progressed, rng: np.random.Generator, key: jax.Array
) -> Progressed:
  """Plays in every manner, learns from all episodes, and may lengthen the inputs."""
  rows = [ROWS, *(ROWS // (len(player.play) - 1) for _ in player.play[1:])]
  worlds = [Episodes(player.rules, at.curriculum.length, count, rng) for count in rows]
  keys = jax.random.split(key, len(worlds))
  played = [
    play(at.state.params, world, key)
    for play, world, key in zip(player.play, worlds, keys, strict=True)
  ]
  state, _ = player.update(at.state, None, joined(played).batch())
  returns = played[0].returns
  curriculum = advance(player.rules, at.curriculum, returns - worlds[0].best)
  return Progressed(state, curriculum, np.concatenate([at.returns, returns])[-RECENT:])


def joined(played: list[Played]) -> Played:
  """All rows, with the columns of the widest."""
  columns = max(each.tokens.shape[1] for each in played)

  def wide(values: np.ndarray) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, columns - values.shape[1])))

  pairs = zip(*played, strict=True)
  return Played(*(np.concatenate([wide(part) for part in parts]) for parts in pairs))


def make_player(rules: Rules, recipe: Recipe, seed: int) -> tuple[Player, TrainState]:
  """A policy and a value network from random weights."""
  lm = Recurrent(RecurrentConfig(vocab_size=rules.vocabulary, d_model=WIDTH))
  chunk = 1 << 16
  critic = heads.CRITICS['value'](lm, chunk=chunk, trunk='own', width=2 * WIDTH)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(recipe.learning_rate, b2=0.99))
  parts = Parts(
    scorer=make_scorer(lm, chunk=chunk),
    loss=functools.partial(LOSSES['pcl'], length=recipe.length, value='head'),
    transform=chain(),
    reduction=REDUCTIONS['sequence_sum'],
    optimizer=optimizer,
    alpha=temperature.fixed(recipe.kappa),
    beta=temperature.fixed(0.0),
    critic=critic.score,
    critic_optimizer=optimizer,
  )
  start = lm.init(seed)
  state = init_state(
    start,
    optimizer=optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=False,
    seed=seed,
    critic=critic.init(start, seed),
    critic_optimizer=optimizer,
  )
  manners = plain(Sampling()), *(MANNERS[name](rules) for name in recipe.manners)
  play = tuple(playing(lm, rules, each) for each in manners)
  return Player(rules, play, make_update(parts)), state


def playing(lm: Recurrent, rules: Rules, manner: Manner) -> Interact:
  """Episodes in a manner."""
  return make_interact(lm, manner=manner, start=rules.start, multiple=MULTIPLE)


def wander(rules: Rules) -> Manner:
  """The policy, with a random silent move here and there."""
  return plain(Wandering(SHARE, rules.silent))


def sweep(rules: Rules) -> Manner:
  """The policy between the ends of the tape, first to the right."""
  return sweeping(moves=rules.directions, silent=rules.silent, blank=rules.base, first=1)


MANNERS: dict[str, Callable[[Rules], Manner]] = {'wandering': wander, 'sweeping': sweep}


if __name__ == '__main__':
  tables.script('algorithmic', build)
