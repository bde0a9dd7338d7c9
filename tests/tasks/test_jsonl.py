"""Local files as data sets: every field comes back, a changed file is a new one, races are safe."""

import gzip
import json
import subprocess
import sys

import pytest

from maxent_lm.tasks.tfds import jsonl

FIELDS = {'name': 'text', 'count': 'integer', 'size': 'number', 'good': 'boolean', 'all': 'texts'}
ROWS = [
  {'name': 'Zoë — ½\n', 'count': -3, 'size': 0.1, 'good': True, 'all': ['a', 'ß'], 'extra': 1},
  {'name': '', 'count': 2**62, 'size': 7, 'good': False, 'all': []},
  {'name': 'c', 'count': 0, 'size': -1e300, 'good': True, 'all': ['']},
]


def write(path, rows):
  data = ''.join(json.dumps(row) + '\n' for row in rows).encode()
  path.write_bytes(gzip.compress(data) if path.suffix == '.gz' else data)
  return str(path)


@pytest.mark.parametrize('name', ['rows.jsonl', 'rows.jsonl.gz'])
def test_rows_come_back_in_order(tmp_path, name):
  rows = jsonl.open_rows(write(tmp_path / name, ROWS), FIELDS, cache_dir=str(tmp_path / 'cache'))
  assert len(rows) == 3
  for i in (2, 0, 1):
    assert rows[i] == {field: ROWS[i][field] for field in FIELDS}
    assert {k: type(v) for k, v in rows[i].items()} == dict(
      name=str, count=int, size=float, good=bool, all=list
    )


def test_a_file_is_prepared_once_and_a_changed_file_or_field_is_new(tmp_path, monkeypatch):
  path, cache = tmp_path / 'rows.jsonl', tmp_path / 'cache'

  def get(fields):
    return jsonl.open_rows(str(path), fields, cache_dir=str(cache))

  def folders():
    return sorted(folder.name for folder in cache.iterdir())

  write(path, ROWS)
  assert get({'name': 'text'})[0] == {'name': ROWS[0]['name']}
  first = folders()
  assert len(first) == 1 and first[0].startswith('rows-')
  with monkeypatch.context() as patch:
    patch.setattr(jsonl, '_prepare', lambda *_: pytest.fail('prepared twice'))
    assert get({'name': 'text'})[0] == {'name': ROWS[0]['name']}
  write(path, ROWS[::-1])
  assert get({'name': 'text'})[0] == {'name': 'c'}
  assert get({'count': 'integer'})[0] == {'count': 0}
  assert len(folders()) == 3 and first[0] in folders()


RACER = """
import sys
from maxent_lm.tasks.tfds import jsonl
path, cache = sys.argv[1:]
print('ready', flush=True)
sys.stdin.readline()
rows = jsonl.open_rows(path, {'n': 'integer'}, cache_dir=cache)
assert [rows[i]['n'] for i in range(len(rows))] == list(range(300))
"""


def test_two_processes_may_prepare_at_once(tmp_path):
  path = write(tmp_path / 'rows.jsonl', [{'n': n} for n in range(300)])
  command = [sys.executable, '-c', RACER, path, str(tmp_path / 'cache')]
  pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  racers = [subprocess.Popen(command, **pipes) for _ in range(2)]
  for racer in racers:
    assert racer.stdout.readline() == 'ready\n'
  for racer in racers:
    racer.stdin.write('go\n')
    racer.stdin.flush()
  for racer in racers:
    _, errors = racer.communicate(timeout=120)
    assert racer.returncode == 0, errors
  assert [f.name.startswith('rows-') for f in (tmp_path / 'cache').iterdir()] == [True]


def test_losing_the_race_reads_what_the_winner_wrote(tmp_path, monkeypatch):
  path, cache = write(tmp_path / 'rows.jsonl', ROWS), str(tmp_path / 'cache')
  jsonl.open_rows(path, FIELDS, cache_dir=cache)
  (folder,) = (tmp_path / 'cache').iterdir()
  stamps = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
  jsonl._prepare(path, FIELDS, folder)
  assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == stamps
  assert [f.name for f in (tmp_path / 'cache').iterdir()] == [folder.name]


def test_a_killed_preparation_is_never_read(tmp_path):
  cache = tmp_path / 'cache'
  (cache / '.incomplete-x' / 'jsonl' / '1.0.0').mkdir(parents=True)
  rows = jsonl.open_rows(write(tmp_path / 'rows.jsonl', ROWS), FIELDS, cache_dir=str(cache))
  assert rows[2]['name'] == 'c'


@pytest.mark.parametrize(
  'line,problem',
  [
    ('{"name": "b"', "is not JSON (Expecting ',' delimiter at character 14)"),
    ('["b"]', 'is not a JSON object'),
    ('[' * 100000, 'is nested more than 64 levels deep'),
    ('{"name": "a", "name": "b"}', "names the key 'name' twice"),
    ('{"nam": "b"}', "has no field 'name'"),
    ('{"name": 3}', "has a field 'name' that is not of kind text"),
    ('{"name": null}', "has a field 'name' that is not of kind text"),
  ],
)
def test_a_bad_line_is_named(tmp_path, line, problem):
  path = tmp_path / 'rows.jsonl'
  path.write_text('{"name": "a"}\n\n' + line + '\n')
  with pytest.raises(ValueError) as error:
    jsonl.open_rows(str(path), {'name': 'text'}, cache_dir=str(tmp_path / 'cache'))
  assert str(error.value) == f"line 3 of '{path}' {problem}: correct or remove it."
  assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('kind,value', [('integer', True), ('integer', 1.0), ('integer', 2**63)])
@pytest.mark.parametrize('other', [('number', True), ('texts', ['a', 1]), ('boolean', 0)])
def test_kinds_are_strict(kind, value, other):
  assert not jsonl.KINDS[kind](value) and not jsonl.KINDS[other[0]](other[1])


def test_optional_fields_are_text_or_nothing(tmp_path):
  rows = [{'level': 5}, {'level': 'Level 5'}, {'level': None}, {}]
  path = write(tmp_path / 'rows.jsonl', rows)
  read = jsonl.open_rows(path, {'level': 'optional'}, cache_dir=str(tmp_path / 'cache'))
  assert [read[i]['level'] for i in range(4)] == ['5', 'Level 5', '', '']
  write(tmp_path / 'rows.jsonl', [{'level': 0.5}])
  with pytest.raises(ValueError, match="has a field 'level' that is not of kind optional"):
    jsonl.open_rows(path, {'level': 'optional'}, cache_dir=str(tmp_path / 'cache'))


def test_broken_files(tmp_path):
  def read(name):
    return jsonl.open_rows(str(tmp_path / name), {'n': 'text'}, cache_dir=str(tmp_path))

  (tmp_path / 'empty.jsonl').write_text('\n')
  with pytest.raises(ValueError, match=r"empty.jsonl' has no rows: get the file again\."):
    read('empty.jsonl')
  (tmp_path / 'text.jsonl.gz').write_text('{"n": "a"}\n')
  whole = gzip.compress(b'{"n": "a"}\n' * 1000)
  (tmp_path / 'cut.jsonl.gz').write_bytes(whole[:-10])
  (tmp_path / 'latin.jsonl').write_bytes('{"n": "é"}'.encode('latin-1'))
  with pytest.raises(ValueError, match="line 1 of '.*' is not UTF-8 text: correct or remove it"):
    read('latin.jsonl')
  for name in ('text.jsonl.gz', 'cut.jsonl.gz'):
    with pytest.raises(ValueError, match='is damaged'):
      read(name)


def test_other_errors_say_what_to_do(tmp_path, monkeypatch):
  path = write(tmp_path / 'rows.jsonl', ROWS)
  with pytest.raises(ValueError, match="unknown field kind 'string': choose one of text, integer"):
    jsonl.open_rows(path, {'name': 'string'}, cache_dir=str(tmp_path))
  with pytest.raises(ValueError, match='cannot write to .*: set cache_dir to another folder'):
    jsonl.open_rows(path, FIELDS, cache_dir=path)
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  monkeypatch.delitem(sys.modules, 'maxent_lm.tasks.tfds.builder', raising=False)
  with pytest.raises(ValueError, match="'tensorflow_datasets', which is not installed: run 'pip"):
    jsonl.open_rows(path, FIELDS, cache_dir=str(tmp_path / 'cache'))


def test_where_the_cache_is(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.delenv('MAXENT_LM_CACHE', raising=False)
  assert jsonl.cache_folder('') == tmp_path / '.cache' / 'maxent_lm' / 'tfds'
  monkeypatch.setenv('MAXENT_LM_CACHE', str(tmp_path / 'c'))
  assert jsonl.cache_folder('') == tmp_path / 'c' / 'tfds'
  assert jsonl.cache_folder(str(tmp_path / 'mine')) == tmp_path / 'mine'
