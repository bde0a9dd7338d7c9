"""How one plays: what is drawn from in a world, given the policy and what has just happened.

Shapes: B rows, V vocabulary. As with any behaviour the policy that the objectives speak of is
softmax(logits); those that are exact on every path learn from all of these alike.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.sampling.policies import Behaviour
from maxent_lm.types import Array

# ([B, V] logits, [B] last action or START, [B] what is seen) -> [B, V] log-probabilities.
Manner = Callable[[Array, Array, Array], Array]


def plain(behaviour: Behaviour) -> Manner:
  """Draws as `behaviour` does, whatever happened."""
  return lambda logits, action, seen: behaviour.log_probs(logits)


def sweeping(*, moves: Sequence[int], silent: Sequence[int], blank: int, first: int) -> Manner:
  """Sweeps a tape from end to end: the policy, but it may not turn on the way, and must at blanks.

  The behaviour is softmax(logits) among the actions that move like the last one, and at a blank the
  silent action of the opposite move. So a policy that would do better by going back sees what
  that is like, however unlikely it finds it: exploration that stays with a choice for long, as in
  [Dabney et al. 2021], and here until the tape ends.

  Args:
    moves: [V] the move of every action: 2 k and 2 k + 1 are opposite; -1 for other tokens.
    silent: the action that only moves, for every move.
    blank: what is seen beside the tape.
    first: the move before there is a last action.
  """
  of_token, turned = jnp.asarray(moves), jnp.asarray(np.asarray(silent)[np.arange(len(silent)) ^ 1])

  def log_probs(logits: Array, action: Array, seen: Array) -> Array:
    going = jnp.where(of_token[action] < 0, first, of_token[action])
    onward = of_token[None, :] == going[:, None]
    back = jnp.arange(logits.shape[-1])[None, :] == turned[going][:, None]
    allowed = jnp.where((seen == blank)[:, None], back, onward)
    return jax.nn.log_softmax(jnp.where(allowed, logits, -jnp.inf))

  return log_probs
