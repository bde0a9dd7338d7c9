"""TreeSample: the graph, its energies, and the distribution over assignments."""

import itertools
import math

import numpy as np
import pytest

from maxent_lm.tasks.treesample import WRONG, TreeSample, maximal_cliques, random_graph


@pytest.fixture(scope='module')
def task():
  return TreeSample(split='train')


def test_maximal_cliques_of_a_known_graph():
  """A triangle 0 1 2, an edge 2 3, and 4 alone."""
  joined = np.zeros((5, 5), bool)
  for i, j in ((0, 1), (0, 2), (1, 2), (2, 3)):
    joined[i, j] = joined[j, i] = True
  assert maximal_cliques(joined) == [(4,), (2, 3), (0, 1, 2)]


@pytest.mark.parametrize('seed', range(5))
def test_graphs_are_connected_with_small_cliques(seed):
  cliques = random_graph(np.random.default_rng(seed), 6)
  assert max(map(len, cliques)) <= 4
  reached = {0}
  for _ in range(6):
    for clique in cliques:
      reached |= set(clique) if reached & set(clique) else set()
  assert reached == set(range(6))


def test_a_reward_is_the_sum_of_its_factors(task):
  letters = 'abcd'
  for text in ('aaaaaa', 'abcdab', 'dcbada'):
    values = [letters.index(c) for c in text]
    total = sum(
      potential[tuple(values[v] for v in clique)]
      for clique, potential in zip(task.cliques, task.potentials, strict=True)
    )
    for finished in (True, False):
      assert task.reward(task[0], text, finished) == pytest.approx(total)


def test_the_target_is_the_boltzmann_distribution_over_all_assignments(task):
  target = task.log_target(task[0])
  assert list(target) == [''.join(c) for c in itertools.product('abcd', repeat=6)]
  assert math.fsum(map(math.exp, target.values())) == pytest.approx(1, abs=1e-12)
  for text in ('aaaaaa', 'bcdbcd'):
    reward = task.reward(task[0], text, False)
    assert target[text] == pytest.approx(reward - task.log_z(task[0]))


def test_what_is_no_assignment(task):
  for text in ('aaaaa', 'aaaaaaa', 'aaaaae', ''):
    assert task.reward(task[0], text, True) == WRONG
    assert task.cluster(task[0], text) is None
  assert task.modes(task[0]) is None


def test_the_seed_draws_another_graph_and_scale_is_one_over_a_temperature():
  first, other = TreeSample(split='test', seed=0), TreeSample(split='test', seed=1)
  assert first.log_z(first[0]) != other.log_z(other[0])
  cold = TreeSample(split='test', seed=0, scale=2.0)
  assert cold.reward(cold[0], 'abcdab', True) == pytest.approx(
    2 * first.reward(first[0], 'abcdab', True)
  )


def test_demonstrations_are_uniform(task):
  rng = np.random.default_rng(0)
  drawn = [task.demonstration(task[0], rng)[0] for _ in range(2000)]
  assert all(abs(drawn.count(c) / 2000 - 0.25) < 0.04 for c in 'abcd')


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'split': 'dev'}, "unknown split 'dev'"),
    ({'split': 'train', 'variables': 1}, 'at least 2'),
    ({'split': 'train', 'categories': 9}, 'at most 8'),
    ({'split': 'train', 'variables': 12}, 'cannot be listed'),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    TreeSample(**options)
