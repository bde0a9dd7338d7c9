"""The same numbers as the torch models of `transformers`, in both directions."""

import dataclasses
import functools
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.lm import pretrained
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import next_token_logits
from maxent_lm.lm.tokenizer import encode, load_tokenizer

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.parity

REPOSITORY = pathlib.Path(__file__).parent.parent.parent
SIZES = dict(
  vocab_size=61,
  hidden_size=32,
  intermediate_size=44,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
  max_position_embeddings=64,
  rms_norm_eps=1e-5,
  pad_token_id=None,
)
VARIANTS = {
  'llama': dict(model_type='llama'),
  'llama, tied, wide heads, theta 500': dict(
    model_type='llama', tie_word_embeddings=True, head_dim=12, rope_theta=500.0
  ),
  'qwen2': dict(model_type='qwen2', rope_theta=1e6),
  'qwen2, tied': dict(model_type='qwen2', tie_word_embeddings=True),
  'qwen3, head_dim 24': dict(model_type='qwen3', head_dim=24),
  'qwen3, tied, all heads': dict(
    model_type='qwen3', head_dim=8, tie_word_embeddings=True, num_key_value_heads=4
  ),
}
logits = jax.jit(LM.logits, static_argnums=0)


def torch_model(variant):
  """A random torch model whose biases and norms are not at their trivial initial values."""
  import transformers

  settings = {**SIZES, 'tie_word_embeddings': False, **variant}
  theta = settings.pop('rope_theta', 10_000.0)
  config = transformers.AutoConfig.for_model(
    **settings, rope_parameters={'rope_type': 'default', 'rope_theta': theta}
  )
  torch.manual_seed(0)
  model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation='eager').eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  return model


def torch_logits(model, tokens, **inputs):
  with torch.no_grad():
    return model(torch.tensor(np.asarray(tokens)).long(), **inputs).logits.float().numpy()


def random_tokens(*shape):
  return jnp.asarray(np.random.default_rng(0).integers(0, SIZES['vocab_size'], shape), jnp.int32)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def both(request, tmp_path):
  model = torch_model(request.param)
  model.save_pretrained(tmp_path)
  return model, tmp_path


def test_logits_are_equal(both):
  model, folder = both
  config = pretrained.load_config(folder)
  params, tokens = pretrained.load_params(folder, config), random_tokens(2, 17)
  expected = torch_logits(model, tokens)
  assert np.abs(expected).max() > 1
  np.testing.assert_allclose(logits(LM(config), params, tokens), expected, atol=1e-4)


def test_left_padded_rows_are_equal(both):
  model, folder = both
  config = pretrained.load_config(folder)
  params, tokens = pretrained.load_params(folder, config), random_tokens(3, 9)
  valid = np.arange(9)[None, :] >= np.array([[0], [4], [8]])
  positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
  expected = torch_logits(
    model,
    tokens,
    attention_mask=torch.tensor(valid).long(),
    position_ids=torch.tensor(positions),
  )
  actual = logits(LM(config), params, tokens, None, jnp.asarray(valid, jnp.int32))
  np.testing.assert_allclose(actual[valid], expected[valid], atol=1e-4)


def test_exports_reload_in_transformers(both, tmp_path):
  import transformers

  model, folder = both
  config = pretrained.load_config(folder)
  pretrained.save(tmp_path / 'export', config, pretrained.load_params(folder, config))
  reloaded, report = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'export', output_loading_info=True, attn_implementation='eager'
  )
  assert not report['missing_keys'] and not report['unexpected_keys']
  tokens = random_tokens(2, 17)
  np.testing.assert_array_equal(torch_logits(reloaded, tokens), torch_logits(model, tokens))


def test_both_dialects_of_the_configuration(both):
  _, folder = both
  today = pretrained.load_config(folder)
  raw = json.loads((folder / 'config.json').read_text())
  raw['rope_theta'] = raw.pop('rope_parameters')['rope_theta']
  raw['torch_dtype'] = raw.pop('dtype')
  (folder / 'config.json').write_text(json.dumps(raw))
  assert pretrained.load_config(folder) == today


def test_bfloat16_is_close(tmp_path):
  import transformers

  torch_model(VARIANTS['qwen3, head_dim 24']).to(torch.bfloat16).save_pretrained(tmp_path)
  config = pretrained.load_config(tmp_path)
  assert config.dtype == 'bfloat16'
  params, tokens = pretrained.load_params(tmp_path, config), random_tokens(2, 17)
  load = transformers.AutoModelForCausalLM.from_pretrained
  expected = torch_logits(load(tmp_path, dtype=torch.bfloat16), tokens)
  exact = torch_logits(load(tmp_path, dtype=torch.float32), tokens)
  actual = logits(LM(config), params, tokens)
  precise = logits(LM(dataclasses.replace(config, dtype='float32')), params, tokens)
  np.testing.assert_allclose(precise, exact, atol=1e-4)
  # Ours rounds no worse than torch does.
  assert np.abs(actual - exact).max() < 2 * np.abs(expected - exact).max()


@pytest.fixture
def stories():
  """The folder of karpathy/tinyllamas stories260K as a Hugging Face model."""
  data = os.environ.get('MAXENT_LM_DATA', REPOSITORY.parent / 'shared' / 'data')
  folder = os.environ.get('MAXENT_LM_STORIES', pathlib.Path(data) / 'models' / 'stories260K')
  if not pathlib.Path(folder).is_dir():
    pytest.skip('set MAXENT_LM_STORIES to the folder of stories260K')
  return pathlib.Path(folder)


@functools.partial(jax.jit, static_argnums=(0, 4))
def greedy(lm, params, prompts, valid, count):
  """[B, P] left-padded prompts -> [B, count] most likely tokens."""
  hidden, cache = lm.prefill(params, prompts, valid, prompts.shape[1] + count)

  def step(carry, _):
    hidden, cache = carry
    token = jnp.argmax(next_token_logits(hidden, lm.head(params)), axis=-1).astype(jnp.int32)
    return lm.decode(params, token, cache), token

  return jax.lax.scan(step, (hidden, cache), length=count)[1].T


def test_stories_logits_and_greedy_text(stories):
  import transformers

  model = transformers.AutoModelForCausalLM.from_pretrained(stories, attn_implementation='eager')
  tokenizer = load_tokenizer(stories)
  config = pretrained.load_config(stories)
  lm, params = LM(config), pretrained.load_params(stories, config)
  texts = ['Once upon a time', 'Lily had a red ball. One day,']
  rows = [encode(tokenizer, text) for text in texts]
  width = max(len(row) for row in rows)
  prompts = jnp.asarray([[0] * (width - len(row)) + row for row in rows], jnp.int32)
  valid = jnp.asarray([[False] * (width - len(row)) + [True] * len(row) for row in rows])
  written = greedy(lm, params, prompts, valid, 200)
  for row, response in zip(rows, written.tolist(), strict=True):
    tokens = jnp.asarray([row + response], jnp.int32)
    expected = torch_logits(model, tokens)
    np.testing.assert_allclose(logits(lm, params, tokens), expected, atol=1e-4)
    # By induction over the tokens, this is what torch would have written.
    assert expected[0, len(row) - 1 : -1].argmax(axis=-1).tolist() == response
  assert tokenizer.decode(written[0]).startswith(', there was a little girl named Lily.')
