"""The vocabulary of the whole package: what a loss sees, and what it gives back.

Shapes: B sequences, T tokens. Log-probabilities and entropies are in nats; rewards, alpha, beta and
kappa = alpha + beta are in reward units (kappa: reward units per nat).

A policy is seen only through four [B, T] arrays (`Scores`). Column t of every [B, T] array is about
the action tokens[:, t] and the state before it, s_t = tokens[:, :t]; the logits q that score it are
computed from the tokens before t. Rows hold prompt and response; `mask` is True on the response's
tokens, EOS included, and on nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array
Metrics = Mapping[str, Array]
Params = Any  # a plain pytree of arrays


class Scores(NamedTuple):
  """One policy on one batch, with q the folded logits (q = Q/kappa + log rho).

  All [B, T], float32: `logp` = log pi(a_t|s_t) = logit - value; `logit` = q(s_t, a_t);
  `value` = LSE_a q(s_t, a) = V(s_t)/kappa; `entropy` = H(pi(.|s_t)), exact. All in nats.
  `measure`: one more number of the state, see `soft.entropy.MEASURES`; None without.
  """

  logp: Array
  logit: Array
  value: Array
  entropy: Array
  measure: Array | None = None


class Critic(NamedTuple):
  """What networks beside the policy say of the batch; None or () where there is no such network.

  Attributes:
    value: [B, T] V(s_t) of a value head, reward units; at s_0 it is kappa log Z.
    q: further energy functions q_i on the batch, each seen like a policy.
    expected: [B, T] E_{a ~ policy}[min_i q_i(s_t, a)], exact, nats.
    atoms: [B, T, K] log-probabilities of K returns of the action in column t.
    ensemble: [B, T, K] V(s_t) of K value heads, reward units; their spread is uncertainty.
    novelty: [B, T] error of predicting a fixed random network at the state after column t.
  """

  value: Array | None = None
  q: tuple[Scores, ...] = ()
  expected: Array | None = None
  atoms: Array | None = None
  ensemble: Array | None = None
  novelty: Array | None = None


class Views(NamedTuple):
  """Who is looking at the batch. Gradients flow through `policy` and `critic` only.

  `target` and `critic_target` are lagged copies of `policy` and `critic`. `kl` [B, T] is the exact
  KL(pi || ref) of every state, nats; `saliency` [B, T] how much the model attends to a token, or
  depends on it (`lm.saliency`). Each is None where nobody looks.
  """

  policy: Scores
  target: Scores | None = None
  reference: Scores | None = None
  critic: Critic | None = None
  critic_target: Critic | None = None
  kl: Array | None = None
  saliency: Array | None = None


class Batch(NamedTuple):
  """Sequences with what was measured on them.

  Attributes:
    tokens: [B, T] int32, prompt and response.
    mask: [B, T] bool, True on response tokens including EOS; made from lengths, never from pad ids.
    logp: [B, T] behaviour log-probability, of the distribution that was really sampled from.
    reward: [B, T] reward received for each token (usually only on the last one).
    weight: [B, T] importance of each token in the loss; 1 unless a transform changes it.
    advantage: [B, T] filled in by an advantage transform.
    group: [B] int32, rows that answer the same prompt share a number in [0, B).
    cluster: [B] int32, semantic class of the response within its group; -1 for none.
    bootstrap: [B] bool, True where the response was cut and the value at the cut is to be used;
      the column after the last response token must then exist. False: the episode ends there.
    alpha, beta, clip: [B, T] factors on the two knobs and on the width of the clip range, put there
      by transforms; None is 1 everywhere.
  """

  tokens: Array
  mask: Array
  logp: Array
  reward: Array
  weight: Array
  advantage: Array
  group: Array
  cluster: Array
  bootstrap: Array
  alpha: Array | None = None
  beta: Array | None = None
  clip: Array | None = None


class Temperature(NamedTuple):
  """The two knobs: alpha weighs entropy, beta the KL to the reference; scalars or [B, T]."""

  alpha: Array
  beta: Array

  @property
  def kappa(self) -> Array:
    """The one temperature of the Bellman operator, kappa = alpha + beta."""
    return self.alpha + self.beta


class ControllerState(NamedTuple):
  """`value` is the coefficient in force, `count` the updates so far.

  `clamped` in [0, 1] says how far the last update was held back by what can be reached: 1 if the
  coefficient stands at a bound, else the share of prompts whose own target was out of reach.
  `memory` is whatever else a controller keeps (an integral, a moving average); () for most.
  """

  value: Array
  count: Array
  clamped: Array
  memory: tuple[Array, ...] = ()


class Controller(NamedTuple):
  """A coefficient with memory, as a pair of pure functions.

  `init() -> ControllerState`; `update(state, metrics) -> ControllerState` sees the metrics of the
  step that was just taken. `bounds` is the box that the value never leaves, None where the value is
  a function of the number of updates alone; `observes` are the metrics that it reads.
  """

  init: Callable[[], ControllerState]
  update: Callable[[ControllerState, Metrics], ControllerState]
  bounds: tuple[float, float] | None = None
  observes: tuple[str, ...] = ()


Loss = Callable[[Views, Batch, Temperature], tuple[Array, dict[str, Array]]]
Transform = Callable[[Batch, Views], Batch]  # the views with their gradients stopped
Scorer = Callable[[Params, Array, Array], Scores]  # (params, tokens, mask), see `Batch`
Pick = Callable[[Array], Array]  # some rows of an array [B, ...]
# What some rows add to a sum, of their scores and of what is picked for them.
OfRows = Callable[[Pick, Scores], Array]
# (params, tokens, mask, what is summed) -> (Scores [B, T], gradient of the sum)
Pull = Callable[[Params, Array, Array, OfRows], tuple[Scores, Params]]
