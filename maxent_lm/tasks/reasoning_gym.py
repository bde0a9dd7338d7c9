"""Adapter to reasoning_gym: its generators as tasks, right or wrong [Stojanovski et al. 2025].

Worked example, dataset 'leg_counting':

  prompt         'Question: Your task is to count how many legs there are in total when given a list
                  of animals. ... \nAnswer:'
  demonstration  ' 286'
  response       '286', 'so <answer>286</answer>'    reward 1, cluster '286'
  response       '285', 'it is 286'                  reward 0

The package is optional: pip install 'maxent_lm[reasoning_gym]'. Its scores lie between 0 and 1,
with small ones for an answer of the right shape, which a policy would learn to collect; here only
the full score of 1 is rewarded. The answer is what stands in the last <answer> tags, else the whole
response, stripped; a class is an answer as written, so the number of modes is not known.

Entries 0 ... size-1 are generated when the task is made; a hash of its question puts an entry into
its split. Entries whose own answer does not have the full score are left out and listed.

Known limits: a generator whose scorer runs what it is given (eval, or sympy's parser, which is
eval) is refused, ten of those in 0.1.25, among them countdown and puzzle24. Only the scorer's own
lines are looked at. The others run here, in the trainer's process and without a limit of time;
answers longer than MAX_ANSWER characters are not shown to them. Some generators have no answer to
demonstrate, some need a second for an entry.
"""

import ast
import importlib
import inspect
import logging
import re
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from maxent_lm.tasks.base import Problem, in_split
from maxent_lm.tasks.files import question

MAX_ANSWER = 4096
TAGS = re.compile(r'<answer>((?:(?!<answer>).)*?)</answer>', re.DOTALL)
RUNS_TEXT = frozenset({'eval', 'exec', 'compile', 'sympify', 'parse_expr'})
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def _load() -> Any:
  try:
    return importlib.import_module('reasoning_gym')
  except ModuleNotFoundError as error:
    raise ValueError(
      f"ReasoningGym needs the package '{error.name}', which is not installed: run "
      "pip install 'maxent_lm[reasoning_gym]'."
    ) from error


def runs_text(function: Any) -> list[str]:
  """Names of the calls in a function that would run a text, sorted."""
  tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
  called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
  names = {each.attr for each in called if isinstance(each, ast.Attribute)}
  names |= {each.id for each in called if isinstance(each, ast.Name)}
  return sorted(names & RUNS_TEXT)


def extract(response: str) -> str:
  """The answer of a response."""
  tagged = TAGS.findall(response)
  return (tagged[-1] if tagged else response).strip()


class ReasoningGym:
  """The entries of one generator; `options` are its own settings.

  Attributes:
    excluded: ids of entries whose own answer is not right.

  Raises:
    ValueError: an unknown split or dataset, a scorer that runs text, no entries, or the package is
      missing.
  """

  def __init__(
    self,
    *,
    split: str,
    dataset: str,
    options: Mapping[str, Any] = NO_OPTIONS,
    size: int = 1000,
    test_fraction: float = 0.1,
    seed: int = 0,
  ) -> None:
    self._dataset = _load().create_dataset(dataset, size=size, seed=seed, **options)
    unsafe = runs_text(self._dataset.score_answer)
    if unsafe:
      raise ValueError(
        f"ReasoningGym: the scorer of '{dataset}' runs {unsafe[0]} on answers; choose another."
      )
    self._entries: list[tuple[str, Any]] = []
    excluded = []
    for index in range(size):
      entry = self._dataset[index]
      if not in_split(entry['question'], split=split, test_fraction=test_fraction):
        continue
      name = f'{dataset}/{seed}/{index}'
      if entry['answer'] is not None and not self._is_right(entry['answer'].strip(), entry):
        excluded.append(name)
      else:
        self._entries.append((name, entry))
    self.excluded = tuple(excluded)
    if not self._entries:
      raise ValueError(f"the split '{split}' of '{dataset}' has no problems: raise size.")
    if excluded:
      logging.getLogger(__name__).warning(
        '%d entries are left out, their own answers are not right: %s ...',
        len(excluded), ', '.join(excluded[:10]),
      )  # fmt: skip

  def _is_right(self, answer: str, entry: Any) -> bool:
    if len(answer) > MAX_ANSWER:
      return False
    try:
      return float(self._dataset.score_answer(answer, entry)) >= 1.0
    except Exception:  # a scorer that trips over an answer has not found it right
      return False

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._entries)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data is the index, its answer '' where the generator has none."""
    if not 0 <= index < len(self):
      raise IndexError(f'ReasoningGym has problems 0 to {len(self) - 1}, not {index}.')
    name, entry = self._entries[index]
    answer = (entry['answer'] or '').strip()
    return Problem(name, question(entry['question']), answer, int(index))

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """1 for the full score, else 0."""
    entry = self._entries[problem.data][1]
    return float(finished and self._is_right(extract(response), entry))

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The answer as written, None for none."""
    return extract(response) or None

  def modes(self, problem: Problem) -> None:
    """Not known."""

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """The generator's own answer; ValueError where it has none."""
    if not problem.answer:
      raise ValueError(f'{problem.id} has no answer to demonstrate: choose another dataset.')
    return f' {problem.answer}'
