"""Filters of self-training, on responses made by hand, and batches of examples."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm.train.rounds import FILTERS, Example, Examples, Response, chain


def response(problem, reward, kind='a', entropy=0.5, spread=0.0):
  example = Example([1], [2])
  return Response(problem, 'prompt', 'text', example, reward, kind, entropy, spread, False)


MADE = [
  response('p', 0.0, 'a', 0.9, 1.0),
  response('p', 1.0, 'b', 0.1, 1.0),
  response('p', 1.0, 'c', 0.2, 1.0),
  response('p', 1.0, 'b', 0.3, 1.0),
  response('q', 0.5, None, 0.4, 0.2),
  response('q', 0.2, None, 0.6, 0.2),
  response('q', 0.5, 'a', 0.8, 0.2),
]
KEPT = {
  'correct': ({}, [1, 2, 3]),
  'threshold': ({'reward': 0.5}, [1, 2, 3, 4, 6]),
  'best': ({}, [1, 4]),
  'distinct': ({}, [0, 1, 2, 4, 5, 6]),
  'balanced': ({'count': 2}, [0, 1, 4, 5]),
  'entropy_band': ({'low': 0.2, 'high': 0.6, 'scale': 'nats'}, [2, 3, 4, 5]),
  'semantic_entropy_band': ({'low': 0.1, 'high': 0.5}, [4, 5, 6]),
}
BOUND = {name: functools.partial(FILTERS[name], **options) for name, (options, _) in KEPT.items()}
each = pytest.mark.parametrize('name', KEPT)


@each
def test_what_is_kept(name):
  assert BOUND[name](MADE) == [MADE[i] for i in KEPT[name][1]]


def test_every_filter_has_its_case():
  assert set(KEPT) == set(FILTERS)


def test_quantiles_are_those_of_the_given_responses():
  keep = functools.partial(FILTERS['entropy_band'], scale='quantile')
  assert keep(MADE, low=0.0, high=1.0) == MADE
  assert [x.entropy for x in keep(MADE, low=0.5, high=1.0)] == [0.9, 0.4, 0.6, 0.8]
  assert keep([], low=0.2, high=0.4) == []
  with pytest.raises(ValueError, match="scale='bits' is unknown; choose one of nats, quantile"):
    FILTERS['entropy_band'](MADE, low=0, high=1, scale='bits')


rewards = st.lists(
  st.tuples(st.sampled_from('pqr'), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from('ab')),
  max_size=12,
)


@each
@settings(max_examples=25, deadline=None, derandomize=True)
@given(rows=rewards)
def test_filters_keep_some_in_order_and_twice_is_once(name, rows):
  made = [response(*row, entropy=i / 12) for i, row in enumerate(rows)]
  kept = BOUND[name](made)
  places = [made.index(x) for x in kept]
  assert places == sorted(set(places))
  assert BOUND[name](kept) == kept


@each
def test_problems_do_not_know_of_each_other(name):
  """Filtering problem by problem keeps the same (quantiles are the exception, by name)."""
  apart = [BOUND[name]([x for x in MADE if x.problem == p]) for p in 'pq']
  assert apart[0] + apart[1] == BOUND[name](MADE)


def test_a_chain_applies_one_to_what_another_kept():
  keep = chain(BOUND['correct'], BOUND['distinct'], BOUND['balanced'])
  assert keep(MADE) == [MADE[1], MADE[2]]
  assert chain(BOUND['balanced'], BOUND['correct'])(MADE) == [MADE[1]]
  assert chain()(MADE) == MADE


def test_examples_come_once_an_epoch_in_one_shape():
  examples = [Example([1] * n, [2, 3, n]) for n in range(1, 7)]
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  collect = Examples(examples, 3, 4, 4, 0, sharding)
  batches = [collect(step, None).batch for step in range(2)]
  assert {batch.tokens.shape for batch in batches} == {(3, 8 + 4 + 1)}
  lengths = [int(n) for batch in batches for n in np.argmax(batch.mask, axis=1)]
  assert sorted(lengths) == [1, 2, 3, 4, 5, 6]
  assert all(batch.mask.sum() == 9 for batch in batches)
