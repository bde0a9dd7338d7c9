"""The files a run is trained on: known by their bytes, recorded, and not changed under a run."""

import hashlib
import json
import pathlib

import pytest
from tiny_runs import shrunk, tiny_config

from configs import countdown, methods
from maxent_lm import build
from maxent_lm.tasks import TASKS
from maxent_lm.tasks.base import Fingerprinted, Subset, fingerprint
from maxent_lm.tasks.curriculum import Curriculum
from maxent_lm.tasks.mixture import Mixture

PROGRAM = {'task_id': 1, 'code': 'def f(x):\n  return x', 'test_list': ['assert f(1) == 1']}
# A row of every file that a task reads.
FILES = {
  'aqua_rat': (
    'test',
    {
      'question': 'Which?',
      'options': [f'{letter}){n}' for n, letter in enumerate('ABCDE')],
      'rationale': 'It is.',
      'correct': 'A',
    },
  ),
  'bbh': ('test', {'task': 'boolean_expressions', 'input': 'True is', 'target': 'True'}),
  'game24': ('puzzles', {'numbers': [4, 5, 6, 10]}),
  'gsm8k': ('test', {'question': 'How many?', 'answer': '#### 4'}),
  'gsm_hard': ('test', {'input': 'How many?', 'target': 4.0}),
  'human_eval': (
    'test',
    {'task_id': 'x', 'prompt': 'def f():\n', 'entry_point': 'f', 'canonical_solution': '  pass\n'}
    | {'test': 'def check(f):\n  f()\n'},
  ),
  'jsonl': ('test', {'prompt': '2+2=', 'answer': '4'}),
  'math': ('math500', {'problem': 'How many?', 'solution': r'\boxed{4}'}),
  'mbpp': (
    'full',
    PROGRAM | {'text': 'x', 'test_setup_code': '', 'challenge_test_list': [], 'split': 'test'},
  ),
  'olympiadbench': (
    'test',
    {'question': 'What?', 'solution': ['So.'], 'final_answer': ['4'], 'is_multiple_answer': False},
  ),
  'svamp': (
    'test',
    {'Body': 'Two.', 'Question': 'How many?', 'Equation': '( 2.0 + 2.0 )', 'Answer': 4.0},
  ),
}


def make(name, folder):
  split = 'train' if name == 'game24' else 'test'
  options = {} if name == 'game24' else {'cache_dir': str(folder / 'cache')}
  return TASKS[name](data_dir=str(folder), split=split, **options)


@pytest.mark.parametrize('name', FILES)
def test_one_changed_byte_is_another_file(name, tmp_path):
  stem, row = FILES[name]
  path = tmp_path / f'{stem}.jsonl'
  path.write_text(json.dumps(row) + '\n')
  first = make(name, tmp_path)
  assert fingerprint(first) == hashlib.sha256(path.read_bytes()).hexdigest()
  assert fingerprint(make(name, tmp_path)) == fingerprint(first)
  path.write_text(json.dumps(row) + ' \n')
  assert fingerprint(make(name, tmp_path)) != fingerprint(first)
  assert fingerprint(Subset(first, [0])) == fingerprint(first)


def test_every_task_with_a_folder_of_data_has_a_fingerprint():
  for name, task in TASKS.items():
    reads = isinstance(task, type) and issubclass(task, Fingerprinted)
    assert reads == (name in FILES), name


def test_tasks_of_tasks_combine_fingerprints(tmp_path):
  tasks = {}
  for name in ('jsonl', 'gsm8k'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'test.jsonl').write_text(json.dumps(FILES[name][1]))
    tasks[name] = make(name, tmp_path / name)
  plain = TASKS['arithmetic'](split='train', size=5)
  one, other = tasks.values()
  both = fingerprint(Mixture(tasks))
  assert both == fingerprint(one, other) == fingerprint(Curriculum([one, other], starts=(0, 5)))
  assert both not in ('', fingerprint(one), fingerprint(other), fingerprint(other, one))
  assert fingerprint(plain) == fingerprint(Mixture({'a': plain, 'b': plain})) == ''
  assert fingerprint(Subset(plain, [1])) == '' != fingerprint(Mixture({'a': plain, 'b': one}))


# --- run folders ----------------------------------------------------------------------------------


def sums(folder, end=''):
  rows = [{'prompt': f'{a}+{b}=', 'answer': str(a + b)} for a in range(5) for b in range(4)]
  path = folder / 'train.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)) + end)
  (folder / 'test.jsonl').write_text(path.read_text())
  return path


def config_of(folder, variant='pretrain', **changes):
  config = countdown.get_config(variant)
  config.task = 'jsonl'
  config.jsonl.update(data_dir=str(folder), cache_dir=str(folder / 'cache'))
  return shrunk(config, **changes)


def self_train(config, workdir):
  loop = build.self_training(config, workdir)
  return next(loop.rounds())


STARTS = {
  'pretrain': lambda config, workdir: build.demonstration_run(config, workdir).train(),
  'soft_q': lambda config, workdir: build.rollout_run(config, workdir).train(),
  'star': self_train,
}


@pytest.mark.parametrize('variant', STARTS)
def test_a_run_goes_on_with_its_data_and_with_no_other(variant, tmp_path):
  path, workdir = sums(tmp_path), tmp_path / 'run'
  config = config_of(tmp_path, variant, steps=1)
  STARTS[variant](config, workdir)
  written = json.loads((workdir / 'data.json').read_text())
  assert written == {'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}
  STARTS[variant](config, workdir)
  sums(tmp_path, end='\n')
  with pytest.raises(ValueError, match='was started with other data.*restore the files or choose'):
    STARTS[variant](config, workdir)
  assert json.loads((workdir / 'data.json').read_text()) == written


def test_offline_data_are_known_too(tmp_path):
  path = tmp_path / 'pairs.jsonl'
  row = {'prompt': '1,2=3:', 'chosen': '1+2', 'rejected': '1-2'}
  path.write_text(json.dumps(row) + '\n')
  config = shrunk(methods.get_config('dpo'), steps=1, offline__path=str(path), batch__prompts=1)
  build.offline_run(config, tmp_path / 'run').train()
  path.write_text(json.dumps(row | {'chosen': '2+1'}) + '\n')
  with pytest.raises(ValueError, match='was started with other data'):
    build.offline_run(config, tmp_path / 'run')


def test_runs_without_files_and_older_folders_go_on(tmp_path):
  build.rollout_run(tiny_config(steps=1), tmp_path / 'plain').train()
  assert not (tmp_path / 'plain' / 'data.json').exists()
  sums(tmp_path)
  config = config_of(tmp_path, steps=1)
  STARTS['pretrain'](config, tmp_path / 'run')
  pathlib.Path(tmp_path / 'run' / 'data.json').unlink()
  STARTS['pretrain'](config, tmp_path / 'run')
  assert (tmp_path / 'run' / 'data.json').exists()
