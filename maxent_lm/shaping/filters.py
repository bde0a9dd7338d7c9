"""Filters: rows that are not to be learned from lose their mask, and with it every influence.

A row without a mask counts as empty: later transforms leave it out of their statistics, losses out
of theirs. `token_mean` divides by the tokens that are left; `sequence_sum`, `sequence_mean` and
`constant_length` still divide by all B rows, so that a filtered batch takes a smaller step;
`present_sum` and `present_mean` divide by the rows that are left. R is the sum of a row's rewards.
Shapes: B sequences, T tokens.
"""

import jax
import jax.numpy as jnp

from maxent_lm import masked
from maxent_lm.soft import semantic
from maxent_lm.types import Array, Batch, Views


def mixed_groups(batch: Batch, *, threshold: float) -> Batch:
  """Keeps groups in which some rows are right (R >= `threshold`) and some are not.

  DAPO's dynamic sampling without the resampling. [Yu et al. 2025, DAPO]
  """
  present, right = batch.mask.any(axis=1), _right(batch, threshold)
  rows, successes = (
    jax.ops.segment_sum(each.astype(jnp.int32), batch.group, len(present))[batch.group]
    for each in (present, right)
  )
  return _keep(batch, (successes > 0) & (successes < rows))


def drop_truncated(batch: Batch, *, stop: int | None) -> Batch:
  """Keeps rows whose last response token is `stop`, the id of the token that ends a response.

  The batch does not say which rows were cut: `bootstrap` is False on all of them unless values at
  the cut are asked for, so the tokens decide. [Yu et al. 2025, DAPO's overlong filtering]

  Raises:
    ValueError: `stop` is not given.
  """
  if stop is None:
    raise ValueError(
      'drop_truncated: needs the id of the stop token; set config.drop_truncated.stop'
    )
  ended = masked.last_action(batch.mask) & (batch.tokens == stop)
  return _keep(batch, ended.any(axis=1))


def positive_rows(batch: Batch, *, threshold: float) -> Batch:
  """Keeps rows with R >= `threshold`. [Dong et al. 2023, RAFT]"""
  return _keep(batch, _right(batch, threshold))


def entropy_band(batch: Batch, views: Views, *, low: float, high: float) -> Batch:
  """Keeps rows whose mean token entropy, nats, is in [low, high]."""
  entropy = masked.masked_mean(views.policy.entropy, batch.mask, axis=1)
  return _keep(batch, (entropy >= low) & (entropy <= high))


def semantic_entropy_band(batch: Batch, *, low: float, high: float) -> Batch:
  """Keeps groups whose discrete semantic entropy, nats, is in [low, high].

  A row of cluster -1 is a class of its own.
  """
  classes = semantic.batch_classes(batch, missing='own')
  entropy = semantic.discrete(classes)
  return _keep(batch, (entropy >= low) & (entropy <= high))


def _right(batch: Batch, threshold: float) -> Array:
  """[B] bool: rows with a response and R >= threshold."""
  total = masked.masked_sum(batch.reward, batch.mask, axis=1)
  return batch.mask.any(axis=1) & (total >= threshold)


def _keep(batch: Batch, rows: Array) -> Batch:
  return batch._replace(mask=batch.mask & rows[:, None])
