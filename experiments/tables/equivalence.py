"""Which answers are the same: our equality beside math-verify's, by kind, on pairs and real data.

python experiments/tables/equivalence.py --preset=cpu --workdir=runs/tables/equivalence --check
  [--data_dir=FOLDER]

Pairs are those of tests/tasks/equivalence_pairs.tsv and the hostile answers beside it. With a
folder that holds gsm8k/, math/, olympiadbench/ and game24/, also: the labels of GSM8K's published
model solutions; the answers of MATH-500 in other ways of writing; the stored scores of 800 samples
of Qwen2.5-Math; the published rewards of 10,000 answers to the Game of 24; how many gold answers of
OlympiadBench are understood. math-verify is an optional extra (`pip install
maxent_lm[math_verify]`); without it its columns stay empty. `full` asks it about the hostile
answers, too, which it takes minutes for. Every pair on which one of the two differs from the file
is in differences.json.
"""

import collections
import csv
import functools
import gzip
import hashlib
import importlib
import importlib.util
import itertools
import json
import pathlib
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any, NamedTuple

from absl import flags

from maxent_lm.analysis import tables
from maxent_lm.analysis.math_verify_process import MathVerify
from maxent_lm.tasks import answers, equivalence, game24
from maxent_lm.tasks.equivalence import Status
from maxent_lm.tasks.files import same
from maxent_lm.tasks.maths import symbolic
from maxent_lm.train import folder

TESTS = pathlib.Path(__file__).parents[2] / 'tests' / 'tasks'  # the pairs live there
SMOKE = 4  # pairs of a kind in the smallest preset
HOSTILE = 'hostile answers'
THEIRS = 'math-verify wrong'
DELIMITED = re.compile(r'(?<!\\)\$|\\\(|\\boxed')
COLUMNS = (
  *('kind', 'pairs', 'equal', 'right if equal', 'right if not', 'unverifiable', 'seconds'),
  *('math-verify if equal', 'math-verify if not', 'its seconds'),
)
NOTE = (
  'Right: the number of pairs, of those that are equal and of those that are not, on which the '
  'verdict is that of the file. Ours is right on all of its own table, or its tests would fail; '
  'the table says what the policy is, and much of what math-verify has otherwise is policy: it '
  r'rounds (1.41421356 is \sqrt{{2}}), takes 50% for 0.5, (1,2) for {{1,2}}, 42 = 42 for 42, and '
  'does not take x > 2 for an interval. Unverifiable: what ours leaves open, and so takes for '
  'not equal. Seconds: mean and longest, of one pair; ours with '
  'sympy where it is needed. math-verify {version} is called as documented, gold first, with its '
  'timeouts of 5 s a step, in a process that is killed after 25 s; answers are handed over in '
  r'\boxed{{}}, responses of models as they are. {ways}{differences}'
)


class Pair(NamedTuple):
  """A question: do `gold` and `answer` agree; `response` says that the answer is a whole text."""

  gold: str
  answer: str
  equal: bool
  response: bool = False


def build(preset: str, workdir: pathlib.Path, data_dir: str = '') -> tables.Table:
  """Asks both about everything; what is finished is not asked again."""
  sys.path.insert(0, str(TESTS))
  limit = SMOKE if preset == 'smoke' else None
  other = MathVerify() if importlib.util.find_spec('math_verify') else None
  symbolic.warm()
  kinds = {name: list(itertools.islice(pairs, limit)) for name, pairs in all_pairs(data_dir)}
  rows = []
  for name, pairs in kinds.items():
    asked = None if name == HOSTILE and preset != 'full' else other
    rows.append(judged(name, pairs, asked, workdir))
  ways = '' if other is None else compared_ways(kinds, other, workdir)
  if data_dir:
    rows += [readable(data_dir, limit, other, workdir), game24_rewards(data_dir, limit)]
  if other is not None:
    other.stop()
  folder.write_json(
    workdir / 'differences.json',
    {row['kind']: {name: row.get(name, []) for name in ('wrong', THEIRS)} for row in rows},
  )
  version = metadata.version('math-verify') if other else '(not installed here)'
  note = NOTE.format(version=version, ways=ways, differences=differences(rows))
  return tables.Table(COLUMNS, [shown(row) for row in rows], note, gates(rows))


def boxed(text: str) -> str:
  r"""\boxed{text}, if it is not in a box or between delimiters already."""
  return text if DELIMITED.search(text) else f'\\boxed{{{text}}}'


WAYS: dict[str, Callable[[str], str]] = {
  r'in \boxed{}': boxed,
  'between dollar signs': lambda text: text if DELIMITED.search(text) else f'${text}$',
  'as they are': str,
}


# --- pairs -----------------------------------------------------------------------------------


def all_pairs(data_dir: str) -> Iterator[tuple[str, Iterable[Pair]]]:
  """Kinds of pairs, in the order of the table."""
  with open(TESTS / 'equivalence_pairs.tsv', encoding='utf-8') as file:
    lines = list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
  by_kind = collections.defaultdict(list)
  for line in lines:
    by_kind[line['kind']].append(Pair(line['gold'], line['answer'], line['status'] == 'equal'))
  yield from ((kind.replace('_', ' '), pairs) for kind, pairs in by_kind.items())
  hostile = importlib.import_module('hostile_answers').HOSTILE.values()
  yield HOSTILE, [Pair('42', text, False) for text in itertools.chain(*hostile)]
  if data_dir:
    yield 'GSM8K, labels', gsm8k_labels(data_dir)
    yield 'MATH-500, themselves and variants', math_variants(data_dir)
    yield 'Qwen on MATH, scores', qwen_scores(data_dir)


def lines_of(data_dir: str, name: str) -> Iterator[dict[str, Any]]:
  """Rows of a file of the data folder."""
  with gzip.open(pathlib.Path(data_dir) / name, 'rt', encoding='utf-8') as file:
    yield from map(json.loads, file)


def gsm8k_labels(data_dir: str) -> Iterator[Pair]:
  """Four graded solutions for each test problem."""
  for row in lines_of(data_dir, 'gsm8k/model_solutions.jsonl.gz'):
    gold = answers.extract(row['ground_truth'])
    assert gold is not None
    yield Pair(gold, row['solution'], row['is_correct'], response=True)


def math_variants(data_dir: str) -> Iterator[Pair]:
  """Every answer with itself, and with every other way to write it."""
  variants = importlib.import_module('answer_variants').variants
  for row in lines_of(data_dir, 'math/math500.jsonl.gz'):
    for written in dict.fromkeys((row['answer'], *variants(row['answer']))):
      yield Pair(row['answer'], written, True)


def qwen_scores(data_dir: str) -> Iterator[Pair]:
  """Eight samples for each of 100 problems."""
  for row in lines_of(data_dir, 'math/qwen_cot_samples.jsonl.gz'):
    for sample, score in zip(row['samples'], row['scores'], strict=True):
      yield Pair(row['answer'], sample, bool(score), response=True)


# --- verdicts --------------------------------------------------------------------------------


def judged(
  kind: str, pairs: list[Pair], other: MathVerify | None, workdir: pathlib.Path
) -> dict[str, Any]:
  """A row of the table, with the pairs on which somebody differs from the file."""
  ours = [timed(functools.partial(agree, pair)) for pair in pairs]
  row = made(kind, pairs, ours) | {'unverifiable': sum(is_open(pair) for pair in pairs)}
  if other is None:
    return row
  path = workdir / 'math_verify' / f'{kind.replace(" ", "_")}.json'
  theirs = tables.stored(
    path, {'pairs': digest(pairs)}, lambda: {'replies': ask_all(other, pairs, boxed)}
  )
  replies = [(bool(equal), seconds) for equal, seconds in theirs['replies']]
  row |= counted('math-verify', pairs, [equal for equal, _ in replies])
  return row | {
    'its seconds': spent([seconds for _, seconds in replies]),
    THEIRS: wrong(pairs, replies),
  }


def made(kind: str, pairs: list[Pair], ours: list[tuple[bool, float]]) -> dict[str, Any]:
  """Our part of a row."""
  return {
    'kind': kind,
    'pairs': len(pairs),
    'equal': sum(pair.equal for pair in pairs),
    **counted('right', pairs, [equal for equal, _ in ours]),
    'seconds': spent([seconds for _, seconds in ours]),
    'wrong': wrong(pairs, ours),
  }


def is_open(pair: Pair) -> bool:
  """Whether the equality leaves it open if the two are the same."""
  final = answers.extract(pair.answer) if pair.response else pair.answer
  return final is not None and equivalence.status(pair.gold, final) is Status.UNVERIFIABLE


def agree(pair: Pair) -> bool:
  """Our verdict; of a response as the tasks have it."""
  if not pair.response:
    return equivalence.equal(pair.gold, pair.answer)
  final = answers.extract(pair.answer)
  return final is not None and same(pair.gold, final)


def ask_all(
  other: MathVerify, pairs: list[Pair], way: Callable[[str], str]
) -> list[tuple[bool, float]]:
  """math-verify's verdicts, with the seconds that it took."""
  asked = ((way(p.gold), p.answer if p.response else way(p.answer)) for p in pairs)
  replies = [timed(functools.partial(other.ask, *texts)) for texts in asked]
  return [(reply.equal, seconds) for reply, seconds in replies]


def compared_ways(kinds: dict[str, list[Pair]], other: MathVerify, workdir: pathlib.Path) -> str:
  """How math-verify does on the pairs of our own, by how they are handed over."""
  own = itertools.chain(
    *itertools.takewhile(lambda pairs: pairs is not kinds[HOSTILE], kinds.values())
  )
  pairs = list(own)

  def right(way: Callable[[str], str]) -> int:
    replies = ask_all(other, pairs, way)
    return sum(pair.equal == equal for pair, (equal, _) in zip(pairs, replies, strict=True))

  counts = tables.stored(
    workdir / 'math_verify' / 'ways.json',
    {'pairs': digest(pairs)},
    lambda: {name: right(way) for name, way in WAYS.items()},
  )
  shown = ', '.join(f'{count} {name}' for name, count in counts.items())
  return f'Of the {len(pairs)} pairs of our own it has right: {shown}. '


def digest(pairs: list[Pair]) -> str:
  """Names a list of pairs."""
  return hashlib.sha256(repr(pairs).encode()).hexdigest()


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
  """What a call gives, and the seconds it takes."""
  start = time.perf_counter()
  return call(), time.perf_counter() - start


def counted(name: str, pairs: list[Pair], verdicts: list[bool]) -> dict[str, int]:
  """How many pairs are judged as the file has them, of those that are equal and of the others."""
  right = [
    pair.equal for pair, verdict in zip(pairs, verdicts, strict=True) if verdict == pair.equal
  ]
  return {f'{name} if equal': sum(right), f'{name} if not': len(right) - sum(right)}


def wrong(pairs: list[Pair], verdicts: list[tuple[bool, float]]) -> list[tuple[str, str, bool]]:
  """Gold answer, answer and the file's verdict, where another one was given."""
  return [
    (pair.gold, answers.extract(pair.answer) or '' if pair.response else pair.answer, pair.equal)
    for pair, (verdict, _) in zip(pairs, verdicts, strict=True)
    if verdict != pair.equal
  ]


def spent(seconds: list[float]) -> str:
  """Mean and longest."""
  return f'{statistics.fmean(seconds):.4f}, {max(seconds):.2f}'


def readable(
  data_dir: str, limit: int | None, other: MathVerify | None, workdir: pathlib.Path
) -> dict[str, Any]:
  """How many gold answers of OlympiadBench are understood."""
  rows = itertools.islice(lines_of(data_dir, 'olympiadbench/test.jsonl.gz'), limit)
  golds = [Pair(', '.join(row['final_answer']), '', True) for row in rows]
  ours = [timed(functools.partial(equivalence.readable, pair.gold)) for pair in golds]
  row = made('OlympiadBench, gold answers that are read', golds, ours)
  if other is None:
    return row
  theirs = tables.stored(
    workdir / 'math_verify' / 'olympiadbench.json',
    {'golds': digest(golds)},
    functools.partial(read_golds, other, golds),
  )
  return row | {'math-verify if equal': sum(theirs['read']), 'math-verify if not': 0}


def read_golds(other: MathVerify, golds: list[Pair]) -> dict[str, list[bool]]:
  """Whether math-verify reads a gold answer as it is in the file, or between dollar signs."""
  asked = ((gold, f'${gold}$') for gold, *_ in golds)
  return {'read': [any(other.ask(text, text).read for text in texts) for texts in asked]}


def game24_rewards(data_dir: str, limit: int | None) -> dict[str, Any]:
  """Published rewards of GPT-4's answers; math-verify does not say which numbers were used."""
  rows = itertools.islice(lines_of(data_dir, 'game24/gpt4_cot_samples.jsonl.gz'), limit)
  pairs, verdicts = [], []
  for row in rows:
    for sample, reward in zip(row['samples'], row['rewards'], strict=True):
      pairs.append(Pair(str(row['numbers']), sample, bool(reward)))
      verdicts.append(timed(lambda r=row, s=sample: bool(game24.grade(r['numbers'], s))))
  return made('Game of 24, rewards', pairs, verdicts)


# --- what is shown ---------------------------------------------------------------------------


def shown(row: dict[str, Any]) -> dict[str, Any]:
  """Numbers of pairs as 'right of all'."""
  kinds = {'equal': row['equal'], 'not': row['pairs'] - row['equal']}
  cells = {}
  for kind, total in kinds.items():
    for name in ('right', 'math-verify'):
      count = row.get(f'{name} if {kind}')
      cells[f'{name} if {kind}'] = None if count is None or not total else f'{count} of {total}'
  return row | cells


def differences(rows: list[dict[str, Any]]) -> str:
  """Where ours differs from a file, one by one."""
  listed = [
    f'{row["kind"]}: gold `{gold}`' + (f', answer `{answer}`' if answer else '')
    for row in rows
    for gold, answer, _ in row['wrong']
  ]
  return 'Ours differs from the files on: ' + '; '.join(listed) + '.' if listed else ''


def gates(rows: list[dict[str, Any]]) -> list[tables.Gate]:
  """All of them right, but for 2% of the scores that another program gave, and of gold answers."""
  loose = ('Qwen on MATH, scores', 'OlympiadBench, gold answers that are read')
  return [
    tables.Gate(
      f'{row["kind"]}: {"at least 98%" if row["kind"] in loose else "all"} as in the file',
      len(row['wrong']) <= (0.02 * row['pairs'] if row['kind'] in loose else 0),
    )
    for row in rows
  ]


if __name__ == '__main__':
  data_dir = flags.DEFINE_string('data_dir', '', "Folder with the data sets; '': pairs only.")
  tables.script('equivalence', lambda preset, workdir: build(preset, workdir, data_dir.value))
