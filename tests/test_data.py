import numpy as np
import pytest

from maxent_lm import data
from maxent_lm.lm.tokenizer import character_tokenizer
from maxent_lm.tasks.base import Batched, Problem


def test_bucket_is_the_smallest_multiple_that_fits():
  assert [data.bucket(n, 8) for n in (0, 1, 8, 9, 16)] == [8, 8, 8, 16, 16]


def test_prompts_are_padded_on_the_left_and_the_mask_knows_lengths_not_pad_ids():
  tokens, valid = data.pad_prompts([[0, 5], [7, 0, 9]], multiple=4)
  np.testing.assert_array_equal(tokens, [[0, 0, 0, 5], [0, 7, 0, 9]])
  np.testing.assert_array_equal(valid, [[0, 0, 1, 1], [0, 1, 1, 1]])
  with pytest.raises(ValueError, match='no tokens'):
    data.pad_prompts([[1], []], multiple=4)


def pairs(**changes):
  sequences = data.Sequences(
    prompts=[[5, 6], [7]],
    responses=[[8, 0, 1], [1]],
    logp=[[-0.5, -1.0, -1.5], [-2.0]],
    reward=[0.25, 1.0],
    group=[0, 1],
    cluster=[3, -1],
    bootstrap=[True, False],
  )
  return sequences._replace(**changes)


def test_a_batch_holds_each_number_in_the_column_of_its_token():
  batch = data.make_batch(pairs(), columns=6)
  np.testing.assert_array_equal(batch.tokens, [[5, 6, 8, 0, 1, 0], [7, 1, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.mask, [[0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.logp, [[0, 0, -0.5, -1, -1.5, 0], [0, -2, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.reward, [[0, 0, 0, 0, 0.25, 0], [0, 1, 0, 0, 0, 0]])
  assert batch.bootstrap.tolist() == [True, False]
  assert batch.cluster.tolist() == [3, -1]


def test_a_batch_keeps_a_column_for_the_cut():
  data.make_batch(pairs(), columns=6)
  with pytest.raises(ValueError, match='row 0 has 5 tokens'):
    data.make_batch(pairs(), columns=5)


def test_classes_are_numbered_within_their_group():
  numbers = data.number_classes(['a', 'b', None, 'a', 'b', 'a'], np.array([0, 0, 0, 0, 1, 1]))
  np.testing.assert_array_equal(numbers, [0, 1, -1, 0, 0, 1])


class Echo:
  """Reward 1 if the response repeats the prompt and ended."""

  def reward(self, problem, response, finished):
    return float(finished and response == problem.prompt)

  def cluster(self, problem, response):
    return response or None


def test_grading_sees_the_text_without_its_end():
  tokenizer = character_tokenizer('ab')
  a, b, eos = 3, 4, tokenizer.eos_token_id
  reader = data.Reader(task=Echo(), tokenizer=tokenizer, eos_id=eos, prompt_multiple=4)
  problem = Problem(id='0', prompt='ab', answer='', data=None)
  assert reader.prompts([problem]) == [[a, b]]
  graded = reader.grade(
    [problem] * 3,
    np.array([[a, b, eos], [a, b, a], [eos, eos, eos]]),
    np.array([3, 2, 1]),
    np.array([True, False, True]),
  )
  assert graded.texts == ['ab', 'ab', '']
  assert graded.tokens == [[a, b, eos], [a, b], [eos]]
  assert graded.rewards.tolist() == [1.0, 0.0, 0.0]
  assert graded.classes == ['ab', 'ab', None]


class Half(Echo, Batched):
  """Nothing is known of every other response."""

  def rewards(self, problems, responses, finished):
    graded = map(self.reward, problems, responses, finished)
    return [None if row % 2 else reward for row, reward in enumerate(graded)]


def test_an_unknown_reward_is_no_zero_and_has_no_class():
  tokenizer = character_tokenizer('ab')
  eos = tokenizer.eos_token_id
  reader = data.Reader(task=Half(), tokenizer=tokenizer, eos_id=eos, prompt_multiple=4)
  problem = Problem(id='0', prompt='ab', answer='', data=None)
  tokens = np.array([[3, 4, eos], [3, 4, eos], [3, 3, eos]])
  graded = reader.grade([problem] * 3, tokens, np.full(3, 3), np.full(3, True))
  np.testing.assert_array_equal(graded.rewards, [1.0, np.nan, 0.0])
  assert graded.classes == ['ab', None, 'aa']
  assert graded.tokens == [row.tolist() for row in tokens]


def test_special_tokens_inside_a_response_do_not_vanish():
  tokenizer = character_tokenizer('ab')
  a, b, eos, pad, unknown = 3, 4, tokenizer.eos_token_id, tokenizer.pad_token_id, 2
  reader = data.Reader(task=Echo(), tokenizer=tokenizer, eos_id=eos, prompt_multiple=4)
  problem = Problem(id='0', prompt='ab', answer='', data=None)
  tokens = np.array([[pad, a, b, eos], [a, unknown, b, eos], [a, b, pad, eos]])
  graded = reader.grade([problem] * 3, tokens, np.full(3, 4), np.full(3, True))
  assert graded.rewards.tolist() == [0.0, 0.0, 0.0]
