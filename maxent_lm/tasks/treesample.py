"""TreeSample: write the values of a few variables, as often as their energy says.

Worked example, 3 variables x 2 categories (a, b) with the factors f(0, 1) and g(1, 2):

  prompt    ':'
  response  'aba', cut by the length cap: reward -E(aba) = f(a, b) + g(b, a), cluster 'aba'
            'ab' and then EOS, or 'ab:': reward -15, no cluster
  target    log pi*(x) = -E(x) - log Z for each of the 8 assignments

The factor graphs of Deleu et al. 2024 (Discrete probabilistic inference as control; environments
in the repository gfn-maxent-rl): a connected random graph, a factor for each maximal clique,
log-potentials drawn from a normal distribution. Their sampler may assign the variables in any order
and needs a backward policy P_B for the many paths to one x. Here the order is fixed, x_0 first:
strings form a tree, log P_B is 0, and a language model with one symbol a category is the sampler.

At alpha = 1, beta = 0 the maximum-entropy optimum is pi*(x) = exp(-E(x)) / Z; a temperature T of
the energy is a `scale` of 1 / T. The length cap, max_new_tokens, is the number of variables: the
last value ends the episode and EOS is never needed. A language model can still write it, and other
tokens, where the original masks its actions: such strings pay WRONG, and at six variables x four
categories hold a share of about 1e-6 of the optimum. Rewards are -E, in nats, of either sign: there
is no full mark.
"""

import itertools
import math

import numpy as np

from maxent_lm.tasks.base import Problem

PROMPT = ':'
CATEGORIES = 'abcdefgh'
ALPHABET = CATEGORIES[:4] + PROMPT
WRONG = -15.0  # reward of what is no assignment
LARGEST_CLIQUE = 4
LARGEST_SPACE = 1 << 16  # assignments: they are listed

Clique = tuple[int, ...]


def maximal_cliques(joined: np.ndarray) -> list[Clique]:
  """The maximal cliques of a graph with adjacency matrix `joined` [V, V], in ascending order."""
  count = len(joined)
  subsets = (c for n in range(1, count + 1) for c in itertools.combinations(range(count), n))
  cliques = [c for c in subsets if all(joined[i, j] for i, j in itertools.combinations(c, 2))]
  return [c for c in cliques if not any(set(c) < set(other) for other in cliques)]


def random_graph(rng: np.random.Generator, variables: int) -> list[Clique]:
  """The maximal cliques of a connected random graph, none larger than four.

  Each pair is joined with probability 2 log V / V (or 1, if that is more); graphs that are not
  connected, or have a larger clique, are drawn again.

  Raises:
    ValueError: no such graph was found.
  """
  chance = 2 * math.log(variables) / variables
  for _ in range(1000):
    upper = np.triu(rng.random((variables, variables)) < chance, k=1)
    joined = upper | upper.T
    cliques = maximal_cliques(joined)
    reached = np.linalg.matrix_power(
      (joined | np.eye(variables, dtype=bool)).astype(float), variables
    )
    if (reached > 0).all() and max(map(len, cliques)) <= LARGEST_CLIQUE:
      return cliques
  raise ValueError(
    f'TreeSample: found no connected graph of {variables} variables without a clique of more than '
    f'{LARGEST_CLIQUE}; take another number of variables.'
  )


class TreeSample:
  """One problem, the same in both splits: the factor graph that `seed` draws.

  Raises:
    ValueError: an unknown split, fewer than 2 variables or categories, or too many of them.
  """

  def __init__(
    self, *, split: str, variables: int = 6, categories: int = 4, scale: float = 1.0, seed: int = 0
  ) -> None:
    if split not in ('train', 'test'):
      raise ValueError(f"unknown split '{split}': choose 'train' or 'test'.")
    if not (2 <= variables and 2 <= categories <= len(CATEGORIES)):
      raise ValueError(
        f'TreeSample: variables={variables} and categories={categories} must be at least 2, and '
        f'categories at most {len(CATEGORIES)}.'
      )
    if categories**variables > LARGEST_SPACE:
      raise ValueError(
        f'TreeSample: {categories}^{variables} assignments cannot be listed; stay within '
        f'{LARGEST_SPACE}.'
      )
    rng = np.random.default_rng(seed)
    self.cliques = random_graph(rng, variables)
    self.potentials = [scale * rng.normal(size=(categories,) * len(c)) for c in self.cliques]
    self._letters = CATEGORIES[:categories]
    self._log_weight = self._enumerate(variables)

  def _enumerate(self, variables: int) -> dict[str, float]:
    """-E(x) of every assignment x, in lexicographic order."""
    values = np.array(list(itertools.product(range(len(self._letters)), repeat=variables)))
    weight = np.zeros(len(values))
    for clique, potential in zip(self.cliques, self.potentials, strict=True):
      weight += potential[tuple(values[:, clique].T)]
    texts = (''.join(self._letters[v] for v in row) for row in values)
    return dict(zip(texts, weight.tolist(), strict=True))

  def __len__(self) -> int:
    """One problem."""
    return 1

  def __getitem__(self, index: int) -> Problem:
    """The problem; there is no one answer to show."""
    if index != 0:
      raise IndexError(f'TreeSample has one problem, 0, not {index}')
    return Problem('treesample', PROMPT, '', None)

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """-E(x), whether or not EOS follows a complete assignment x; WRONG for anything else."""
    return self._log_weight.get(response, WRONG)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The assignment itself; None for anything else."""
    return response if response in self._log_weight else None

  def modes(self, problem: Problem) -> None:
    """There are no full marks to count."""

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """An assignment, all of them equally often: the length cap leaves out its EOS."""
    texts = list(self._log_weight)
    return texts[int(rng.integers(len(texts)))]

  def log_z(self, problem: Problem) -> float:
    """log Z = log sum_x exp(-E(x)) over the assignments."""
    return float(np.logaddexp.reduce(list(self._log_weight.values())))

  def log_target(self, problem: Problem) -> dict[str, float]:
    """log pi*(x) = -E(x) - log Z of every assignment x."""
    log_z = self.log_z(problem)
    return {text: weight - log_z for text, weight in self._log_weight.items()}
