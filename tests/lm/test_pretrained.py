import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from tiny_lm import roughened, tiny

from maxent_lm.lm import partition, pretrained
from maxent_lm.lm.decoder import LM

# From the Hugging Face hub: config.json of Qwen/Qwen2.5-0.5B (the dialect of 2024), and of
# Qwen/Qwen3-0.6B with the keys that transformers 5 writes; without keys that do not matter here.
QWEN25 = {
  'model_type': 'qwen2',
  'hidden_act': 'silu',
  'hidden_size': 896,
  'intermediate_size': 4864,
  'max_position_embeddings': 32768,
  'num_attention_heads': 14,
  'num_hidden_layers': 24,
  'num_key_value_heads': 2,
  'rms_norm_eps': 1e-06,
  'rope_theta': 1000000.0,
  'sliding_window': 32768,
  'tie_word_embeddings': True,
  'torch_dtype': 'bfloat16',
  'use_sliding_window': False,
  'vocab_size': 151936,
}
QWEN3 = {
  'model_type': 'qwen3',
  'attention_bias': False,
  'head_dim': 128,
  'hidden_act': 'silu',
  'hidden_size': 1024,
  'intermediate_size': 3072,
  'layer_types': ['full_attention'] * 28,
  'max_position_embeddings': 40960,
  'num_attention_heads': 16,
  'num_hidden_layers': 28,
  'num_key_value_heads': 8,
  'rms_norm_eps': 1e-06,
  'rope_parameters': {'rope_theta': 1000000, 'rope_type': 'default'},
  'tie_word_embeddings': True,
  'dtype': 'bfloat16',
  'use_sliding_window': False,
  'vocab_size': 151936,
}


def write_config(folder, content):
  (folder / 'config.json').write_text(json.dumps(content))
  return folder


@pytest.fixture
def exported(tmp_path):
  config = tiny(family='qwen2', tied=False, num_layers=2)
  params = roughened(LM(config).init(0))
  pretrained.save(tmp_path, config, params, eos_token_id=5)
  return tmp_path, config, params


def tensors_of(folder):
  return safetensors.numpy.load_file(folder / pretrained.WEIGHTS)


def rewrite(folder, tensors):
  safetensors.numpy.save_file(tensors, folder / pretrained.WEIGHTS)


def test_reads_the_dialect_of_2024(tmp_path):
  config = pretrained.load_config(write_config(tmp_path, QWEN25))
  assert (config.head_dim, config.rope_theta, config.dtype) == (64, 1e6, 'bfloat16')
  assert (config.d_model, config.num_layers, config.num_heads, config.num_kv_heads) == (
    896,
    24,
    14,
    2,
  )
  assert (config.d_ff, config.vocab_size, config.max_length) == (4864, 151936, 32768)
  assert (config.family, config.tied, config.norm_eps) == ('qwen2', True, 1e-6)


def test_reads_todays_dialect(tmp_path):
  config = pretrained.load_config(write_config(tmp_path, QWEN3))
  assert (config.head_dim, config.rope_theta, config.dtype) == (128, 1e6, 'bfloat16')
  assert config.family == 'qwen3'


def test_the_published_parameter_count_follows_from_the_config(tmp_path):
  """Qwen3-0.6B has 0.6 B parameters, 0.44 B of them outside the embedding (its model card)."""
  config = pretrained.load_config(write_config(tmp_path, QWEN3))
  params = LM(config).abstract_params()
  sizes = jax.tree.map(lambda leaf: int(np.prod(leaf.shape)), params)
  assert round(sum(jax.tree.leaves(sizes)) / 1e9, 1) == 0.6
  assert round(sum(jax.tree.leaves(sizes['layers'])) / 1e9, 2) == 0.44


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'model_type': 'gpt_neox'}, "'gpt_neox', which is not known; use one of llama, qwen2, qwen3"),
    ({'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 1.0}}, "type 'llama3'"),
    ({'rope_parameters': {'full_attention': {'rope_type': 'default'}}}, 'the same in all layers'),
    ({'rope_parameters': None, 'rope_scaling': {'type': 'linear', 'factor': 2}}, "type 'linear'"),
    ({'partial_rotary_factor': 0.5}, 'partial_rotary_factor 0.5'),
    ({'hidden_act': 'gelu'}, "hidden_act 'gelu'"),
    ({'attention_bias': True}, 'attention_bias true'),
    ({'mlp_bias': True}, 'mlp_bias true'),
    ({'use_sliding_window': True}, 'sliding-window'),
    ({'layer_types': ['full_attention', 'sliding_attention']}, 'sliding-window'),
    ({'hidden_size': None}, 'must give hidden_size as a whole number, but has None'),
    ({'head_dim': None}, 'must give head_dim as a whole number'),
  ],
)
def test_what_would_be_computed_differently_is_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    pretrained.load_config(write_config(tmp_path, QWEN3 | changes))
  assert str(tmp_path / 'config.json') in str(error.value)


def test_unreadable_configs_name_the_path(tmp_path):
  with pytest.raises(FileNotFoundError, match='config.json does not exist'):
    pretrained.load_config(tmp_path)
  (tmp_path / 'config.json').write_text('{"model_type": ')
  with pytest.raises(ValueError, match=r'config\.json is damaged, it is not JSON'):
    pretrained.load_config(tmp_path)
  (tmp_path / 'config.json').write_text('[]')
  with pytest.raises(ValueError, match='holds no JSON object'):
    pretrained.load_config(tmp_path)


@pytest.mark.parametrize('family', ['llama', 'qwen2', 'qwen3'])
@pytest.mark.parametrize('tied', [False, True])
def test_save_and_load_are_inverse(tmp_path, family, tied):
  config = tiny(family=family, tied=tied, dtype='bfloat16', norm_eps=1e-5)
  params = roughened(LM(config).init(0))
  pretrained.save(tmp_path, config, params)
  assert pretrained.load_config(tmp_path) == config
  jax.tree.map(np.testing.assert_array_equal, pretrained.load_params(tmp_path, config), params)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['config.json', 'model.safetensors']


def test_stored_layout_literal(exported):
  """Linear weights are stored [out, in], heads one after another."""
  folder, _, params = exported
  stored = tensors_of(folder)
  attention = params['layers']['attention']
  assert stored['model.layers.1.self_attn.k_proj.weight'].shape == (12, 20)
  assert stored['model.layers.1.self_attn.o_proj.weight'].shape == (20, 24)
  key = stored['model.layers.1.self_attn.k_proj.weight']
  np.testing.assert_array_equal(key[6 + 4], attention['key'][1, :, 1, 4])
  output = stored['model.layers.1.self_attn.o_proj.weight']
  np.testing.assert_array_equal(output[:, 3 * 6 + 2], attention['output'][1, 3, 2])
  bias = stored['model.layers.0.self_attn.q_proj.bias']
  np.testing.assert_array_equal(bias, attention['query_bias'][0].reshape(-1))
  np.testing.assert_array_equal(stored['lm_head.weight'][7], params['head'][:, 7])
  assert json.loads((folder / 'config.json').read_text())['eos_token_id'] == 5


def test_bfloat16_parameters_survive(tmp_path):
  config = tiny(param_dtype='bfloat16')
  params = LM(config).init(0)
  pretrained.save(tmp_path, config, params)
  jax.tree.map(np.testing.assert_array_equal, pretrained.load_params(tmp_path, config), params)
  wide = pretrained.load_params(tmp_path, dataclasses.replace(config, param_dtype='float32'))
  assert {leaf.dtype.name for leaf in jax.tree.leaves(wide)} == {'float32'}
  jax.tree.map(np.testing.assert_array_equal, wide, params)


def shard(folder, files=('a.safetensors', 'b.safetensors')):
  """Splits the single file of a folder in two, with an index."""
  tensors = sorted(tensors_of(folder).items())
  halves = dict(tensors[::2]), dict(tensors[1::2])
  (folder / pretrained.WEIGHTS).unlink()
  for name, half in zip(files, halves, strict=True):
    safetensors.numpy.save_file(half, folder / name)
  weight_map = {k: name for name, half in zip(files, halves, strict=True) for k in half}
  (folder / pretrained.INDEX).write_text(json.dumps({'weight_map': weight_map}))
  return weight_map


def test_several_files_with_an_index(exported):
  folder, config, params = exported
  shard(folder)
  jax.tree.map(np.testing.assert_array_equal, pretrained.load_params(folder, config), params)


@pytest.mark.parametrize('name', ['../a.safetensors', '/a.safetensors', 'sub/a.safetensors', 3])
def test_an_index_must_not_point_outside_its_folder(exported, name):
  folder, config, _ = exported
  weight_map = shard(folder)
  weight_map['lm_head.weight'] = name
  (folder / pretrained.INDEX).write_text(json.dumps({'weight_map': weight_map}))
  with pytest.raises(ValueError, match='points outside its folder'):
    pretrained.load_params(folder, config)


def test_a_missing_shard_is_named(exported):
  folder, config, _ = exported
  shard(folder)
  (folder / 'b.safetensors').unlink()
  with pytest.raises(FileNotFoundError, match=r'b\.safetensors is named by .* but missing'):
    pretrained.load_params(folder, config)


def test_a_folder_without_weights_and_a_damaged_file(exported):
  folder, config, _ = exported
  content = (folder / pretrained.WEIGHTS).read_bytes()
  for damaged in (content[:100], content[:-50], b''):
    (folder / pretrained.WEIGHTS).write_bytes(damaged)
    with pytest.raises(ValueError, match=r'model\.safetensors is not a readable safetensors file'):
      pretrained.load_params(folder, config)
  (folder / pretrained.WEIGHTS).unlink()
  with pytest.raises(FileNotFoundError, match='holds neither model.safetensors nor'):
    pretrained.load_params(folder, config)


def test_tensors_of_another_model_are_named(exported):
  folder, config, _ = exported
  tensors = tensors_of(folder)
  norm = tensors.pop('model.norm.weight')
  tensors['extra'] = norm
  tensors['lm_head.weight'] = tensors['lm_head.weight'][:-1].copy()
  tensors['model.layers.0.self_attn.q_proj.bias'] = np.zeros(24, np.int8)
  rewrite(folder, tensors)
  with pytest.raises(ValueError) as error:
    pretrained.load_params(folder, config)
  message = str(error.value)
  for part in (
    'model.norm.weight missing',
    'extra unexpected',
    'lm_head.weight is [36, 20] and not [37, 20]',
    'model.layers.0.self_attn.q_proj.bias is I8',
  ):
    assert part in message
  with pytest.raises(ValueError, match=r'and \d+ more missing'):
    pretrained.load_params(folder, dataclasses.replace(config, num_layers=9))


def test_what_older_exporters_wrote_besides_is_ignored(tmp_path):
  config = tiny()
  params = LM(config).init(0)
  pretrained.save(tmp_path, config, params)
  tensors = tensors_of(tmp_path)
  tensors['model.layers.0.self_attn.rotary_emb.inv_freq'] = np.zeros(3, np.float32)
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  rewrite(tmp_path, tensors)
  jax.tree.map(np.testing.assert_array_equal, pretrained.load_params(tmp_path, config), params)


def test_parameters_can_be_placed_on_a_mesh_while_reading(exported):
  folder, config, params = exported
  mesh = partition.make_mesh(fsdp=2, tensor=2, data=2)
  shardings = partition.param_shardings(params, mesh)
  placed = pretrained.load_params(folder, config, shardings)
  assert jax.tree.map(lambda leaf: leaf.sharding, placed) == shardings
  jax.tree.map(np.testing.assert_array_equal, placed, params)


def test_an_interrupted_save_leaves_the_old_model(exported, monkeypatch):
  folder, config, params = exported

  def no_space(*_):
    raise OSError('no space left on device')

  monkeypatch.setattr(pretrained.os, 'replace', no_space)
  with pytest.raises(OSError, match='no space'):
    pretrained.save(folder, config, jax.tree.map(np.zeros_like, params))
  monkeypatch.undo()
  jax.tree.map(np.testing.assert_array_equal, pretrained.load_params(folder, config), params)
  assert len(list(folder.iterdir())) == 2


def test_parameters_of_another_shape_are_not_saved(tmp_path):
  with pytest.raises(ValueError, match='do not have the shapes of the LMConfig'):
    pretrained.save(tmp_path / 'new', tiny(num_layers=3), LM(tiny()).init(0))
  assert not (tmp_path / 'new').exists()
