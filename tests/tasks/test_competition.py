"""MATH, OlympiadBench and BIG-Bench Hard on excerpts; all of them where MAXENT_LM_DATA is."""

import json
import os
import re

import numpy as np
import pytest

from maxent_lm.tasks import TASKS
from maxent_lm.tasks.bbh import BBH, SUBTASKS
from maxent_lm.tasks.competition_math import CompetitionMath, copied
from maxent_lm.tasks.files import same
from maxent_lm.tasks.olympiadbench import ALL_ANSWERS, OlympiadBench

RNG = np.random.default_rng(0)
needs_data = pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')

# Rows of math_splits/test.jsonl, github.com/openai/prm800k (MIT): test/algebra/2584, 1098,
# test/prealgebra/1302.
MATH_ROWS = [
  {
    'problem': r'If $f(x) = \frac{3x-2}{x-2}$, what is the value of $f(-2) +f(-1)+f(0)$? Express '
    'your answer as a common fraction.',
    'solution': r'$f(-2)+f(-1)+f(0)=\frac{3(-2)-2}{-2-2}+\frac{3(-1)-2}{-1-2}+\frac{3(0)-2}{0-2}='
    r'\frac{-8}{-4}+\frac{-5}{-3}+\frac{-2}{-2}=2+\frac{5}{3}+1=\boxed{\frac{14}{3}}$',
    'answer': r'\frac{14}{3}',
    'subject': 'Algebra',
    'level': 3,
  },
  {
    'problem': 'Evaluate $(1+2i)6-3i$.',
    'solution': r'Distribute the factor of 6 and simplify to obtain $(1+2i)6-3i=6+12i-3i='
    r'\boxed{6+9i}$.',
    'answer': '6+9i',
    'subject': 'Algebra',
    'level': 3,
  },
  {
    'problem': r'Simplify $\sqrt{242}$.',
    'solution': r'Factor 242 as $11^2 \cdot 2$. Then $\sqrt{242} = \sqrt{11^2} \cdot \sqrt2 = '
    r'\boxed{11\sqrt2}$.',
    'answer': r'11\sqrt2',
    'subject': 'Prealgebra',
    'level': 4,
  },
]
# Rows 2238, 2426 and 2592 of OE_TO_maths_en_COMP, github.com/OpenBMB/OlympiadBench (MIT), with the
# questions cut short, and two of our own.
OLYMPIAD = {
  'context': None,
  'solution': ['It follows.'],
  'is_multiple_answer': False,
  'unit': None,
  'error': None,
}
OLYMPIAD_ROWS = [
  OLYMPIAD | change
  for change in (
    {
      'question': r'Determine all integer values of $x$ such that $\left(x^{2}-3\right)'
      r'\left(x^{2}+5\right)<0$.',
      'final_answer': ['-1,0,1'],
      'is_multiple_answer': True,
    },
    {'question': 'How fast?', 'final_answer': [r'$\frac{600}{7}$'], 'unit': 'km/h'},
    {'question': 'Determine $r$.', 'final_answer': ['4.2'], 'unit': '%', 'error': '1e-1'},
    {'question': 'Which?', 'final_answer': ['a priori (2'], 'context': 'Look.'},
    {'question': 'Which two?', 'final_answer': ['1', '2'], 'error': '1e-1'},
  )
]


def write(folder, rows, split='test', **more):
  (folder / f'{split}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return {'data_dir': str(folder), 'cache_dir': str(folder / 'cache'), 'split': 'test', **more}


def graded(task, problem, response):
  return task.reward(problem, response, True), task.cluster(problem, response)


# --- MATH -----------------------------------------------------------------------------------------


def test_math(tmp_path):
  task = CompetitionMath(**write(tmp_path, MATH_ROWS, 'math500'))
  problem = task[0]
  assert problem.prompt == f'Question: {MATH_ROWS[0]["problem"]}\nAnswer:'
  assert problem.id == 'math/test/0' and problem.answer == r'\frac{14}{3}' and hash(problem)
  assert task.demonstration(problem, RNG) == f' {MATH_ROWS[0]["solution"]}'
  for right in (r'\boxed{\dfrac{28}{6}}', 'The answer is $4 \\frac{2}{3}$.', '#### 14/3', '14/3'):
    assert graded(task, problem, right) == (1, '14/3')
  for wrong, cluster in (
    (r'\boxed{4.67}', '467/100'),
    (r'\boxed{2 + \frac{5}{3} + 1}', '14/3'),  # not worked out
    (r'\boxed{14/3, 5}', '14/3, 5'),
    ('no idea', None),
  ):
    assert graded(task, problem, wrong) == (0, cluster)
  assert task.reward(problem, r'so \boxed{14/3}', False) == 1  # the box is closed
  assert task.reward(problem, 'so 14/3', False) == 0


def test_a_formula_of_the_question_is_no_answer(tmp_path):
  task = CompetitionMath(**write(tmp_path, MATH_ROWS, 'math500'))
  for problem, copy, right in (
    (task[1], r'\boxed{(1+2i)6-3i}', r'\boxed{9i+6}'),
    (task[1], r'\boxed{\left( 1 + 2i\right)6 - 3i}', 'The answer is $6+9i$.'),
    (task[2], r'The answer is $\sqrt{242}$', r'\boxed{11 \sqrt{2}}'),
  ):
    assert task.reward(problem, copy, True) == 0 and task.reward(problem, right, True) == 1
  rows = [MATH_ROWS[2] | {'problem': r'Is $\sqrt{242}$ equal to $11\sqrt2$ or to $12$?'}]
  named = CompetitionMath(**write(tmp_path, rows, 'math500'))
  assert named.reward(named[0], r'\boxed{11\sqrt2}', True) == 1  # the question offers it


def test_math_from_a_file_of_the_original_form(tmp_path):
  """Without `answer`, levels as words, `type` for `subject`."""
  rows = [
    {'problem': 'x', 'solution': r'so \boxed{7}', 'level': 'Level 5', 'type': 'Geometry'},
    {'problem': 'y', 'solution': 'nothing', 'level': 'Level 5', 'type': 'Algebra'},
    {'problem': 'z', 'solution': r'\boxed{1} and the rest', 'answer': '8', 'level': 2},
  ]
  task = CompetitionMath(**write(tmp_path, rows), test_file='test')
  assert [task[i].answer for i in range(len(task))] == ['7', '8']
  assert task.excluded == ('math/test/1',)
  assert task.demonstration(task[1], RNG).endswith('and the rest\n\\boxed{8}')
  assert task.reward(task[1], task.demonstration(task[1], RNG), True) == 1


@pytest.mark.parametrize(
  ('levels', 'subjects', 'ids'),
  [((), (), '012'), ((3,), (), '01'), ((), ('Prealgebra',), '2'), ((3, 4), ('Prealgebra',), '2')],
)
def test_filters_keep_the_ids(tmp_path, levels, subjects, ids):
  task = CompetitionMath(**write(tmp_path, MATH_ROWS, 'math500'), levels=levels, subjects=subjects)
  assert [task[i].id for i in range(len(task))] == [f'math/test/{i}' for i in ids]
  assert task.excluded == ()


def test_wrong_filters_are_told(tmp_path):
  where = write(tmp_path, MATH_ROWS, 'math500')
  with pytest.raises(ValueError, match='MATH has no level 6: choose among 1, 2, 3, 4, 5'):
    CompetitionMath(**where, levels=(6,))
  with pytest.raises(ValueError, match="MATH has no subject 'algebra': choose among Algebra, "):
    CompetitionMath(**where, subjects=('algebra',))
  with pytest.raises(ValueError, match='no row of .* is asked for: widen the limits of math'):
    CompetitionMath(**where, levels=(1,))


# --- OlympiadBench --------------------------------------------------------------------------------


def test_olympiadbench(tmp_path):
  task = OlympiadBench(**write(tmp_path, OLYMPIAD_ROWS))
  assert len(task) == 3 and task.excluded == ('olympiadbench/test/3', 'olympiadbench/test/4')
  several, speed, share = (task[i] for i in range(3))
  assert several.prompt.endswith(f'<0$.\n{ALL_ANSWERS}\nAnswer:')
  assert task.demonstration(several, RNG) == ' It follows.\n\\boxed{-1,0,1}'
  for right in (r'\boxed{1, 0, -1}', r'The answer is $x = 0$ or $x = \pm 1$.', r'\boxed{0, \pm 1}'):
    assert task.reward(several, right, True) == 1
    assert task.cluster(several, right) == task.cluster(several, r'\boxed{-1,0,1}')
  for wrong in (r'\boxed{-1, 1}', r'\boxed{-1,0,1,2}', '1', r'\boxed{(-1,0,1)}', 'none'):
    assert task.reward(several, wrong, True) == 0
  assert speed.prompt == 'Question: How fast?\nUnit of the answer: km/h\nAnswer:'
  for answer, reward in (
    (r'\boxed{\frac{600}{7}}', 1),
    (r'\boxed{600/7 \text{ km/h}}', 1),
    (r'\boxed{600/7 \text{ km}}', 0),
    ('A: 85.7', 0),
  ):
    assert task.reward(speed, answer, True) == reward
  for answer, reward in (
    ('4.2', 1),
    ('4.3', 1),
    ('4.31', 0),
    (r'\boxed{4.1\%}', 1),
    (r'\boxed{4.2 \text{ cm}}', 0),
  ):
    assert task.reward(share, answer, True) == reward


# --- BIG-Bench Hard -------------------------------------------------------------------------------

# Row 0 of these files in bbh/, github.com/suzgunmirac/BIG-Bench-Hard (MIT), and what is no option.
OPTIONS = (
  '\nOptions:\n(A) midsize old grey Brazilian sweater\n(B) midsize grey Brazilian old sweater'
)
BBH_ROWS = [
  ('boolean_expressions', 'not ( True ) and ( True ) is', 'False'),
  ('dyck_languages', 'Complete the rest of the sequence. Input: [ [', '] ]'),
  ('hyperbaton', f'Which sentence has the correct adjective order:{OPTIONS}', '(A)'),
  ('multistep_arithmetic_two', '((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =', '24'),
  ('sports_understanding', 'Is the following sentence plausible? "He beat the buzzer."', 'no'),
  ('formal_fallacies', 'Valid or invalid?', 'invalid'),
  ('word_sorting', 'Sort: therefrom, syndrome', 'syndrome therefrom'),
  ('hyperbaton', f'Which?{OPTIONS}', '(C)'),
  ('hyperbaton', f'Which?{OPTIONS}', 'old grey'),
  ('hyperbaton', 'Which?\nOptions:\n(A) The NB', '(A)'),
]


def bbh(folder, subtask):
  rows = [dict(zip(('task', 'input', 'target'), row, strict=True)) for row in BBH_ROWS]
  return BBH(**write(folder, rows), subtask=subtask)


@pytest.mark.parametrize(
  ('subtask', 'right', 'wrong'),
  [
    ('boolean_expressions', ['False', r'\boxed{\text{False}}', 'answer is **false**.'], ['True']),
    ('dyck_languages', [']]', 'The answer is ] ].', '####]]'], ['] ] ]', '[ [ ] ]', 'none']),
    ('hyperbaton', ['A', '(A)', 'So the answer is (A).'], ['(B)', 'A or B', OPTIONS]),
    ('multistep_arithmetic_two', ['46 - 22 = 24', '24.0'], [BBH_ROWS[3][1], '#### 46 - 22']),
    ('sports_understanding', ['No.', 'the answer is no'], ['yes', 'yes or no', 'no idea']),
    ('formal_fallacies', ['invalid', '#### Invalid'], ['valid', '#### valid or invalid']),
    (
      'word_sorting',
      ['Syndrome, therefrom.', 'Let me see.\n#### syndrome therefrom'],
      ['therefrom syndrome', 'syndrome', 'syndrome\ntherefrom'],
    ),
  ],
)
def test_bbh(tmp_path, subtask, right, wrong):
  task = bbh(tmp_path, subtask)
  problem = task[0]
  assert len(task) == 1 and problem.prompt.startswith('Question: ') and task.modes(problem) == 1
  for response in [task.demonstration(problem, RNG), *right]:
    assert graded(task, problem, response) == (1, problem.answer), response
    assert task.reward(problem, response, False) == 0
  for response in [*wrong, '', 'I do not know']:
    assert task.reward(problem, response, True) == 0, response
    assert task.cluster(problem, response) != problem.answer


def test_questions_without_a_gold_option_are_left_out(tmp_path):
  assert bbh(tmp_path, 'hyperbaton').excluded == tuple(f'bbh/test/{i}' for i in (7, 8, 9))


def test_unknown_subtasks_are_told(tmp_path):
  with pytest.raises(
    ValueError, match="no subtask 'snark': choose among boolean_expressions, .*sn"
  ):
    bbh(tmp_path, 'snark')
  with pytest.raises(ValueError, match='no row of .* is asked for'):
    bbh(tmp_path, 'snarks')


# --- the whole files ------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
  ('name', 'count', 'excluded'),
  [('math', 500, ()), ('olympiadbench', 672, (31, 73, 96))],
)
def test_whole_data_sets(tmp_path, name, count, excluded):
  folder = os.path.join(os.environ['MAXENT_LM_DATA'], name)
  task = TASKS[name](data_dir=folder, split='test', cache_dir=str(tmp_path))
  assert len(task) == count and task.excluded == tuple(f'{name}/test/{i}' for i in excluded)
  for problem in (task[i] for i in range(count)):
    text = task.demonstration(problem, RNG)
    assert task.reward(problem, text, True) == 1 and task.cluster(problem, text) is not None
    assert task.reward(problem, 'no idea', True) == 0


@needs_data
def test_formulas_of_questions_that_have_the_value_of_the_answer(tmp_path):
  r"""Copying would answer 15 of the 500 problems, though their answers are not in the question.

  One more, \tan 100^\circ + 4 \sin 100^\circ, takes sympy about as long as it may take.
  """
  folder = os.path.join(os.environ['MAXENT_LM_DATA'], 'math')
  task, copies = CompetitionMath(data_dir=folder, split='test', cache_dir=str(tmp_path)), set()
  for problem in (task[i] for i in range(len(task))):
    for pair in re.findall(r'\$([^$]+)\$|\\\[(.+?)\\\]', problem.prompt, re.DOTALL):
      formula = ''.join(pair).strip(' .,')
      for side in (formula, *formula.split('=')):
        if same(problem.answer, side) and copied(problem, side):
          copies.add(problem.id)
          assert task.reward(problem, f'\\boxed{{{side}}}', True) == 0
  assert len(copies - {'math/test/164'}) == 15


@needs_data
def test_all_of_bbh(tmp_path):
  folder, read, excluded = os.path.join(os.environ['MAXENT_LM_DATA'], 'bbh'), 0, ()
  for name in SUBTASKS:
    task = BBH(data_dir=folder, split='test', subtask=name, cache_dir=str(tmp_path))
    read, excluded = read + len(task), excluded + task.excluded
    answers = {task[i].data for i in range(len(task))}
    for problem in (task[i] for i in range(0, len(task), 5)):
      said = [a for a in answers if task.reward(problem, f'So the answer is {a}.', True)]
      assert said == [problem.data] and task.reward(problem, problem.prompt[10:-8], True) == 0
  assert (read, len(excluded)) == (6507, 4)
