"""Token importance: estimate -> weight -> sites, one Transform for every method of that kind.

    x_t = estimate(batch, views)       a number for every response token
    w_t = select(x, pool)              in [0, 1], see `selectors`
    factor_t = low + (high - low) w_t  multiplies what stands at each site

Shapes: B rows, T tokens. Estimates and weights get no gradient.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.shaping.selectors import Pool, Selector, make_pool, part_size, part_sum
from maxent_lm.soft.divergence import bounded
from maxent_lm.types import Array, Batch, Views

Estimate = Callable[[Batch, Views], Array]

NEUTRAL = (1.0, 1.0)  # (low, high) of a site that is left alone


def importance(
  batch: Batch,
  views: Views,
  *,
  estimate: Estimate,
  select: Selector,
  scope: str,
  denominator: str,
  sites: Mapping[str, tuple[float, float]],
) -> Batch:
  """`batch` with the factor low + (high - low) w_t at every site in `sites`, 1 outside the mask.

  Sites, each with its own (low, high); (1, 1) leaves it alone:
    'loss'       the loss of the token, entropy bonus and KL term included (`weight`);
    'advantage'  the policy gradient alone, bonus and KL term stay as they are;
    'alpha', 'beta', 'kappa'  the knobs at s_t, the last both of them: a local temperature;
    'clip'       the width of the clip range.

  A weight on the loss acts only where every token has a loss of its own. Path objectives (`path`,
  `vargrad`, `pairwise`, ...) put the loss of a whole response into one column: there, use a local
  temperature, which acts in every objective. It has an exact optimum only if it is a function of
  the state s_t, as with the estimates 'entropy' and 'measure'; the others look at the action, or at
  what came later. At the cut of a bootstrapped response the knobs are the run's own.

  Args:
    batch: what is to be shaped.
    views: who looked at it; estimates name what they need.
    estimate: one of ESTIMATES, with what it needs bound.
    select: one of `selectors.SELECTORS`, with its options bound.
    scope: within what tokens compete: 'row', 'group' or 'batch'.
    denominator: of the loss weights: 'all', they stay as they are, so that a reduction divides by
      all tokens; 'selected', they are scaled to mean 1 over the scope, so that a reduction over
      the same scope divides by their sum (`token_mean` over 'batch', `sequence_mean` over 'row').
    sites: name -> (low, high).
  """
  values = masked.clean(estimate(batch, views), batch.mask)
  pool = make_pool(batch, scope)
  weight = select(values, pool)
  for site, (low, high) in sites.items():
    if (low, high) == NEUTRAL:
      continue
    factor = jnp.where(batch.mask, low + (high - low) * weight, 1)
    if site == 'loss':
      factor = DENOMINATORS[denominator](factor, pool)
    batch = _multiply(batch, SITES[site], factor)
  return batch


SITES: Mapping[str, tuple[str, ...]] = {  # -> the fields of the batch
  'loss': ('weight',),
  'advantage': ('advantage',),
  'alpha': ('alpha',),
  'beta': ('beta',),
  'kappa': ('alpha', 'beta'),
  'clip': ('clip',),
}


def _multiply(batch: Batch, names: tuple[str, ...], factor: Array) -> Batch:
  fields = batch._asdict()
  old = {name: fields[name] for name in names}
  return batch._replace(**{k: factor if v is None else v * factor for k, v in old.items()})


def _of_all(factor: Array, pool: Pool) -> Array:
  del pool
  return factor


def _of_selected(factor: Array, pool: Pool) -> Array:
  """`factor` scaled to mean 1 over the tokens of the part; 0 where its sum is 0."""
  total = part_sum(masked.masked_sum(factor, pool.mask, axis=1), pool)
  scale = jnp.where(total > 0, part_size(pool) / jnp.where(total > 0, total, 1), 0)
  return jnp.where(pool.mask, factor * scale[:, None], 1)


DENOMINATORS: Mapping[str, Callable[[Array, Pool], Array]] = {
  'all': _of_all,
  'selected': _of_selected,
}


def entropy(batch: Batch, views: Views) -> Array:
  """H(pi(.|s_t)), exact, nats."""
  del batch
  return views.policy.entropy


def measure(batch: Batch, views: Views) -> Array:
  """`Scores.measure` of the policy, whatever was chosen there."""
  del batch
  return _there(views.policy.measure, 'measure', 'a measure of the policy: set config.measure')


def surprisal(batch: Batch, views: Views) -> Array:
  """-log behaviour(a_t|s_t), nats: the entropy's estimate from one sample."""
  del views
  return -batch.logp


def covariance(batch: Batch, views: Views) -> Array:
  """(A_t - mean A)(log pi_t - mean log pi), means over the response tokens of the whole batch.

  To first order, what a step on the token changes the entropy by, up to its sign. Needs an
  advantage transform before it. [Cui et al. 2025]
  """
  mask = batch.mask
  advantage, logp = masked.clean(batch.advantage, mask), masked.clean(views.policy.logp, mask)
  centred = advantage - masked.masked_mean(advantage, mask)
  return centred * (logp - masked.masked_mean(logp, mask))


def entropy_change(batch: Batch, views: Views) -> Array:
  """|A_t (pi / behaviour)(1 - pi)(log pi + H)|, pi = pi(a_t|s_t), H its exact entropy.

  The size of the change of H by a step on the token. Needs an advantage transform before it.
  [STEER]
  """
  mask = batch.mask
  logp, state = masked.clean(views.policy.logp, mask), masked.clean(views.policy.entropy, mask)
  log_ratio = logp - masked.clean(batch.logp, mask)
  ratio = jnp.exp(bounded(log_ratio))
  advantage = masked.clean(batch.advantage, mask)
  return jnp.abs(advantage * ratio * -jnp.expm1(logp) * (logp + state))


def advantage(batch: Batch, views: Views) -> Array:
  """|A_t|. Needs an advantage transform before it."""
  del views
  return jnp.abs(batch.advantage)


def excess_loss(batch: Batch, views: Views) -> Array:
  """log ref(a_t|s_t) - log pi(a_t|s_t), nats: how much more the policy loses than the reference.

  [Lin et al. 2024, Rho-1]
  """
  del batch
  seen = "a reference view: set config.reference='start'"
  reference = views.reference
  logp = _there(None if reference is None else reference.logp, 'excess_loss', seen)
  return logp - views.policy.logp


def saliency(batch: Batch, views: Views) -> Array:
  """`Views.saliency`, how much the model attends to the token or depends on it."""
  del batch
  return _there(views.saliency, 'saliency', 'a saliency view: set config.saliency')


def lexicon(batch: Batch, views: Views, *, match: Callable[[Array], Array]) -> Array:
  """1 on the tokens of every occurrence of a word of a lexicon in the response, else 0.

  `match` [B, T] ids -> [B, T] bool, see `lm.lexicon`; ids outside the mask are shown as -1.
  """
  del views
  return match(jnp.where(batch.mask, batch.tokens, -1)).astype(jnp.float32)


ESTIMATES: Mapping[str, Callable[..., Array]] = {
  'entropy': entropy,
  'measure': measure,
  'surprisal': surprisal,
  'covariance': covariance,
  'entropy_change': entropy_change,
  'advantage': advantage,
  'excess_loss': excess_loss,
  'saliency': saliency,
  'lexicon': lexicon,
}


def _there(values: Array | None, name: str, needs: str) -> Array:
  if values is None:
    raise ValueError(f'the importance estimate {name!r} needs {needs}')
  return values
