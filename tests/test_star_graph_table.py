"""The star graphs' table runs from one end to the other, at the size that only shows that."""

import importlib
import pathlib
import sys

import pytest

from configs import star_graph
from maxent_lm import build

FOLDER = pathlib.Path(__file__).parent.parent / 'experiments' / 'tables'


def test_the_smoke_preset(monkeypatch, tmp_path):
  monkeypatch.syspath_prepend(str(FOLDER))
  script = importlib.import_module('star_graph')
  sys.modules.pop('star_graph')
  make_config = script.make_config

  def on_one_device(*arguments):
    config = make_config(*arguments)
    config.mesh.data = 1
    return config

  monkeypatch.setattr(script, 'make_config', on_one_device)
  table = script.build_table('smoke', tmp_path)
  names = [row['policy'] for row in table.rows]
  assert {'reference', 'Q-sharp, Bernoulli', 'controlled decoding', 'step beam by values'} <= set(
    names
  )
  assert names == [name for name in script.LINES if name in names] and not table.gates
  assert all(row['right'] is not None for row in table.rows)
  monkeypatch.setattr(script, 'train_and_ask', lambda *_: pytest.fail('what is finished is kept'))
  assert script.build_table('smoke', tmp_path).rows == table.rows


@pytest.mark.parametrize('variant', ['reinforce', 'soft_q', 'q_sharp', 'ilql'])
def test_variants_build(variant, tmp_path):
  """The losses have the views that they ask for; offline ones would, of other rollouts, too."""
  config = star_graph.get_config(variant)
  config.star_graph.size = 8
  config.mesh.data = 1
  config.model.update(num_layers=1, d_model=16, head_dim=4, d_ff=16)
  build.rollout_run(config, tmp_path / 'run').checkpointer.close()
