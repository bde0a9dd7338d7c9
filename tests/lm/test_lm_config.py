import dataclasses

import pytest
from tiny_lm import tiny


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_heads': 3}, 'num_heads 3 is not a multiple of num_kv_heads 2'),
    ({'head_dim': 5}, 'head_dim 5 is odd'),
    ({'family': 'gpt2'}, "family 'gpt2' is not known; use one of llama, qwen2, qwen3"),
    ({'dtype': 'float16'}, "dtype 'float16' is not known; use one of float32, bfloat16"),
    ({'param_dtype': 'int8'}, "param_dtype 'int8' is not known"),
    ({'cache_dtype': 'int8'}, "cache_dtype 'int8' is not known; use one of '', float32, bfloat16"),
    ({'attention': 'flash'}, "attention 'flash' is not known; use one of xla, cudnn"),
    ({'vocab_size': 0}, 'vocab_size is 0'),
    ({'rope_theta': 0.0}, 'must both be positive'),
  ],
)
def test_impossible_configs_are_refused_in_one_sentence(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    tiny(**changes)
  assert str(error.value).count('\n') == 0


def test_families_differ_in_biases_and_norms():
  assert [
    (tiny(family=f).qkv_bias, tiny(family=f).qk_norm) for f in ('llama', 'qwen2', 'qwen3')
  ] == [
    (False, False),
    (True, False),
    (False, True),
  ]


def test_is_hashable_and_compares_by_value():
  assert {tiny(): 1}[tiny()] == 1
  assert tiny() != dataclasses.replace(tiny(), remat=True)
