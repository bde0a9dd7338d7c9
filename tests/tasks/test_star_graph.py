"""Star graphs: one path is right, problems are drawn the same every time, splits are disjoint."""

import itertools

import numpy as np
import pytest

from maxent_lm.tasks.star_graph import ALPHABET, Star, StarGraph, name

RNG = np.random.default_rng(0)


def read(prompt):
  """Edges, centre and goal of a prompt."""
  graph, question = prompt.removesuffix('=').split('/')
  return [tuple(edge) for edge in graph.split('|')], *question


@pytest.mark.parametrize(('degree', 'length'), [(2, 5), (5, 5), (2, 20), (1, 2), (3, 3)])
def test_a_problem_is_a_star(degree, length):
  task = StarGraph(split='train', degree=degree, length=length, size=20)
  for problem in (task[i] for i in range(20)):
    edges, centre, goal = read(problem.prompt)
    ends = [node for edge in edges for node in edge]
    assert len(set(ends)) == degree * (length - 1) + 1 and len(edges) == degree * (length - 1)
    assert ends.count(centre) == degree and ends.count(goal) == 1
    path = [centre]
    while path[-1] != goal:  # every node but the centre has one way on, so try each first step
      step = dict(edges if len(path) > 1 else [e for e in edges if problem.answer[1] in e])
      path.append(step[path[-1]])
    assert ''.join(path) == problem.answer == task.demonstration(problem, RNG)
    assert len(path) == length and task.modes(problem) == 1 and hash(problem)
    assert set(problem.prompt + problem.answer) <= set(ALPHABET)


def test_only_the_path_is_right():
  task = StarGraph(split='test', degree=2, length=3, labels=5, size=5)
  for problem in (task[i] for i in range(5)):
    edges, centre, goal = read(problem.prompt)
    paths = [centre + a[1] + b[1] for a, b in itertools.permutations(edges, 2) if a[1] == b[0]]
    right = [
      ''.join(text)
      for n in range(5)
      for text in itertools.product('abcde', repeat=n)
      if task.reward(problem, ''.join(text), True)
    ]
    assert right == [path for path in paths if path[-1] == goal and path[0] == centre]
    assert {task.cluster(problem, path) for path in paths} >= set(problem.data)
    for wrong in ('', 'abc' * 9, problem.answer + ' ', problem.answer[:-1], problem.answer[1:]):
      assert task.reward(problem, wrong, True) == 0 and task.cluster(problem, wrong) is None
    assert task.reward(problem, problem.answer, False) == 0
    assert task.reward(problem, problem.data[1], True) == 0
    assert task.cluster(problem, problem.data[1]) == problem.data[1]


def test_the_worked_example():
  star = Star(('kfmx', 'kace'), ('ka', 'mx', 'ac', 'kf', 'fm', 'ce'))
  assert name(star) == 'kfmx/kace' == name(star._replace(edges=star.edges[::-1]))


def test_the_name_does_not_depend_on_the_order_of_wrong_paths():
  assert name(Star(('ab', 'ac', 'ad'), ())) == name(Star(('ab', 'ad', 'ac'), ()))
  assert name(Star(('ab', 'ac', 'ad'), ())) != name(Star(('ac', 'ab', 'ad'), ()))


def problems(**arguments):
  task = StarGraph(**{'size': 300, 'degree': 2, 'length': 2, 'labels': 6, **arguments})
  return [task[i] for i in range(len(task))]


def test_splits_are_disjoint_and_problems_follow_the_seed():
  """G(2, 2) with 6 labels has 120 problems: both splits meet all of theirs."""
  train, test = (
    problems(split='train', test_fraction=0.3),
    problems(split='test', test_fraction=0.3),
  )
  names = {problem.id for problem in train}, {problem.id for problem in test}
  assert names[0].isdisjoint(names[1]) and len(names[0] | names[1]) > 110
  assert names[0].isdisjoint(p.id for p in problems(split='test', test_fraction=0.3, seed=4))
  assert train == problems(split='train', test_fraction=0.3)
  assert train != problems(split='train', test_fraction=0.3, seed=1)
  assert problems(split='train', size=9) == problems(split='train')[:9]


def test_every_path_is_the_goal_as_often():
  task = StarGraph(split='train', degree=4, length=2, labels=5, size=2000)
  listed = [read(task[i].prompt) for i in range(2000)]
  ranks = [[goal for _, goal in sorted(edges)].index(goal) for edges, _, goal in listed]
  counts = np.bincount(ranks, minlength=4)
  assert np.abs(counts - 500).max() < 6 * np.sqrt(2000 * 0.25 * 0.75)


def test_errors():
  for wrong in ({'degree': 0}, {'length': 1}, {'labels': 8}, {'labels': 53}):
    with pytest.raises(ValueError, match=r'StarGraph: G\(.*\) has .* nodes'):
      StarGraph(**{'split': 'train', **wrong})
  with pytest.raises(ValueError, match='size=0'):
    StarGraph(split='train', size=0)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    StarGraph(split='dev')
  with pytest.raises(ValueError, match="'test' has no problems"):
    StarGraph(split='test', test_fraction=0.0)
  with pytest.raises(IndexError, match='problems 0 to 2, not 3'):
    StarGraph(split='train', size=3)[3]
