"""The doctor on a real run folder: intact, and with every kind of damage."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from checkpoints import damage
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.analysis import doctor
from maxent_lm.train import lock, steps


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Three steps, checkpoints of 2 and 3."""
  folder = tmp_path_factory.mktemp('run')
  build.rollout_run(tiny_config(steps=3, checkpoint__every=1, samples_every=1), folder).train()
  versions = json.loads((folder / 'versions.json').read_text())
  command = f'experiments/train.py --config=configs/countdown.py --workdir={folder}'
  (folder / 'versions.json').write_text(json.dumps({**versions, 'command': command}))
  return folder


@pytest.fixture
def folder(run, tmp_path):
  shutil.copytree(run, tmp_path / 'run')
  return tmp_path / 'run'


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_an_intact_run_is_fine_and_left_alone(run):
  before = contents(run)
  findings = doctor.examine(run)
  assert (findings.wrong, findings.fatal, findings.status) == ([], [], 0)
  assert contents(run) == before
  told = doctor.text(run, findings)
  for there in (
    *('config.json: countdown_soft_q, 3 steps', 'jax 0.', 'checkpoints/2: intact', '/3: intact'),
    *('metrics.jsonl: 3 rows, steps 0-2', 'samples.jsonl: ', 'rollouts.jsonl: '),
    *('start/: readable, ', 'model/: readable, '),
    f'The run goes on from step 3 with: python experiments/train.py --config=configs/countdown.py '
    f'--workdir={run}',
  ):
    assert there in told, there
  assert 'WRONG' not in told


def rewrite(name, change):
  """Damages a file of lines."""

  def damaged(folder):
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text(''.join(change(lines)))

  return damaged


def file(name, kind):
  return lambda folder: damage(folder / name, kind)


def both(name, kind):
  return lambda folder: [damage(folder / 'checkpoints' / str(x) / name, kind) for x in (2, 3)]


def leave(name):
  return lambda folder: (folder / name).mkdir()


def corrupt(folder):
  steps.set_aside(folder / 'checkpoints', 3, 'corrupt')


def removed(name):
  return lambda folder: shutil.rmtree(folder / name)


META = 'params/_METADATA'
DAMAGES = [
  (file(f'checkpoints/3/{META}', 'flipped'), f'checkpoints/3 is damaged: {META} has changed', 1, 2),
  (file('checkpoints/2/manifest.json', 'deleted'), '/2 is damaged: manifest.json is missing', 1, 3),
  (both(META, 'halved'), 'No checkpoint is intact', 2, 0),
  (corrupt, 'checkpoints/3.corrupt was found damaged and set aside', 1, 2),
  (leave('checkpoints/4.orbax-checkpoint-tmp'), '4.orbax-checkpoint-tmp was cut off', 1, 3),
  (leave('model.partial'), 'model.partial was cut off', 1, 3),
  (file('config.json', 'halved'), 'config.json cannot be read (', 2, 3),
  (file('config.json', 'deleted'), 'config.json is missing', 2, 3),
  (file('versions.json', 'emptied'), 'versions.json cannot be read', 1, 3),
  (
    rewrite('metrics.jsonl', lambda x: [*x[:2], x[2][:9]]),
    'line 3 is torn; the resumed run drops it',
    1,
    3,
  ),
  (
    rewrite('metrics.jsonl', lambda x: ['{\n', *x[1:]]),
    'line 1 is damaged: restore or remove the file',
    2,
    3,
  ),
  (rewrite('metrics.jsonl', lambda x: x[1:]), 'metrics.jsonl: steps 0 are missing', 1, 3),
  (rewrite('metrics.jsonl', lambda x: x[:1]), 'metrics.jsonl: steps 1, 2 are missing', 1, 3),
  (rewrite('metrics.jsonl', lambda x: [x[0], *x]), 'steps 0 are there more than once', 1, 3),
  (rewrite('metrics.jsonl', lambda x: x[::-1]), 'the steps are not in order', 1, 3),
  (
    rewrite('metrics.jsonl', lambda x: [*x, f'{{"step": {2**60}}}\n']),
    '3, 4, 5, 6, 7, ... are',
    1,
    3,
  ),
  (file('metrics.jsonl', 'emptied'), 'metrics.jsonl: steps 0, 1, 2 are missing', 1, 3),
  (file('metrics.jsonl', 'deleted'), 'metrics.jsonl is missing', 1, 3),
  (rewrite('samples.jsonl', lambda x: [*x, '{"st']), 'samples.jsonl: line ', 1, 3),
  (
    rewrite('samples.jsonl', lambda x: ['{"step": Infinity}\n', *x]),
    'samples.jsonl: line 1 is damaged',
    2,
    3,
  ),
  (
    file('model/model.safetensors', 'halved'),
    'model.safetensors is not a readable safetensors file',
    1,
    3,
  ),
  (file('model/model.safetensors', 'deleted'), '/model holds neither model.safetensors nor', 1, 3),
  (file('start/config.json', 'halved'), 'start/ cannot be read', 2, 3),
  (removed('model'), 'model/ is missing', 1, 3),
  (removed('start'), 'start/ is missing', 2, 3),
]


@pytest.mark.parametrize(('harm', 'sentence', 'status', 'step'), DAMAGES)
def test_each_damage_is_told(folder, harm, sentence, status, step):
  harm(folder)
  before = contents(folder)
  findings = doctor.examine(folder)
  told = doctor.text(folder, findings)
  assert any(sentence in line for line in told.splitlines() if line.startswith('WRONG: ')), told
  assert (findings.status, findings.step) == (status, step)
  assert ('cannot be resumed' in told) == (status == 2)
  assert contents(folder) == before


def test_a_run_that_has_not_saved_yet_starts_at_the_beginning(folder):
  shutil.rmtree(folder / 'checkpoints')
  shutil.rmtree(folder / 'model')
  findings = doctor.examine(folder)
  told = doctor.text(folder, findings)
  assert findings.status == 0
  assert 'checkpoints: none yet' in told and 'goes on from the beginning' in told


def test_who_holds_the_folder_is_told(folder):
  assert 'run.lock' not in doctor.text(folder, doctor.examine(folder))  # the run is over
  with lock.hold(folder):
    told = doctor.text(folder, doctor.examine(folder))
  assert f'run.lock: process {os.getpid()} on ' in told
  (folder / 'run.lock').write_text('{"pid": 7')
  assert 'run.lock: somebody (' in doctor.text(folder, doctor.examine(folder))


def test_the_script_ends_with_the_status(folder):
  def status(workdir, *more):
    command = [sys.executable, 'experiments/doctor.py', f'--workdir={workdir}', *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr

  damage(folder / 'checkpoints' / '3' / META, 'flipped')
  code, told = status(folder)
  assert code == 1 and f'WRONG: checkpoints/3 is damaged: {META} has changed' in told
  assert status(folder, '--verify=sizes')[0] == 0
  code, told = status(folder / 'nowhere')
  assert code == 2 and 'is not a folder' in told and 'Traceback' not in told
