"""Run folders with damaged files: what reads them gives a value or a sentence."""

import json

import fuzzing
import pytest
import run_folders
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm.analysis import compare, doctor, frames, report, runs, tables
from maxent_lm.train import folder, lock, manifest
from maxent_lm.train.metrics import keep_before, read_metrics

pytest.importorskip('pandas', reason='pandas is in the extra notebooks')

ROWS = ('metrics.jsonl', 'samples.jsonl', 'rollouts.jsonl', 'evaluation.jsonl')
OBJECTS = ('config.json', 'versions.json', 'evaluation.json')
SAMPLE = {'step': 0, 'prompt': '1+1=', 'response': '2', 'reward': 1.0, 'finished': True}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  path = run_folders.make(tmp_path_factory.mktemp('runs') / 'run', steps=2, every=1, length=3)
  run_folders.evaluate(path)
  for name in ('metrics.jsonl', 'rollouts.jsonl'):
    kept = (path / name).read_text().splitlines(keepends=True)[:3]
    (path / name).write_text(''.join(kept))
  run_folders.write(path / 'samples.jsonl', [SAMPLE, {**SAMPLE, 'step': 1}])
  return path


def everything(path):
  """All that is made of a run folder."""
  run = runs.read(path)
  runs.missing(run)
  for make in (frames.metrics, frames.samples, frames.tokens, frames.evaluations, frames.problems):
    make(path)
  report.page([run], defaults={})


def looked_at(path):
  """By the doctor, who never gives up."""
  assert '\n' in doctor.text(path, doctor.examine(path))


def replaced(path, name, content):
  """Checks with other bytes in a file, which is put back."""
  file = path / name
  before = file.read_bytes()
  file.write_bytes(content)
  try:
    with fuzzing.one_sentence():
      everything(path)
    looked_at(path)
  finally:
    file.write_bytes(before)


def test_the_folder_is_good(made):
  everything(made)


@pytest.mark.parametrize('name', ROWS)
@fuzzing.fuzzed(12)
@given(data=st.data())
def test_rows(made, name, data):
  rows = [json.loads(line) for line in (made / name).read_text().splitlines()]
  replaced(made, name, data.draw(fuzzing.broken_lines(rows)))


@pytest.mark.parametrize('name', OBJECTS)
@fuzzing.fuzzed(12)
@given(data=st.data())
def test_objects(made, name, data):
  replaced(made, name, data.draw(fuzzing.broken(json.loads((made / name).read_text()))))


def plain(rows):
  """As they can be written."""
  return json.dumps(rows, ensure_ascii=False).encode('utf-8', 'replace')


METRICS = [{'step': step, 'loss': 0.5 * step, 'kl': None} for step in range(3)]


@fuzzing.fuzzed(100)
@given(content=fuzzing.broken_lines(METRICS), start=st.integers(0, 4))
def test_metrics_are_read_and_cut_or_refused_as_they_are(tmp_path, content, start):
  """A run goes on from `start`: earlier rows stay to the bit, and a refused file is not touched."""
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    rows = read_metrics(path)
    keep_before(path, start)
    assert plain(read_metrics(path)) == plain([row for row in rows if row['step'] < start])
    return
  assert path.read_bytes() == content


@pytest.mark.parametrize(
  ('row', 'reason'),
  [
    ({'loss': 1}, "row 2 of .* has no 'step'"),
    ({'step': True}, "row 2 of .* has no 'step'"),
    ({'step': 1.0}, "row 2 of .* has no 'step'"),
    ({'step': 1, 'loss': 'low'}, "row 2 of .* something else than a number as its 'loss'"),
  ],
)
def test_rows_without_a_step_and_metrics_that_are_no_numbers(made, row, reason):
  before = (made / 'metrics.jsonl').read_bytes()
  run_folders.write(made / 'metrics.jsonl', [{'step': 0}, row])
  try:
    with pytest.raises(ValueError, match=reason):
      runs.read(made)
  finally:
    (made / 'metrics.jsonl').write_bytes(before)


STORED = {'config': {'a': 1, 'b': [1, 2]}, 'row': {'pass@1': 0.5}}


@fuzzing.fuzzed(60)
@given(content=fuzzing.broken(STORED))
def test_rows_of_sweeps(tmp_path, monkeypatch, content):
  monkeypatch.setattr(compare, '_plain', lambda config: config)
  (tmp_path / compare.ROW).write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    found = compare.stored_row({'a': 1, 'b': [1, 2]}, tmp_path)
    assert found is None or isinstance(found, dict)


@fuzzing.fuzzed(60)
@given(content=fuzzing.broken({'settings': {'a': 1}, 'row': {'x': 1}}))
def test_rows_of_tables(tmp_path, content):
  path = tmp_path / 'row.json'
  path.write_bytes(content)
  with fuzzing.one_sentence(ValueError):
    assert isinstance(tables.stored(path, {'a': 1}, lambda: {'x': 2}), dict)


CHECKS = {
  'config.json': lambda path: folder.check_config(path, {'a': {'b': 1}, 'c': [1]}),
  'data.json': lambda path: folder.check_data(path, 'f00'),
  'sandbox.json': lambda path: folder.check_sandbox(path, 'ns'),
}
VALID = {
  'config.json': {'a': {'b': 1}, 'c': [1]},
  'data.json': {'sha256': 'f00'},
  'sandbox.json': {'tier': 'ns'},
}


@pytest.mark.parametrize('name', CHECKS)
@fuzzing.fuzzed(60)
@given(data=st.data())
def test_what_a_run_was_started_with(tmp_path, name, data):
  (tmp_path / name).write_bytes(data.draw(fuzzing.broken(VALID[name])))
  with fuzzing.one_sentence(ValueError):
    CHECKS[name](tmp_path)


def test_what_is_told_of_a_file_is_one_line(tmp_path):
  """A new line in a fingerprint, or in a key."""
  (tmp_path / 'data.json').write_text(json.dumps({'sha256': 'f\n0'}))
  (tmp_path / 'config.json').write_text(json.dumps({'a': {'b': 2, 'x\ny': 1}}))
  for name in ('data.json', 'config.json'):
    with fuzzing.one_sentence(ValueError):
      CHECKS[name](tmp_path)
      pytest.fail(f'{name} was believed')


@fuzzing.fuzzed(60)
@given(data=st.data())
def test_manifests_of_checkpoints(tmp_path, data):
  """What is not the very manifest is told as damage; nothing is believed."""
  step, file = tmp_path / 'step', tmp_path / 'step' / manifest.NAME
  (step / 'a').mkdir(parents=True, exist_ok=True)
  (step / 'a' / 'x').write_bytes(b'abc')
  manifest.write(step)
  assert manifest.verify(step, 'full') == []
  valid = json.loads(file.read_text())
  file.write_bytes(data.draw(fuzzing.broken(valid)))
  problems = manifest.verify(step, 'full')
  assert all(isinstance(each, str) and '\n' not in each for each in problems)
  if not problems:
    assert json.loads(file.read_text())['files'] == valid['files']


@fuzzing.fuzzed(30)
@given(data=st.data())
def test_lock_files(tmp_path, data):
  """A file that says nothing holds nobody up; another's is told in a sentence."""
  with lock.hold(tmp_path):
    valid = json.loads((tmp_path / lock.NAME).read_bytes())
  (tmp_path / lock.NAME).write_bytes(data.draw(fuzzing.broken(valid)))
  with fuzzing.one_sentence(), lock.hold(tmp_path, beat=1e-3, patience=2e-3):
    pass
  (tmp_path / lock.NAME).unlink()
