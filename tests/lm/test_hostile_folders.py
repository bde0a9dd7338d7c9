"""Model folders that lie: nothing of them is run, none but their files read, memory bounded."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys

import fuzzing
import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from test_pretrained import QWEN3, QWEN25, shard, tensors_of
from test_safe_tensors import Payload
from tiny_lm import tiny

from maxent_lm.lm import pretrained, tokenizer
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM


@pytest.fixture(scope='module')
def config():
  return tiny(tied=True, num_layers=1, vocab_size=258)


@pytest.fixture
def folder(tmp_path, config):
  path = tmp_path / 'model'
  pretrained.save(path, config, LM(config).init(0), eos_token_id=1)
  tokenizer.byte_tokenizer().save_pretrained(str(path))
  return path


def load(folder):
  read = tokenizer.load_tokenizer(folder)
  shape = pretrained.load_config(folder)
  tokenizer.check_vocabulary(read, shape)
  return pretrained.load_params(folder, shape)


def test_the_folder_is_good(folder):
  load(folder)


# --- config.json --------------------------------------------------------------------------------


@fuzzing.fuzzed(150)
@given(content=fuzzing.broken(QWEN25, QWEN3))
def test_any_configuration_is_a_model_or_a_sentence(tmp_path, content):
  (tmp_path / 'config.json').write_bytes(content)
  with fuzzing.one_sentence():
    found = pretrained.load_config(tmp_path)
    assert isinstance(found, LMConfig)
    hash(found)


def rewrite(path, **changes):
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'auto_map': {'AutoModelForCausalLM': 'evil.Model'}}, 'asks for code of its own'),
    ({'num_hidden_layers': 2**62}, r'num_hidden_layers 4611686018427387904; it must be 1 to 4,096'),
    ({'vocab_size': 0}, 'has vocab_size 0; it must be 1 to'),
    ({'vocab_size': True}, 'vocab_size as a whole number, but has True'),
    ({'rms_norm_eps': None}, 'must give rms_norm_eps as a positive number, but has None'),
    ({'rms_norm_eps': -1}, 'must give rms_norm_eps as a positive number'),
    ({'rope_parameters': {'rope_theta': 'x'}}, 'must give rope_theta as a positive number'),
    ({'rope_parameters': [1]}, 'rotary parameters that are no JSON object'),
    ({'layer_types': [['full_attention']]}, 'sliding-window'),
    ({'num_attention_heads': 3, 'num_key_value_heads': 2}, 'is no model: LMConfig.num_heads 3'),
  ],
)
def test_configurations_that_lie(folder, changes, reason):
  rewrite(folder / 'config.json', **changes)
  with pytest.raises(ValueError, match=reason):
    pretrained.load_config(folder)


def test_sizes_are_compared_before_anything_is_made(folder):
  """Of a model of 2^24 x 2^18 numbers: no array is made, the files are those of another."""
  rewrite(folder / 'config.json', vocab_size=2**24, hidden_size=2**18, num_hidden_layers=2**12)
  with pytest.raises(ValueError, match='are not those of its configuration'):
    pretrained.load_params(folder, pretrained.load_config(folder))


# --- weights ------------------------------------------------------------------------------------


@fuzzing.fuzzed(40)
@given(data=st.data())
def test_any_weights_are_the_models_or_a_sentence(folder, config, data):
  path = folder / pretrained.WEIGHTS
  whole = path.read_bytes()
  header = int.from_bytes(whole[:8], 'little') + 8
  first = data.draw(fuzzing.damaged(whole[:header]))
  try:
    path.write_bytes(first + whole[header:])
    with fuzzing.one_sentence():
      found = pretrained.load_params(folder, config)
      assert jax.tree.map(np.shape, found) == jax.tree.map(
        lambda leaf: leaf.shape, LM(config).abstract_params()
      )
  finally:
    path.write_bytes(whole)


@fuzzing.fuzzed(40)
@given(data=st.data())
def test_any_index_names_files_of_the_folder_or_is_refused(folder, config, data):
  if (folder / pretrained.WEIGHTS).exists():
    shard(folder)
    folder.joinpath('good.json').write_text((folder / pretrained.INDEX).read_text())
  valid = json.loads((folder / 'good.json').read_text())
  (folder / pretrained.INDEX).write_bytes(data.draw(fuzzing.broken(valid)))
  with fuzzing.one_sentence():
    pretrained.load_params(folder, config)


def index(folder, weight_map):
  (folder / pretrained.INDEX).write_text(json.dumps({'weight_map': weight_map}))


@pytest.mark.parametrize('target', ['../stolen.safetensors', '{outside}'])
def test_a_shard_that_links_out_of_the_folder_is_refused(folder, config, target, tmp_path):
  shard(folder)
  outside = tmp_path / 'stolen.safetensors'
  (folder / 'b.safetensors').rename(outside)
  (folder / 'b.safetensors').symlink_to(target.format(outside=outside))
  with pytest.raises(ValueError, match=r'b\.safetensors leads to .*, outside its folder'):
    pretrained.load_params(folder, config)


def test_the_single_file_and_the_configuration_may_not_link_out_either(folder, config, tmp_path):
  for name in (pretrained.WEIGHTS, 'config.json', 'tokenizer.json'):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match='outside its folder'):
      load(folder)
    (folder / name).unlink()
    (tmp_path / name).rename(folder / name)
  load(folder)


def test_names_are_in_one_file_and_where_the_index_says(folder, config):
  tensors = tensors_of(folder)
  weight_map = shard(folder)
  name = next(name for name, file in weight_map.items() if file == 'a.safetensors')
  index(folder, weight_map | {name: 'b.safetensors'})
  with pytest.raises(ValueError, match=f'b.safetensors lacks {name!r}, which'):
    pretrained.load_params(folder, config)
  safetensors.numpy.save_file(tensors, folder / 'b.safetensors')
  index(folder, weight_map)
  with pytest.raises(ValueError, match='once more; a name must be in one file'):
    pretrained.load_params(folder, config)


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.pt', 'model.ckpt'])
def test_pickles_are_refused_by_name(folder, config, name, tmp_path):
  (folder / pretrained.WEIGHTS).unlink()
  (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / 'mark')))
  with pytest.raises(FileNotFoundError, match=f'{name} is a pickle, which can run code'):
    pretrained.load_params(folder, config)
  index(folder, {'model.norm.weight': name})
  with pytest.raises(ValueError, match=r'is no \.safetensors file; convert it first'):
    pretrained.load_params(folder, config)
  assert not (tmp_path / 'mark').exists()


# --- tokenizers ---------------------------------------------------------------------------------


@fuzzing.fuzzed(25)
@given(data=st.data())
@pytest.mark.parametrize('name', ['tokenizer.json', 'tokenizer_config.json'])
def test_any_tokenizer_reads_or_is_refused(folder, config, name, data):
  path = folder / name
  good = folder / f'{name}.good'  # which nobody reads
  if not good.exists():
    good.write_bytes(path.read_bytes())
  path.write_bytes(data.draw(fuzzing.broken(json.loads(good.read_text()))))
  with fuzzing.one_sentence():
    found = tokenizer.load_tokenizer(folder)
    tokenizer.check_vocabulary(found, config)


def test_code_that_comes_with_a_tokenizer_is_not_run(folder, tmp_path):
  mark = tmp_path / 'mark'
  (folder / 'evil.py').write_text(
    f'import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: pass\n'
  )
  rewrite(folder / 'tokenizer_config.json', auto_map={'AutoTokenizer': ['evil.Evil', None]})
  with pytest.raises(ValueError, match=r'tokenizer_config\.json asks for code of its own'):
    tokenizer.load_tokenizer(folder)
  assert not mark.exists()


# --- memory -------------------------------------------------------------------------------------

BOUNDED = """
import resource, sys
from maxent_lm.lm import pretrained, tokenizer
from transformers import AutoTokenizer
room = 2**30  # beside what importing took
with open('/proc/self/statm') as file:
  used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
for folder in sys.argv[1:]:
  try:
    tokenizer.load_tokenizer(folder)
    pretrained.load_params(folder, pretrained.load_config(folder))
    print('loaded')
  except (ValueError, OSError) as error:
    print(f'{type(error).__name__}: {error}')
"""


def bomb_tokenizer(folder):
  os.truncate(folder / 'tokenizer.json', 2**30)


def bomb_config(folder):
  os.truncate(folder / 'config.json', 2**33)


def bomb_index(folder):
  shard(folder)
  os.truncate(folder / pretrained.INDEX, 2**33)


def bomb_header(folder):
  (folder / pretrained.WEIGHTS).write_bytes((2**33).to_bytes(8, 'little') + b'{"a": ')
  os.truncate(folder / pretrained.WEIGHTS, 2**34)


def bomb_length(folder):
  (folder / pretrained.WEIGHTS).write_bytes((2**63).to_bytes(8, 'little') + b'{}')


def bomb_nested(folder):
  text = b'[' * 2**23
  (folder / pretrained.WEIGHTS).write_bytes(len(text).to_bytes(8, 'little') + text)


def bomb_sizes(folder):
  rewrite(folder / 'config.json', vocab_size=2**24, hidden_size=2**18, num_hidden_layers=2**12)


BOMBS = {
  None: 'loaded',
  bomb_tokenizer: r'tokenizer\.json has 1,073,741,824 bytes and is not read: .* at most 67,108,864',
  bomb_config: r'config\.json has 8,589,934,592 bytes and is not read',
  bomb_index: r'index\.json has 8,589,934,592 bytes and is not read',
  bomb_header: 'its header has 8,589,934,592 bytes, at most 16,777,216 are read',
  bomb_length: 'its header would end after 9,223,372,036,854,775,816 bytes',
  bomb_nested: 'its header is nested more than 64 levels deep',
  bomb_sizes: 'are not those of its configuration',
}


def test_hostile_files_take_no_memory(folder, tmp_path):
  """In a process that has a gigabyte beside what importing takes; a good folder loads there.

  One arena of malloc: each of the others claims 64 MiB of addresses, and threads draw them by lot.
  """
  folders = []
  for number, bomb in enumerate(BOMBS):
    folders.append(tmp_path / str(number))
    shutil.copytree(folder, folders[-1])
    if bomb is not None:
      bomb(folders[-1])
  done = subprocess.run(
    [sys.executable, '-c', BOUNDED, *map(str, folders)],
    capture_output=True,
    text=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'MALLOC_ARENA_MAX': '1'},
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  for line, reason in zip(done.stdout.splitlines(), BOMBS.values(), strict=True):
    assert re.search(reason, line), line
