"""Votes: who wins, how sure, and what ties and abstentions do."""

import numpy as np
import pytest

from maxent_lm.sampling.vote import Vote, best_of_n, majority_vote, weighted_vote

ANSWERS = ['b', None, 'a', 'b', 'c', None, 'a', 'b']


def test_the_majority_is_out_of_all_responses():
  assert majority_vote(ANSWERS) == Vote(answer='b', share=3 / 8, tied=False, voters=6)


def test_of_equals_the_first_wins_and_says_so():
  assert majority_vote(['y', 'x', 'x', 'y', 'z']) == Vote('y', 2 / 5, True, 5)
  assert majority_vote(['x', 'y', 'x', 'y', 'z']) == Vote('x', 2 / 5, True, 5)


@pytest.mark.parametrize('answers', [[], [None, None]])
def test_nobody_votes(answers):
  assert majority_vote(answers) == Vote(None, 0.0, False, 0)


def test_one_confident_response_outweighs_two():
  assert weighted_vote(['x', 'x', 'y'], [1, 1.5, 3]).answer == 'y'
  assert weighted_vote(['x', 'x', 'y'], [1, 1.5, 3]).share == 3 / 5.5
  assert weighted_vote([None, 'x'], [3, 1]) == Vote('x', 1 / 4, False, 1)


def test_equal_weights_are_a_majority_and_order_matters_only_in_ties():
  rng = np.random.default_rng(0)
  for _ in range(50):
    answers = [str(a) for a in rng.integers(0, 4, 9)]
    vote = majority_vote(answers)
    assert weighted_vote(answers, np.full(9, 0.25)) == vote
    shuffled = majority_vote([answers[i] for i in rng.permutation(9)])
    assert (shuffled.share, shuffled.tied) == (vote.share, vote.tied)
    assert vote.tied or shuffled.answer == vote.answer


def test_weights_of_zero_decide_nothing():
  assert weighted_vote(['x', 'y'], [0, 0]) == Vote('x', 0.0, True, 2)


@pytest.mark.parametrize('weights', [[1], [1, -1], [1, np.nan], [[1, 1]]])
def test_weights_that_are_none(weights):
  with pytest.raises(ValueError, match='weights'):
    weighted_vote(['x', 'y'], weights)


def test_best_of_n():
  scores = [[0, 2, 2], [np.nan, -3, -4]]
  np.testing.assert_array_equal(best_of_n(scores), [1, 1])
  with pytest.raises(ValueError, match='no response with a score'):
    best_of_n([[1.0, 2], [np.nan, np.nan]])
