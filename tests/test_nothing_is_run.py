"""No file is unpickled or evaluated: the package's own code, walked, but for the places named here.

Where something of a user's is run on purpose (configs and sweeps are Python; programs of models run
in the sandbox), the place stands in ALLOWED with its reason.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(
  path
  for folder in ('maxent_lm', 'experiments', 'configs')
  for path in (ROOT / folder).rglob('*.py')
)

MODULES = {  # that read data which can run code, or run text
  *('pickle', 'cPickle', '_pickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal', 'code'),
  *('yaml', 'runpy', 'imp', 'jsonpickle', 'codeop', 'numpy.lib.format'),
}
BUILTINS = {'eval', 'exec', 'compile', '__import__'}
METHODS = {  # by their names, of whatever object
  *('read_pickle', 'unsafe_load', 'full_load', 'load_all', 'literal_eval', 'exec_module'),
  *('run_path', 'run_module', 'spec_from_file_location', 'import_module', 'system', 'popen'),
}
LOADS = {'load', 'loads'}  # only of these:
SAFE_LOADS = {'json.loads', 'json.load', 'sweep.load', 'tomllib.loads'}
KEYWORDS = {'allow_pickle', 'trust_remote_code', 'weights_only', 'shell'}  # never true

# (file, what stands there): why. Python that a user wrote is run: a config is code.
SANDBOX = 'in the sandbox, a process of its own'
ALLOWED = {
  ('maxent_lm/tasks/sandbox/candidate.py', 'exec'): f'the program of a response, {SANDBOX}',
  ('maxent_lm/tasks/sandbox/candidate.py', 'compile'): f'the program of a response, {SANDBOX}',
  ('maxent_lm/tasks/sandbox/examiner.py', 'exec'): f'the tests of a problem, {SANDBOX}',
  ('maxent_lm/tasks/sandbox/examiner.py', 'compile'): f'the tests of a problem, {SANDBOX}',
  ('maxent_lm/tasks/sandbox/examiner.py', 'import_module'): f'modules of Python, {SANDBOX}',
  ('maxent_lm/tasks/sandbox/zygote.py', 'import_module'): f'modules of Python, {SANDBOX}',
  ('maxent_lm/tasks/list_programs.py', 'eval'): 'parts that the module itself has spelled',
  ('maxent_lm/tasks/maths/worker.py', 'import_module'): 'modules of the package, by fixed names',
  ('maxent_lm/tasks/reasoning_gym.py', 'import_module'): 'a package, by its fixed name',
  ('maxent_lm/tasks/tfds/jsonl.py', 'import_module'): 'packages, by fixed names',
  ('maxent_lm/analysis/chaos/points.py', 'runpy'): 'the script of the project that is killed',
  ('maxent_lm/analysis/chaos/points.py', 'run_path'): 'the script of the project that is killed',
  ('maxent_lm/analysis/sweep.py', 'exec_module'): 'the Python file of --sweep, as configs are',
  ('maxent_lm/analysis/sweep.py', 'spec_from_file_location'): 'the Python file of --sweep',
  ('experiments/tables/equivalence.py', 'import_module'): 'modules of tests/, by fixed names',
  ('experiments/tables/fixed_points.py', 'import_module'): 'modules of tests/, by fixed names',
}


def name_of(node: ast.AST) -> str:
  if isinstance(node, ast.Attribute):
    return f'{name_of(node.value)}.{node.attr}'
  return node.id if isinstance(node, ast.Name) else ''


def imported(node: ast.AST) -> list[str]:
  if isinstance(node, ast.Import):
    return [alias.name for alias in node.names]
  return [node.module or ''] if isinstance(node, ast.ImportFrom) else []


def found(tree: ast.AST) -> set[str]:
  """What could run something, by name."""
  names = set()
  for node in ast.walk(tree):
    names |= {n for n in imported(node) if n in MODULES or n.split('.')[0] in MODULES}
    if isinstance(node, ast.Name) and node.id in BUILTINS:
      names.add(node.id)
    if isinstance(node, ast.Attribute) and (node.attr in METHODS or node.attr in LOADS):
      whole = name_of(node)
      if whole not in SAFE_LOADS:
        names.add(node.attr if node.attr in METHODS else whole)
    if isinstance(node, ast.keyword) and node.arg in KEYWORDS:
      safe = node.arg == 'weights_only'
      if not (isinstance(node.value, ast.Constant) and node.value.value is safe):
        names.add(node.arg)
  return names


def test_every_place_is_named():
  places = {
    (path.relative_to(ROOT).as_posix(), name)
    for path in FILES
    for name in found(ast.parse(path.read_text(encoding='utf-8')))
  }
  assert places == set(ALLOWED)


@pytest.mark.parametrize(
  'text',
  [
    'import pickle',
    'from pickle import loads',
    'torch.load(p)',
    'torch.load(p, weights_only=False)',
    'eval(x)',
    'f = exec',
    'compile(x)',
    'np.load(p)',
    'np.load(p, allow_pickle=True)',
    'f(allow_pickle=flag)',
    'pd.read_pickle(p)',
    'AutoModel.from_pretrained(p, trust_remote_code=True)',
    'yaml.load(f)',
    'importlib.import_module(name)',
    'os.system(x)',
    'subprocess.run(x, shell=True)',
    'loader.exec_module(m)',
  ],
)
def test_the_walk_sees_it(text):
  assert found(ast.parse(text))


@pytest.mark.parametrize(
  'text', ['json.loads(x)', 're.search(x)', 'f(trust_remote_code=False)', 'model.eval_shape(x)']
)
def test_the_walk_sees_no_more(text):
  assert not found(ast.parse(text))


def test_no_template_is_rendered_outside_a_sandbox():
  """Chat templates are strangers' programs; the report's page is our own."""
  uses = {
    path.relative_to(ROOT).as_posix()
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    if 'jinja2' in [each.split('.')[0] for each in imported(node)]
  }
  assert uses == {'maxent_lm/lm/chat_worker.py', 'maxent_lm/analysis/report.py'}
  worker = (ROOT / 'maxent_lm/lm/chat_worker.py').read_text(encoding='utf-8')
  assert 'ImmutableSandboxedEnvironment(' in worker and 'jinja2.Environment(' not in worker
