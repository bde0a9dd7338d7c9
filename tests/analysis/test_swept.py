"""Tables of sweeps: what is run, in which order, and what is read back."""

import json

import pytest

from maxent_lm.analysis import pool, sweep, swept

FILE = """
import ml_collections
from maxent_lm.analysis import sweep

def make(point, seed, init):
  return ml_collections.ConfigDict({'seed': seed, 'init': init, **point.changes})

def get_sweep(arg='x'):
  points = sweep.over(arg, (1, 2))
  return sweep.Sweep('s', make, points, 2, (), ('x', 'y'), '')
"""


@pytest.fixture
def sources(tmp_path):
  path = tmp_path / 'file.py'
  path.write_text(FILE)
  return {'a': f'{path}:p', 'b': f'{path}:q'}


@pytest.fixture
def ran(monkeypatch, tmp_path, sources):
  """A pool that writes rows at once, but for what is called 'p=2/1'; the titles of what it ran."""
  titles = []

  def run(chains, slots):
    failed = []
    for stage in (stage for chain in chains for stage in chain):
      titles.append([work.title for work in stage])
      for work in stage:
        name, title = work.title.split(': ')
        if title == 'p=2/1':
          failed.append(title)
          continue
        of = sweep.load(sources[name])
        every = {job.title: job for job in sweep.jobs(of, tmp_path / 'runs' / name, of.seeds)}
        config = sweep.config(of, every[title]).to_dict()
        work.workdir.mkdir(parents=True)
        row = {'train_seconds': 1.0, 'x': 0.5}
        (work.workdir / 'row.json').write_text(json.dumps({'config': config, 'row': row}))
    return failed

  monkeypatch.setattr(pool, 'run', run)
  return titles


def go(tmp_path, sources, **options):
  return swept.run(sources, tmp_path / 'runs', **{'seeds': None, 'workers': 1, **options})


def test_every_seed_has_its_start_first_and_finished_runs_are_not_run_again(tmp_path, sources, ran):
  found = go(tmp_path, sources)
  assert ran[:2] == [['a: start/0'], ['a: p=1/0', 'a: p=2/0']] and len(ran) == 8
  assert len(found.rows) == 11 and found.failed == ['p=2/1']
  assert {row['point'] for row in found.rows} == {'start', 'p=1', 'p=2', 'q=1', 'q=2'}
  assert [gate.holds for gate in found.gates()] == [False, False]
  again = go(tmp_path, sources)
  assert ran[8:] == [['a: p=2/1']] and again.rows == found.rows


def test_some_points_keep_their_start(tmp_path, sources, ran):
  found = go(tmp_path, sources, seeds=1, wanted=['q=2', 'p=1'])
  assert [row['point'] for row in found.rows] == ['start', 'p=1', 'start', 'q=2']
  with pytest.raises(ValueError, match=r'--points=q is unknown; choose some of p=1, p=2, q=1, q=2'):
    go(tmp_path, sources, wanted=['p=1', 'q'])


def test_folders_are_named_by_sweep(tmp_path):
  assert swept.folders('data', [f'a={tmp_path}'], ['a', 'b']) == {'a': str(tmp_path)}
  for wrong in ('a', 'a=', f'a={tmp_path}/absent', f'c={tmp_path}'):
    with pytest.raises(ValueError, match=r'--data=.* must be NAME=FOLDER .* of a, b'):
      swept.folders('data', [wrong], ['a', 'b'])
