"""What README and docs/ say is so: commands, blocks of Python, links, paths and numbers."""

import configparser
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import documents
import pytest
import yaml
from documents import PAGES, ROOT
from test_architecture import FLOORS

from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import tables
from maxent_lm.shaping import TRANSFORMS
from maxent_lm.tasks import TASKS
from maxent_lm.temperature import CONTROLLERS

README = (ROOT / 'README.md').read_text()
WITH_PYTHON = [
  page for page in PAGES if any(f.language == 'python' for f in documents.fences(page.read_text()))
]
TINY = (
  *('--config.steps=2', '--config.mesh.data=1', '--config.countdown.num_numbers=(2,)'),
  *('--config.countdown.max_number=9', '--config.countdown.min_modes=1'),
  *('--config.model.d_model=16', '--config.model.num_layers=1', '--config.model.d_ff=16'),
  *('--config.batch.prompts=4', '--config.batch.group_size=2', '--config.batch.max_new_tokens=8'),
  *('--config.eval.problems=8', '--config.eval.samples=4', '--config.eval.prompts=8'),
)
SCRIPT = re.compile(r'(?:experiments|tests)/[\w/]+\.py')


def name(page):
  return page.relative_to(ROOT).as_posix()


def every_command():
  return [each for page in PAGES for each in documents.commands(page.read_text(), name(page))]


def errors(commands):
  """What tests/parse_commands.py says of each."""
  ran = subprocess.run(
    [sys.executable, 'tests/parse_commands.py'],
    input=json.dumps(commands),
    capture_output=True,
    text=True,
    check=True,
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'},
  )
  return json.loads(ran.stdout)


# --- commands --------------------------------------------------------------------------------


def test_every_script_takes_the_flags_that_it_is_shown_with():
  """All flags exist and parse, `--config=FILE:ARG` resolves, every --config.key is a key."""
  asked = [each for each in every_command() if each.argv[0].endswith('python')]
  assert len(asked) > 40
  said = dict(zip(asked, errors([each.argv for each in asked]), strict=True))
  shortened = 'must have a value other than None'
  wrong = {
    f'{each.where}: {" ".join(each.argv)}': error
    for each, error in said.items()
    if error and (each.whole or shortened not in error)
  }
  assert not wrong


def test_wrong_commands_are_noticed():
  train = 'python experiments/train.py --config=configs/countdown.py:soft_q --workdir=x'
  wrong = {
    'python experiments/no_such_script.py': 'No such file',
    train.replace('soft_q', 'soft_r'): 'soft_r is unknown',
    f'{train} --config.stepz=2': 'unknown config key --config.stepz',
    f'{train} --worker=2': "Unknown command line flag 'worker'",
    f'{train} more': 'more is no flag',
    train.removesuffix(' --workdir=x'): 'flag --workdir=None',
    'python experiments/tables/qsharp_tree.py --preset=huge': '--preset=huge',
    'python -m maxent_lm.tasks.sandbox --speed': 'exit 2',
    'python -m experiments.peers.trl_grpo --presets=S': 'presets',
  }
  for (command, part), said in zip(
    wrong.items(), errors([each.split() for each in wrong]), strict=True
  ):
    assert part in said, command


def test_targets_and_extras_exist():
  targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  seen = set()
  for command in every_command():
    program = pathlib.PurePath(command.argv[0]).name
    seen.add(program)
    if program == 'make':
      assert set(command.argv[1:]) <= targets, command
    elif program == 'pip':
      extras = re.fullmatch(r'\.\[([\w,]+)\]', command.argv[-1])[1].split(',')
      assert set(extras) <= set(setup['options.extras_require']), command
  assert seen == {'make', 'pip', 'python'}


def test_commands_are_found_wherever_they_stand():
  text = (
    '```sh\nsrun -n 2 python a.py ...   # python c.py\n'
    'for i in 0 1; do python b.py --process_id=$i & done; wait\n'
    "ssh POD --command='python d.py'\necho '{}' |\n  python -m e \\\n    [--f=1]\n```\n"
    'And `python g.py\n--h`, `python <name>.py`, `make test`.\n```json\npython no.py\n```\n'
  )
  found = [' '.join(each.argv) for each in documents.commands(text, 'page')]
  shown = ' '.join(documents.PLACEHOLDERS['...'])
  assert found == [
    *(f'python a.py {shown}', 'python b.py --process_id=0', 'python d.py', 'python -m e --f=1'),
    *('python g.py --h', 'make test'),
  ]


@pytest.fixture
def checkout(tmp_path):
  """An empty folder with the scripts and configs of the project."""
  for folder in ('experiments', 'configs'):
    (tmp_path / folder).symlink_to(ROOT / folder)
  return tmp_path


def finish(command, cwd):
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  environment['PATH'] = f'{pathlib.Path(sys.executable).parent}:{environment["PATH"]}'
  ran = subprocess.run(
    command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
  )
  assert ran.returncode == 0, f'{command}\n{ran.stdout}\n{ran.stderr}'
  return ran.stdout


@pytest.mark.slow
def test_the_chain_of_readme_runs(checkout):
  """Warm start, training, evaluation and what is made of it, as they are written, but tiny."""
  block = next(f for f in documents.fences(README) if 'experiments/pretrain.py' in f.text)
  chain = documents.commands(f'```sh\n{block.text}```', 'README.md')
  assert [each.argv[1].split('/')[-1] for each in chain][:3] == [
    *('pretrain.py', 'train.py', 'evaluate.py'),
  ]
  for each in chain:
    has_config = any(word.startswith('--config=') for word in each.argv)
    finish([sys.executable, *each.argv[1:], *(TINY if has_config else ())], checkout)
  table = json.loads((checkout / 'runs' / 'soft_q' / 'evaluation.json').read_text())
  assert table['step'] == 2 and 'coverage@4' in table
  pool = ['experiments/evaluate_seeds.py', '--runs=runs/soft_q,runs/soft_q', '--workdir=runs/seeds']
  assert 'coverage@4' in finish([sys.executable, *pool], checkout)


def test_the_programs_of_the_sandbox_page_run(checkout):
  page = (ROOT / 'docs' / 'how-to' / 'sandbox.md').read_text()
  probe, equality = (f for f in documents.fences(page) if ' -m ' in f.text)
  assert '"passed": true' in finish(['bash', '-ec', probe.text], checkout)
  assert '"equal": true' in finish(['bash', '-ec', equality.text], checkout)


# --- Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize('page', WITH_PYTHON, ids=name)
def test_the_python_of_a_page_is_one_program(page):
  """Its assertions hold; what it adds to the tables of the package is taken back."""
  kept = [(table, dict(table)) for table in (LOSSES, TRANSFORMS, TASKS, CONTROLLERS)]
  names = {'__name__': 'page'}
  try:
    for fence in documents.fences(page.read_text()):
      if fence.language == 'python':
        code = compile('\n' * (fence.line - 1) + fence.text, str(page), 'exec')
        exec(code, names)
  finally:
    for table, before in kept:
      table.clear()
      table.update(before)


def test_every_page_of_concepts_checks_its_formulas():
  languages = {
    page: {fence.language for fence in documents.fences(page.read_text())}
    for page in (ROOT / 'docs' / 'concepts').glob('*.md')
  }
  with_formulas = [page for page, found in languages.items() if 'math' in found]
  assert with_formulas and set(with_formulas) <= set(WITH_PYTHON)
  assert all('assert ' in page.read_text() for page in with_formulas)


# --- links, paths, numbers -------------------------------------------------------------------


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_somewhere(page):
  for link in documents.links(page.read_text()):
    path, _, anchor = link.partition('#')
    target = (page.parent / path).resolve() if path else page
    if target.parent == ROOT / 'docs' / 'api':  # written when the site is built: one page a room
      assert target.stem == 'maxent_lm' or (ROOT / 'maxent_lm' / target.stem).is_dir(), link
      continue
    assert target.exists(), link
    assert not anchor or anchor in documents.anchors(target.read_text()), link


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_paths_that_are_named_exist(page):
  missing = [path for path in documents.paths(page.read_text()) if not (ROOT / path).exists()]
  assert not missing


def test_every_page_is_in_the_navigation():
  settings = (ROOT / 'mkdocs.yml').read_text()
  docs = [name(page).removeprefix('docs/') for page in PAGES if name(page).startswith('docs/')]
  outside = [page for page in docs if f'{page}\n' not in settings]
  assert all(page.startswith('tables/') for page in outside)  # linked from tables/README.md


def numbers(table):
  """Whether a table has a column of numbers, which stand at the right."""
  return any(re.fullmatch(r'-+:', cell) for cell in table[1])


@pytest.mark.parametrize(
  'page', [page for page in PAGES if not name(page).startswith('docs/')], ids=name
)
def test_numbers_name_the_script_that_made_them(page):
  """The section of a table of numbers, of a figure, or of a number with decimals names a script."""
  unnamed = []
  for section in documents.sections(page.read_text()):
    measured = re.search(r'!\[|(?<![\w.-])(?<!>= )\d*\.\d+', section)
    if measured or any(numbers(table) for table in documents.tables(section)):
      scripts = SCRIPT.findall(section)
      if not any((ROOT / script).exists() for script in scripts):
        unnamed.append(section[:200])
  assert not unnamed


@pytest.fixture
def build(monkeypatch, tmp_path):
  """What the script of a table makes."""
  monkeypatch.syspath_prepend(str(ROOT / 'experiments' / 'tables'))

  def run(script):
    table = importlib.import_module(script).build('smoke', tmp_path)
    sys.modules.pop(script)
    return table

  return run


def test_rows_of_readme_come_out_of_their_scripts_again(build):
  cells = {row[0]: row[-1] for table in documents.tables(README) for row in table}
  eta = build('qsharp_tree').rows[-1]
  rover = {row['policy']: row for row in build('rover_tree').rows}
  controlled = cells["Q-sharp's tree at eta = 0.02: P(left) of controlled decoding"]
  assert f'{eta["controlled decoding"]:.3f}' == f'0{controlled}'
  assert f'{eta["Q-sharp"]:.1e}' == cells['the same of Q-sharp, which is the soft optimum there']
  success = rover['softmax(Q_u / rho), 1']['success']
  assert f'{success:.1%}' == cells["ROVER's tree, softmax of Q_u at temperature 1: success"]


@pytest.mark.parametrize('script', ['qsharp_tree', 'rover_tree'])
def test_an_exact_table_is_the_one_in_docs(script, build):
  table = build(script)
  stored = (ROOT / 'docs' / 'tables' / f'{script}.md').read_text()
  assert tables.markdown(table.rows, table.columns) in stored


def test_the_map_has_every_room():
  rooms = next(table for table in documents.tables(README) if table[0][0] == 'floor')
  shown = {
    (int(row[0]), room.removesuffix('/').removesuffix('.py'))
    for row in rooms[2:]
    for room in re.findall(r'`([\w./]+)`', row[1])
  }
  assert shown == {(floor, room) for floor, own in enumerate(FLOORS) for room in own}


# --- the site, and what stands beside it -----------------------------------------------------


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
  """Needs `make docs`'s packages: formulas, links, anchors, and the docstrings of every room."""
  for package in ('mkdocs', 'material', 'mkdocstrings', 'latex2mathml'):
    pytest.importorskip(package)
  command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', f'-d={tmp_path}/site']
  finish(command, ROOT)
  page = (tmp_path / 'site' / 'concepts' / 'soft_q.html').read_text()
  assert page.count('<math') >= 5
  rooms = {path.name for path in (ROOT / 'maxent_lm').iterdir() if (path / '__init__.py').exists()}
  assert {path.stem for path in (tmp_path / 'site' / 'api').glob('*.html')} == rooms | {'maxent_lm'}


def test_version_and_authors_are_told_alike():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  version = setup['metadata']['version']
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
  assert (citation['version'], citation['license']) == (version, setup['metadata']['license'])
  assert citation['authors'] == [{'name': 'The maxent_lm authors'}]
  changes = (ROOT / 'CHANGELOG.md').read_text()
  assert re.search(rf'^## \[{re.escape(version)}\]', changes, re.MULTILINE)
