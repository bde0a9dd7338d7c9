"""Every mean over choices of k is that of the enumerated choices."""

import itertools
import json
import math
import pathlib
from collections import Counter

import numpy as np
import pytest

from maxent_lm.evaluation import at_k
from maxent_lm.evaluation.at_k import coverage, pass_at_k
from maxent_lm.sampling.vote import best_of_n, majority_vote

PUBLISHED = pathlib.Path(__file__).parents[1] / 'reference' / 'pass_at_k.json'


@pytest.mark.parametrize('k', [1, 2, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(k):
  for right in range(6):
    samples = [True] * right + [False] * (5 - right)
    exact = np.mean([any(chosen) for chosen in itertools.combinations(samples, k)])
    np.testing.assert_allclose(pass_at_k(np.array([right]), samples=5, k=k), [exact], atol=1e-12)


@pytest.mark.parametrize(
  'case', json.loads(PUBLISHED.read_text())['cases'], ids=lambda c: c['case']
)
def test_pass_at_k_of_the_published_code(case):
  samples, correct = (np.array(case['inputs'][name]) for name in ('num_samples', 'num_correct'))
  ours = pass_at_k(correct, samples=samples, k=case['kwargs']['k'])
  np.testing.assert_allclose(ours, case['outputs']['per_problem'], atol=1e-12)


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match='pass@6 cannot be estimated from 5 samples'):
    pass_at_k(np.array([1]), samples=5, k=6)


def test_coverage_is_relative_to_the_best_possible():
  distinct, modes = np.array([2, 4, 0]), np.array([3, 40, 1])
  np.testing.assert_allclose(coverage(distinct, modes, samples=16), [2 / 3, 4 / 16, 0])


def drawn(seed, size=6):
  """Classes with None among them, and which samples are right: within a class some are."""
  rng = np.random.default_rng(seed)
  classes = [(*'abc', None)[number] for number in rng.integers(0, 4, size)]
  return classes, (rng.random(size) < 0.5) & np.array([name is not None for name in classes])


def counted(classes, right):
  """Samples of each class, and the share of them that is right."""
  counts = Counter(name for name in classes if name is not None)
  good = Counter(name for name, ok in zip(classes, right, strict=True) if ok)
  return list(counts.values()), [good[name] / count for name, count in counts.items()]


@pytest.mark.parametrize('seed', range(12))
def test_majority_at_k_is_the_mean_vote_of_all_orders(seed):
  classes, right = drawn(seed)
  found = at_k.majority_at_k(*counted(classes, right), samples=6, ks=range(1, 7))
  for k in range(1, 7):
    outcomes = []
    for chosen in itertools.permutations(range(6), k):
      answers = [classes[i] for i in chosen]
      winner = majority_vote(answers).answer
      outcomes.append(winner is not None and right[chosen[answers.index(winner)]])
    assert found[k - 1] == pytest.approx(np.mean(outcomes), abs=1e-12)


def test_majority_at_k_laws():
  """One vote is a sample; names do not count; k > n and too many samples are refused."""
  rng = np.random.default_rng(0)
  for _ in range(20):
    counts, right = rng.integers(1, 9, 5), rng.random(5)
    size = int(counts.sum()) + 4
    found = at_k.majority_at_k(counts, right, samples=size, ks=at_k.sizes(size))
    assert found[0] == pytest.approx(np.sum(counts * right) / size)
    order = rng.permutation(5)
    again = at_k.majority_at_k(counts[order], right[order], samples=size, ks=at_k.sizes(size))
    np.testing.assert_allclose(found, again, rtol=1e-12)
    silent = [math.comb(4, k) / math.comb(size, k) for k in (1, 2, 4, 5)]
    answered = at_k.majority_at_k(counts, np.ones(5), samples=size, ks=[1, 2, 4, 5])
    np.testing.assert_allclose(answered, 1 - np.array(silent), rtol=1e-12)
  assert at_k.majority_at_k([], [], samples=3, ks=[1, 3]).tolist() == [0, 0]  # nobody answers
  with pytest.raises(ValueError, match='maj@k needs k in 1..3'):
    at_k.majority_at_k([3], [1.0], samples=3, ks=[4])
  with pytest.raises(ValueError, match='up to 1000 samples'):
    at_k.majority_at_k([1001], [1.0], samples=1001, ks=[1])


def test_a_clear_majority_is_certain_and_a_tie_is_a_coin():
  assert at_k.majority_at_k([60, 40], [1, 0], samples=100, ks=[100]) == pytest.approx(1)
  assert at_k.majority_at_k([50, 50], [1, 0], samples=100, ks=[100]) == pytest.approx(0.5)
  # Three of five: hypergeometric by hand, C(3, 3) + C(3, 2) C(2, 1) of C(5, 3).
  assert at_k.majority_at_k([3, 2], [1, 0], samples=5, ks=[3]) == pytest.approx(7 / 10)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('k', range(1, 7))
def test_distinct_at_k_is_the_mean_over_choices(seed, k):
  classes, right = drawn(seed)
  counts = list(Counter(name for name, ok in zip(classes, right, strict=True) if ok).values())
  found = [
    len({classes[i] for i in chosen if right[i]}) for chosen in itertools.combinations(range(6), k)
  ]
  assert at_k.distinct_at_k(counts, samples=6, k=k) == pytest.approx(np.mean(found), abs=1e-12)


@pytest.mark.parametrize('seed', range(6))
def test_best_at_k_is_the_mean_over_choices(seed):
  """With ties: any one of the equals."""
  rng = np.random.default_rng(seed)
  scores, right = rng.integers(0, 4, 6).astype(float), rng.random(6) < 0.5
  found = at_k.best_at_k(scores, right, ks=range(1, 7))
  for k in range(1, 7):
    outcomes = [
      right[chosen[int(best_of_n(scores[list(chosen)]))]]
      for chosen in map(list, itertools.permutations(range(6), k))
    ]
    assert found[k - 1] == pytest.approx(np.mean(outcomes), abs=1e-12)


def test_best_of_many_is_the_best():
  scores = np.random.default_rng(0).normal(size=300)
  right = np.zeros(300)
  right[scores.argmax()] = 1
  found = at_k.best_at_k(scores, right, ks=[1, 150, 300])
  np.testing.assert_allclose(found, [1 / 300, 0.5, 1], rtol=1e-9)  # it is among the k: k / n
  with pytest.raises(ValueError, match='best of k needs k in 1..300'):
    at_k.best_at_k(scores, right, ks=[301])


def test_sizes():
  assert [at_k.sizes(n) for n in (1, 2, 3, 16, 100)] == [
    [1],
    [1, 2],
    [1, 2, 3],
    [1, 2, 4, 8, 16],
    [1, 2, 4, 8, 16, 32, 64, 100],
  ]


def test_numbers_at_k_grow_to_what_was_seen():
  """distinct@k is concave, as a mean of covers; at n it is the count."""
  found = np.array([at_k.distinct_at_k([1, 2, 5], samples=20, k=k) for k in range(1, 21)])
  assert found[0] == pytest.approx(8 / 20) and found[-1] == 3
  assert (np.diff(found) > -1e-12).all() and (np.diff(found, 2) < 1e-12).all()
  assert math.comb(20, 3) * pass_at_k(np.array([1]), samples=20, k=3)[0] == pytest.approx(
    math.comb(19, 2)
  )
