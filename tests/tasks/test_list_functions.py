"""List functions: every program of the language in the sandbox; splits by what a function does."""

import itertools

import numpy as np
import pytest

from maxent_lm.tasks import code_answers
from maxent_lm.tasks.base import stable_hash
from maxent_lm.tasks.list_functions import ListFunctions, canonical, name, wrapped
from maxent_lm.tasks.list_programs import (
  ALPHABET,
  EXAMPLES,
  FORMS,
  PROBES,
  functions,
  in_language,
  parts,
  values,
)
from maxent_lm.tasks.sandbox import Verdict

SMALL = {'elements': 1, 'min_modes': 1, 'size': 200}


@pytest.fixture(scope='module')
def task():
  return ListFunctions(split='train', **SMALL)


def problems(**arguments):
  task = ListFunctions(**{'split': 'train', **SMALL, **arguments})
  return [task[i] for i in range(len(task))]


def rewards(task, problem, responses):
  return task.rewards([problem] * len(responses), responses, [True] * len(responses))


def one_of_each(task):
  """A problem for every function that the task asks for."""
  found = {task[i].id.split('/')[0]: task[i] for i in range(len(task))}
  return list(found.values())


def asking(program, **limits):
  """A task, and a problem of it that the program is right for."""
  for split in ('train', 'test'):
    task = ListFunctions(**{**SMALL, 'split': split, 'size': 1500, **limits})
    for problem in map(task.__getitem__, range(len(task))):
      if program in problem.data.programs:
        return task, problem
  raise AssertionError(f'nothing asks for {program}')


def programs_of(count):
  return [text for function in functions(count) for text in function.programs]


# --- the language ----------------------------------------------------------------------------


def test_the_language_by_another_route():
  """Every part, written out."""
  numbers = [f'x[{i}]' for i in (0, 1, 2, 3, -1, -2, -3, -4)] + ['max(x)', 'min(x)']
  texts = numbers + [f'-{n}' for n in numbers] + [f'{n}*10' for n in numbers]
  assert sorted(programs_of(1)) == sorted(f'[{text}]' for text in texts)
  pairs = [f'[{one},{other}]' for one, other in itertools.product(texts, repeat=2)]
  assert sorted(programs_of(2)) == sorted(pairs) and all(map(in_language, pairs))
  assert all(set(text) <= set(ALPHABET) and canonical(text) == text for text in pairs)
  for text in (
    'x[0]',
    '[]',
    '[x[0],]',
    '[x[4]]',
    '[x[0]*2]',
    '[--x[0]]',
    '[x[0],x]',
    '[[x[0]]]',
    '',
    '[',
  ):
    assert not in_language(text)


def test_functions_are_what_programs_do():
  found = parts()
  assert len({part.shown + part.hidden for part in found}) == len(found) == 6 * len(FORMS)
  for part in found:
    for text in part.spellings:
      assert values(text, EXAMPLES) == part.shown and values(text, PROBES) == part.hidden
  spelled = {text: part for part in found for text in part.spellings}
  assert spelled['x[3]'] == spelled['x[-1]'] != spelled['max(x)']
  assert spelled['x[0]*10'].spellings == ('x[0]*10', 'x[-4]*10')
  for function in functions(2)[::50]:
    assert function.modes == len(set(function.programs)) == len(function.programs)
    for text in function.programs:
      outputs = [eval(f'lambda x: {text}')(list(x)) for x in PROBES]
      assert outputs == [list(row) for row in zip(*(p.hidden for p in function.parts), strict=True)]
  assert [len(functions(count)) for count in (1, 2, 3)] == [18, 324, 5_832]


def test_numbers_by_hand():
  assert values('-x[-4]', ((1, 2, 3, 4), (6, 5, 4, 3))) == (-1, -6)
  assert values('max(x)*10', ((1, 7, 3, 4),)) == (70,)
  for part in parts():  # what the form is can be told from every value
    assert len({(value < 0, abs(value) >= 10) for value in part.shown}) == 1


# --- problems --------------------------------------------------------------------------------


def test_modes_are_the_programs_of_the_language_that_are_right():
  """The sandbox agrees with the enumeration on every program, right or wrong."""
  task = ListFunctions(split='train', elements=2, min_modes=1, size=100)
  programs = [text for count in (1, 2) for text in programs_of(count)]
  some = sorted(one_of_each(task), key=task.modes)
  assert task.modes(some[0]) == 1 and task.modes(some[-1]) == 4
  for problem in some[:: len(some) // 2]:
    right = {
      text
      for text, reward in zip(programs, rewards(task, problem, programs), strict=True)
      if reward == 1
    }
    assert right == set(problem.data.programs) and len(right) == task.modes(problem)
    assert {task.cluster(problem, text) for text in right} == right


def test_demonstrations_are_right_and_reach_every_mode():
  task, rng = ListFunctions(split='train', size=100), np.random.default_rng(0)
  some = [task[i] for i in range(100)]
  texts = [task.demonstration(problem, rng) for problem in some]
  assert task.rewards(some, texts, [True] * 100) == [1.0] * 100
  for problem in some:
    drawn = {task.demonstration(problem, rng) for _ in range(40 * task.modes(problem))}
    assert drawn == set(problem.data.programs) and problem.answer in drawn and hash(problem)
    assert set(problem.prompt + ''.join(drawn)) <= set(ALPHABET)
    assert max(map(len, drawn)) <= 31 and len(problem.prompt) <= 42


def test_the_shown_lists_leave_one_function():
  for problem in problems(elements=2, size=20):
    pairs = [line.split('>') for line in problem.prompt.removesuffix(':').split(',')]
    given = tuple(tuple(map(int, digits)) for digits, _ in pairs)
    asked = [value for _, value in pairs]
    agree = []
    for function in functions(2):
      outputs = [values(part.spellings[0], given) for part in function.parts]
      shown = [' '.join(map(str, row)) for row in zip(*outputs, strict=True)]
      agree += [function] if shown == asked else []
    assert [function.programs for function in agree] == [problem.data.programs]


def test_splits_share_no_function_whatever_else_differs():
  train = {problem.id.split('/')[0] for problem in problems(size=1000)}
  test = {problem.id.split('/')[0] for problem in problems(split='test', seed=3, shown=6)}
  assert train.isdisjoint(test) and len(train) > 9 and test
  names = [name(function) for function in functions(1)]
  assert len(set(names)) == len(names) and train | test <= set(names)


def test_a_function_is_named_by_its_values_on_all_lists():
  """Splits hang on it: a name says what is done, not how it is spelled."""
  for function in functions(3)[::999]:
    done = [(part.shown, part.hidden) for part in function.parts]
    assert name(function) == f'{stable_hash(repr(done)):016x}'


def test_problems_follow_seed_and_index():
  assert problems() == problems() != problems(seed=1)
  assert problems(size=9) == problems()[:9]
  limits = {'elements': 2, 'min_modes': 2, 'max_modes': 3}
  assert {len(p.data.programs) for p in problems(**limits)} == {2}


# --- rewards ---------------------------------------------------------------------------------

WRONG = {
  'the right value of another type': 'tuple(%s)',
  'an iterator': 'iter(%s)',
  'a number': '%s[0]',
  'floats': '[i*1.0 for i in %s]',
  'a loop': '[%s for i in iter(int,1)]',
  'an exception': '%s+[1//0]',
  'an exit': 'exit(0) or %s',
  'no brackets closed': '(%s',
  'other brackets closed': '%s)+([]',
  'a second statement': '%s);y=(1',
  'two lines': '%s\n',
  'a NUL': '%s\0',
  'a statement': 'return %s',
  'an assignment': 'y=%s',
  'too long': '%s' + ' ' * 200,
  'text': 'the answer is %s',
  'twice': '%s %s',
}


@pytest.mark.parametrize('kind', WRONG)
def test_wrong_responses(kind):
  task, problem = asking('[x[1]]', timeout_s=0.3)
  assert task.reward(problem, problem.answer, True) == 1
  response = WRONG[kind].replace('%s', problem.answer)
  assert rewards(task, problem, [response]) == [task.reward(problem, response, True)] == [0]
  assert task.cluster(problem, response) is None


def test_a_table_of_the_shown_lists_is_wrong():
  task, problem = asking('[x[1]]')
  entries = problem.prompt[:-1].replace('>', ':')
  table = f'[{{{entries}}}[int("".join(map(str,x)))]]'
  assert canonical(table) == table  # it is tried, and fails on what is hidden
  assert task.reward(problem, table, True) == 0


def test_numbers_have_their_type():
  task, problem = asking('[max(x)*10]')
  right = [
    '[max(x)*10]',
    '[int(max(x)*10)]',
    '[sorted(x)[-1]*10]',
    'list(map(max,[x]))[:0]+[max(x)*10]',
  ]
  assert rewards(task, problem, right) == [1] * 4
  assert rewards(task, problem, ['[max(x)*10.0]', '[str(max(x)*10)]', '[[max(x)*10]]']) == [0] * 3


def test_true_is_not_one():
  task, problem = asking('[min(x)]')
  almost = '[True if min(x)==1 else min(x)]'
  assert rewards(task, problem, [almost.replace('True', '1'), almost]) == [1, 0]


def test_blanks_and_comments_do_not_matter(task):
  for problem in one_of_each(task)[:6]:
    text = problem.answer
    spaced = text.replace('(', ' ( ').replace('[', ' [').replace('*', ' * ')
    responses = [spaced, f'  {text} ', f'{text}  # so', f'{text}#)']
    assert rewards(task, problem, responses) == [1] * 4
    assert {task.cluster(problem, response) for response in responses} == {text}
    assert rewards(task, problem, [f'({text})']) == [1]  # right, and no program of the language
    assert task.cluster(problem, f'({text})') is None


def test_a_cut_response_is_wrong(task):
  problem = task[0]
  assert task.reward(problem, problem.answer, False) == 0
  assert task.rewards([problem] * 2, [problem.answer] * 2, [False, True]) == [0, 1]


def test_wrong_programs_of_the_language_have_a_cluster(task):
  problem = next(p for p in one_of_each(task) if '[x[0]]' not in p.data.programs)
  assert rewards(task, problem, ['[x[0]]']) == [0]
  assert task.cluster(problem, ' [ x[0]]') == '[x[0]]'
  for text in ('y', 'x', '', ' ', '#x', 'x' * 201, '[x[1]', '())', ')(', '"', "'''", '\\', '\t'):
    assert task.cluster(problem, text) is None


def test_the_worked_example():
  task = ListFunctions(split='train')
  problem = task[2]
  assert problem.prompt == '1495>10 5 -5,1346>10 6 -6,6372>20 2 -2:'
  assert task.modes(problem) == 4 and problem.answer == '[min(x)*10,x[3],-x[3]]'
  for response, reward, cluster in [
    ('[min(x)*10,x[-1],-x[3]]', 1, '[min(x)*10,x[-1],-x[3]]'),
    ('[ min(x)*10,x[-1],-x[3] ]  # so', 1, '[min(x)*10,x[-1],-x[3]]'),
    ('[10*min(x),x[3],-x[3]]', 1, None),
    ('[x[0]*10,x[3],-x[3]]', 0, '[x[0]*10,x[3],-x[3]]'),
    ('[x[0', 0, None),
    ('return x', 0, None),
  ]:
    assert rewards(task, problem, [response]) == [reward], response
    assert task.cluster(problem, response) == cluster


def test_expressions():
  assert canonical('[ i for i in x if i % 2 ]') == '[i for i in x if i%2]'
  assert canonical('x if x else 1') == 'x if x else 1' and canonical('not  x') == 'not x'
  assert canonical('[i for i in x[1:]if(i)]') == '[i for i in x[1:] if(i)]'
  assert canonical('xif x') != canonical('x if x') and canonical('1 2') != canonical('12')
  for text in ('x', 'x[1:]', '()', '[{(x)}]', 'x #)'):
    compile(wrapped(text), '', 'exec')
    assert canonical(text) is not None


def test_a_fault_of_the_sandbox_is_no_reward(task, monkeypatch):
  class Broken:
    def verdicts(self, programs):
      return [Verdict('infra_error')] * len(programs)

  monkeypatch.setattr(code_answers, 'shared_grader', lambda tier: Broken())
  assert task.rewards([task[0]] * 2, ['x', 'x['], [True] * 2) == [None, 0.0]


def test_errors():
  for key, value in [('elements', 0), ('elements', 4), ('shown', 0), ('size', 0)]:
    with pytest.raises(ValueError, match=f'ListFunctions: .*{key}={value}'):
      ListFunctions(split='train', **{**SMALL, key: value})
  with pytest.raises(ValueError, match='no function of 3 elements has 99 to 99'):
    ListFunctions(split='train', min_modes=99, max_modes=99)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    ListFunctions(split='dev')
  with pytest.raises(ValueError, match='shown=1 examples tell no function'):  # max(x) is some x[i]
    ListFunctions(split='train', shown=1, elements=1, min_modes=1, max_modes=1)
  with pytest.raises(IndexError, match='problems 0 to 2, not 3'):
    ListFunctions(split='train', size=3)[3]
