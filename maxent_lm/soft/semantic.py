"""Semantic entropy: the uncertainty over what responses mean, not over how they are worded.

    p(c) = sum of p(y) over the responses y of class c,        H = -sum_c p(c) log p(c)   [nats]

Responses to one prompt are a group; a class is a cluster within its group. Everything is estimated
from the rows of a batch and comes back as one [B] array, the same for all rows of a group, and does
not depend on the order of the rows or the names of groups and classes. [Kuhn et al. 2023; Farquhar
et al. 2024]

| estimate       | p(c) from                        | as the number of samples grows           |
|----------------|----------------------------------|------------------------------------------|
| `discrete`     | counts / n                       | exact; with n samples low by (C - 1)/2n  |
| `miller_madow` | the same, + (C - 1)/2n           | exact; C counts the classes seen         |
| `chao_shen`    | the same, corrected for unseen   | exact                                    |
| `rao`          | sum of exp(l) over the samples   | NOT exact: p(y)^2, see there             |
| `rao` of       | sum of exp(l) over the different | exact if l is log p(y) of the whole      |
| `distinct`     | sequences                        | sequence                                 |
| `kuhn`         | unnormalised                     | ranks prompts, nothing else              |

Shapes: B rows; arrays may be numpy's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from maxent_lm.types import Array, Batch

MISSING = ('own', 'shared', 'dropped')


class Classes(NamedTuple):
  """The classes of B rows.

  `number` [B] int32 in [0, B): rows share it iff they share group and class; `group` [B] int32;
  `counted` [B] bool: the rows that count.
  """

  number: Array
  group: Array
  counted: Array


def classes(cluster: ArrayLike, group: ArrayLike, valid: ArrayLike, *, missing: str) -> Classes:
  """Classes from clusters within groups, [B] each; rows that are not `valid` do not count.

  `missing` says what a row without a class (cluster < 0) is:
    own: a class of its own, as EMPO has it; H then grows with n without bound.
    shared: all such rows of a group are one class, 'no answer', as TTRL has it.
    dropped: it does not count, and H is that of the answers given that there is one.

  Raises:
    ValueError: `missing` is none of these.
  """
  if missing not in MISSING:
    raise ValueError(f'missing={missing!r} is unknown; choose one of {", ".join(MISSING)}')
  cluster, group, counted = jnp.asarray(cluster), jnp.asarray(group), jnp.asarray(valid, bool)
  nameless = cluster < 0
  alone = jnp.where(nameless & (missing == 'own'), jnp.arange(len(cluster)), 0)
  if missing == 'dropped':
    counted = counted & ~nameless
  return Classes(_numbered(group, jnp.where(nameless, -1, cluster), alone), group, counted)


def batch_classes(batch: Batch, *, missing: str) -> Classes:
  """`classes` of a batch: rows with a response token count."""
  return classes(batch.cluster, batch.group, batch.mask.any(axis=1), missing=missing)


def distinct(these: Classes, sequence: Array) -> Classes:
  """The same classes with only the first of the counted rows that are the same response.

  `sequence` [B] int: rows of a group that share it are the same tokens. Needed before weights
  exp(l): a response that was sampled twice is still one response.
  """
  place = jnp.arange(len(these.group))
  same = _numbered(these.group, jnp.asarray(sequence), these.counted)
  first = jax.ops.segment_min(place, same, num_segments=len(place))[same] == place
  return these._replace(counted=these.counted & first)


def counts(these: Classes) -> Array:
  """[B] counted rows in the class of each row."""
  return _class_sum(these, these.counted.astype(float))


def sizes(these: Classes) -> Array:
  """[B] counted rows in the group of each row."""
  return _group_sum(these, these.counted.astype(float))


def observed(these: Classes) -> Array:
  """[B] number of classes with a counted row in the group of each row."""
  return over_classes(these, jnp.ones(len(these.group)))


def frequency(these: Classes) -> Array:
  """[B] counts / sizes: the share of a row's class in its group; 0 for rows that do not count."""
  return jnp.where(these.counted, counts(these) / jnp.maximum(sizes(these), 1), 0)


def masses(these: Classes, log_weight: Array) -> Array:
  """[B] sum of exp(log_weight) over a row's class / that over its group; 0 if it does not count.

  With log_weight = log pi - log behaviour these are importance-weighted frequencies.
  """
  rows = len(these.group)
  log_weight = jnp.where(these.counted, log_weight, -jnp.inf)
  top = jax.ops.segment_max(log_weight, these.group, num_segments=rows)[these.group]
  weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0))
  total = _group_sum(these, weight)
  return jnp.where(these.counted, _class_sum(these, weight) / jnp.where(total > 0, total, 1), 0)


def over_classes(these: Classes, values: Array) -> Array:
  """[B] sum over the classes of a row's group of `values` [B], which are the same in a class."""
  share = jnp.where(these.counted, values / jnp.maximum(counts(these), 1), 0)
  return _group_sum(these, share)


def mean(these: Classes, values: Array) -> Array:
  """Mean over the groups with a counted row of `values` [B], which are the same in a group."""
  share = jnp.where(these.counted, 1 / jnp.maximum(sizes(these), 1), 0)
  total = jnp.sum(jnp.where(these.counted, share * values, 0))
  return total / jnp.maximum(jnp.sum(share), 1)


def discrete(these: Classes) -> Array:
  """[B] H of the frequencies: at most log n, and low by about (C - 1)/2n on average, nats."""
  return _entropy(these, frequency(these))


def miller_madow(these: Classes) -> Array:
  """[B] H of the frequencies + (C - 1)/2n, with the C classes that were seen. [Miller 1955]"""
  return discrete(these) + jnp.maximum(observed(these) - 1, 0) / (2 * jnp.maximum(sizes(these), 1))


def chao_shen(these: Classes) -> Array:
  """[B] H with the classes that were not seen estimated from those seen once, nats.

      coverage = 1 - f1 / n,  q = coverage p,  H = -sum_c q log q / (1 - (1 - q)^n)

  f1 is the number of classes with one row, n - 1 where that is all of them. [Chao & Shen 2003]
  """
  n = jnp.maximum(sizes(these), 1)
  single = over_classes(these, (counts(these) == 1).astype(float))
  q = (1 - jnp.where(single == n, n - 1, single) / n) * frequency(these)
  q = jnp.where(these.counted, q, 1)
  return over_classes(these, -q * jnp.log(q) / (1 - (1 - q) ** n))


def rao(these: Classes, logp: Array) -> Array:
  """[B] H of p(c) = sum_c exp(l) / sum exp(l) over the samples, l = `logp` [B], nats.

  l is the log-probability of the sequence, or its mean over the tokens: the caller chooses.
  Samples come with probability p(y) and are weighed by it again, so that p(c) tends to the sum of
  p(y)^2, however many there are; apply `distinct` first to count a response once.
  """
  return _entropy(these, masses(these, logp))


def kuhn(these: Classes, logp: Array, *, shift: float | Array) -> Array:
  """[B] -(1/C) sum_c (log sum_{y in c} exp(l) - shift): the score of the 2023 code, shift = 5.

  Every class weighs the same and nothing is normalised: it orders prompts and is no entropy. With
  the group's log sum exp(l) in place of `shift` it is the Monte Carlo form of the 2024 code.
  """
  rows = len(these.group)
  logp = jnp.where(these.counted, logp, -jnp.inf)
  top = jax.ops.segment_max(logp, these.number, num_segments=rows)[these.number]
  top = jnp.where(jnp.isfinite(top), top, 0)
  total = _class_sum(these, jnp.exp(logp - top))
  log_sum = jnp.where(these.counted, top + jnp.log(jnp.where(total > 0, total, 1)), 0)
  return -over_classes(these, log_sum - shift) / jnp.maximum(observed(these), 1)


def standard_error(these: Classes) -> Array:
  """[B] sqrt((sum_c p log^2 p - H^2) / n), of `discrete` by the delta method, nats.

  0 where all classes seen are equally frequent, whatever n: there the first order vanishes (the
  jackknife gives 0 there too). It is the spread of one group's H; that of a mean over groups is
  better taken from the groups.
  """
  p = frequency(these)
  spread = over_classes(these, p * (_log(p) + discrete(these)) ** 2)
  return jnp.sqrt(spread / jnp.maximum(sizes(these), 1))


def _entropy(these: Classes, mass: Array) -> Array:
  return over_classes(these, -mass * _log(mass))


def _log(mass: Array) -> Array:
  return jnp.log(jnp.where(mass > 0, mass, 1))


def _class_sum(these: Classes, values: Array) -> Array:
  rows = len(these.group)
  return jax.ops.segment_sum(values, these.number, num_segments=rows)[these.number]


def _group_sum(these: Classes, values: Array) -> Array:
  rows = len(these.group)
  return jax.ops.segment_sum(values, these.group, num_segments=rows)[these.group]


def _numbered(*keys: Array) -> Array:
  """[B] int32 numbers in [0, B) that rows share iff they agree in all keys."""
  order = jnp.lexsort(keys)
  new = jnp.zeros(len(order) - 1, bool)
  for key in keys:
    ranked = key[order]
    new |= ranked[1:] != ranked[:-1]
  numbers = jnp.pad(jnp.cumsum(new, dtype=jnp.int32), (1, 0))
  return jnp.zeros(len(order), jnp.int32).at[order].set(numbers)
