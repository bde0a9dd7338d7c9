"""Where objectives end: tables of numbers trained on every string of a language that is solved.

A `Member` is a loss with what it sees beside the policy. `fit` trains it from random tables with
Adam, off-policy, every string weighing the same, and `judge` compares with the oracle. Nothing here
is an approximation but the optimiser: a member whose optimum is the soft-optimal policy gets there.

Shapes: S states, A actions, N strings, T columns, K atoms. float64 where JAX has it enabled.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maxent_lm import masked
from maxent_lm.algorithms.balance import mirror_descent, pairwise, vargrad
from maxent_lm.algorithms.path import oreo, path, pcl, subtb
from maxent_lm.algorithms.sac import sac
from maxent_lm.algorithms.soft_q import soft_q
from maxent_lm.algorithms.value_guidance import q_sharp
from maxent_lm.soft import exact, operators
from maxent_lm.types import Array, Batch, Critic, Loss, Scores, Temperature, Views


class Tables(NamedTuple):
  """All that can be trained: logits [S, A], values [S], twins [2, S, A], atoms [S, A, K]."""

  policy: Array
  value: Array
  twins: Array
  atoms: Array


class Problem(NamedTuple):
  """A language and two knobs [S] as arrays; problems of one shape share a compilation.

  `ended` [N] is True for the strings that EOS ended, False for those that the length cap did.
  """

  batch: Batch
  states: Array
  ended: Array
  log_ref: Array
  alpha: Array
  beta: Array


class Fit(NamedTuple):
  """[S, A] log_pi, [S] value in reward units, and at the start max_s |sum_a dL/dq(s, a)|."""

  log_pi: Array
  value: Array
  row_sum: Array


class Member(NamedTuple):
  """An objective with what it looks at.

  Attributes:
    loss: with its hyper-parameters bound.
    critic: the parts of a `Critic` that it sees: 'value', 'twin', 'twins', 'atoms'.
    lag: rate of the lagged copies of all that is trained; 0: there are none.
    reads: where its V(s) stands, 'policy' (kappa LSE of the logits) or 'value'.
    pins: the states whose V it determines: 'all', 'start' (the empty prefix) or 'none'.
    policy: 'logits', or the reference guided by the atoms: 'exponential' value or their 'mean'.
    prepare: what happens to the batch beforehand.
    steps: of Adam.
    learning_rate: where its cosine decay to zero begins.
  """

  loss: Loss
  critic: Sequence[str] = ()
  lag: float = 0.0
  reads: str = 'policy'
  pins: str = 'none'
  policy: str = 'logits'
  prepare: Callable[[Problem], Batch] = lambda problem: problem.batch
  steps: int = 6000
  learning_rate: float = 3e-2


def reference_completions(problem: Problem) -> Batch:
  """Weights w_t = ref(rest of the string | first t + 1 tokens), as if the reference ended it."""
  batch = problem.batch
  logp = jnp.where(batch.mask, problem.log_ref[problem.states, batch.tokens], 0)
  rest = jnp.cumsum(logp[:, ::-1], axis=1)[:, ::-1] - logp
  return batch._replace(weight=jnp.where(batch.mask, jnp.exp(rest), 0))


def _soft_q(lam: float, gradient: str = 'semi', value: str = 'lse') -> Loss:
  return partial(soft_q, lam=lam, gradient=gradient, value=value)


def _with_head(loss: Loss, pins: str) -> Member:
  return Member(loss, critic=('value',), reads='value', pins=pins)


MEMBERS: dict[str, Member] = {
  'soft_q(0) semi': Member(_soft_q(0.0), pins='all'),
  'soft_q(0) target': Member(_soft_q(0.0), pins='all', lag=0.05),
  'soft_q(0) residual': Member(_soft_q(0.0, 'residual'), pins='all'),
  'soft_q(0) twin': Member(_soft_q(0.0), pins='all', lag=0.05, critic=('twin',)),
  'soft_q(0.5) semi': Member(_soft_q(0.5), pins='all'),
  'soft_q(0.9) residual': Member(_soft_q(0.9, 'residual'), pins='all'),
  'soft_q(0.9) minus ref': Member(_soft_q(0.9, value='lse_minus_ref'), pins='all'),
  'soft_q(1) semi': Member(_soft_q(1.0), pins='all'),
  'DQO(0.9)': _with_head(_soft_q(0.9, value='head'), pins='all'),
  'PCL(1) LSE': Member(partial(pcl, length=1, value='lse'), pins='all'),
  'PCL(2) LSE': Member(partial(pcl, length=2, value='lse'), pins='all'),
  'PCL(4) LSE': Member(partial(pcl, length=4, value='lse'), pins='all'),
  'PCL(4) head': _with_head(partial(pcl, length=4, value='head'), pins='all'),
  'OREO': _with_head(partial(oreo, value_weight=1.0), pins='all'),
  'SubTB(0.9) LSE': Member(partial(subtb, lam=0.9, value='lse'), pins='all'),
  'SubTB(0.9) head': _with_head(partial(subtb, lam=0.9, value='head'), pins='all'),
  'TBRM': Member(partial(path, value='lse'), pins='start'),
  'ReVal': Member(partial(path, value='lse_minus_ref'), pins='start'),
  'TB log Z': _with_head(partial(path, value='head'), pins='start'),
  'VarGrad': Member(vargrad),
  'pairwise': Member(pairwise),
  'mirror descent': Member(mirror_descent),
  'SAC': Member(
    partial(sac, policy_weight=1.0), critic=('twins',), lag=0.05, pins='all', steps=12000
  ),
}

# Certain outcomes are logits at infinity: a long way.
GUIDED: dict[str, Member] = {
  'Q-sharp': Member(
    partial(q_sharp, low=0.0, high=1.0),
    critic=('atoms',),
    policy='exponential',
    prepare=reference_completions,
    steps=20000,
    learning_rate=1.0,
  ),
}


def make_problem(language: exact.Language, alpha: exact.Knob, beta: exact.Knob) -> Problem:
  """Every string once in one group; the behaviour is the uniform distribution over strings."""

  def per_state(knob: exact.Knob) -> Array:
    return jnp.broadcast_to(jnp.asarray(knob, float), len(language.prefixes))

  batch = exact.to_batch(language)
  states = np.pad(exact.strings(language).states, ((0, 0), (0, 1)))
  uniform = jnp.where(masked.last_action(batch.mask), -jnp.log(float(len(states))), 0.0)
  return Problem(
    batch=batch._replace(logp=uniform),
    states=jnp.asarray(states),
    ended=((batch.tokens == language.eos) & batch.mask).any(axis=1),
    log_ref=jnp.asarray(language.log_ref),
    alpha=per_state(alpha),
    beta=per_state(beta),
  )


def start(problem: Problem, *, atoms: int, seed: int) -> Tables:
  """Random logits and values."""
  rng = np.random.default_rng(seed)
  states, actions = problem.log_ref.shape
  shapes = ((states, actions), (states,), (2, states, actions), (states, actions, atoms))
  return Tables(*(jnp.asarray(rng.normal(size=shape)) for shape in shapes))


def fit(member: Member, problem: Problem, tables: Tables) -> Fit:
  """Trains the tables; jit it, and vmap it over problems of one shape."""
  batch = member.prepare(problem)
  temperature = Temperature(problem.alpha[problem.states], problem.beta[problem.states])
  rate = optax.cosine_decay_schedule(member.learning_rate, member.steps)
  tx = optax.adam(rate, eps=1e-16)

  def total(tables: Tables, lagged: Tables) -> Array:
    values, _ = member.loss(_views(member, problem, batch, tables, lagged), batch, temperature)
    return masked.sequence_sum(values * batch.weight, batch.mask)

  def step(_: int, carry: tuple) -> tuple:
    tables, lagged, state = carry
    updates, state = tx.update(jax.grad(total)(tables, lagged), state)
    tables = optax.apply_updates(tables, updates)
    return tables, optax.incremental_update(tables, lagged, member.lag), state

  row_sum = jnp.max(jnp.abs(jnp.sum(jax.grad(total)(tables, tables).policy, axis=1)))
  carry = (tables, tables, tx.init(tables))
  end = jax.lax.fori_loop(0, member.steps, step, carry)[0]
  return Fit(_log_pi(member, problem, end), _value(member, problem, end), row_sum)


def judge(
  language: exact.Language, alpha: exact.Knob, beta: exact.Knob, member: Member, fit: Fit
) -> dict[str, float]:
  """KL(pi* || pi) over strings, and the largest |V - V*| over the states that the member pins."""
  solution = exact.solve(language, alpha, beta)
  error = np.abs(np.asarray(fit.value, np.float64) - solution.value)
  value = {'all': error.max(), 'start': error[0], 'none': np.nan}[member.pins]
  log_pi = np.asarray(fit.log_pi, np.float64)
  return {
    'kl': exact.kl(language, solution.log_pi, log_pi),
    'value_error': float(value),
    'row_sum': float(fit.row_sum),
  }


def _views(member: Member, problem: Problem, batch: Batch, tables: Tables, lagged: Tables) -> Views:
  def look(q: Array) -> Scores:
    return exact.tabular_scores(q, problem.states, batch.tokens)

  def critic(of: Tables) -> Critic | None:
    return _critic(member, problem, batch, of, tables.policy) if member.critic else None

  behind = jax.lax.stop_gradient(lagged)
  return Views(
    policy=look(tables.policy),
    target=look(behind.policy) if member.lag and 'twins' not in member.critic else None,
    reference=look(problem.log_ref),
    critic=critic(tables),
    critic_target=critic(behind) if member.lag else None,
  )


def _critic(
  member: Member, problem: Problem, batch: Batch, tables: Tables, policy: Array
) -> Critic:
  count = {'twin': 1, 'twins': 2}
  twins = sum(count.get(part, 0) for part in member.critic)
  smallest = jax.lax.stop_gradient(jnp.min(tables.twins, axis=0))
  expected = jnp.sum(jax.nn.softmax(policy) * smallest, axis=-1)
  atoms = jax.nn.log_softmax(tables.atoms)
  return Critic(
    value=tables.value[problem.states] if 'value' in member.critic else None,
    q=tuple(exact.tabular_scores(q, problem.states, batch.tokens) for q in tables.twins[:twins]),
    expected=expected[problem.states] if twins else None,
    atoms=atoms[problem.states, batch.tokens] if 'atoms' in member.critic else None,
  )


def _log_pi(member: Member, problem: Problem, tables: Tables) -> Array:
  if member.policy == 'logits':
    return jax.nn.log_softmax(tables.policy)
  kappa = (problem.alpha + problem.beta)[:, None]
  levels = jnp.linspace(0, 1, tables.atoms.shape[-1]).reshape(1, 1, -1)
  logp = jax.nn.log_softmax(tables.atoms)
  exponential = jax.nn.logsumexp(logp + levels / kappa[..., None], axis=-1)
  mean = jnp.sum(jnp.exp(logp) * levels, axis=-1) / kappa
  gain = {'exponential': exponential, 'mean': mean}[member.policy]
  return jax.nn.log_softmax(problem.log_ref + gain)


def _value(member: Member, problem: Problem, tables: Tables) -> Array:
  kappa = problem.alpha + problem.beta
  if member.reads == 'value':
    return tables.value
  if 'twins' in member.critic:
    return kappa * jax.nn.logsumexp(jnp.min(tables.twins, axis=0), axis=-1)
  return operators.soft_value(kappa[:, None] * tables.policy, kappa, jnp.zeros_like(tables.policy))
