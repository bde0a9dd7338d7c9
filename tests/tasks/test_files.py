"""Tasks over rows of files: what is read, left out, graded; all of it where MAXENT_LM_DATA is."""

import json
import os

import numpy as np
import pytest

from maxent_lm.tasks import TASKS
from maxent_lm.tasks.answers import extract_choice
from maxent_lm.tasks.aqua_rat import LETTERS, AquaRat
from maxent_lm.tasks.base import Subset
from maxent_lm.tasks.curriculum import Curriculum
from maxent_lm.tasks.files import plain
from maxent_lm.tasks.gsm8k import GSM8K
from maxent_lm.tasks.gsm_hard import GSMHard
from maxent_lm.tasks.jsonl_task import Jsonl
from maxent_lm.tasks.mixture import Mixture
from maxent_lm.tasks.svamp import SVAMP, solution

RNG = np.random.default_rng(0)

# Rows 0 and 679 of SVAMP.json, github.com/arkilpatel/SVAMP (MIT).
SVAMP_ROWS = [
  {
    'ID': 'chal-1',
    'Body': 'Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack',
    'Question': 'How much do you have to pay to buy each pack?',
    'Equation': '( 76.0 - 25.0 )',
    'Answer': 51.0,
    'Type': 'Subtraction',
  },
  {
    'ID': 'chal-680',
    'Body': "Rachel's tree had 4 apples. She picked 2 apples from her tree. Thereafter 3 new "
    'apples grew on the tree.',
    'Question': 'How many apples are there on the tree now?',
    'Equation': '( ( 4.0 - 2.0 ) + 3.0 )',
    'Answer': 1.0,
    'Type': 'Addition',
  },
]
# Row 1 of gsmhardv2.jsonl, github.com/reasoning-machines/pal (Apache-2.0), and two of our own.
GSM_HARD_ROWS = [
  {
    'input': 'A robe takes 2287720 bolts of blue fiber and half that much white fiber.  How many '
    'bolts in total does it take?',
    'target': 3431580.0,
  },
  {'input': 'A tiny part of a million?', 'target': 2.0107e-06},
  {'input': 'Ten thirds?', 'target': 3.3333333333333335},
]
# Row 2 of test.json, github.com/google-deepmind/AQuA (Apache-2.0), with two options of our own.
AQUA_ROWS = [
  {
    'question': 'Find out which of the following values is the multiple of X, if it is divisible '
    'by 9 and 12?',
    'options': ['A)36', 'B)15', 'C)17', 'D)5', 'E)7'],
    'rationale': '9=3*3\n12=3*4\nSo, 36 is the multiple of X\nAnswer is A',
    'correct': 'A',
  }
]


def write(folder, rows, split='test'):
  (folder / f'{split}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return {'data_dir': str(folder), 'cache_dir': str(folder / 'cache'), 'split': split}


def test_svamp(tmp_path):
  task = SVAMP(**write(tmp_path, SVAMP_ROWS))
  assert task[0].prompt == (
    'Question: Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each '
    'pack, How much do you have to pay to buy each pack?\nAnswer:'
  )
  assert task[0].answer == '51' and task[0].id == 'svamp/test/0'
  assert task.demonstration(task[0], RNG) == ' 76 - 25 = 51\n#### 51'
  assert 'tree. How many' in task[1].prompt and task.demonstration(task[1], RNG) == ' #### 1'
  for problem, response, reward, cluster in [
    (task[0], 'it is $51.00', 1, '51'),
    (task[0], '51 - 0 = 52', 0, '52'),
    (task[0], 'no', 0, None),
    (task[1], ' #### 1', 1, '1'),
  ]:
    assert task.reward(problem, response, True) == reward
    assert task.cluster(problem, response) == cluster


@pytest.mark.parametrize(
  ('equation', 'gold', 'text'),
  [
    ('( 8.0 / 2.0 )', '4', '8 / 2 = 4\n#### 4'),
    ('( ( 4.0 + 2.0 ) * 3.0 )', '18', '(4 + 2) * 3 = 18\n#### 18'),
    ('( 1.5 + 2.0 )', '3.5', '#### 3.5'),  # the grammar of expressions has whole numbers
    ('', '7', '#### 7'),
  ],
)
def test_svamp_solutions(equation, gold, text):
  assert solution(equation, gold) == text


def test_gsm_hard(tmp_path):
  task = GSMHard(**write(tmp_path, GSM_HARD_ROWS))
  assert [task[i].answer for i in range(3)] == ['3431580', '0.0000020107', '3.3333333333333335']
  for index, response, reward in [
    (0, '3,431,580.00', 1),
    (0, '#### 3431580.0001', 0),  # whole answers must be met
    (1, '0', 0),  # which the published tolerance would take
    (1, '0.0000020107', 1),
    (1, '0.00000201', 1),
    (2, '10/3', 1),
    (2, '3.333', 1),
    (2, '3.33', 0),
    (2, 'none', 0),
  ]:
    problem = task[index]
    assert task.reward(problem, response, True) == reward
    assert (task.cluster(problem, response) == task.cluster(problem, problem.answer)) == reward
  assert task.demonstration(task[0], RNG) == ' #### 3431580'


@pytest.mark.parametrize(
  ('number', 'text'), [(51.0, '51'), (2.0107e-06, '0.0000020107'), (-1e16, '-10000000000000000')]
)
def test_numbers_are_written_without_exponents(number, text):
  assert plain(number) == text and float(plain(number)) == number


def test_aqua_rat(tmp_path):
  task = AquaRat(**write(tmp_path, AQUA_ROWS))
  problem = task[0]
  assert problem.prompt.endswith('12?\nOptions: A) 36 B) 15 C) 17 D) 5 E) 7\nAnswer:')
  text = task.demonstration(problem, RNG)
  assert text.startswith(' 9=3*3\n') and text.endswith('Answer is A\n#### A')
  assert task.reward(problem, text, True) == 1 and task.reward(problem, text, False) == 0
  assert task.reward(problem, '#### B', True) == 0 and task.cluster(problem, '#### B') == 'B'


@pytest.mark.parametrize(
  ('response', 'letter'),
  [
    ('#### A', 'A'),
    ('so the answer is (C) 600 km.', 'C'),
    ('The answer is B', 'B'),
    ('Answer: D) 250 m\nthat was it', 'D'),
    ('answer is A. No: the answer is E', 'E'),
    ('answer: A\n#### B', 'B'),
    ('C', 'C'),
    (' (C). ', 'C'),
    ('36', None),
    ('#### A or B', None),
    ('#### A B C D E', None),
    ('answer is 36', None),
    ('A nice problem', None),
    ('#### a', None),
    ('#### F', None),
    ("#### A's", None),
    ('####', None),
    ('', None),
    ('A' * 10**6, None),
    ('answer is ' * 10**5, None),
  ],
)
def test_choices(response, letter):
  assert extract_choice(response, LETTERS) == letter


def test_rows_without_a_gold_answer_are_left_out_and_listed(tmp_path, caplog):
  bad = [
    {**AQUA_ROWS[0], 'correct': 'F'},
    {**AQUA_ROWS[0], 'options': ['A)1', 'B)2']},
    {**AQUA_ROWS[0], 'options': ['A)1', 'B)2', 'C)3', 'D)4', 'E) ']},
    {**AQUA_ROWS[0], 'correct': ''},
  ]
  task = AquaRat(**write(tmp_path, [bad[0], *AQUA_ROWS, *bad[1:]]))
  assert len(task) == 1 and task[0].id == 'aqua_rat/test/1'
  assert task.excluded == tuple(f'aqua_rat/test/{i}' for i in (0, 2, 3, 4))
  assert '4 rows of' in caplog.text and 'aqua_rat/test/0' in caplog.text
  with pytest.raises(ValueError, match='no row of .* has a gold answer'):
    AquaRat(**write(tmp_path, bad))


def test_gsm8k_leaves_out_what_it_cannot_read(tmp_path):
  rows = [{'question': q, 'answer': a} for q, a in [('x', '#### none'), ('y', '#### 4')]]
  task = TASKS['gsm8k'](**write(tmp_path, rows))
  assert [task[i].id for i in range(len(task))] == ['gsm8k/test/1']
  assert task.excluded == ('gsm8k/test/0',)


@pytest.mark.parametrize(
  ('verify', 'answer', 'right', 'wrong'),
  [
    ('exact', ' 4 x', ['4 x', ' 4 x\n'], ['4', '4  x', '']),
    ('number', 'so\n#### 4', ['4.0', 'A: 8/2', '1 + 3 = 4'], ['5', '', 'four', '####']),
    ('choice', 'D', ['(D)', 'the answer is D.'], ['A', '#### D or A', 'd']),
    (
      'maths',
      r'so \boxed{\frac{x}{2}}',
      ['#### 0.5x', r'The answer is $\frac12 x$'],
      ['#### x', 'x', '', '#### x/2 or x'],
    ),
  ],
)
def test_any_file(tmp_path, verify, answer, right, wrong):
  task = Jsonl(**write(tmp_path, [{'prompt': '2+2=', 'answer': answer}]), verify=verify)
  problem = task[0]
  assert problem.prompt == '2+2=' and problem.id == 'jsonl/test/0' and task.modes(problem) == 1
  assert task.demonstration(problem, RNG) == answer
  gold = task.cluster(problem, answer)
  for text in [answer, *right]:
    assert task.reward(problem, text, True) == 1 and task.cluster(problem, text) == gold
  for text in wrong:
    assert task.reward(problem, text, True) == 0 and task.cluster(problem, text) != gold
  assert task.reward(problem, right[0], False) == 0  # it may have gone on


def test_answers_of_any_form(tmp_path):
  rows = [r'\frac{1}{2}', r'(1, \infty)', '3 < x', 'a priori (2', r'it is \boxed{2 \sqrt 3}', '']
  rows = [{'prompt': str(n), 'answer': row} for n, row in enumerate(rows)]
  task = Jsonl(**write(tmp_path, rows), verify='maths')
  assert task.excluded == ('jsonl/test/3', 'jsonl/test/5')
  golds = [r'\frac{1}{2}', r'(1, \infty)', '3 < x', r'2 \sqrt 3']
  assert [task[i].answer for i in range(4)] == golds
  for problem in (task[i] for i in range(4)):
    text = task.demonstration(problem, RNG)
    assert task.reward(problem, text, True) == 1 and text.endswith('}')
  assert task.reward(task[0], r'\boxed{0.5}', True) == 1 == task.reward(task[2], '#### x > 3', True)
  assert task.reward(task[0], r'\boxed{1 - 0.5}', True) == 0  # not worked out


UNDECIDED = [
  (r'\boxed{x = y = 2}', True),
  (r'\boxed{2 \text{ or so}}', True),
  (r'\boxed{2}', False),
  (r'\boxed{3}', False),
  ('no idea', False),
]


@pytest.mark.parametrize(
  'wrap', [lambda t: t, lambda t: Subset(t, [0]), lambda t: Mixture({'a': t})]
)
def test_answers_that_cannot_be_compared_are_told_from_wrong_ones(tmp_path, wrap):
  rows = [{'prompt': '1+1=', 'answer': '2'}]
  for verify in ('maths', 'number'):
    task = wrap(Jsonl(**write(tmp_path, rows), verify=verify))
    for text, undecided in UNDECIDED:
      assert task.undecided(task[0], text, True) == (undecided and verify == 'maths')
      if undecided:
        assert task.reward(task[0], text, True) == 0


def test_answer_tasks_tell_them_too(tmp_path):
  task = GSM8K(**write(tmp_path, [{'question': '1+1', 'answer': '#### 2'}]))
  stages = Curriculum([task], starts=[0])
  for text, undecided in UNDECIDED:
    assert task.undecided(task[0], text, True) == undecided
    assert stages.undecided(stages[0], text, True) == undecided


def test_other_names_and_answers_that_cannot_be_read(tmp_path):
  rows = [{'q': 'a', 'a': 'none'}, {'q': 'b', 'a': '7'}]
  task = Jsonl(**write(tmp_path, rows), verify='number', prompt='q', answer='a')
  assert len(task) == 1 and task[0].prompt == 'b' and task.excluded == ('jsonl/test/0',)
  with pytest.raises(ValueError, match="verify='eval' must be one of exact, number, choice"):
    Jsonl(**write(tmp_path, rows), verify='eval')
  with pytest.raises(ValueError, match="has no field 'prompt'"):
    Jsonl(**write(tmp_path, rows))


@pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')
@pytest.mark.parametrize(
  ('name', 'split', 'count'),
  [
    ('svamp', 'test', 1000),
    ('gsm_hard', 'test', 1319),
    ('aqua_rat', 'dev', 254),
    ('aqua_rat', 'test', 254),
  ],
)
def test_whole_data_sets(tmp_path, name, split, count):
  folder = os.path.join(os.environ['MAXENT_LM_DATA'], name)
  task = TASKS[name](data_dir=folder, split=split, cache_dir=str(tmp_path))
  assert len(task) == count and task.excluded == ()
  for problem in (task[i] for i in range(count)):
    text = task.demonstration(problem, RNG)
    assert task.reward(problem, text, True) == 1 and task.cluster(problem, text) is not None
    assert task.reward(problem, 'no idea', True) == 0
    assert task.reward(problem, '#### 0', True) == (problem.answer == '0')
