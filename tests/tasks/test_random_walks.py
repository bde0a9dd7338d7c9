"""The graph and its walks, shortest paths against a search, and what counts as a walk."""

import numpy as np
import pytest

from maxent_lm.tasks import TASKS
from maxent_lm.tasks.random_walks import LETTERS, make_graph, shortest

OPTIONS = {'nodes': 21, 'longest': 10, 'walks': 1000, 'edge': 0.1, 'seed': 1002}


@pytest.fixture(scope='module')
def task():
  return TASKS['random_walks'](split='train', **OPTIONS)


def test_logged_walks_follow_edges_and_end_at_the_goal_or_are_cut(task):
  assert len(task.graph.walks) == 1000
  for walk in task.graph.walks:
    nodes = [LETTERS.index(letter) for letter in walk]
    assert nodes[0] != 0 and 0 not in nodes[:-1] and len(walk) <= 10
    assert task.graph.edges[nodes[:-1], nodes[1:]].all()
    assert nodes[-1] == 0 or len(walk) == 10
  reached = np.mean([walk.endswith('a') for walk in task.graph.walks])
  assert 0.9 < reached < 1


def test_another_seed_is_another_graph():
  other = make_graph(21, 10, 1000, 0.1, 1003)
  assert (other.edges != make_graph(21, 10, 1000, 0.1, 1002).edges).any()


def test_shortest_lengths_are_those_of_the_shortest_walks(task):
  """Against the enumeration of all walks, and the reward of each of them."""
  lengths = shortest(task.graph.edges, 10)
  for problem in (task[i] for i in range(len(task))):
    paths = task.paths(problem.prompt)
    node = LETTERS.index(problem.prompt)
    assert lengths[node] == (min(map(len, paths)) + 1 if paths else 10)
    for path in paths[:50]:
      expected = (10 - len(path) - 1) / (10 - lengths[node])
      assert task.reward(problem, path, True) == pytest.approx(expected)
    if problem.answer:
      assert task.reward(problem, problem.answer, True) == 1.0
      assert task.modes(problem) == sum(len(p) == len(problem.answer) for p in paths)


def test_what_is_no_walk_scores_nothing(task):
  problem = next(p for p in (task[i] for i in range(len(task))) if len(p.answer) > 1)
  good = problem.answer
  assert task.reward(problem, good, True) == 1.0
  elsewhere = [
    (good, False),
    (good + 'a', True),
    (good[:-1], True),
    ('', True),
    (problem.prompt + good, True),
    (good.replace('a', 'z'), True),
    ('?' + good, True),
    (good + '<eos>', True),
  ]
  assert all(task.reward(problem, text, finished) == 0 for text, finished in elsewhere)


def test_demonstrations_are_logged_walks_that_arrived(task):
  rng = np.random.default_rng(0)
  problem = task[3]
  for _ in range(5):
    walk = task.demonstration(problem, rng)
    assert problem.prompt + walk in task.graph.walks and walk.endswith('a')
    assert (task.reward(problem, walk, True) > 0) == (len(walk) < 9)


def test_wrong_options_are_told():
  with pytest.raises(ValueError, match='2 to 26 nodes, got 40'):
    TASKS['random_walks'](split='train', **{**OPTIONS, 'nodes': 40})
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    TASKS['random_walks'](split='dev', **OPTIONS)
