"""Every objective with the views that it needs, and the toy language as a batch for them."""

import jax
import jax.numpy as jnp
import numpy as np
from toy_language import toy

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.soft import exact
from maxent_lm.types import Critic, Temperature, Views


def seeing(parts, name, **options):
  """The loss `name`, shown only these parts of the critics."""

  def loss(views, batch, temperature):
    def show(critic):
      hidden = {field: getattr(Critic(), field) for field in Critic._fields if field not in parts}
      return None if critic is None or not parts else critic._replace(**hidden)

    views = views._replace(critic=show(views.critic), critic_target=show(views.critic_target))
    return LOSSES[name](views, batch, temperature, **options)

  loss.__name__ = name
  return loss


CLIP = {'clip_low': 0.2, 'clip_high': 0.3, 'kl': 'k3'}
DUAL = {**CLIP, 'clip_dual': 2.0}
SEMI = {'lam': 0.5, 'gradient': 'semi', 'value': 'lse'}
GAMMA = {'shape_positive': 2.0, 'rate_positive': 3.0, 'shape_negative': 3.0, 'rate_negative': 2.0}
BOUNDS = {'low': 0.6, 'low_max': 0.8, 'low_step': 0.05}
BOUNDS |= {'high': 1.2, 'high_max': 2.0, 'high_step': 0.05}
POLICY_GRADIENTS = {
  'grpo': seeing((), 'grpo', **DUAL),
  'ppo': seeing(('value',), 'ppo', lam=0.9, value_weight=0.5, value_clip=0.3, **DUAL),
  'reinforce': seeing((), 'reinforce', kl='k1'),
  'gspo': seeing((), 'gspo', **{**CLIP, 'kl': 'k2'}),
  'cispo': seeing((), 'cispo', **CLIP),
  'gmpo': seeing((), 'gmpo', **CLIP),
  'sapo': seeing((), 'sapo', positive=1.0, negative=1.05, kl='k3'),
  'vespo': seeing((), 'vespo', **GAMMA, kl='none'),
  'dcpo': seeing((), 'dcpo', **DUAL),
  'bapo': seeing((), 'bapo', **BOUNDS, target=1.0, clip_dual=3.0, kl='k3'),
  'kl_cov': seeing((), 'kl_cov', share=0.2, penalty=1.0, kl='k3'),
}
DPO = {
  **{'link': 'sigmoid', 'score': 'reverse_kl', 'strength': 0.5, 'length': 'sum'},
  **{'offset': 0.2, 'smoothing': 0.0, 'cloning': 0.0},
}
KTO = {
  **{'link': 'probability', 'baseline': 'kl', 'threshold': 0.2},
  **{'desirable': 1.0, 'undesirable': 1.3},
}
OBJECTIVES = {
  'soft_q semi': seeing((), 'soft_q', **SEMI),
  'soft_q residual': seeing((), 'soft_q', **{**SEMI, 'gradient': 'residual'}),
  'soft_q offset': seeing((), 'soft_q', **{**SEMI, 'value': 'lse_minus_ref'}),
  'soft_q head': seeing(('value',), 'soft_q', **{**SEMI, 'value': 'head'}),
  'soft_q twin': seeing(('q',), 'soft_q', **SEMI),
  'TBRM': seeing((), 'path', value='lse'),
  'ReVal': seeing((), 'path', value='lse_minus_ref'),
  'TB': seeing(('value',), 'path', value='head'),
  'PCL': seeing((), 'pcl', length=3, value='lse'),
  'PCL head': seeing(('value',), 'pcl', length=3, value='head'),
  'SubTB': seeing((), 'subtb', lam=0.8, value='lse'),
  'SubTB head': seeing(('value',), 'subtb', lam=0.8, value='head'),
  'OREO': seeing(('value',), 'oreo', value_weight=0.5),
  'vargrad': seeing((), 'vargrad'),
  'pairwise': seeing((), 'pairwise'),
  'mirror descent': seeing((), 'mirror_descent'),
  'SAC': seeing(('q', 'expected'), 'sac', policy_weight=0.7),
  'ILQL': seeing(('q', 'value'), 'ilql', expectile=0.8, cql=0.1, cloning=0.5),
  'Q-sharp': seeing(('atoms',), 'q_sharp', low=-1.0, high=2.0),
  'imitation': seeing((), 'imitation'),
  **POLICY_GRADIENTS,
  'DPO': seeing((), 'dpo', **DPO),
  'DPO js': seeing((), 'dpo', **{**DPO, 'score': 'js', 'smoothing': 0.1}),
  'DPO mean': seeing((), 'dpo', **{**DPO, 'length': 'mean', 'link': 'ipo', 'cloning': 0.3}),
  'NCA': seeing((), 'dpo', **{**DPO, 'link': 'nca', 'offset': 0.0}),
  'AOT': seeing((), 'aot', smoothing=0.1),
  'ORPO': seeing((), 'orpo', weight=0.5),
  'KTO': seeing((), 'kto', **KTO),
}
# Those whose values are trained by the shift of the logits: in every state, or in the first only.
SHIFT_EVERYWHERE = (
  *('soft_q semi', 'soft_q residual', 'soft_q offset', 'soft_q twin', 'PCL', 'SubTB'),
)
SHIFT_AT_THE_START = ('TBRM', 'ReVal')


def knobs(alpha, beta):
  return Temperature(jnp.asarray(alpha), jnp.asarray(beta))


class Toy:
  """The toy language as a batch of all strings, with tabular logits."""

  def __init__(self):
    self.language = toy()
    self.batch = exact.to_batch(self.language)
    states = np.pad(exact.strings(self.language).states, ((0, 0), (0, 1)))
    self.states = jnp.asarray(states)
    self.reference = self.scores(self.language.log_ref)
    self.logits = jnp.asarray(np.random.default_rng(3).normal(size=self.language.reward.shape))

  def scores(self, q):
    return exact.tabular_scores(jnp.asarray(q), self.states, self.batch.tokens)

  def views(self, q):
    return Views(self.scores(q), None, self.reference, self.critic(q))

  def critic(self, q):
    """Random networks beside the policy; `expected` depends on the policy's logits q."""
    rng = np.random.default_rng(7)
    value, first, second = rng.normal(size=15), *rng.normal(size=(2, 15, 3))
    atoms = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(15, 3, 4))))
    expected = jnp.sum(jax.nn.softmax(q) * jnp.minimum(first, second), axis=-1)
    return Critic(
      value=jnp.asarray(value)[self.states],
      q=(self.scores(first), self.scores(second)),
      expected=expected[self.states],
      atoms=atoms[self.states, self.batch.tokens],
    )

  def string_logp(self, q):
    return masked.masked_sum(self.scores(q).logp, self.batch.mask, axis=1)
