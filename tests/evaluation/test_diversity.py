import json
import pathlib

import numpy as np
import pytest

from maxent_lm.evaluation.diversity import distinct_n, self_bleu

PUBLISHED = json.loads(
  (pathlib.Path(__file__).parents[1] / 'reference' / 'self_bleu.json').read_text()
)['cases']


def test_distinct_n_by_hand():
  texts = [list('abab'), list('abc')]
  assert distinct_n(texts, n=1) == 3 / 7
  assert distinct_n(texts, n=2) == 3 / 5  # ab ba ab, ab bc
  assert distinct_n(texts, n=3) == 1
  assert distinct_n(texts, n=5) is None and distinct_n([], n=1) is None


@pytest.mark.parametrize('case', PUBLISHED, ids=lambda case: case['case'])
def test_self_bleu_of_the_published_code(case):
  texts = [text.split() for text in case['inputs']['responses']]
  assert self_bleu(texts, **case['kwargs']) == pytest.approx(case['outputs']['mean'], abs=1e-12)


def test_self_bleu_laws():
  """Order and names do not count; equal responses have 1, strangers 0."""
  rng = np.random.default_rng(0)
  texts = [rng.integers(0, 5, rng.integers(4, 12)).tolist() for _ in range(8)]
  found = self_bleu(texts)
  assert self_bleu([texts[i] for i in rng.permutation(8)]) == pytest.approx(found, abs=1e-12)
  assert self_bleu([[f'<{n}>' for n in text] for text in texts]) == pytest.approx(found, abs=1e-12)
  assert self_bleu([texts[0]] * 3) == pytest.approx(1)
  assert self_bleu([['a'] * 5, ['b'] * 5, ['c'] * 5]) == 0
  assert self_bleu([[], ['a'], []]) == 0
  assert self_bleu([texts[0]]) is None


def test_more_of_the_same_is_less_diverse():
  """Replacing a response by a copy of another one never makes them more different."""
  rng = np.random.default_rng(1)
  texts = [rng.integers(0, 50, 8).tolist() for _ in range(6)]
  for copies in range(1, 6):
    more, less = texts[: 6 - copies + 1], texts[: 6 - copies]
    one = more + [texts[0]] * (6 - len(more))
    two = less + [texts[0]] * (6 - len(less))
    assert self_bleu(two) >= self_bleu(one)
    for n in (1, 2):
      assert distinct_n(two, n=n) <= distinct_n(one, n=n)


def test_an_ngram_counts_as_often_as_in_the_response_that_has_most():
  """Against the definition: all pairs, without the trick of the two largest counts."""
  rng = np.random.default_rng(2)
  texts = [rng.integers(0, 2, 6).tolist() for _ in range(5)]
  precision = []
  for row, text in enumerate(texts):
    others = texts[:row] + texts[row + 1 :]
    matched = sum(min(text.count(t), max(o.count(t) for o in others)) for t in set(text))
    precision.append(matched / 6)
  assert self_bleu(texts, order=1) == pytest.approx(np.mean(precision))
