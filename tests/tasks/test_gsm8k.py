"""GSM8K on a file of three problems; the whole of it where MAXENT_LM_DATA says where it is."""

import json
import os

import numpy as np
import pytest

from maxent_lm.tasks.gsm8k import GSM8K

# The second row is row 1 of train.jsonl, github.com/openai/grade-school-math (MIT).
ROWS = [
  {'question': 'What is 2+2?', 'answer': 'It is 2+2=<<2+2=4>>4.\n#### 4'},
  {
    'question': 'Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of '
    'babysitting. How much did she earn?',
    'answer': 'Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.\nWorking 50 minutes, she earned '
    '0.2 x 50 = $<<0.2*50=10>>10.\n#### 10',
  },
  {'question': 'A thousand and 18?', 'answer': '#### 1,018'},
]
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'train.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
  return str(tmp_path)


@pytest.fixture
def task(folder):
  return GSM8K(data_dir=folder, split='train', cache_dir=folder + '/cache')


def test_a_problem(task):
  problem = task[1]
  assert problem.prompt == f'Question: {ROWS[1]["question"]}\nAnswer:'
  assert problem.id == 'gsm8k/train/1' and problem.answer == '10' and hash(problem)
  assert task.demonstration(problem, RNG) == (
    ' Weng earns 12/60 = $0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $10.\n#### 10'
  )


def test_demonstrations_are_right(task):
  for i in range(3):
    assert task.reward(task[i], task.demonstration(task[i], RNG), True) == 1
    assert task.modes(task[i]) == 1


def test_reward_and_cluster(task):
  problem = task[2]
  for response in ['#### 1018', 'so A: $1,018.00', ' 1000 + 18 = 1018', r'\boxed{1018}']:
    assert task.reward(problem, response, True) == 1 and task.cluster(problem, response) == '1018'
  for response, cluster in [
    ('#### 1,019', '1019'),
    ('#### 1/3', '1/3'),
    ('none', None),
    ('1/0', '1/0'),
    ('#### 1000 + 18', '1018'),  # not worked out
  ]:
    assert task.reward(problem, response, True) == 0 and task.cluster(problem, response) == cluster


def test_max_problems_keeps_the_first(folder, task):
  few = GSM8K(data_dir=folder, split='train', cache_dir=folder + '/cache', max_problems=2)
  assert len(task) == 3 and len(few) == 2 and few[1] == task[1]
  assert (
    len(GSM8K(data_dir=folder, split='train', cache_dir=folder + '/cache', max_problems=9)) == 3
  )
  with pytest.raises(IndexError, match='problems 0 to 1, not 2'):
    few[2]


def test_errors(folder, tmp_path):
  with pytest.raises(ValueError, match="has no split 'dev': choose 'train' or 'test'"):
    GSM8K(data_dir=folder, split='dev')
  with pytest.raises(
    FileNotFoundError, match="/nowhere' does not exist: set data_dir to the folder"
  ):
    GSM8K(data_dir=folder + '/nowhere', split='train')
  with pytest.raises(FileNotFoundError, match=r'neither test.jsonl nor test.jsonl.gz'):
    GSM8K(data_dir=folder, split='test')
  (tmp_path / 'test.jsonl').write_text('{"question": "x", "answer": "#### 1"}\n{"question": "y"}\n')
  with pytest.raises(ValueError, match=r"line 2 of '.*test.jsonl' has no field 'answer'"):
    GSM8K(data_dir=folder, split='test', cache_dir=folder)
  (tmp_path / 'test.jsonl').write_text('{"question": "x", "answer": "#### none"}\n')
  with pytest.raises(ValueError, match='no row of .* has a gold answer'):
    GSM8K(data_dir=folder, split='test', cache_dir=folder)


@pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')
@pytest.mark.parametrize('split,count', [('train', 7473), ('test', 1319)])  # Cobbe et al. 2021
def test_the_whole_of_gsm8k(tmp_path, split, count):
  folder = os.path.join(os.environ['MAXENT_LM_DATA'], 'gsm8k')
  task = GSM8K(data_dir=folder, split=split, cache_dir=str(tmp_path))
  assert len(task) == count
  for i in range(count):
    text = task.demonstration(task[i], RNG)
    assert '<<' not in text and task.reward(task[i], text, True) == 1
