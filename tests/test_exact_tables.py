"""Tables that need no long training come out right, from their scripts' own `build`."""

import importlib
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / 'experiments' / 'tables'


@pytest.fixture
def build(monkeypatch, tmp_path):
  monkeypatch.syspath_prepend(str(FOLDER))

  def run(name):
    table = importlib.import_module(name).build('smoke', tmp_path)
    sys.modules.pop(name)
    failed = [gate.what for gate in table.gates if not gate.holds]
    assert table.gates and not failed
    return table.rows

  return run


def test_rover_tree(build):
  rows = {row['policy']: row for row in build('rover_tree')}
  assert rows['softmax(Q_u / rho), 1']['success'] == pytest.approx(0.1425, abs=5e-5)
  assert rows['soft-optimal, kappa 0.1']['success'] == pytest.approx(0.9993, abs=5e-5)
  assert rows['greedy in Q*']['modes'] == 1


def test_qsharp_tree(build):
  rows = build('qsharp_tree')
  assert rows[-1]['KL, Q-sharp'] == pytest.approx(3.6889, abs=1e-4)  # log 1 / (.5 .05)
  assert rows[-1]['KL, controlled'] == pytest.approx(0.652, abs=1e-3)


def test_tbrm_bandit(build):
  iterative, direct = build('tbrm_bandit')
  assert iterative['(10, 0)'] == pytest.approx(86.6, abs=0.05) and direct['(10, 0)'] < 1e-6


def test_reval_drift(build):
  rows = build('reval_drift')
  drift = max(row['largest KL'] for row in rows if row['objective'] == 'TBRM')
  assert drift > 100 * max(row['largest KL'] for row in rows if row['objective'] == 'ReVal')


def test_equivalence(build):
  rows = build('equivalence')
  assert len(rows) == 17 and all(row['pairs'] == 4 for row in rows)
  assert {row['right if equal'] or row['right if not'] for row in rows} >= {'4 of 4'}
