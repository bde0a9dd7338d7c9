"""The adapter over a package of our own making; over the real one where it is installed."""

import sys
import types

import numpy as np
import pytest

from maxent_lm.tasks.reasoning_gym import ReasoningGym, extract, runs_text

RNG = np.random.default_rng(0)


class Doubles:
  """Questions 'double n'; full score for 2n, some for any number; entry 7 contradicts itself."""

  def __init__(self, size, seed, silent=False):
    self.size, self.seed, self.silent = size, seed, silent

  def __getitem__(self, index):
    n = index + self.seed
    answer = None if self.silent else str(2 * n + (index == 7))
    return {'question': f'double {n}', 'answer': answer, 'metadata': {'n': n}}

  def score_answer(self, answer, entry):
    return 1.0 if int(answer) == 2 * entry['metadata']['n'] else 0.1


class Evaluates(Doubles):
  def score_answer(self, answer, entry):
    return float(eval(answer) == 4)


@pytest.fixture
def package(monkeypatch):
  module = types.ModuleType('reasoning_gym')
  known = {'doubles': Doubles, 'evaluates': Evaluates}
  module.create_dataset = lambda name, **settings: known[name](**settings)
  monkeypatch.setitem(sys.modules, 'reasoning_gym', module)


def make(split='train', **arguments):
  return ReasoningGym(
    **{'split': split, 'dataset': 'doubles', 'size': 100, 'test_fraction': 0.3, **arguments}
  )


def test_only_the_full_score_is_rewarded(package):
  task = make()
  for problem in (task[i] for i in range(len(task))):
    text = task.demonstration(problem, RNG)
    assert text == f' {problem.answer}' and problem.prompt.startswith('Question: double ')
    assert task.reward(problem, text, True) == 1 and task.reward(problem, text, False) == 0
    assert task.reward(problem, '1', True) == 0 and task.cluster(problem, '1') == '1'
    assert task.reward(problem, f'so <answer> {problem.answer} </answer>.', True) == 1
    for hostile in ('', 'x', '9' * 5000, '<answer>' * 5000, '__import__("os")'):
      assert task.reward(problem, hostile, True) == 0
    assert task.modes(problem) is None and hash(problem)


def test_entries_that_contradict_themselves_are_left_out(package):
  left_out = make().excluded + make('test').excluded
  assert left_out == ('doubles/0/7',)
  assert len(make()) + len(make('test')) == 99


def test_splits_share_no_question_whatever_the_seed(package):
  train, test = make(), make('test', seed=30)
  questions = [{task[i].prompt for i in range(len(task))} for task in (train, test)]
  assert questions[0].isdisjoint(questions[1]) and min(map(len, questions)) > 10
  assert [train[i] for i in range(len(train))] == [make()[i] for i in range(len(train))]


def test_scorers_that_run_text_are_refused(package):
  assert runs_text(Evaluates.score_answer) == ['eval'] and runs_text(Doubles.score_answer) == []
  with pytest.raises(ValueError, match="the scorer of 'evaluates' runs eval on answers"):
    make(dataset='evaluates')


def test_generators_without_answers(package):
  task = make(options={'silent': True})
  assert len(task) + len(make('test', options={'silent': True})) == 100 and task[0].answer == ''
  with pytest.raises(ValueError, match='has no answer to demonstrate'):
    task.demonstration(task[0], RNG)


def test_errors(package, monkeypatch):
  with pytest.raises(ValueError, match="'test' of 'doubles' has no problems: raise size"):
    make('test', test_fraction=0.0)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    make('dev')
  with pytest.raises(IndexError, match='problems 0 to'):
    make()[100]
  monkeypatch.setitem(sys.modules, 'reasoning_gym', None)
  with pytest.raises(ValueError, match=r"pip install 'maxent_lm\[reasoning_gym\]'"):
    make()


@pytest.mark.parametrize(
  ('response', 'answer'),
  [
    (' 4 ', '4'),
    ('<answer>3</answer> no, <answer>4</answer>', '4'),
    ('<answer>3 <answer>4</answer>', '4'),
    ('<answer>4', '<answer>4'),
    ('<answer></answer>', ''),
  ],
)
def test_answers_are_found(response, answer):
  assert extract(response) == answer


@pytest.mark.parametrize('name', ['leg_counting', 'basic_arithmetic'])
def test_the_real_package(name):
  pytest.importorskip('reasoning_gym')
  task = ReasoningGym(split='train', dataset=name, size=30)
  assert task.excluded == () and len(task) > 15
  for problem in (task[i] for i in range(len(task))):
    assert task.reward(problem, task.demonstration(problem, RNG), True) == 1
    assert task.reward(problem, 'no', True) == 0
  with pytest.raises(ValueError, match="the scorer of 'countdown' runs parse_expr"):
    ReasoningGym(split='train', dataset='countdown', size=3)
