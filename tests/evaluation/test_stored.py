"""Responses stored by others: their published numbers, and computations that share no code.

tests/reference/qwen_cot_answers.jsonl: final answers and scores of 8 solutions to each of 100
problems of MATH, QwenLM/Qwen2.5-Math a45202b, evaluation/data/eval_rm_maj_example (MIT). tests/
reference/gpt4_game24_answers.jsonl: last lines of the first 30 of 100 samples for puzzles 900 to
911, princeton-nlp/tree-of-thought-llm ab40034, logs/game24 (MIT). Its paper [Yao et al. 2023, table
2] has for GPT-4 with chain of thought on puzzles 900 to 999: success 4.0%, best of 100 samples 49%,
self-consistency with 100 samples 9.0%.
"""

import gzip
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from maxent_lm.evaluation import pass_at_k, stored, summary
from maxent_lm.tasks.game24 import Game24

ROOT = pathlib.Path(__file__).parents[2]
QWEN = ROOT / 'tests' / 'reference' / 'qwen_cot_answers.jsonl'
GAME24 = ROOT / 'tests' / 'reference' / 'gpt4_game24_answers.jsonl'
FINAL = stored.Columns(
  samples='predictions', id='index', answer='answer', rewards='scores', classes='predictions'
)
GRADED = stored.Columns(id='puzzle_index', rewards='rewards')
needs_data = pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')

# Right ones of the 100 samples for each of the puzzles 900 to 999, of the same log.
RIGHT = [
  *(21, 1, 1, 7, 5, 2, 0, 0, 0, 8, 6, 0, 1, 0, 0, 2, 1, 25, 0, 0, 0, 13, 1, 4, 24, 0, 0, 21, 2, 3),
  *(1, 0, 0, 0, 52, 0, 1, 29, 3, 0, 0, 0, 0, 0, 4, 0, 14, 1, 0, 1, 0, 0, 0, 3, 3, 17, 10, 0, 0, 0),
  *(0, 1, 0, 8, 0, 13, 0, 2, 0, 0, 2, 0, 0, 0, 2, 0, 6, 0, 11, 0, 0, 0, 4, 0, 0, 5, 0, 1, 26, 0),
  *(0, 0, 0, 15, 0, 6, 0, 4, 9, 1),
]


def objects(path):
  open_file = gzip.open if path.suffix == '.gz' else open
  with open_file(path, 'rt', encoding='utf-8') as file:
    return [json.loads(line) for line in file]


def data(*parts):
  return pathlib.Path(os.environ['MAXENT_LM_DATA'], *parts)


def written(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return str(path)


def any_right(scores, k):
  """pass@k in exact fractions, by counting the choices."""
  chosen = list(itertools.combinations(scores, k))
  return Fraction(sum(any(each) for each in chosen), len(chosen))


def majority_of(answers, scores):
  """The rule of the authors: the most frequent answer, the first of equals, and its first score."""
  winner = Counter(answers).most_common(1)[0][0]
  return scores[answers.index(winner)]


# --- numbers of others -----------------------------------------------------------------------


def test_pass_at_k_of_the_published_game_of_24():
  at = {k: pass_at_k(np.array(RIGHT), samples=100, k=k).mean() for k in (1, 2, 100)}
  assert round(100 * at[1], 1) == 4.0
  assert at[100] == 0.49
  exact = sum(1 - Fraction((100 - c) * (99 - c), 100 * 99) for c in RIGHT) / 100
  assert at[2] == pytest.approx(float(exact), abs=1e-12)


def test_qwens_answers_by_enumeration():
  """pass@k over all choices of k in exact fractions, maj@8 by the authors' own rule."""
  rows = objects(QWEN)
  table = summary(stored.measure(list(stored.read(str(QWEN), FINAL)), None))
  for k in (1, 2, 4, 8):
    exact = sum(any_right(row['scores'], k) for row in rows) / len(rows)
    assert table[f'pass@{k}'] == pytest.approx(float(exact), abs=1e-12)
  assert table['maj@8'] == np.mean([majority_of(row['predictions'], row['scores']) for row in rows])
  assert (table['pass@1'], table['pass@8'], table['maj@8']) == (0.91, 0.96, 0.93)


def test_qwens_majorities_of_fewer_by_enumeration():
  """maj@k over all orders of k of the 8 answers, for problems with something to vote about."""
  split = [row for row in objects(QWEN) if len(set(row['predictions'])) > 2]
  lines = {row['id']: row for row in stored.measure(list(stored.read(str(QWEN), FINAL)), None)}
  assert len(split) >= 5
  for row in split:
    for k, found in ((2, 1), (4, 2)):
      votes = [
        majority_of(*map(list, zip(*chosen, strict=True)))
        for chosen in itertools.permutations(
          list(zip(row['predictions'], row['scores'], strict=True)), k
        )
      ]
      assert lines[str(row['index'])]['majority_at'][found] == pytest.approx(np.mean(votes))


def test_qwens_answers_by_equality(tmp_path):
  """What the authors' grader said, but for one answer that differs from the right one in layout."""
  boxed = [
    {**row, 'samples': [f'So it is \\boxed{{{text}}}.' for text in row['predictions']]}
    for row in objects(QWEN)
  ]
  columns = stored.Columns(id='index', answer='answer', rewards='scores')
  given = list(stored.read(written(tmp_path / 'boxed.jsonl', boxed), columns))
  lines = stored.compared(given)
  differ = stored.differences(lines, given)
  assert [(each['id'], each['sample'], each['reward']) for each in differ] == [('72', 7, 1)]
  (line,) = (each for each in lines if each.problem.id == '72')
  assert (line.problem.answer, given[72].samples[7]) == ('10{,}000', 'So it is \\boxed{10000}.')
  for each in lines:
    for name, reward in zip(each.classes, each.rewards, strict=True):
      assert (name == each.problem.answer) == (reward == 1)


@pytest.fixture
def puzzles(tmp_path):
  """Game of 24 with the puzzles of the excerpt at their places."""
  asked = [row['numbers'] for row in objects(GAME24)]
  rows = [{'numbers': numbers} for numbers in [[1, 1, 4, 6]] * 900 + asked]
  written(tmp_path / 'puzzles.jsonl', rows)
  return tmp_path


def test_a_task_grades_stored_samples(puzzles):
  task = Game24(data_dir=str(puzzles), split='test')
  given = list(stored.read(str(GAME24), GRADED))
  lines = stored.graded(given, task)
  assert stored.differences(lines, given) == []
  rows = stored.measure(lines, task)
  assert [row['id'] for row in rows] == [f'game24/{number}' for number in range(900, 912)]
  table = summary(rows)
  right = np.array([sum(row['rewards']) for row in objects(GAME24)])
  assert table['pass@1'] == pytest.approx(right.mean() / 30)
  assert table['pass@30'] == np.mean(right > 0)
  assert 0 < table['coverage@30'] < table['pass@30'] < table['distinct@30']  # several solutions


# --- what a file may hold --------------------------------------------------------------------


def line(**fields):
  return {'samples': ['a b', 'c', 'a b'], **fields}


def read(tmp_path, *rows, **columns):
  return list(stored.read(written(tmp_path / 'file.jsonl', rows), stored.Columns(**columns)))


def test_columns(tmp_path):
  fields = {
    **{'rewards': [1, None, 0.5], 'classes': ['x', None, 'y'], 'finished': [True, True, False]},
    **{'logp': [-1, -2.5, -3], 'scores': [0.5, 1, 2], 'name': 7, 'question': 'why?'},
  }
  names = {name: name for name in ('rewards', 'classes', 'finished', 'logp', 'scores')}
  (found,) = read(tmp_path, line(**fields), id='name', prompt='question', **names)
  assert found.problem[:2] == ('7', 'why?')
  (row,) = stored.measure([found], None)
  assert (row['samples'], row['faults'], row['reward']) == (2, 1, 0.75)
  assert (row['classes'], row['right']) == ({'x': 1}, [True, False])  # y was cut
  assert (row['sample_length'], row['sample_logp'], row['score']) == ([2, 2], [-1, -3], 1.25)
  assert row['best_score_at'] == [0.5, 0]
  assert row['sample_repeat'] == [False, True]


def test_without_classes_equal_texts_are_one(tmp_path):
  (found,) = read(tmp_path, line(rewards=[1, 0, 1]), rewards='rewards')
  (row,) = stored.measure([found], None)
  assert (row['id'], row['classes'], row['majority_right']) == ('1', {'a b': 2, 'c': 1}, True)
  assert 'entropy' not in row and 'logp' not in row


def test_equal_answers_are_one_class(tmp_path):
  texts = ['so 1/2', 'The answer is 0.5.', '\\boxed{2}', 'no idea', '\\boxed{2.0}', 'it is 0.5']
  ended = [True] * 5 + [False]
  given = read(
    tmp_path,
    {'samples': texts, 'gold': '\\frac12', 'ended': ended},
    answer='gold',
    finished='ended',
  )
  (found,) = stored.compared(given)
  assert found.rewards == [1, 1, 0, 0, 0, 0]  # the last one was cut
  assert found.classes == ['\\frac12', '\\frac12', '2', None, '2', None]


@pytest.mark.parametrize(
  ('row', 'columns', 'message'),
  [
    ({'texts': []}, {}, "line 1 of '.*' has no field 'samples': it has .'texts'."),
    ({'samples': []}, {}, "has no samples in 'samples': name another field"),
    ({'samples': 'a'}, {}, "has a field 'samples' that is no list of texts"),
    (line(r=[1, 0]), {'rewards': 'r'}, 'has 3 samples but not as many rewards: correct it'),
    (line(r=['1'] * 3), {'rewards': 'r'}, "field 'r' that is no list of numbers or null"),
    (line(f=[1, 0, 1]), {'finished': 'f'}, "field 'f' that is no list of true or false"),
  ],
)
def test_bad_lines_are_told(tmp_path, row, columns, message):
  with pytest.raises(ValueError, match=message):
    read(tmp_path, row, **columns)


def test_what_does_not_belong_together_is_told(tmp_path, puzzles):
  task = Game24(data_dir=str(puzzles), split='test')
  with pytest.raises(ValueError, match='13 lines of samples, but the task has 12 problems'):
    stored.graded(read(tmp_path, *[line()] * 13), task)
  with pytest.raises(ValueError, match="line 1 of the samples asks 'q', but problem 0 of the task"):
    stored.graded(read(tmp_path, line(q='q'), prompt='q'), task)
  with pytest.raises(ValueError, match='nothing says which samples are right'):
    stored.measure(read(tmp_path, line()), None)


# --- the script ------------------------------------------------------------------------------


def evaluate_samples(workdir, *flags):
  command = [sys.executable, 'experiments/evaluate_samples.py', f'--workdir={workdir}', *flags]
  return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_script_grades_by_a_task_and_the_same_again(puzzles, tmp_path):
  flags = (
    *(f'--samples={GAME24}', '--rewards=rewards', '--config=configs/base.py'),
    *('--config.task=game24', f'--config.game24.data_dir={puzzles}'),
  )
  names = ('evaluation.json', 'evaluation.jsonl', 'differences.jsonl')
  found = []
  for name in ('once', 'again'):
    ran = evaluate_samples(tmp_path / name, *flags)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / name / 'evaluation.png').stat().st_size > 1000
    found.append([(tmp_path / name / file).read_bytes() for file in names])
  assert found[0] == found[1]
  table = json.loads(found[0][0])
  assert (table['graded_by'], table['differences'], table['problems']) == ('game24', 0, 12)
  assert f'pass@30  {table["pass@30"]:.4g}  [' in ran.stdout


def test_the_script_tells_what_is_missing(tmp_path):
  ran = evaluate_samples(tmp_path / 'out', f'--samples={GAME24}')
  assert ran.returncode == 1
  assert ran.stderr.splitlines()[-1] == (
    'error: nothing says which samples are right: name a task, or the field of rewards or answers'
  )
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('', 'has no lines: name a file with responses'),
    ('{"samples": ["a"], "rewards": [null]}\n', 'no sample of any problem has a reward'),
  ],
)
def test_a_file_that_says_nothing_is_told_in_one_line(tmp_path, text, said):
  (tmp_path / 'samples.jsonl').write_text(text)
  samples = f'--samples={tmp_path}/samples.jsonl'
  ran = evaluate_samples(tmp_path / 'out', samples, '--rewards=rewards')
  assert ran.returncode == 1 and 'Traceback' not in ran.stderr
  assert ran.stderr.splitlines()[-1].startswith('error: ') and said in ran.stderr
  assert not (tmp_path / 'out').exists()


# --- all of the data -------------------------------------------------------------------------


@needs_data
def test_game_of_24_as_published():
  """Ten thousand samples: the rewards, 4.0%, 49% and, with votes by the last line, 9.0%."""
  path, task = (
    data('game24', 'gpt4_cot_samples.jsonl.gz'),
    Game24(data_dir=str(data('game24')), split='test'),
  )
  given = list(stored.read(str(path), GRADED))
  lines = stored.graded(given, task)
  assert stored.differences(lines, given) == []
  assert [sum(line.rewards) for line in lines] == RIGHT
  table = summary(stored.measure(lines, task))
  assert (round(table['pass@1'], 3), table['pass@100']) == (0.04, 0.49)
  exact = [
    float(1 - Fraction(wrong := 100 - c, 100) * Fraction(max(wrong - 1, 0), 99)) for c in RIGHT
  ]
  assert table['pass@2'] == pytest.approx(np.mean(exact), abs=1e-12)
  assert table['maj@100'] == 0.08  # canonical forms; an answer that is none abstains
  last = [
    each._replace(classes=[text.strip().split('\n')[-1] for text in each.samples]) for each in lines
  ]
  assert summary(stored.measure(last, task))['maj@100'] == 0.09


@needs_data
def test_qwens_solutions_by_equality():
  """At least 98% of the 800 scores; all but one as it is, and that one is right."""
  path = data('math', 'qwen_cot_samples.jsonl.gz')
  columns = stored.Columns(id='index', answer='answer', rewards='scores', prompt='problem')
  given = list(stored.read(str(path), columns))
  lines = stored.compared(given)
  assert len(stored.differences(lines, given)) <= 16
  table = summary(stored.measure(lines, None))
  assert table['pass@1'] == pytest.approx(0.91, abs=0.02)
  assert table['maj@8'] == pytest.approx(0.93, abs=0.02)
