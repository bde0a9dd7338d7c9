"""HumanEval and MBPP on problems of our own; the whole of them where MAXENT_LM_DATA says where."""

import json
import os
import threading
import tokenize

import numpy as np
import pytest

from maxent_lm.tasks import code_answers
from maxent_lm.tasks.base import grade
from maxent_lm.tasks.human_eval import HumanEval, helpers
from maxent_lm.tasks.mbpp import MBPP
from maxent_lm.tasks.sandbox import Program, SandboxFault, Verdict

RNG = np.random.default_rng(0)
HUMAN_EVAL = {
  'task_id': 'Own/0',
  'prompt': 'import math\n\ndef square(x):\n    return x * x\n\n\ndef root(x):\n'
  '    """ The number whose square is x.\n    >>> root(4)\n    2.0\n    """\n',
  'entry_point': 'root',
  'canonical_solution': '    return math.sqrt(x)\n',
  'test': 'def check(candidate):\n  for x in (4, 9, 2):\n'
  '    assert abs(square(candidate(x)) - x) < 1e-6\n',
}
MBPP_ROWS = [
  {
    'text': 'Write a function to add.',
    'code': 'def sum(a, b):\r\n  return a + b',
    'task_id': number,
    'test_setup_code': '',
    'test_list': ['assert sum(1, 2) == 3', 'assert sum(5, 5) == 10', 'assert sum(0, 0) == 0'],
    'challenge_test_list': [],
    'split': split,
  }
  for number, split in ((1, 'prompt'), (11, 'test'), (601, 'train'), (602, 'train'))
]


@pytest.fixture
def human_eval(tmp_path):
  (tmp_path / 'test.jsonl').write_text(json.dumps(HUMAN_EVAL) + '\n')
  return HumanEval(data_dir=str(tmp_path), cache_dir=str(tmp_path / 'cache'))


@pytest.fixture
def mbpp(tmp_path):
  (tmp_path / 'full.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in MBPP_ROWS))
  return MBPP(data_dir=str(tmp_path), split='train', cache_dir=str(tmp_path / 'cache'))


def test_human_eval(human_eval):
  problem = human_eval[0]
  assert problem.id == 'human_eval/Own/0' and hash(problem) and len(human_eval) == 1
  assert human_eval.demonstration(problem, RNG) == problem.answer
  whole = f'{HUMAN_EVAL["prompt"]}{problem.answer}'
  for response, reward in [
    (problem.answer, 1),
    ('    return x ** 0.5', 1),
    ('    return x ** 0.5\n\ndef root(x):\n    return 0', 1),  # cut at the next definition
    (f'Let me think.\n```python\n{whole}```\nDone.', 1),
    ('```\ndef root(x):\n    return math.sqrt(x)\n```', 1),
    ('```\n    return math.sqrt(x)\n```', 1),
    ('    return x', 0),
    ('', 0),
    ('    return (', 0),
    # A program cannot bring its own judge.
    ('```\ndef square(x): return 9\ndef abs(x): return 0\ndef root(x): return 0\n```', 0),
  ]:
    assert human_eval.reward(problem, response, True) == reward, response


def test_helpers():
  expected = 'import math\ndef square(x):\n    return x * x'
  assert helpers(HUMAN_EVAL['prompt'], 'root') == expected


def test_mbpp(mbpp):
  assert len(mbpp) == 1 and mbpp[0].id == 'mbpp/602'  # 601 is excluded
  problem = mbpp[0]
  assert 'sum(1, 2)' in problem.prompt and 'sum(5, 5)' not in problem.prompt
  assert mbpp.demonstration(problem, RNG) == 'def sum(a, b):\n  return a + b\n[DONE]'
  table = 'def sum(a, b):\n  return {(1, 2): 3}.get((a, b))'
  for response, reward in [
    (mbpp.demonstration(problem, RNG), 1),
    ('def sum(*x):\n  return x[0] + x[1]\n[DONE]\nNonsense (', 1),
    ('```python\ndef sum(a, b): return a + b\n```', 1),
    (table, 0),
    ('', 0),
  ]:
    assert mbpp.reward(problem, response, True) == reward, response
  assert mbpp.cluster(problem, 'x = 1 # one\n') == mbpp.cluster(problem, 'x  =  1')


def test_wrong_splits_are_told(tmp_path):
  with pytest.raises(ValueError, match="no split 'train'"):
    HumanEval(data_dir=str(tmp_path), split='train')
  with pytest.raises(ValueError, match="no split 'dev'"):
    MBPP(data_dir=str(tmp_path), split='dev')


def test_same_programs():
  same = code_answers.same
  assert same('def f(x):\n  return x  # x\n') == same('def f( x ):\n\n      return x')
  assert same('x = 1') != same('x = 2') and same('if x:\n y') != same('if x: y')
  for no_program in ('x = (', 'if x:\n    a\n  b', '"""', '\0', 'x' * 2**17):
    assert same(no_program) is None


@pytest.mark.parametrize('stray', ["'\\", '"\\', '\\', '$', "'\\x"])
def test_text_that_is_no_token_is_not_read_on(monkeypatch, stray):
  # A second token of the bad line would have all of it read again, and so on: quadratic.
  read = []

  def tokens(readline):
    for token in tokenize_all(readline):
      read.append(token)
      yield token

  tokenize_all = tokenize.generate_tokens
  monkeypatch.setattr(tokenize, 'generate_tokens', tokens)
  assert code_answers.same(f'x = 1\n{stray * 2**12}\ny = 2\n') is None
  assert len(read) <= 6


class Counting:
  """A sandbox in which `x` passes, and which counts its runs and fails as it is told to."""

  def __init__(self, status=None):
    self.status, self.ran = status, []

  def run_all(self, programs):
    programs = list(programs)
    self.ran += [program.code for program in programs]
    return [
      Verdict(self.status or ('passed' if each.code == 'x' else 'failed'), 'the zygote is gone.')
      for each in programs
    ]


def code(*texts):
  return [Program(code=text, tests='t') for text in texts]


def test_each_different_program_is_run_once():
  sandbox = Counting()
  grader = code_answers.Grader(sandbox, size=2)
  assert [each.passed for each in grader.verdicts(code('x', 'y', 'x', 'y'))] == [1, 0, 1, 0]
  assert sandbox.ran == ['x', 'y']
  grader.verdicts(code('y', 'x'))
  assert sandbox.ran == ['x', 'y']
  grader.verdicts([*code('z'), Program(code='x', tests='others')])
  assert sandbox.ran == ['x', 'y', 'z', 'x']
  grader.verdicts(code('z', 'y'))  # two are remembered, of which y is none
  assert sandbox.ran == ['x', 'y', 'z', 'x', 'y']


@pytest.mark.parametrize('status', code_answers.BY_CHANCE)
def test_what_a_busy_machine_may_have_done_is_not_remembered(status):
  sandbox = Counting(status)
  grader = code_answers.Grader(sandbox)
  for _ in range(2):
    assert [each.status for each in grader.verdicts(code('x', 'x'))] == [status] * 2
  assert sandbox.ran == ['x', 'x']


def test_a_fault_is_no_reward(monkeypatch):
  broken = code_answers.Grader(Counting('infra_error'))
  monkeypatch.setattr(code_answers, 'shared_grader', lambda tier: broken)
  assert code_answers.rewards(code('x', 'y'), 'pure') == [None, None]
  with pytest.raises(SandboxFault, match='zygote'):
    code_answers.reward(Program(code='x', tests='y'), 'pure')


def test_together_as_one_by_one(human_eval, mbpp):
  for task, responses in [
    (human_eval, ['    return x ** 0.5', '    return x', '    return (', '    return x ** 0.5']),
    (mbpp, ['def sum(a, b): return a + b', 'def sum(a, b): return 3', '', 'while 1: pass']),
  ]:
    together = grade(task, [task[0]] * 4, responses, [True] * 4)
    assert together == [task.reward(task[0], response, True) for response in responses]
    assert sum(together) in (1, 2)


@pytest.mark.slow
@pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='MAXENT_LM_DATA is not set')
def test_the_published_solutions_are_right(tmp_path):
  data = os.environ['MAXENT_LM_DATA']
  human_eval = HumanEval(data_dir=f'{data}/human_eval', cache_dir=str(tmp_path), timeout_s=20)
  wrong = wrong_ones(human_eval)
  assert len(human_eval) == 164 and not wrong
  count = 0
  for split in ('train', 'validation', 'test', 'prompt'):
    for variant in ('full', 'sanitized'):
      task = MBPP(
        data_dir=f'{data}/mbpp', split=split, variant=variant, cache_dir=str(tmp_path), timeout_s=20
      )
      assert not wrong_ones(task)
      count += len(task)
  assert count == 971 + 427


def wrong_ones(task):
  wrong = []

  def grade(start):
    for i in range(start, len(task), 2):
      if task.reward(task[i], task.demonstration(task[i], RNG), True) != 1:
        wrong.append(task[i].id)

  threads = [threading.Thread(target=grade, args=(start,)) for start in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return wrong
