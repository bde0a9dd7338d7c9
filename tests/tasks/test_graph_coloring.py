"""Graph colouring against brute force over every colouring; disguised problems share a split."""

import itertools

import numpy as np
import pytest

from maxent_lm.tasks.graph_coloring import (
  ALPHABET,
  COLORS,
  NODES,
  Coloring,
  GraphColoring,
  completions,
  draw,
  family,
  name,
  proper,
  write,
)

SQUARE = Coloring(((0, 1), (0, 3), (1, 2), (2, 3)), '1...', 3)


def random_problems(count, **limits):
  rng = np.random.default_rng(0)
  limits = {'nodes': (2, 3, 4, 5), 'given': (0, 1, 2), 'colors': 3, 'edge': 0.6, **limits}
  drawn = (draw(rng, **limits) for _ in range(count))
  return [problem for problem in drawn if problem]


def brute_force(problem):
  """Every proper completion, from the text of the prompt alone."""
  edges, nodes = name(problem).removesuffix(':').split(';')
  shown = dict(zip(nodes[::2], nodes[1::2], strict=True))
  for colors in itertools.product(COLORS[: problem.colors], repeat=len(shown)):
    colored = dict(zip(shown, colors, strict=True))
    if all(colored[edge[0]] != colored[edge[1]] for edge in edges.split(',')):
      if all(color in ('.', colored[node]) for node, color in shown.items()):
        yield ''.join(colors)


@pytest.mark.parametrize('colors', [2, 3, 4])
def test_all_completions_are_those_of_brute_force(colors):
  problems = random_problems(80, colors=colors)
  assert len(problems) > 20
  for problem in problems:
    assert completions(problem) == tuple(brute_force(problem)) != ()


def test_known_counts():
  assert len(completions(SQUARE)) == 6  # 18 colourings of the 4-cycle, a third with this colour
  triangle = Coloring(((0, 1), (0, 2), (1, 2)), '...', 3)
  assert completions(triangle) == ('123', '132', '213', '231', '312', '321')
  assert completions(triangle._replace(colors=2)) == ()
  petersen = [(i, (i + 1) % 5) for i in range(5)] + [(i, i + 5) for i in range(5)]
  petersen += [(i + 5, (i + 2) % 5 + 5) for i in range(5)]
  edges = tuple(sorted(tuple(sorted(edge)) for edge in petersen))
  assert len(completions(Coloring(edges, '.' * 10, 3))) == 120  # its chromatic polynomial at 3


@pytest.fixture(scope='module')
def task():
  return GraphColoring(split='train', graphs=500)


def test_modes_are_all_that_is_right(task):
  for problem in (task[i] for i in range(0, len(task), 9)):
    size = len(problem.data.given)
    texts = [write(''.join(c)) for c in itertools.product('123', repeat=size)]
    right = [text for text in texts if task.reward(problem, text, True) == 1]
    assert len(right) == task.modes(problem) == len({task.cluster(problem, t) for t in right})
    assert {task.cluster(problem, text) for text in right} == set(completions(problem.data))
    assert not any(task.reward(problem, text, False) for text in right)
    assert 2 <= task.modes(problem) <= 32


def test_demonstrations_are_right_and_reach_every_mode_alike(task):
  rng = np.random.default_rng(0)
  for problem in (task[i] for i in range(0, len(task), 9)):
    assert task.reward(problem, task.demonstration(problem, rng), True) == 1
    assert task.reward(problem, problem.answer, True) == 1 and hash(problem)
    assert set(problem.prompt + problem.answer) <= set(ALPHABET)
  problem = task[0]
  texts = [task.demonstration(problem, rng) for _ in range(2000)]
  counts = np.unique(texts, return_counts=True)[1]
  share = 1 / task.modes(problem)
  assert len(counts) == task.modes(problem)
  assert np.abs(counts / 2000 - share).max() < 6 * np.sqrt(share * (1 - share) / 2000)


def test_the_worked_example(task):
  problem = task[0]._replace(prompt=name(SQUARE), data=SQUARE)
  assert problem.prompt == 'ab,ad,bc,cd;a1b.c.d.:' and task.modes(problem) == 6
  assert task.reward(problem, 'a1b2c1d3', True) == 1
  assert task.cluster(problem, 'a1b2c1d3') == '1213'
  for text, cluster in [('a1b2c2d3', '1223'), ('a2b1c2d1', '2121')]:
    assert task.reward(problem, text, True) == 0 and task.cluster(problem, text) == cluster
  for text in ['', 'a1b2c1', '1213', 'a1b2c1d.', 'a1b2c1d4', 'a1b2c1d3 ', 'b2a1c1d3', 'a1' * 10**5]:
    assert task.reward(problem, text, True) == 0 and task.cluster(problem, text) is None


def renamed(problem, rng):
  """The same problem with other names for its nodes and colours."""
  nodes, colors = rng.permutation(len(problem.given)), rng.permutation(problem.colors)
  edges = sorted(tuple(sorted((int(nodes[a]), int(nodes[b])))) for a, b in problem.edges)
  given = ['.'] * len(problem.given)
  for node, color in enumerate(problem.given):
    given[nodes[node]] = color if color == '.' else COLORS[colors[int(color) - 1]]
  return Coloring(tuple(edges), ''.join(given), problem.colors)


def test_disguises_have_one_family_and_as_many_completions():
  rng = np.random.default_rng(1)
  for problem in random_problems(60):
    other = renamed(problem, rng)
    assert family(other) == family(problem)
    assert len(completions(other)) == len(completions(problem))
    assert all(proper(problem, text) for text in completions(problem))


def test_families_differ_where_problems_do():
  path = Coloring(((0, 1), (1, 2)), '1..', 3)
  others = [
    path._replace(given='.1.'),
    path._replace(given='12.'),
    path._replace(given='1.1'),
    path._replace(given='1.2'),
    path._replace(colors=4),
    path._replace(edges=((0, 1),)),
    path._replace(edges=((0, 1), (0, 2), (1, 2))),
  ]
  assert len({family(problem) for problem in [path, *others]}) == len(others) + 1


def test_splits_share_no_family_whatever_else_differs():
  train = GraphColoring(split='train', graphs=800)
  test = GraphColoring(split='test', graphs=800, seed=7, min_modes=1, given=(0, 1, 2))
  families = [{family(t[i].data) for i in range(len(t))} for t in (train, test)]
  assert families[0].isdisjoint(families[1]) and min(map(len, families)) > 5


def ids(**arguments):
  task = GraphColoring(**{'split': 'train', 'graphs': 300, **arguments})
  return [task[i].id for i in range(len(task))]


def test_size_seed_and_limits():
  assert ids() == ids() != ids(seed=1) and len(set(ids())) == len(ids())
  assert ids(size=9) == ids()[:9]
  task = GraphColoring(split='train', graphs=300, nodes=(6,), given=(3,), min_modes=3, max_modes=5)
  for problem in (task[i] for i in range(len(task))):
    given = problem.data.given
    assert len(given) == 6 and given.count('.') == 3 and 3 <= task.modes(problem) <= 5


def test_errors():
  for key, value in [('nodes', (1, 4)), ('nodes', (11,)), ('nodes', ()), ('given', (5,))]:
    with pytest.raises(ValueError, match=rf'GraphColoring: {key}='):
      GraphColoring(split='train', **{key: value})
  with pytest.raises(ValueError, match='colors=10 must be 1 to 9'):
    GraphColoring(split='train', colors=10)
  with pytest.raises(ValueError, match="unknown split 'dev'"):
    GraphColoring(split='dev', graphs=50)
  with pytest.raises(ValueError, match='no problems: widen the limits'):
    GraphColoring(split='train', graphs=50, min_modes=1000, max_modes=1000)
  assert len(NODES) == 10
