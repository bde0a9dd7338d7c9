"""Graph colouring: complete a partial colouring; every proper completion is known.

Worked example, the square a-b-c-d with one node coloured and three colours:

  prompt    'ab,ad,bc,cd;a1b.c.d.:'   edges; then each node with its colour, or a dot for none
  response  'a1b2c1d3'   the dots filled in, properly: reward 1, one of 6 modes, cluster '1213'
  response  'a1b2c2d3'   b and c are joined and have the same colour: reward 0, cluster '1223'
  response  'a2b1c2d1'   proper, but a should have 1: reward 0, cluster '2121'
  response  'a1b2c1', '1213', 'a1b2c1d.'   no colouring of the four nodes: reward 0, cluster None

A mode is a whole colouring: which colour a node has matters, and nothing is merged. Completions are
enumerated by backtracking, as in the graph tasks of ModeBench, of which this is not a copy.

Graphs are drawn at random: each edge with probability `edge`, then a proper colouring, of which
`given` nodes are shown. Two problems that differ by the names of nodes and colours alone are one
problem in disguise; the split goes by `family`, which is the same for such problems, so no test
problem is met in training under another name. Known limits: `family` is colour refinement, which
takes some graphs that are different for the same (that costs variety, not honesty), and problems
share parts, as do the answers of any two problems with these few nodes.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from maxent_lm.tasks.base import Problem, stable_hash, take_split

NODES = 'abcdefghij'
COLORS = '123456789'
BLANK = '.'
ALPHABET = NODES + COLORS + BLANK + ',;:'


class Coloring(NamedTuple):
  """A partial colouring to be completed.

  Attributes:
    edges: pairs of nodes, each and all in ascending order; nodes are numbers from 0.
    given: a colour, or BLANK, for every node.
    colors: number of colours.
  """

  edges: tuple[tuple[int, int], ...]
  given: str
  colors: int


def write(colors: str) -> str:
  """Every node with its colour."""
  return ''.join(map(str.__add__, NODES, colors))


def read(text: str, problem: Coloring) -> str | None:
  """The colours in a text; None if it does not give every node one colour, in order."""
  colors = text[1::2]
  whole = len(colors) == len(problem.given) and set(colors) <= set(COLORS[: problem.colors])
  return colors if whole and write(colors) == text else None


def proper(problem: Coloring, colors: str) -> bool:
  """Whether the colours, one a node, are those given, and no edge joins two nodes of one colour."""
  kept = all(given in (BLANK, color) for given, color in zip(problem.given, colors, strict=True))
  return kept and all(colors[a] != colors[b] for a, b in problem.edges)


@functools.lru_cache(maxsize=1 << 16)
def completions(problem: Coloring) -> tuple[str, ...]:
  """Every proper completion, sorted."""
  earlier: list[list[int]] = [[] for _ in problem.given]
  for a, b in problem.edges:
    earlier[b].append(a)

  def extend(text: str) -> Iterator[str]:
    node = len(text)
    if node == len(problem.given):
      yield text
      return
    given = problem.given[node]
    taken = {text[other] for other in earlier[node]}
    for color in COLORS[: problem.colors] if given == BLANK else given:
      if color not in taken:
        yield from extend(text + color)

  return tuple(extend(''))


def name(problem: Coloring) -> str:
  """The text of the problem, which is its prompt, too."""
  edges = ','.join(NODES[a] + NODES[b] for a, b in problem.edges)
  return f'{edges};{write(problem.given)}:'


def family(problem: Coloring) -> str:
  """The same text for problems that differ by the names of nodes and colours alone.

  Colour refinement [Weisfeiler and Leman 1968] of the graph in which every colour is one more node,
  joined to the nodes that have it.
  """
  nodes = len(problem.given)
  seen = sorted(set(problem.given) - {BLANK})
  joins = [(i, nodes + seen.index(c)) for i, c in enumerate(problem.given) if c != BLANK]
  around: list[list[int]] = [[] for _ in range(nodes + len(seen))]
  for a, b in (*problem.edges, *joins):
    around[a].append(b)
    around[b].append(a)
  labels = ['node'] * nodes + ['color'] * len(seen)
  for _ in labels:
    keys = (f'{labels[i]}:{sorted(labels[j] for j in near)}' for i, near in enumerate(around))
    labels = [str(stable_hash(key)) for key in keys]
  return f'{problem.colors}:{sorted(labels)}'


def draw(
  rng: np.random.Generator, *, nodes: Sequence[int], given: Sequence[int], colors: int, edge: float
) -> Coloring | None:
  """A random problem with at least one completion; None where the graph has no proper colouring."""
  count = int(rng.choice(list(nodes)))
  pairs = itertools.combinations(range(count), 2)
  edges = tuple(pair for pair in pairs if rng.random() < edge)
  whole = completions(Coloring(edges, BLANK * count, colors))
  if not edges or not whole:
    return None
  text = whole[int(rng.integers(len(whole)))]
  shown = set(rng.permutation(count)[: int(rng.choice(list(given)))].tolist())
  partial = ''.join(c if i in shown else BLANK for i, c in enumerate(text))
  return Coloring(edges, partial, colors)


class GraphColoring:
  """The problems among `graphs` random ones that have min_modes to max_modes completions.

  `nodes` and `given` are the numbers of nodes and of coloured nodes that are drawn from. `seed`
  sets which problems are drawn, their order, and with it which `size` of them are kept; which split
  a problem is in does not depend on it.

  Raises:
    ValueError: an unknown split, sizes that cannot be written, or no problem is left.
  """

  def __init__(
    self,
    *,
    split: str,
    nodes: Sequence[int] = (4, 5),
    colors: int = 3,
    given: Sequence[int] = (1, 2),
    edge: float = 0.5,
    min_modes: int = 2,
    max_modes: int = 32,
    graphs: int = 20_000,
    test_fraction: float = 0.1,
    size: int | None = None,
    seed: int = 0,
  ) -> None:
    if not nodes or not 2 <= min(nodes) <= max(nodes) <= len(NODES):
      raise ValueError(f'GraphColoring: nodes={tuple(nodes)} must be 2 to {len(NODES)} each.')
    if not 1 <= colors <= len(COLORS):
      raise ValueError(f'GraphColoring: colors={colors} must be 1 to {len(COLORS)}.')
    if not given or not 0 <= min(given) <= max(given) <= min(nodes):
      raise ValueError(f'GraphColoring: given={tuple(given)} must be 0 to {min(nodes)} each.')
    rng = np.random.default_rng(seed)
    drawn = (draw(rng, nodes=nodes, given=given, colors=colors, edge=edge) for _ in range(graphs))
    found = {
      name(problem): problem
      for problem in drawn
      if problem and min_modes <= len(completions(problem)) <= max_modes
    }
    self._problems = _split(found.values(), split, test_fraction, size, seed)

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._problems)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its answer is the first completion, its data the `Coloring`."""
    problem = self._problems[index]
    text = name(problem)
    return Problem(text.removesuffix(':'), text, write(completions(problem)[0]), problem)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 if the response is a proper completion, else 0."""
    colors = read(response, problem.data)
    return float(finished and colors is not None and proper(problem.data, colors))

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The colours, if there is one for every node, right or wrong."""
    return read(response, problem.data)

  def modes(self, problem: Problem) -> int:
    """Number of proper completions."""
    return len(completions(problem.data))

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """A proper completion, uniformly."""
    whole = completions(problem.data)
    return write(whole[int(rng.integers(len(whole)))])


def _split(
  problems: Iterable[Coloring], split: str, test_fraction: float, size: int | None, seed: int
) -> list[Coloring]:
  """Whole families are in one split; the order and `size` are those of single problems."""
  families = {problem: family(problem) for problem in problems}
  mine = set(
    take_split(
      set(families.values()), split=split, test_fraction=test_fraction, size=None, seed=seed
    )
  )
  ours = [problem for problem, kin in families.items() if kin in mine]
  return sorted(ours, key=lambda problem: stable_hash(f'{seed}:{name(problem)}'))[:size]
