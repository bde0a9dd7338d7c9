"""experiments/README.md: every table has a row, every link a file, and numbers come out again."""

import csv
import importlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / 'experiments' / 'README.md'
SCRIPTS = ROOT / 'experiments' / 'tables'


def rows():
  """{table: cells} of the first table."""
  lines = README.read_text().split('## Out of reach')[0].splitlines()
  cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if '|' in line]
  head, _, *body = cells
  assert all(len(line) == len(head) for line in body)
  return {re.search(r'\w+', line[0])[0]: dict(zip(head, line, strict=True)) for line in body}


def test_every_script_has_a_row_and_every_row_a_script():
  scripts = {path.stem for path in SCRIPTS.glob('*.py')}
  sweeps = {path.stem for path in (ROOT / 'configs' / 'sweeps').glob('*.py')}
  assert scripts <= set(rows()) <= scripts | sweeps


def test_what_was_made_names_its_commit_and_links_to_it():
  for name, row in rows().items():
    if row['ours'] == 'not run yet':
      assert not row['commit'] and row['time'] == 'not run yet', name
    else:
      assert re.fullmatch('[0-9a-f]{7}', row['commit']) and '](' in row['table'], name


def test_the_commit_is_the_one_that_the_table_names():
  for name, row in rows().items():
    path = ROOT / 'docs' / 'tables' / f'{name}.md'
    if path.exists():
      assert f'commit {row["commit"]}' in path.read_text(), name


def test_links_have_files():
  for link in re.findall(r'\]\(([^)#]+)', README.read_text()):
    assert (README.parent / link).exists(), link


def committed(name):
  with (ROOT / 'docs' / 'tables' / f'{name}.csv').open() as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize(('name', 'said'), [('rover_tree', '14.2%'), ('qsharp_tree', '.924')])
def test_a_table_that_is_made_again_has_the_committed_numbers(monkeypatch, tmp_path, name, said):
  monkeypatch.syspath_prepend(str(SCRIPTS))
  made = importlib.import_module(name).build('cpu', tmp_path).rows
  sys.modules.pop(name)
  assert len(made) == len(committed(name))
  numbers = 0
  for ours, theirs in zip(made, committed(name), strict=True):
    for column, text in theirs.items():
      value = ours.get(column)
      if isinstance(value, float):
        assert value == pytest.approx(float(text), rel=1e-6, abs=1e-12)
        numbers += 1
      else:
        assert text == ('' if value is None else str(value))
  assert numbers > 10
  assert said in rows()[name]['ours']
  shown = [float(text) for text in re.findall(r'[.\d]+(?:e-\d+)?', said)]
  flat = [value for row in made for value in row.values() if isinstance(value, float)]
  scale = 100 if '%' in said else 1
  assert any(round(scale * value, 3 - len(str(scale)) + 1) == shown[0] for value in flat)
