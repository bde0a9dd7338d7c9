"""One rule for files that may be broken: what JSON leaves open, sizes, torn lines, links."""

import gzip
import json
import math
import os

import fuzzing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm import reading

PLAIN = st.recursive(
  st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
  | st.floats(allow_nan=False, allow_infinity=False),
  lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
  max_leaves=12,
)  # fmt: skip


@fuzzing.fuzzed(100)
@given(value=PLAIN)
def test_what_json_writes_is_read_as_json_reads_it(value):
  for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
    assert reading.parse(text) == reading.parse(text.encode()) == value
    assert reading.parse(b'\xef\xbb\xbf' + text.encode()) == value


@fuzzing.fuzzed(200)
@given(data=fuzzing.broken({'a': [1, 2.5, 'x', None], 'b': {'c': True, '\u00e9': '\U0001f600'}}))
def test_any_bytes_are_a_value_or_a_reason(data):
  with fuzzing.one_sentence(ValueError):
    json.dumps(reading.parse(data), allow_nan=False).encode()


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    (b'{"a": 1, "a": 2}', "names the key 'a' twice"),
    (b'{"x": {"a": 1, "a": 1}}', "names the key 'a' twice"),
    (b'{"a": "\xff"}', 'is not UTF-8 text'),
    (b'{"a": 170141183460469231731687303715884105728}', 'has a whole number beyond 128 bits'),
    (b'-170141183460469231731687303715884105729', 'has a whole number beyond 128 bits'),
    (b'9' * 100_000, 'has a whole number beyond 128 bits'),
    (b'[' * 65 + b']' * 65, 'is nested more than 64 levels deep'),
    (b'[' * 100_000 + b']' * 100_000, 'is nested more than 64 levels deep'),
    (b'{"a": ' * 100_000, 'is nested more than 64 levels deep'),
    (b'{"a": ', 'is not JSON (Expecting value at character 7)'),
    (b'', 'is not JSON (Expecting value at character 1)'),
    (b"{'a': 1}", 'is not JSON'),
    (b'{} {}', 'is not JSON (Extra data at character 4)'),
  ],
)
def test_what_json_leaves_open(text, reason):
  with pytest.raises(ValueError) as error:
    reading.parse(text)
  assert str(error.value).startswith(reason)


def test_the_limits_are_met_exactly():
  assert reading.parse(b'[' * 64 + b']' * 64)
  assert reading.parse(f'[{2**127 - 1}, {-(2**127)}]') == [2**127 - 1, -(2**127)]
  # transformers writes this where a tokenizer has no longest text
  assert reading.parse(b'1000000000000000019884624838656') == int(1e30)


def test_numbers_that_json_does_not_have():
  text = b'[NaN, Infinity, -Infinity, 1e999, -1e999, 1e308]'
  assert reading.parse(text) == [None] * 5 + [1e308]
  first, *rest = reading.parse_own(text)
  assert math.isnan(first) and rest == [math.inf, -math.inf, math.inf, -math.inf, 1e308]


def test_half_of_a_pair_is_no_character():
  assert reading.parse(rb'["\ud83d\ude00", "\\ud83d"]') == ['\U0001f600', r'\ud83d']
  for text in (rb'["\ud83d"]', rb'{"\udE00\ud83d": 1}'):
    with pytest.raises(ValueError, match='has half of a surrogate pair, which is no character'):
      reading.parse(text)
  assert reading.parse_own(rb'"\ud83d"') == '\ud83d'


def test_a_large_file_is_not_read(tmp_path):
  path = tmp_path / 'x.json'
  path.write_text('{}')
  assert reading.read_object(path, cure='fetch it again', limit=2) == {}
  os.truncate(path, 2**40)  # a hole: it takes no room on the disk
  with pytest.raises(ValueError) as error:
    reading.read_object(path, cure='fetch it again')
  assert str(error.value) == (
    f'{path} has 1,099,511,627,776 bytes and is not read: a file of its kind has at most 67,108,864'
  )


def test_what_is_no_file_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  for path in (tmp_path / 'pipe', tmp_path, '/dev/zero'):
    with pytest.raises(ValueError, match='is not a file'):
      reading.read_object(path, cure='fetch it again')
    with pytest.raises(ValueError, match='is not a file'):
      next(reading.lines(path))


def test_objects_only(tmp_path):
  path = tmp_path / 'x.json'
  path.write_text('[]')
  with pytest.raises(ValueError, match=r'x\.json holds no JSON object: mend it$'):
    reading.read_object(path, cure='mend it')
  path.write_bytes(b'\xff')
  with pytest.raises(ValueError, match=r'x\.json is damaged, it is not UTF-8 text: mend it$'):
    reading.read_object(path, cure='mend it')


ROWS = [{'step': 0, 'text': 'a\u2028b\x85c'}, {'step': 1, 'loss': None}, {'step': 2}]


def appended(path, data):
  path.write_bytes(data)
  return reading.appended(path)


def test_a_last_line_may_be_torn_at_any_byte(tmp_path):
  """And at no other place: what is before it is there, and what stands there is all."""
  path = tmp_path / 'rows.jsonl'
  for ascii in (True, False):
    lines = [json.dumps(row, ensure_ascii=ascii).encode() + b'\n' for row in ROWS]
    whole = b''.join(lines)
    ends = [len(b''.join(lines[: n + 1])) for n in range(len(lines))]
    for cut in range(len(whole) + 1):
      count = sum(cut >= end - 1 for end in ends)  # without its newline a line is whole
      assert appended(path, whole[:cut]) == ROWS[:count]
    assert appended(path, whole + b'\0' * 4096) == ROWS  # as a power cut leaves it


def test_another_damaged_line_is_an_error(tmp_path):
  path = tmp_path / 'rows.jsonl'
  with pytest.raises(ValueError, match=r'line 2 of .*rows\.jsonl is damaged, it is not JSON'):
    appended(path, b'{"step": 0}\n{"step": \n{"step": 2}\n')
  with pytest.raises(ValueError, match=r'line 1 of .* holds no JSON object: restore or remove'):
    appended(path, b'[1]\n{"step": 2}\n')
  with pytest.raises(ValueError, match='line 2 of .* is damaged, it is not UTF-8'):
    appended(path, b'{"step": 0}\n{"a": "\xff"}\n')


@fuzzing.fuzzed(100)
@given(data=fuzzing.broken_lines(ROWS))
def test_any_rows_are_rows_or_a_reason(tmp_path, data):
  with fuzzing.one_sentence(ValueError):
    assert all(isinstance(row, dict) for row in appended(tmp_path / 'rows.jsonl', data))


def test_long_lines_and_packed_bombs_end(tmp_path, monkeypatch):
  monkeypatch.setattr(reading, 'LINE', 2**10)
  path = tmp_path / 'rows.jsonl.gz'
  path.write_bytes(gzip.compress(b'{}\n' + b'\0' * 2**20))
  with pytest.raises(ValueError, match=r"line 2 of '.*' is longer than 1,024 bytes: split it"):
    list(reading.lines(path))
  monkeypatch.setattr(reading, 'ROWS', 2**12)
  path.write_bytes(gzip.compress(b'\n' * 2**20))
  with pytest.raises(ValueError, match=r'has more than 4,096 bytes of rows: split it'):
    list(reading.lines(path))


def test_links_stay_in_the_folder(tmp_path):
  inside, outside = tmp_path / 'model', tmp_path / 'secret.json'
  (inside / 'parts').mkdir(parents=True)
  outside.write_text('{}')
  (inside / 'a').write_text('{}')
  (inside / 'near').symlink_to('a')
  assert reading.confined(inside, 'near').read_text() == '{}'
  assert reading.confined(inside, 'missing') == inside / 'missing'
  for name, target in [
    ('up', '../secret.json'),
    ('absolute', str(outside)),
    ('twice', 'up'),
    ('folder', '..'),
    ('nowhere', '../not/there'),
  ]:
    (inside / name).symlink_to(target)
    with pytest.raises(ValueError, match='outside its folder; put the file itself there'):
      reading.confined(inside, name)
  (inside / 'ring').symlink_to('ring')
  with pytest.raises(ValueError, match=r'ring (cannot be followed|leads to)'):
    reading.confined(inside, 'ring').read_text()
  (tmp_path / 'link').symlink_to(inside)  # the folder itself may be one: the user named it
  assert reading.confined(tmp_path / 'link', 'near').exists()


def test_the_hubs_cache_links_to_its_blobs(tmp_path):
  version = tmp_path / 'models--a--b' / 'snapshots' / '0f'
  blobs = tmp_path / 'models--a--b' / 'blobs'
  for folder in (version, blobs, tmp_path / 'blobs'):
    folder.mkdir(parents=True)
    (folder / 'x').write_text('{}')
  (version / 'config.json').symlink_to('../../blobs/x')
  assert reading.confined(version, 'config.json').exists()
  (version / 'other.json').symlink_to('../../../blobs/x')
  with pytest.raises(ValueError, match='outside its folder'):
    reading.confined(version, 'other.json')
