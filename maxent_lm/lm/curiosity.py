"""Networks of intrinsic motivation beside the policy: novelty of a state, spread of its value.

Both compare what is learned with a random function that never is. It is drawn from its seed
whenever the network is built and is no parameter: no gradient, weight decay, average or checkpoint
can reach it.

Shapes: B rows, T tokens, D width of the trunk, F width of a head, O outputs, K heads.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.heads import CriticNet, init_readout, read_out, trunk_hidden, with_trunk
from maxent_lm.lm.scores import before
from maxent_lm.types import Array, Critic, Params


def rnd(lm: LM, *, width: int, outputs: int, seed: int) -> CriticNet:
  """Random network distillation: novelty = mean_o (predictor_o - target_o)^2 of a state.

  Both read the policy's hidden states with stopped gradients. Column t is about the state AFTER
  tokens[:, t], the one that the token leads to; the last is the state after EOS. The predictor
  starts at 0. Dimensionless and not normalised. The features are the policy's own and move while it
  is trained, so that the novelty of what is seen falls but does not vanish. [Burda et al. 2019]
  """
  target = random_readout(np.random.default_rng([seed, 5]), lm.config.d_model, width, outputs)

  def init(params: Params, seed: int) -> Params:
    del params
    rng = np.random.default_rng([seed, 6])
    return {'predictor': init_readout(rng, lm.config.d_model, width, outputs)}

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, 'stopped', critic, params, tokens)
    error = read_out(critic['predictor'], hidden) - read_out(target, hidden)
    return Critic(novelty=jnp.mean(error**2, axis=-1))

  return CriticNet(init, score)


def ensemble(lm: LM, *, trunk: str, width: int, count: int, prior: float, seed: int) -> CriticNet:
  """K value heads V_k(s_t) = f_k(s_t) + prior x p_k(s_t), of the state before column t.

  f_k is trained and starts at 0; p_k is a random function that stays, of about unit variance, so
  that the heads disagree by about `prior`, in reward units, where they have learned nothing.
  prior = 0: only the first layers differ. [Osband et al. 2018, randomized prior functions]
  """
  rng = np.random.default_rng([seed, 7])
  fixed = [random_readout(rng, lm.config.d_model, width, 1) for _ in range(count)]
  priors = jax.tree.map(lambda *leaves: np.stack(leaves), *fixed)
  read = jax.vmap(read_out, in_axes=(0, None), out_axes=-1)

  def init(params: Params, seed: int) -> Params:
    rng = np.random.default_rng([seed, 8])
    heads = [init_readout(rng, lm.config.d_model, width, 1) for _ in range(count)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads)
    return with_trunk(params, trunk, {'ensemble': stacked})

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    hidden = trunk_hidden(lm, trunk, critic, params, tokens)[:, :-1]
    values = read(critic['ensemble'], hidden)
    values += prior * read(priors, jax.lax.stop_gradient(hidden))
    return Critic(ensemble=before(values[:, :, 0]))

  return CriticNet(init, score)


CURIOSITY: Mapping[str, Callable[..., CriticNet]] = {'rnd': rnd, 'ensemble': ensemble}


def merged(nets: Mapping[str, CriticNet]) -> CriticNet:
  """Several networks as one: parameters by name, and what each says in one `Critic`.

  Of a field that two of them fill, the first one's is taken.
  """

  def init(params: Params, seed: int) -> Params:
    return {name: net.init(params, seed) for name, net in nets.items()}

  def score(critic: Params, params: Params, tokens: Array) -> Critic:
    fields = {}
    for name, net in list(nets.items())[::-1]:
      said = net.score(critic[name], params, tokens)._asdict()
      fields |= {field: value for field, value in said.items() if jax.tree.leaves(value)}
    return Critic(**fields)

  return CriticNet(init, score)


def random_readout(rng: np.random.Generator, d: int, width: int, outputs: int) -> Params:
  """A two-layer readout with random weights everywhere; outputs of about unit variance.

  Host arrays: the numbers are the same on every machine and with every version of JAX.
  """
  leaves = {
    'up': rng.standard_normal((d, width)) / math.sqrt(d),
    'up_bias': rng.standard_normal(width),
    'down': rng.standard_normal((width, outputs)) / math.sqrt(width),
    'down_bias': np.zeros(outputs),
  }
  return {name: np.asarray(leaf, np.float32) for name, leaf in leaves.items()}
