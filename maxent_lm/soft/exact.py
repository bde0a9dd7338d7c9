"""The oracle: small languages solved exactly, by backward induction and by enumeration.

Everything is numpy float64, but for the last two functions, which hand a language to JAX.

Shapes: S states, the EOS-free prefixes of length 0..T-1 ordered by length and then
lexicographically (state 0 is the empty prefix); A actions, EOS included; N strings. A string ends
at EOS, or at the length cap T, which is terminal and pays its own reward. Rewards, Q, V, alpha and
beta are in reward units, log-probabilities, KL and entropies in nats. alpha and beta are scalars or
[S]; the policy's arrays `log_pi` are [S, A].
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.soft import entropy as entropies
from maxent_lm.types import Batch, Scores

Tokens = tuple[int, ...]
Knob = float | np.ndarray


class Language(NamedTuple):
  """A deterministic tree of strings.

  Attributes:
    eos: the action that ends a string.
    length: T, the cap on the number of actions.
    prefixes: the S states, as tuples of tokens.
    child: [S, A] int, the state after an action; -1 where the string ends.
    reward: [S, A] reward of an action in a state.
    log_ref: [S, A] reference policy.
  """

  eos: int
  length: int
  prefixes: tuple[Tokens, ...]
  child: np.ndarray
  reward: np.ndarray
  log_ref: np.ndarray


class Solution(NamedTuple):
  """Soft-optimal V [S] and Q [S, A] in reward units, and log_pi [S, A]."""

  value: np.ndarray
  q: np.ndarray
  log_pi: np.ndarray


class Strings(NamedTuple):
  """Every string once, depth first (action 0 before 1, ...): [N, T] each, 0 after the end.

  `states` are the states in which `tokens` are chosen; `mask` is True up to and including the end.
  """

  tokens: np.ndarray
  mask: np.ndarray
  states: np.ndarray
  reward: np.ndarray


def from_tables(eos: int, length: int, reward: np.ndarray, log_ref: np.ndarray) -> Language:
  """The language with these [S, A] tables.

  Raises:
    ValueError: `eos` is not an action, or a table has the wrong shape.
  """
  actions = reward.shape[-1]
  if not 0 <= eos < actions:
    raise ValueError(f'language: eos {eos} is not one of the {actions} actions')
  letters = [a for a in range(actions) if a != eos]
  prefixes = tuple(
    itertools.chain.from_iterable(itertools.product(letters, repeat=n) for n in range(length))
  )
  shape = (len(prefixes), actions)
  for name, table in (('reward', reward), ('log_ref', log_ref)):
    if table.shape != shape:
      raise ValueError(f'language: {name} has shape {table.shape}, needs [S, A] = {shape}')
  index = {prefix: i for i, prefix in enumerate(prefixes)}
  child = np.array(
    [[-1 if a == eos else index.get((*p, a), -1) for a in range(actions)] for p in prefixes]
  )
  reward, log_ref = np.array(reward, np.float64), np.array(log_ref, np.float64)
  return Language(eos, length, prefixes, child, reward, log_ref)


def from_function(
  reward: Callable[[Tokens], float], log_ref: np.ndarray, *, eos: int, length: int
) -> Language:
  """The language with `reward(string)` on the last action of each string, and 0 elsewhere.

  The string is the tuple of all its tokens, with the EOS that ends it if one does.
  """
  language = from_tables(eos, length, np.zeros_like(log_ref), log_ref)
  for state, prefix in enumerate(language.prefixes):
    for action in np.flatnonzero(language.child[state] < 0):
      language.reward[state, action] = reward((*prefix, int(action)))
  return language


def random(rng: np.random.Generator, *, actions: int, length: int, eos: int) -> Language:
  """Rewards in [-1, 1] on every action, and a random reference policy."""
  states = sum((actions - 1) ** n for n in range(length))
  reward = rng.uniform(-1, 1, (states, actions))
  return from_tables(eos, length, reward, _log_softmax(rng.normal(size=(states, actions))))


def solve(language: Language, alpha: Knob, beta: Knob) -> Solution:
  """Backward induction over the states, with one temperature per state if need be.

      Q(s, a) = r(s, a) + V(s a),   V = kappa log sum_a rho(a|s) exp(Q / kappa)

  Raises:
    ValueError: kappa = alpha + beta is not positive in every state.
  """
  kappa = _kappa(language, alpha, beta)
  prior = _log_prior(language, alpha, beta)
  value = np.zeros(len(language.prefixes))
  q = np.zeros_like(language.reward)
  for state in reversed(range(len(value))):
    q[state] = language.reward[state] + _after(value, language.child[state])
    value[state] = kappa[state] * _logsumexp(prior[state] + q[state] / kappa[state])
  return Solution(value, q, prior + (q - value[:, None]) / kappa[:, None])


def strings(language: Language) -> Strings:
  """Every string once, with its states and rewards."""
  tokens, mask, states, reward = [], [], [], []
  for string in _grow(language, ()):
    pad = [0] * (language.length - len(string))
    path = _path(language, string)
    tokens.append([*string, *pad])
    mask.append([True] * len(string) + [False] * len(pad))
    states.append(path + pad)
    reward.append([language.reward[s, a] for s, a in zip(path, string, strict=True)] + pad)
  return Strings(
    np.array(tokens), np.array(mask), np.array(states), np.array(reward, dtype=np.float64)
  )


def brute_force(language: Language, alpha: float, beta: float) -> tuple[np.ndarray, float]:
  """[N] log pi*(y) and log Z by enumeration, pi*(y) = ref(y)^(beta/kappa) exp(R(y)/kappa) / Z.

  Independent of `solve`; alpha and beta are scalars, since otherwise there is no such formula.
  """
  kappa = float(_kappa(language, alpha, beta)[0])
  total = np.sum(strings(language).reward, axis=1) / kappa
  if beta:
    total = total + beta / kappa * string_logp(language, language.log_ref)
  log_z = _logsumexp(total)
  return total - log_z, float(log_z)


def string_logp(language: Language, log_pi: np.ndarray) -> np.ndarray:
  """[N] log pi(y), in the order of `strings`."""
  rows = strings(language)
  return np.sum(np.where(rows.mask, log_pi[rows.states, rows.tokens], 0), axis=1)


def kl(language: Language, log_p: np.ndarray, log_q: np.ndarray) -> float:
  """KL(p || q) over strings, nats."""
  log_p, log_q = string_logp(language, log_p), string_logp(language, log_q)
  return float(np.sum(np.exp(log_p) * _minus(log_p, log_q)))


def expected_reward(language: Language, log_pi: np.ndarray) -> float:
  """E_pi[R]."""
  return evaluate(language, log_pi, 0.0, 0.0)


def sequence_entropy(language: Language, log_pi: np.ndarray) -> float:
  """H(pi(y)) over strings, nats."""
  logp = string_logp(language, log_pi)
  return float(-np.sum(np.exp(logp) * _minus(logp, np.zeros_like(logp))))


def token_entropy(log_pi: np.ndarray) -> np.ndarray:
  """[S] H(pi(.|s)), nats."""
  return -np.sum(np.exp(log_pi) * _minus(log_pi, np.zeros_like(log_pi)), axis=-1)


def evaluate(language: Language, log_pi: np.ndarray, alpha: Knob, beta: Knob) -> float:
  """The objective J(pi) = E[sum_t r_t + alpha H(pi(.|s_t)) - beta KL(pi || ref)(s_t)].

  At the soft-optimal policy, and only there, J is V(s_0). Any alpha and beta are allowed.
  """
  return float(policy_value(language, log_pi, alpha, beta)[0])


def policy_value(language: Language, log_pi: np.ndarray, alpha: Knob, beta: Knob) -> np.ndarray:
  """[S] V^pi(s): what is left of `evaluate`'s sum from each state on."""
  alpha, beta = _per_state(language, alpha), _per_state(language, beta)
  pi = np.exp(log_pi)
  kl_ref = np.sum(pi * _minus(log_pi, language.log_ref), axis=1)
  gain = np.sum(pi * language.reward, axis=1) + alpha * token_entropy(log_pi)
  gain = gain - np.where(beta == 0, 0, beta * kl_ref)
  value = np.zeros(len(language.prefixes))
  for state in reversed(range(len(value))):
    value[state] = gain[state] + pi[state] @ _after(value, language.child[state])
  return value


def objective_gradient(
  language: Language, log_pi: np.ndarray, alpha: Knob, beta: Knob
) -> np.ndarray:
  """[S, A] gradient of `evaluate` in the logits, exact: the soft policy gradient theorem.

      dJ/dq(s, a) = P(s) pi(a|s) [Q^pi(s, a) - alpha log pi - beta (log pi - log ref) - V^pi(s)]

  P(s) is the probability that pi passes through s. Actions of probability 0 have gradient 0.
  """
  value = policy_value(language, log_pi, alpha, beta)
  alpha, beta = _per_state(language, alpha)[:, None], _per_state(language, beta)[:, None]
  reached = np.zeros(len(value))
  reached[0] = 1
  for state, children in enumerate(language.child):
    inside = children >= 0
    reached[children[inside]] += reached[state] * np.exp(log_pi[state, inside])
  price = alpha * _minus(log_pi, np.zeros_like(log_pi))
  price = price + np.where(beta == 0, 0, beta * _minus(log_pi, language.log_ref))
  gain = language.reward + _after(value, language.child) - price
  return reached[:, None] * np.exp(log_pi) * (gain - value[:, None])


def distinct_at_k(language: Language, log_pi: np.ndarray, correct: np.ndarray, k: int) -> float:
  """Expected number of distinct correct strings among k samples, sum_y 1 - (1 - pi(y))^k.

  `correct` is [N] bool in the order of `strings`; divided by its sum this is coverage at k.
  """
  p = np.exp(string_logp(language, log_pi)[correct])
  return float(np.sum(-np.expm1(k * np.log1p(-np.minimum(p, 1 - 1e-16)))))


def coverage_at_k(language: Language, log_pi: np.ndarray, correct: np.ndarray, k: int) -> float:
  """Expected share of the correct strings that k samples find."""
  return distinct_at_k(language, log_pi, correct, k) / int(np.sum(correct))


def tabular_scores(q: jax.Array, states: jax.Array, tokens: jax.Array) -> Scores:
  """The scores of a table of folded logits q [S, A] on strings; states and tokens are [N, T]."""
  value = jax.nn.logsumexp(q, axis=-1)
  log_pi = q - value[:, None]
  entropy = entropies.token_entropy(q)
  return Scores(log_pi[states, tokens], q[states, tokens], value[states], entropy[states])


def to_batch(language: Language) -> Batch:
  """Every string once, in one group: [N, T + 1], right-padded, so that a cut has its column.

  `logp` is that of the reference, as if it were the behaviour policy.
  """
  rows = strings(language)
  logp = np.where(rows.mask, language.log_ref[rows.states, rows.tokens], 0)
  count = len(rows.tokens)

  def wide(values: np.ndarray) -> jax.Array:
    return jnp.asarray(np.pad(values, ((0, 0), (0, 1))))

  return Batch(
    tokens=wide(rows.tokens.astype(np.int32)),
    mask=wide(rows.mask),
    logp=wide(logp),
    reward=wide(rows.reward),
    weight=wide(np.ones_like(logp)),
    advantage=wide(np.zeros_like(logp)),
    group=jnp.zeros(count, jnp.int32),
    cluster=jnp.full(count, -1, jnp.int32),
    bootstrap=jnp.zeros(count, bool),
  )


def with_prompt(batch: Batch, token: int) -> Batch:
  """The batch with one prompt token before every row, [N, T + 1] to [N, T + 2].

  For language models: a good prompt is EOS, which no prefix contains. Rotary attention cannot count
  equal tokens, so that a prompt that looks like a letter would make different states the same.
  """
  front = {
    name: jnp.pad(values, ((0, 0), (1, 0)))
    for name, values in batch._asdict().items()
    if values is not None and values.ndim == 2
  }
  batch = batch._replace(**front)
  return batch._replace(tokens=batch.tokens.at[:, 0].set(token))


def _grow(language: Language, string: Tokens) -> list[Tokens]:
  """All strings that begin with `string`, depth first."""
  if len(string) == language.length or (string and string[-1] == language.eos):
    return [string]
  actions = range(language.reward.shape[1])
  return [end for action in actions for end in _grow(language, (*string, action))]


def _path(language: Language, string: Tokens) -> list[int]:
  """The state in which each token of `string` is chosen."""
  path = [0]
  for action in string[:-1]:
    path.append(int(language.child[path[-1], action]))
  return path


def _after(value: np.ndarray, child: np.ndarray) -> np.ndarray:
  """Value of the next states, 0 at the end of the string."""
  return np.where(child < 0, 0, value[child])


def _per_state(language: Language, knob: Knob) -> np.ndarray:
  """[S] float64."""
  return np.broadcast_to(np.asarray(knob, np.float64), len(language.prefixes))


def _kappa(language: Language, alpha: Knob, beta: Knob) -> np.ndarray:
  """[S] alpha + beta, positive."""
  kappa = _per_state(language, alpha) + _per_state(language, beta)
  if not np.all(kappa > 0):
    raise ValueError(f'kappa = alpha + beta must be positive, got alpha={alpha}, beta={beta}')
  return kappa


def _log_prior(language: Language, alpha: Knob, beta: Knob) -> np.ndarray:
  """[S, A] (beta / kappa) log ref, 0 where beta is 0."""
  share = (_per_state(language, beta) / _kappa(language, alpha, beta))[:, None]
  return share * np.where(share == 0, 0, language.log_ref)


def _minus(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
  """log_p - log_q, 0 where p is 0 and the difference does not matter."""
  some = np.isfinite(log_p)
  return np.where(some, np.where(some, log_p, 0) - np.where(some, log_q, 0), 0)


def _logsumexp(values: np.ndarray) -> np.float64:
  """log sum exp over all of a vector."""
  top = np.max(values)
  return top + np.log(np.sum(np.exp(values - top)))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  """log softmax over the last axis."""
  return logits - np.apply_along_axis(_logsumexp, -1, logits)[..., None]
