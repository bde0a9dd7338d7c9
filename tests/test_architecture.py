"""The house: imports only go down, siblings on a floor do not import each other."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / 'maxent_lm'
FLOORS = (
  ('types', 'masked', 'hosts', 'process', 'reading'),
  ('soft', 'lm', 'tasks'),
  ('algorithms', 'shaping', 'temperature', 'sampling', 'data', 'replay'),
  ('train', 'evaluation'),
  ('build', 'cli'),
  ('analysis',),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def room(module: str) -> str:
  return module.split('.')[1]


def imports(tree: ast.AST) -> set[str]:
  """Rooms of maxent_lm that a module imports, anywhere in it."""
  rooms = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'write imports in full'
      names = [node.module]
      if node.module == 'maxent_lm':
        names = [f'maxent_lm.{alias.name}' for alias in node.names]
    else:
      continue
    rooms |= {room(name) for name in names if name.startswith('maxent_lm.')}
  return rooms


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
  own = path.relative_to(PACKAGE).with_suffix('').parts[0]
  assert own in FLOOR, f'{path}: give {own!r} a floor in this test and in the README'
  for other in imports(ast.parse(path.read_text())):
    allowed = other == own or FLOOR[other] < FLOOR[own] or {own, other} == {'types', 'masked'}
    assert allowed, f'{own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})'


def test_the_walk_sees_a_climbing_import():
  tree = ast.parse('def f():\n  from maxent_lm.train import loop\n  from maxent_lm import lm')
  assert imports(tree) == {'train', 'lm'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_can_be_read_in_one_sitting(path):
  assert len(path.read_text().splitlines()) <= 400


def test_only_build_and_the_scripts_know_the_config():
  knows = {
    path.relative_to(PACKAGE).as_posix() for path in FILES if 'ml_collections' in path.read_text()
  }
  assert knows == {'build/names.py', 'cli.py', 'analysis/compare.py'}


def test_tasks_do_not_need_jax():
  for path in (PACKAGE / 'tasks').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import | ast.ImportFrom):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        assert not any(name.split('.')[0] in ('jax', 'flax', 'optax') for name in names), path
