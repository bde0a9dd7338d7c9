"""Controllers of alpha, beta and the sampler: constants, schedules, dual ascent, feedback.

A controller is a pair of pure functions (see `types.Controller`); all numbers are float32 scalars.
Entropies and KLs are in nats, coefficients in reward units per nat; the sampler's temperature has
no unit. What a controller observes is a number of the step's metrics, by name: `entropy`,
`entropy_mc`, `kl`, `reward`, `success`, `solved`, `off_policy`, `measure`, ... A number that is not
finite moves nothing but the count, and no value leaves its box.

The learned ones (`duals`) are gradient ascent on the dual of a constrained problem, max E[R] such
that H >= target (`dual_entropy`) or KL <= target (`dual_kl`). The multiplier is the coefficient and
its dual gradient the violation, so a coefficient rises while the constraint is violated and falls
while it is slack; the step is taken on its logarithm, which keeps it positive and makes the step
relative. `schedules` look at the step's number only, `feedback` are rules that others have used,
and `wrappers` put something around any of them.

What is held fixed. The kappa of the Bellman operator is the learned one: values, priors and targets
of a step are all computed with the coefficients as they were before it, losses stop their gradient,
and the controller then moves them with the policy as the update left it. So targets move with the
temperature, but only between steps, and a value head or a target network, which remembers values
of an older temperature, has to follow; the logits' own log-sum-exp, in nats, rescales at once.

What can be asked for. With prior ref, dKL(pi*||ref)/dbeta = -Var_{pi*}(R)/beta^3: every KL target
in (0, -log ref(argmax R)) has exactly one beta, and any other none; then beta runs to a bound. For
a binary reward that succeeds with probability p under ref the limit is log(1/p), another one for
each prompt: `dual_kl_per_prompt` asks of each prompt what it can give. With a uniform prior
dH/dalpha = +Var_{pi*}(R)/alpha^3, so again one alpha for each reachable entropy. Targets
carried over from elsewhere, -|A| [Haarnoja et al. 2018] from continuous actions or 0.98 log|A|
from small discrete sets, lie outside what a language model can or should reach: alpha runs away,
to nothing or for ever upwards. Hence the bounds are not optional.
"""

from collections.abc import Callable, Mapping

from maxent_lm.temperature.duals import (
  dual,
  dual_entropy,
  dual_kl,
  dual_kl_per_prompt,
  kl_limits,
  raw_dual,
)
from maxent_lm.temperature.feedback import (
  adaptive_kl,
  band,
  bang_bang,
  hysteresis,
  log_ratio,
  log_ratio_to_start,
  pi,
  raise_when_stuck,
  step,
)
from maxent_lm.temperature.schedules import SCHEDULES, fixed, named_schedule, scheduled, stages
from maxent_lm.temperature.wrappers import lift, liftable, moving_average
from maxent_lm.types import Controller

CONTROLLERS: Mapping[str, Callable[..., Controller]] = {
  'fixed': fixed,
  'schedule': named_schedule,
  'stages': stages,
  'target_entropy': dual_entropy,
  'target_kl': dual_kl,
  'target_kl_per_prompt': dual_kl_per_prompt,
  'dual': dual,
  'raw_dual': raw_dual,
  'step': step,
  'band': band,
  'pi': pi,
  'adaptive_kl': adaptive_kl,
  'raise_when_stuck': raise_when_stuck,
  'hysteresis': hysteresis,
  'bang_bang': bang_bang,
  'log_ratio': log_ratio,
  'log_ratio_to_start': log_ratio_to_start,
}

__all__ = [
  'CONTROLLERS',
  'SCHEDULES',
  'adaptive_kl',
  'band',
  'bang_bang',
  'dual',
  'dual_entropy',
  'dual_kl',
  'dual_kl_per_prompt',
  'fixed',
  'hysteresis',
  'kl_limits',
  'lift',
  'liftable',
  'log_ratio',
  'log_ratio_to_start',
  'moving_average',
  'named_schedule',
  'pi',
  'raise_when_stuck',
  'raw_dual',
  'scheduled',
  'stages',
  'step',
]
