"""Objectives: pure losses of (views, batch, temperature); LOSSES is the only list of them.

Hyper-parameters are keyword-only and bound once: `functools.partial(LOSSES[name], **section)`.
Losses return [B, T] values that are 0 outside the mask; `batch.weight` and the reduction to one
number are applied by the caller, once.
"""

from collections.abc import Callable, Mapping

from maxent_lm.algorithms.balance import mirror_descent, pairwise, vargrad
from maxent_lm.algorithms.ilql import ilql
from maxent_lm.algorithms.imitation import imitation
from maxent_lm.algorithms.path import oreo, path, pcl, subtb
from maxent_lm.algorithms.policy_gradient import (
  bapo,
  cispo,
  dcpo,
  gmpo,
  grpo,
  gspo,
  kl_cov,
  ppo,
  reinforce,
  sapo,
  vespo,
)
from maxent_lm.algorithms.preference import aot, dpo, kto, orpo
from maxent_lm.algorithms.sac import sac
from maxent_lm.algorithms.soft_q import soft_q
from maxent_lm.algorithms.value_guidance import q_sharp
from maxent_lm.types import Array

LOSSES: Mapping[str, Callable[..., tuple[Array, dict[str, Array]]]] = {
  'soft_q': soft_q,
  'path': path,
  'pcl': pcl,
  'subtb': subtb,
  'oreo': oreo,
  'vargrad': vargrad,
  'pairwise': pairwise,
  'mirror_descent': mirror_descent,
  'sac': sac,
  'ilql': ilql,
  'q_sharp': q_sharp,
  'grpo': grpo,
  'ppo': ppo,
  'reinforce': reinforce,
  'gspo': gspo,
  'cispo': cispo,
  'gmpo': gmpo,
  'sapo': sapo,
  'vespo': vespo,
  'dcpo': dcpo,
  'bapo': bapo,
  'kl_cov': kl_cov,
  'imitation': imitation,
  'dpo': dpo,
  'aot': aot,
  'orpo': orpo,
  'kto': kto,
}

# Losses whose values in a row are a function of that row, so that rows can be judged one by one.
ROWWISE = frozenset(
  {
    *('soft_q', 'path', 'pcl', 'subtb', 'oreo', 'sac', 'ilql', 'q_sharp'),
    *('grpo', 'reinforce', 'gspo', 'cispo', 'gmpo', 'sapo', 'vespo', 'dcpo', 'imitation'),
  }
)
