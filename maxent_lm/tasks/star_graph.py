"""Star graphs G(d, l): find the one of d paths from the centre that ends at the goal.

Worked example, G(2, 4), two paths of four nodes each from the centre k:

  prompt    'ka|mx|ac|kf|fm|ce/kx='   every edge, away from the centre; then centre and goal
  response  'kfmx'                    the path: reward 1, the only mode
  response  'kace'                    the other path, to the wrong leaf: reward 0, cluster 'kace'
  response  'kfx', 'fmx'              no path: reward 0

The path-finding task of [Bachmann and Nagarajan 2024, The pitfalls of next-token prediction]. The
only choice is the second node; a model trained on the next token copies edges for all the others,
has no signal left from which to learn that choice, and is right on 1/d of the problems. [Zhou et
al. 2025, Q#] use it, with 50 labels, to show that value guidance repairs what policy gradients do
not. Nodes are single characters, so that a character is a node.

There is no list of problems: problem i is drawn when it is asked for (base.draw_in_split). Two
problems that list the same edges in another order are the same and in the same split. Known limit:
relabelled, all problems of a G(d, l) are one; a test problem is new by its labels only.
"""

from typing import NamedTuple

import numpy as np

from maxent_lm.tasks.base import Problem, draw_in_split

LABELS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
ALPHABET = LABELS + '|/='


class Star(NamedTuple):
  """The paths from the centre, the one to the goal first, and the edges as they are listed."""

  paths: tuple[str, ...]
  edges: tuple[str, ...]


def draw(rng: np.random.Generator, *, degree: int, length: int, labels: int) -> Star:
  """A star with random labels and a random order of its edges; every path is as likely the goal."""
  centre, *rest = (LABELS[i] for i in rng.permutation(labels)[: degree * (length - 1) + 1])
  arms = zip(*[iter(rest)] * (length - 1), strict=True)
  paths = tuple(centre + ''.join(arm) for arm in arms)
  edges = [path[i : i + 2] for path in paths for i in range(length - 1)]
  return Star(paths, tuple(edges[i] for i in rng.permutation(len(edges))))


def name(star: Star) -> str:
  """Names the problem, whatever the order of edges and of wrong paths."""
  goal, *others = star.paths
  return f'{goal}/{"|".join(sorted(others))}'


class StarGraph:
  """`size` problems G(degree, length) with labels from the first `labels` letters.

  `length` counts the nodes of a path, centre and goal included.

  Raises:
    ValueError: an unknown split, or a star that has no room.
  """

  def __init__(
    self,
    *,
    split: str,
    degree: int = 2,
    length: int = 5,
    labels: int = 50,
    test_fraction: float = 0.1,
    size: int = 20_000,
    seed: int = 0,
  ) -> None:
    needed = degree * (length - 1) + 1
    if degree < 1 or length < 2 or not needed <= labels <= len(LABELS):
      raise ValueError(
        f'StarGraph: G({degree}, {length}) has {needed} nodes, and labels={labels}; there must be '
        f'as many labels, at most {len(LABELS)}, degree >= 1 and length >= 2.'
      )
    if size < 1:
      raise ValueError(f'StarGraph: size={size} must be at least 1.')
    self._degree, self._length, self._labels = degree, length, labels
    self._split, self._test_fraction, self._size, self._seed = split, test_fraction, size, seed
    self[0]  # refuses now what it would refuse later

  def __len__(self) -> int:
    """Number of problems."""
    return self._size

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data are the paths, the right one first."""
    if not 0 <= index < self._size:
      raise IndexError(f'StarGraph has problems 0 to {self._size - 1}, not {index}.')
    star = draw_in_split(
      lambda rng: draw(rng, degree=self._degree, length=self._length, labels=self._labels),
      name,
      split=self._split,
      test_fraction=self._test_fraction,
      seed=self._seed,
      index=index,
    )
    path = star.paths[0]
    prompt = f'{"|".join(star.edges)}/{path[0]}{path[-1]}='
    return Problem(name(star), prompt, path, star.paths)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 for the path from the centre to the goal, both included, else 0."""
    return float(finished and response == problem.answer)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The response, if it is one of the paths, right or wrong."""
    return response if response in problem.data else None

  def modes(self, problem: Problem) -> int:
    """One path leads to the goal."""
    return 1

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The path."""
    return problem.answer
