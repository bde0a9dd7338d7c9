"""Importance by config: sections become transforms, and a run takes a step with them."""

import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build

TWO = {
  'transforms': ('group_normalised', 'importance', 'importance_2'),
  'importance__estimate': 'saliency',
  'importance__select': 'linear',
  'importance__sites__loss': (1.0, 1.0),
  'importance__sites__kappa': (0.5, 2.0),
  'importance_2__denominator': 'selected',
}


@pytest.mark.parametrize('saliency', ['attention', 'gradient'])
def test_two_of_them_in_one_run(saliency, tmp_path):
  run = build.rollout_run(tiny_config('grpo', steps=1, saliency=saliency, **TWO), tmp_path / 'run')
  state = run.train()
  assert state.step == 1
  assert (np.asarray(state.params['head']) != np.asarray(run.policy.params['head'])).any()


def test_connectives_need_a_tokenizer_that_can_write_them(tmp_path):
  changes = {'transforms': ('importance',), 'importance__estimate': 'lexicon'}
  with pytest.raises(ValueError, match='the tokenizer can write none of the words'):
    build.rollout_run(tiny_config('grpo', steps=1, **changes), tmp_path / 'run')
  letters = ''.join(map(chr, range(32, 127))) + '\n'
  config = tiny_config('grpo', steps=1, tokenizer__alphabet=letters, **changes)
  build.rollout_run(config, tmp_path / 'run').checkpointer.close()


@pytest.mark.parametrize(('site', 'factors'), [('kappa', (0.0, 1.0)), ('beta', (1.0, 0.0))])
def test_a_local_temperature_of_zero_is_told_before_it_divides(site, factors, tmp_path):
  change = {f'importance__sites__{site}': factors, 'transforms': ('importance',)}
  with pytest.raises(ValueError, match='config.importance.sites: path needs a temperature'):
    build.rollout_run(tiny_config('tbrm', steps=1, **change), tmp_path / 'run')
  config = tiny_config('tbrm', steps=1, **change, temperature__alpha=0.1)
  if site == 'beta':  # alpha is left
    build.rollout_run(config, tmp_path / 'run').checkpointer.close()


@pytest.mark.parametrize(
  'change, message',
  [
    ({'importance__estimate': 'nonsense'}, 'config.importance.estimate.*choose one of.*entropy'),
    ({'importance__select': 'scope'}, 'config.importance.select.*choose one of.*top_share'),
    ({'importance__scope': 'rows'}, 'config.importance.scope.*choose one of batch, group, row'),
    ({'importance__denominator': 'some'}, 'config.importance.denominator.*all, selected'),
    ({'importance__estimate': 'saliency'}, "'saliency' needs a saliency view"),
    ({'saliency': 'nonsense'}, 'config.saliency.*attention, gradient, none'),
  ],
)
def test_wrong_names_are_told(change, message, tmp_path):
  config = tiny_config('grpo', steps=1, transforms=('importance',), **change)
  with pytest.raises(ValueError, match=message):
    build.rollout_run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
