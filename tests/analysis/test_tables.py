"""What every table script relies on: text, files, gates and resuming."""

import json
import subprocess
import sys

import pytest

from maxent_lm.analysis import tables
from maxent_lm.train import folder

ROWS = [{'name': 'a', 'x': 0.5, 'n': 3}, {'name': 'b', 'x': None, 'n': 123}]
SCRIPT = """
import pathlib
from maxent_lm.analysis import tables
def build(preset, workdir):
  gates = [tables.Gate('one is one', True), tables.Gate('one is two', preset != 'smoke')]
  return tables.Table(('name', 'ours'), [{'name': preset, 'ours': 1.0}], 'A note.', gates)
tables.script('trial', build)
"""


def test_a_commit_with_changes_is_not_the_commit():
  assert folder.short('a' * 40) == 'a' * 12 and folder.short('unknown') == 'unknown'
  assert folder.short('a' * 40 + '+changes.0123abcd') == 'a' * 12 + '+changes.0123abcd'


def test_markdown_shows_the_columns_that_are_asked_for():
  text = tables.markdown(ROWS, ('name', 'x'))
  assert text.splitlines()[2:] == ['|    a | 0.500 |', '|    b |       |']
  assert tables.markdown([{'|V|': 0.5}], ('|V|',)).splitlines()[0] == '| \\|V\\| |'


@pytest.mark.parametrize(
  ('value', 'text'),
  [(0.0, '0.000'), (0.25, '0.250'), (-3.0, '-3.000'), (250.4, '250'), (2e-5, '2.0e-05')],
)
def test_numbers_keep_what_they_say(value, text):
  assert tables.number(value) == text


def test_seeds_are_averaged_in_order_of_appearance():
  rows = [
    {'name': name, 'seed': seed, 'x': x}
    for name, seed, x in (('b', 0, 1.0), ('a', 0, 5.0), ('b', 1, 3.0))
  ]
  first, second = tables.over_seeds(rows, by=('name',), measured=('x', 'missing'))
  assert first == {'name': 'b', 'seeds': 2, 'x': '2.000 ± 1.414', 'missing': None}
  assert second['x'] == '5.000 ± 0.000'


def test_the_interval_of_a_mean_is_students():
  # s = 1, n = 3, t(.975, 2) = 4.303 [any table of the t distribution]
  assert tables.student([1.0, 2.0, 3.0]) == pytest.approx(4.303 / 3**0.5, abs=1e-3)
  assert tables.student([1.0]) is None
  rows = [{'name': 'a', 'x': 1.0}, {'name': 'a', 'x': 3.0}, {'name': 'b', 'x': 4.0}]
  two, one = tables.over_seeds(rows, by=('name',), measured=('x',), spread=tables.student)
  assert two['x'] == '2.000 ± 12.706' and one['x'] == '4.000'


def test_latex_has_the_cells_of_markdown_and_escapes_them():
  rows = [
    {'task': 'a_b', 'pass@1': '0.5 ± 0.1', 'n': 3},
    {'task': 'c', 'pass@1': '50%', 'n': None},
  ]
  assert tables.latex(rows, ('task', 'pass@1', 'n')).splitlines() == [
    r'\begin{tabular}{lrr}',
    r'\toprule',
    r'task & pass@1 & n \\',
    r'\midrule',
    r'a\_b & 0.5 $\pm$ 0.1 & 3 \\',
    r'\midrule',
    r'c & 50\% &  \\',
    r'\bottomrule',
    r'\end{tabular}',
  ]


def test_finished_rows_are_read_back_until_their_settings_change(tmp_path):
  calls = []

  def compute():
    calls.append(1)
    return {'x': len(calls)}

  path = tmp_path / 'rows' / 'a.json'
  assert tables.stored(path, {'seed': (0,)}, compute) == {'x': 1}
  assert tables.stored(path, {'seed': [0]}, compute) == {'x': 1}
  assert tables.stored(path, {'seed': [1]}, compute) == {'x': 2}
  assert json.loads(path.read_text())['settings'] == {'seed': [1]}


def test_both_files_are_written_whole(tmp_path):
  table = tables.Table(('name', 'x'), ROWS, 'A note.', [tables.Gate('it works', True)])
  text = tables.write(tmp_path, 'trial', table, made='By hand.')
  assert (tmp_path / 'trial.md').read_text() == text
  assert 'A note.' in text and '- holds: it works' in text and 'By hand.' in text
  assert (tmp_path / 'trial.csv').read_text() == 'name,x\na,0.5\nb,\n'
  assert len(list(tmp_path.iterdir())) == 2


def test_a_failing_gate_is_an_exit_status_and_one_sentence(tmp_path):
  script = tmp_path / 'trial.py'
  script.write_text(SCRIPT)

  def run(*options):
    command = [sys.executable, str(script), f'--workdir={tmp_path / "out"}', *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)

  failed = run('--preset=smoke', '--check')
  assert failed.returncode == 1
  assert failed.stderr.strip().splitlines()[-1] == 'error: 1 of 2 gates fail: one is two'
  assert 'FAILS: one is two' in (tmp_path / 'out' / 'trial.md').read_text()
  passed = run('--check')
  assert passed.returncode == 0 and '|  cpu | 1.000 |' in passed.stdout
