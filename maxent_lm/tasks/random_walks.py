"""Random walks: find a short way to the goal on a directed graph, from walks that found long ones.

Worked example, for any graph:

  prompt    'c'                 the start
  response  'kqa' and then EOS  the walk; 'a' is the goal
  reward    (10 - nodes) / (10 - fewest nodes), in [0, 1]; 0 for a step along no edge or no goal

The benchmark of trlx (CarperAI, examples/randomwalks): 21 nodes, an edge with probability .1, 1,000
walks of at most 10 nodes from random starts, drawn with seed 1002. Shortest paths are known, so the
best policy is, too: reward 1 from every start.
"""

import functools
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks.base import Problem

GOAL = 0
LETTERS = 'abcdefghijklmnopqrstuvwxyz'


class Graph(NamedTuple):
  """[N, N] bool edges from row to column, and the logged walks as texts."""

  edges: np.ndarray
  walks: tuple[str, ...]


@functools.lru_cache(maxsize=4)
def make_graph(nodes: int, longest: int, walks: int, edge: float, seed: int) -> Graph:
  """Edges such that every node has a way on, then random walks that end at the goal or are cut.

  The goal leads nowhere. The order of the draws is that of the benchmark.
  """
  draws = np.random.RandomState(seed)
  edges = np.zeros((nodes, nodes), bool)
  while not edges.any(axis=1).all():
    edges = draws.rand(nodes, nodes) > 1 - edge
    np.fill_diagonal(edges, False)
  edges[GOAL] = False
  logged = []
  for _ in range(walks):
    node = GOAL
    while node == GOAL:
      node = draws.randint(nodes)
    walk = [node]
    while len(walk) < longest and node != GOAL:
      node = draws.choice(np.flatnonzero(edges[node]))
      walk.append(node)
    logged.append(''.join(LETTERS[node] for node in walk))
  return Graph(edges, tuple(logged))


def shortest(edges: np.ndarray, longest: int) -> np.ndarray:
  """[N] nodes on the shortest path to the goal, start and goal included; at most `longest`."""
  length = np.full(len(edges), longest)
  length[GOAL] = 1
  for steps in range(2, longest):
    reaches = edges[:, length == steps - 1].any(axis=1)
    length = np.where(reaches & (length == longest), steps, length)
  return length


class RandomWalks:
  """One problem for every start that is not the goal; both splits are the same.

  Raises:
    ValueError: an unknown split, or more nodes than letters.
  """

  def __init__(
    self, *, split: str, nodes: int, longest: int, walks: int, edge: float, seed: int
  ) -> None:
    if split not in ('train', 'test'):
      raise ValueError(f"unknown split '{split}': choose 'train' or 'test'.")
    if not 2 <= nodes <= len(LETTERS):
      raise ValueError(f'random walks need 2 to {len(LETTERS)} nodes, got {nodes}')
    self.graph = make_graph(nodes, longest, walks, edge, seed)
    self.longest = longest
    self._shortest = shortest(self.graph.edges, longest)

  def __len__(self) -> int:
    """Number of starts."""
    return len(self.graph.edges) - 1

  def __getitem__(self, index: int) -> Problem:
    """The start `index` + 1; the answer is a shortest walk from there, '' if there is none."""
    start = LETTERS[index + 1]
    paths = self.paths(start)
    best = min(paths, key=len) if paths else ''
    return Problem(f'random_walks:{start}', start, best, None)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """How short the walk is; 0 if it is no walk, or does not end at the goal and there at once."""
    walk = [LETTERS.find(letter) for letter in problem.prompt + response]
    inside = all(0 <= node < len(self.graph.edges) for node in walk)
    if not (finished and inside and walk[-1] == GOAL):
      return 0.0
    if len(walk) > self.longest or not self.graph.edges[walk[:-1], walk[1:]].all():
      return 0.0
    least = self._shortest[walk[0]]
    return float((self.longest - len(walk)) / (self.longest - least)) if least < len(walk) else 1.0

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The walk itself."""
    return response

  def modes(self, problem: Problem) -> int:
    """Number of shortest walks."""
    lengths = [len(path) for path in self.paths(problem.prompt)]
    return lengths.count(min(lengths)) if lengths else 0

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A logged walk from this start that reached the goal; ValueError if there is none."""
    found = [w[1:] for w in self.graph.walks if w[0] == problem.prompt and w[-1] == LETTERS[GOAL]]
    if not found:
      raise ValueError(f'no logged walk from {problem.prompt} reached the goal')
    return str(rng.choice(found))

  def paths(self, start: str) -> list[str]:
    """Every walk from `start` to the goal of at most `longest` nodes, without the start."""
    found, open_ends = [], [start]
    while open_ends:
      longer = []
      for walk in open_ends:
        for node in np.flatnonzero(self.graph.edges[LETTERS.index(walk[-1])]):
          (found if node == GOAL else longer).append(walk + LETTERS[node])
      open_ends = [walk for walk in longer if len(walk) < self.longest]
    return [walk[1:] for walk in found if len(walk) <= self.longest]
