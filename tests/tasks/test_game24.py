"""Game of 24: grading is exact, all solutions are known, and the published rewards are met."""

import gzip
import itertools
import json
import os
import pathlib

import fuzzing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm.tasks import countdown, expressions
from maxent_lm.tasks.game24 import Game24, expression_of, grade, solutions

needs_data = pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')
NUMBERS = (4, 5, 6, 10)


@pytest.fixture
def folder(tmp_path):
  rows = [{'rank': i, 'numbers': [1, 2, 3, 4 + i % 9]} for i in range(905)]
  (tmp_path / 'puzzles.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  return str(tmp_path)


# The first three are samples of GPT-4 from github.com/princeton-nlp/tree-of-thought-llm (MIT),
# logs/game24/gpt-4_0.7_naive_cot_sample_100_start900_end1000.json, with their rewards.
@pytest.mark.parametrize(
  'response,reward',
  [
    ('10 - 4 = 6 (left: 5 6 6)\n6 * 5 = 30 (left: 6 30)\nAnswer: (10 - 4) * 5 - 6 = 24', 1),
    ('Steps:\n6 - 4 = 2 (left: 2 5 10)\nAnswer: (6 - 4) * 5 = 24', 0),
    ('5 - 4 = 1 (left: 1 4)\n4 * 6 = 24 (left: 24)\nAnswer: (4 * 6) * (5 - (10 - 6)) = 24', 0),
    ('(10-4)*5-6', 1),
    ('ANSWER: (10-4)*5-6\n\n', 1),
    ('Answer: 24 = (10-4)*5-6', 0),
    ('Answer: (10-4)*5-6 = 25', 1),  # what stands behind the sign is not looked at
    ('Answer: 10+4+5+6 = 24', 0),
    ('Answer: 4*6+10-5*2', 0),
    ('Answer: (10-4)*5-6 or so', 0),
    ('Answer: 4/(5-5)+6+10', 0),
    ('Answer: 24', 0),
    ('Answer: None', 0),
    ('Answer: __import__("os")', 0),
    ('Answer: ' + '(' * 10**5, 0),
    ('', 0),
  ],
)
def test_grade(response, reward):
  assert grade(NUMBERS, response) == reward


@fuzzing.fuzzed(300)
@given(st.text(max_size=60) | st.text('0123456789+-*/()= \n', max_size=60))
def test_any_text_is_graded(text):
  assert grade(NUMBERS, text) in (0, 1) and isinstance(expression_of(text), str)


def brute_force(numbers):
  """Canonical forms of all expressions in parentheses that equal 24."""
  found = set()
  shapes = '(({}{}{}){}{}){}{}', '({}{}({}{}{})){}{}', '({}{}{}){}({}{}{})', '{}{}(({}{}{}){}{})'
  for a, b, c, d in set(itertools.permutations(numbers)):
    for x, y, z in itertools.product('+-*/', repeat=3):
      for shape in (*shapes, '{}{}({}{}({}{}{}))'):
        found.add(expressions.analyse(shape.format(a, x, b, y, c, z, d)))
  return {analysis.key for analysis in found if analysis.value == 24}


@pytest.mark.parametrize('numbers', [(1, 1, 4, 6), (4, 5, 6, 10), (3, 3, 8, 8), (1, 1, 1, 1)])
def test_solutions_are_all_there_are(numbers):
  assert set(solutions(numbers)) == brute_force(numbers)
  assert all(grade(numbers, text) == 1 for text in solutions(numbers))


def test_solutions_of_distinct_numbers_are_those_of_countdown():
  for numbers in [(4, 5, 6, 10), (1, 2, 7, 13), (2, 3, 5, 12)]:
    assert solutions(numbers) == countdown.solve(numbers).get(24, ())


def test_task(folder):
  train, test = (Game24(data_dir=folder, split=split) for split in ('train', 'test'))
  assert (len(train), len(test)) == (900, 5)
  problem, rng = test[0], np.random.default_rng(0)
  assert problem.id == 'game24/900' and problem.prompt.startswith('Use each of the numbers 1 2 3 4')
  for _ in range(5):
    text = test.demonstration(problem, rng)
    assert test.reward(problem, text, True) == 1 and test.reward(problem, text, False) == 0
    assert test.cluster(problem, text) in solutions(problem.data)
  assert test.modes(problem) == len(solutions((1, 2, 3, 4))) and problem.answer
  assert test.cluster(problem, 'Answer: none') is None


def test_errors(folder):
  with pytest.raises(ValueError, match="no split 'dev'"):
    Game24(data_dir=folder, split='dev')
  path = pathlib.Path(folder) / 'puzzles.jsonl'
  for row, message in [
    ('{"numbers": [1, 2, 3]}', 'line 1 of .* has no four numbers'),
    ('{"numbers": [1, 2, 3, 1000]}', 'numbers outside 1 to 99'),
  ]:
    path.write_text(row)
    with pytest.raises(ValueError, match=message):
      Game24(data_dir=folder, split='train')
  path.write_text('{"numbers": [1, 1, 1, 1]}')
  task = Game24(data_dir=folder, split='train')
  with pytest.raises(ValueError, match='game24/0 has no solution'):
    task.demonstration(task[0], np.random.default_rng(0))
  with pytest.raises(ValueError, match="no puzzles of the split 'test'"):
    Game24(data_dir=folder, split='test')


@needs_data
def test_the_published_rewards():
  path = pathlib.Path(os.environ['MAXENT_LM_DATA']) / 'game24' / 'gpt4_cot_samples.jsonl.gz'
  with gzip.open(path, 'rt', encoding='utf-8') as file:
    rows = [json.loads(line) for line in file]
  pairs = [
    (grade(row['numbers'], sample), reward)
    for row in rows
    for sample, reward in zip(row['samples'], row['rewards'], strict=True)
  ]
  assert len(pairs) == 10_000 and all(ours == theirs for ours, theirs in pairs)
  assert sum(ours for ours, _ in pairs) == 403


@needs_data
def test_the_puzzles():
  folder = os.path.join(os.environ['MAXENT_LM_DATA'], 'game24')
  train, test = (Game24(data_dir=folder, split=split) for split in ('train', 'test'))
  assert (len(train), len(test)) == (1262, 100) and test[0].data == (4, 5, 6, 10)
  assert all(test.modes(test[i]) > 0 for i in range(0, 100, 10))
