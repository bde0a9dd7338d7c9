"""Rows from elsewhere: problems, graded responses, stored samples; any bytes, and damage."""

import fuzzing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm.build.self_training import read_kept
from maxent_lm.evaluation import stored
from maxent_lm.lm import tokenizer
from maxent_lm.tasks.jsonl_task import VERIFY, Jsonl, Names
from maxent_lm.tasks.tfds import jsonl
from maxent_lm.train import offline

PROBLEMS = [{'prompt': '2+2=', 'answer': r'so \boxed{4}', 'n': 3}, {'prompt': 'é', 'answer': 'B'}]
KINDS = {'prompt': 'text', 'answer': 'text', 'n': 'optional'}
EXAMPLES = [
  {'prompt': 'a', 'chosen': 'b', 'rejected': 'c'},
  {'prompt': 'a', 'completions': [{'text': 'b', 'reward': 0.5}, {'text': '', 'reward': 0}]},
]
SAMPLES = [
  {
    **{'id': '1', 'prompt': '1+1=', 'answer': '2', 'samples': ['2', 'so 3'], 'rewards': [1, None]},
    **{'classes': ['2', None], 'finished': [True, False], 'logp': [-1.5, -2], 'scores': [0.1, 9]},
  },
  {
    **{'id': 2, 'prompt': 'x', 'answer': '', 'samples': [''], 'rewards': [0.0], 'classes': ['']},
    **{'finished': [True], 'logp': [0], 'scores': [1]},
  },
]
KEPT = [
  {'prompt_tokens': [1, 2], 'response_tokens': [3]},
  {'prompt_tokens': [], 'response_tokens': [1]},
]


def test_the_rows_are_good(tmp_path):
  """Nothing below passes only because everything is refused."""
  for rows, read in (
    (PROBLEMS, lambda path: list(jsonl.read_rows(path, KINDS))),
    (EXAMPLES, offline.read_examples),
    (SAMPLES, lambda path: list(stored.read(path, ALL))),
    (KEPT, read_kept),
  ):
    path = tmp_path / 'rows.jsonl'
    path.write_bytes(b''.join(fuzzing.dumped(row) + b'\n' for row in rows))
    assert len(read(str(path))) == len(rows)


@fuzzing.fuzzed(60)
@given(content=fuzzing.broken_lines(PROBLEMS))
def test_problems(tmp_path, content):
  path = tmp_path / 'train.jsonl'
  path.write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    for row in jsonl.read_rows(str(path), KINDS):
      for name, rule in VERIFY.items():
        task = Rule(name)
        problem = task.read('id', row)
        assert problem is None or task.reward(problem, problem.data, True) == 1, rule


class Rule(Jsonl):
  """Reads rows; has no file."""

  def __init__(self, verify):
    self._rule, self._names = VERIFY[verify], Names('prompt', 'answer')


@fuzzing.fuzzed(6)
@given(content=fuzzing.broken_lines(PROBLEMS))
def test_problems_that_are_prepared(tmp_path, content):
  """Through the data set: what comes out is what stood there."""
  path = tmp_path / 'train.jsonl'
  path.write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    rows = jsonl.open_rows(str(path), KINDS, cache_dir=str(tmp_path / 'cache'))
    assert [rows[i] for i in range(len(rows))] == list(jsonl.read_rows(str(path), KINDS))


@fuzzing.fuzzed(60)
@given(content=fuzzing.broken_lines(EXAMPLES))
def test_graded_responses(tmp_path, content):
  path = tmp_path / 'train.jsonl'
  path.write_bytes(content)
  with fuzzing.one_sentence():
    examples = offline.read_examples(str(path))
    for each in offline.encode_examples(examples, tokenizer.byte_tokenizer(), 1):
      assert len(each.responses) == len(each.rewards) and all(each.prompt)


ALL = stored.Columns(**{name: name for name in stored.Columns._fields})


@pytest.mark.parametrize('columns', [ALL, stored.Columns(rewards='rewards'), None])
@fuzzing.fuzzed(40)
@given(data=st.data())
def test_stored_samples(tmp_path, columns, data):
  path = tmp_path / 'samples.jsonl'
  path.write_bytes(data.draw(fuzzing.broken_lines(SAMPLES)))
  with fuzzing.one_sentence(ValueError):
    lines = list(stored.read(str(path), columns or stored.Columns(answer='answer')))
    stored.measure(lines if columns else stored.compared(lines), None)


@fuzzing.fuzzed(60)
@given(content=fuzzing.broken_lines(KEPT))
def test_what_a_round_kept(tmp_path, content):
  path = tmp_path / 'kept.jsonl'
  path.write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    for example in read_kept(path):
      assert all(type(i) is int for i in [*example.prompt, *example.response])


@pytest.mark.parametrize(
  ('line', 'reason'),
  [
    (b'{"prompt": "a", "prompt": "b"}', "line 2 of '.*' names the key 'prompt' twice: correct"),
    (b'{"prompt": "\xff"}', "line 2 of '.*' is not UTF-8 text: correct or remove it"),
    (b'{"prompt": "a", "n": NaN, "answer": 1}', "line 2 of '.*' has a field 'answer'"),
    (
      b'{"prompt": "a", "answer": "b", "n": 99999999999999999999}',
      "has a field 'n' that is not of kind",
    ),
  ],
)
def test_bad_lines_are_named(tmp_path, line, reason):
  path = tmp_path / 'rows.jsonl'
  path.write_bytes(b'{"prompt": "a", "answer": "b"}\n' + line + b'\n')
  with pytest.raises(ValueError, match=reason):
    list(jsonl.read_rows(str(path), KINDS))


def test_rewards_that_float32_cannot_hold_are_refused(tmp_path):
  path = tmp_path / 'rows.jsonl'
  for reward in ('1e39', 'NaN', '-Infinity', '1e999', 'true'):
    path.write_text(f'{{"prompt": "a", "completions": [{{"text": "b", "reward": {reward}}}]}}')
    with pytest.raises(ValueError, match="without a finite number in 'reward'"):
      offline.read_examples(str(path))


def test_a_byte_order_mark_is_no_part_of_a_row(tmp_path):
  path = tmp_path / 'rows.jsonl'
  path.write_bytes(b'\xef\xbb\xbf{"prompt": "a", "answer": "b"}\r\n')
  assert list(jsonl.read_rows(str(path), KINDS)) == [{'prompt': 'a', 'answer': 'b', 'n': ''}]
