"""Evaluation without a model: responses that somebody has stored, a line of JSON a problem.

{"id": "900", "prompt": "...", "samples": ["...", "..."], "rewards": [0, 1], ...}

Names of the fields are the caller's (`Columns`). Responses are graded by a task, line for line its
problems, or by equality with the line's own answer, or have their rewards and classes in the file;
without classes only equal texts are one. Words are what a text has between spaces.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from maxent_lm import reading
from maxent_lm.evaluation.problem import Row, Samples, problem_row
from maxent_lm.tasks import answers, equivalence, files
from maxent_lm.tasks.base import Problem, Task, grade
from maxent_lm.tasks.tfds import jsonl


class Columns(NamedTuple):
  """Fields of a line; '' for one that there is not. All but `id`, `prompt`, `answer` are lists.

  `samples` texts; `rewards` numbers, null for unknown; `classes` texts, null for none; `finished`
  whether they ended themselves (without the field, all did); `logp` log-probabilities of whole
  responses; `scores` of a reward model, say.
  """

  samples: str = 'samples'
  id: str = ''
  prompt: str = ''
  answer: str = ''
  rewards: str = ''
  classes: str = ''
  finished: str = ''
  logp: str = ''
  scores: str = ''


class Line(NamedTuple):
  """One problem with its K stored responses; what the file does not have is None."""

  problem: Problem
  samples: list[str]
  rewards: list[float | None] | None
  classes: list[str | None] | None
  finished: list[bool]
  logp: list[float] | None
  scores: list[float] | None


LARGEST = 2.0**127  # a number that float32 holds
KINDS: dict[str, tuple[str, tuple[type, ...]]] = {  # of the entries of a list
  'samples': ('texts', (str,)),
  'rewards': ('numbers or null', (int, float, type(None))),
  'classes': ('texts or null', (str, type(None))),
  'finished': ('true or false', (bool,)),
  'logp': ('numbers', (int, float)),
  'scores': ('numbers', (int, float)),
}


def read(path: str, columns: Columns) -> Iterator[Line]:
  """The lines of a .jsonl or .jsonl.gz file.

  Raises:
    ValueError: a damaged file, or a line without a field or with another number of entries in it;
      with the number of the line.
  """
  for number, row in jsonl.read_objects(path):
    where = f"line {number} of '{path}'"
    lists = {
      name: _entries(row, getattr(columns, name), kind, types, where)
      for name, (kind, types) in KINDS.items()
    }
    samples, finished = lists.pop('samples'), lists.pop('finished')
    if not samples:
      raise ValueError(f"{where} has no samples in '{columns.samples}': name another field")
    finished = finished or [True] * len(samples)
    uneven = [
      name
      for name, each in {**lists, 'finished': finished}.items()
      if each is not None and len(each) != len(samples)
    ]
    if uneven:
      raise ValueError(
        f'{where} has {len(samples)} samples but not as many {uneven[0]}: correct it'
      )
    name, prompt, answer = (
      str(_field(row, field, where)) if field else ''
      for field in (columns.id, columns.prompt, columns.answer)
    )
    problem = Problem(name or str(number), prompt, answer, None)
    yield Line(problem, samples, finished=finished, **lists)


def _field(row: jsonl.Row, name: str, where: str) -> Any:
  if name not in row:
    raise ValueError(f"{where} has no field '{name}': it has {reading.shown(list(row))}")
  return row[name]


def _entries(
  row: jsonl.Row, name: str, kind: str, types: tuple[type, ...], where: str
) -> list[Any] | None:
  """The list of a field; None without the field."""
  if not name:
    return None
  values = _field(row, name, where)
  if not isinstance(values, list) or not all(_is_one(value, types) for value in values):
    raise ValueError(f"{where} has a field '{name}' that is no list of {kind}: name another field")
  return values


def _is_one(value: Any, types: tuple[type, ...]) -> bool:
  """Whether it is of the types, and a number if it is one that float32 holds."""
  return isinstance(value, types) and (isinstance(value, str | None) or abs(value) < LARGEST)


def graded(lines: Sequence[Line], task: Task) -> list[Line]:
  """The lines with rewards and classes of the task, line for line its first problems.

  Raises:
    ValueError: the task has fewer problems, or another prompt where the file has prompts.
  """
  if len(lines) > len(task):
    raise ValueError(f'{len(lines)} lines of samples, but the task has {len(task)} problems')
  problems = [task[number] for number in range(len(lines))]
  for number, (line, problem) in enumerate(zip(lines, problems, strict=True)):
    if line.problem.prompt and line.problem.prompt != problem.prompt:
      raise ValueError(
        f'line {number + 1} of the samples asks {line.problem.prompt[:60]!r}, but problem {number} '
        f'of the task {problem.prompt[:60]!r}: they must come in the same order'
      )
  pairs = list(zip(lines, problems, strict=True))
  rewards = grade(
    task,
    [problem for line, problem in pairs for _ in line.samples],
    [text for line in lines for text in line.samples],
    [ended for line in lines for ended in line.finished],
  )
  verdicts = iter(rewards)
  return [
    line._replace(
      problem=problem,
      rewards=list(itertools.islice(verdicts, len(line.samples))),
      classes=[task.cluster(problem, text) for text in line.samples],
    )
    for line, problem in pairs
  ]


def compared(lines: Sequence[Line]) -> list[Line]:
  """The lines with rewards and classes by equality of final answers (tasks/equivalence).

  Reward 1 where the final answer is shown to equal the line's (and is worked out, if that is a
  number); what is equal to each other is one class, named by the line's answer or by what was said
  first.
  """
  found = []
  for line in lines:
    gold, pairs = line.problem.answer, zip(line.samples, line.finished, strict=True)
    finals = [answers.extract(text, finished=ended) for text, ended in pairs]
    said = [gold, *finals]
    names: dict[int, str] = {}
    numbers = equivalence.cluster(said)
    for number, text in zip(numbers, said, strict=True):
      if text is not None:
        names.setdefault(number, text)
    rewards: list[float | None] = [
      float(text is not None and files.same(gold, text)) for text in finals
    ]
    found.append(line._replace(rewards=rewards, classes=[names.get(n) for n in numbers[1:]]))
  return found


def differences(lines: Sequence[Line], others: Sequence[Line]) -> list[dict[str, Any]]:
  """Samples whose rewards differ: the problem's id, the sample's number, both rewards."""
  return [
    {'id': line.problem.id, 'sample': number, 'reward': ours, 'stored': theirs}
    for line, other in zip(lines, others, strict=True)
    for number, (ours, theirs) in enumerate(
      zip(line.rewards or (), other.rewards or (), strict=True)
    )
    if ours != theirs
  ]


def measure(lines: Sequence[Line], task: Task | None) -> list[Row]:
  """A `problem_row` a line; the number of modes is the task's.

  Raises:
    ValueError: a line has no rewards.
  """
  rows = []
  for line in lines:
    if line.rewards is None:
      raise ValueError(
        'nothing says which samples are right: name a task, or the field of rewards or answers'
      )
    modes = None if task is None else task.modes(line.problem)
    rows.append(problem_row(line.problem, _samples(line), modes))
  return rows


def _samples(line: Line) -> Samples:
  words = [text.split() for text in line.samples]
  rewards = [np.nan if reward is None else reward for reward in line.rewards or ()]
  return Samples(
    reward=np.array(rewards, np.float32),
    finished=np.array(line.finished, bool),
    classes=line.classes or [text.strip() or None for text in line.samples],
    tokens=words,
    length=np.array([len(each) for each in words]),
    logp=None if line.logp is None else np.array(line.logp, np.float64),
    score=None if line.scores is None else np.array(line.scores, np.float64),
  )
