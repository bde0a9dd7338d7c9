"""List functions: every program of the language in the sandbox; splits by what a function does."""

import itertools

import numpy as np
import pytest

from maxent_lm.tasks import code_answers, list_programs
from maxent_lm.tasks.list_functions import ListFunctions, canonical, name, wrapped
from maxent_lm.tasks.list_programs import ALPHABET, EXAMPLES, PROBES, derive, functions, values
from maxent_lm.tasks.sandbox import Verdict

SMALL = {'operations': 2, 'longest': 20, 'min_modes': 1, 'size': 200}


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


# --- the language ----------------------------------------------------------------------------


def test_the_language_by_another_route():
  """Every derivation of at most one operation, written out."""
  lists = [f'x[{part}]' for part in list_programs.SLICES] + ['sorted(x)']
  for each in ('i', *list_programs.MAPS):
    lists += [f'[{each} for i in x if {test}]' for test in list_programs.TESTS]
    lists += [f'[{each} for i in x]'] if each != 'i' else []
  numbers = ['sum(x)', 'max(x)', 'min(x)', 'len(x)', 'x[0]', 'x[1]', 'x[-1]']
  assert sorted(derive(1, 99)) == sorted(['x', *lists, *numbers])
  two = derive(2, 99)
  assert len(two) == 1 + (len(lists) + 7) + len(lists) * (len(lists) + 7)
  assert derive(2, 20) == {text: count for text, count in two.items() if len(text) <= 20}
  assert (two['x'], two['max(x)'], two['sorted(x)[-1]']) == (0, 1, 2)
  assert all(set(text) <= set(ALPHABET) and canonical(text) == text for text in derive(3, 26))


def test_functions_are_what_programs_do():
  found = functions(2, 26)
  assert len({function.shown + function.hidden for function in found}) == len(found)
  known = {text: function for function in found for text in function.programs}
  assert len(known) == sum(len(function.programs) for function in found)
  for text in derive(2, 26):
    outputs = values(text, EXAMPLES + PROBES)
    assert (text in known) == (outputs is not None)
    assert outputs is None or outputs == known[text].shown + known[text].hidden
  assert known['max(x)'].programs[0] == 'max(x)' and known['max(x)'].operations == 1
  assert known['max(x)'] == known['sorted(x)[-1]'] == known['max(x[::-1])'] != known['x[-1]']
  assert 'max([i for i in x if i<3])' not in known  # raises where there is none


def test_numbers_by_hand():
  assert values('[i*2 for i in x if i>1]', ((1, 2, 3), (0, 1))) == ('[4, 6]', '[]')
  assert values('sum(x[1:])', ((1, 2, 3),)) == ('5',) and values('x[1]', ((1,),)) is None


# --- problems --------------------------------------------------------------------------------


def test_modes_are_the_programs_of_the_language_that_are_right(task):
  """The sandbox agrees with the enumeration on every program, right or wrong."""
  programs = [text for text in derive(2, 20) if text != 'x']
  some = sorted(one_of_each(task), key=task.modes)
  assert task.modes(some[0]) == 1 and task.modes(some[-1]) > 2
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


def test_the_shown_lists_leave_one_function(task):
  for problem in itertools.islice(one_of_each(task), 20):
    lines = problem.prompt.removesuffix(':').split(',')
    pairs = [line.replace('=', '>=').split('>') for line in lines]
    agree = []
    for function in functions(2, 20):
      given = tuple(tuple(map(int, digits)) for digits, _ in pairs)
      outputs = values(function.programs[0], given)
      shown = [f'={out}' if out[0] != '[' else ''.join(filter(str.isdigit, out)) for out in outputs]
      agree += [function] if shown == [value for _, value in pairs] else []
    assert [function.programs for function in agree] == [problem.data.programs]
    assert len({value for _, value in pairs}) > 1


def test_splits_share_no_function_whatever_else_differs():
  train = {problem.id.split('/')[0] for problem in problems(size=1000)}
  test = {problem.id.split('/')[0] for problem in problems(split='test', seed=3, shown=6)}
  assert train.isdisjoint(test) and min(len(train), len(test)) > 5
  names = [name(function) for function in functions(2, 20)]
  assert len(set(names)) == len(names) and train | test <= set(names)


def test_problems_follow_seed_and_index():
  assert problems() == problems() != problems(seed=1)
  assert problems(size=9) == problems()[:9]
  assert all(2 <= len(p.data.programs) <= 5 for p in problems(min_modes=2, max_modes=5))
  one = {'x', *derive(1, 20)}
  assert all(problem.answer in one for problem in problems(needed=1))


# --- rewards ---------------------------------------------------------------------------------

WRONG = {
  'the right value of another type': 'tuple(%s)',
  'an iterator': 'iter(%s)',
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
  task, problem = asking('sorted(x)[::-1]', timeout_s=0.3)
  assert task.reward(problem, problem.answer, True) == 1
  response = WRONG[kind].replace('%s', problem.answer)
  assert rewards(task, problem, [response]) == [task.reward(problem, response, True)] == [0]
  assert task.cluster(problem, response) is None


def test_a_table_of_the_shown_lists_is_wrong():
  task, problem = asking('sorted(x)[::-1]')
  entries = ','.join(problem.prompt[:-1].replace('>', ':').split(','))
  table = f'[*map(int,str({{{entries}}}[int("".join(map(str,x)))]))]'
  assert canonical(table) == table  # it is tried, and fails on what is hidden
  assert task.reward(problem, table, True) == 0


@pytest.mark.parametrize(('right', 'wrong'), [('sum(x)', 'sum(x)+0.0'), ('len(x)', 'str(len(x))')])
def test_numbers_have_their_type(right, wrong):
  task, problem = asking(right)
  assert rewards(task, problem, [right, f'int({right})', wrong, f'[{right}]']) == [1, 1, 0, 0]


def test_true_is_not_one():
  task, problem = asking('x[1:]')
  almost = '[i if i!=1 else True for i in x[1:]]'
  assert rewards(task, problem, [almost.replace('True', '1'), almost]) == [1, 0]
  task, problem = asking('min(x)')
  almost = '[i if i!=1 else True for i in x[:1]+[min(x)]][1]'
  assert rewards(task, problem, [almost.replace('True', '1'), almost]) == [1, 0]


def test_blanks_and_comments_do_not_matter(task):
  for problem in one_of_each(task)[:6]:
    text = problem.answer
    spaced = text.replace('(', ' ( ').replace('[', ' [').replace(':', ' : ')
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
  problem = next(p for p in one_of_each(task) if 'x' not in p.data.programs)
  assert task.reward(problem, 'x', True) == 0 and task.cluster(problem, ' x') == 'x'
  for text in ('y', 'x+x', '', ' ', '#x', 'x' * 201, 'x[1:', '())', ')(', '"', "'''", '\\', '\t'):
    assert task.cluster(problem, text) is None


def test_the_worked_example():
  task, problem = asking('sorted(x)[:2]', longest=24, operations=3)
  assert task.modes(problem) == 7 and problem.answer == 'sorted(x)[:2]'
  for response, reward, cluster in [
    ('sorted(x)[:2]', 1, 'sorted(x)[:2]'),
    ('sorted( x )[:2]  # so', 1, 'sorted(x)[:2]'),
    ('sorted(x)[0:2]', 1, None),
    ('sorted(set(x))[:2]', 0, None),
    ('sorted(x)[1:]', 0, 'sorted(x)[1:]'),
    ('x[:2', 0, None),
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
  for key, value in [('operations', 0), ('operations', 5), ('shown', 0), ('size', 0)]:
    with pytest.raises(ValueError, match=f'ListFunctions: .*{key}={value}'):
      ListFunctions(split='train', **{**SMALL, key: value})
  with pytest.raises(ValueError, match='no function that needs 2 operations has 99 to 99'):
    ListFunctions(split='train', min_modes=99, max_modes=99)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    ListFunctions(split='dev')
  with pytest.raises(ValueError, match='shown=1 examples tell no function'):
    ListFunctions(split='train', shown=1, min_modes=17)
  with pytest.raises(IndexError, match='problems 0 to 2, not 3'):
    ListFunctions(split='train', size=3)[3]
