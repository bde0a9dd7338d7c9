"""The shapes of configs/qwen3.py."""

import math

import jax
import pytest

from configs import qwen3
from maxent_lm.build.plan import make_plan
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM


@pytest.mark.parametrize(
  ('size', 'billions', 'without_embedding'),
  [('0.6b', 0.6, 0.44), ('8b', 8.2, 6.95), ('32b', 32.8, 31.2)],
)
def test_as_many_parameters_as_published(size, billions, without_embedding):
  """Model cards of Qwen3-0.6B, -8B and -32B: 'Number of Parameters', '(Non-Embedding)'."""
  params = LM(LMConfig(**qwen3.get_config(size).model)).abstract_params()
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  layers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params['layers']))
  assert round(count / 1e9, 1) == billions
  assert float(f'{layers / 1e9:.3g}') == without_embedding


def test_another_size_is_told():
  with pytest.raises(ValueError, match=r'qwen3.py:7b is unknown; choose one of 0.6b, 8b, 32b'):
    qwen3.get_config('7b')


@pytest.mark.parametrize('size', ['0.6b', '8b'])
def test_a_rollout_and_an_update_are_lowered(size):
  """For eight devices, with one layer; nothing is compiled or allocated."""
  config = qwen3.get_config(size)
  config.model.num_layers = 1
  config.mesh.update(fsdp=2, tensor=4)
  plan = make_plan(config, jax.devices())
  assert plan.policy.lm.config.vocab_size == 151_936
  assert plan.policy.params['embedding'].sharding.shard_shape((151_936, 8)) == (37_984, 4)
  assert plan.logits == 512 * 1024 * 151_936
