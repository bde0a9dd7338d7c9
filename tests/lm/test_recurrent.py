"""The recurrent network reads rows as it reads tokens, causally, and is scored like any other."""

import jax
import jax.numpy as jnp
import numpy as np

from maxent_lm.lm.recurrent import Recurrent, RecurrentConfig
from maxent_lm.lm.scores import make_scorer

LSTM = Recurrent(RecurrentConfig(vocab_size=7, d_model=12))
TOKENS = np.random.default_rng(0).integers(0, 7, (3, 9)).astype(np.int32)


def params():
  """Outputs far enough from uniform that a wrong state shows."""
  return LSTM.init(0) | {'head': jax.random.normal(jax.random.key(1), (12, 7))}


def test_rows_and_single_tokens_give_the_same_states():
  memory, states = LSTM.empty(batch=3, slots=9), []
  for token in TOKENS.T:
    state, memory = LSTM.decode(params(), jnp.asarray(token), memory)
    states.append(state)
  rows = LSTM.hidden(params(), jnp.asarray(TOKENS))
  np.testing.assert_allclose(np.stack(states, axis=1), rows, atol=1e-6)


def test_a_state_depends_on_all_before_and_on_nothing_after():
  before = LSTM.hidden(params(), jnp.asarray(TOKENS))
  changed = TOKENS.copy()
  changed[:, 4] = (changed[:, 4] + 1) % 7
  after = LSTM.hidden(params(), jnp.asarray(changed))
  np.testing.assert_array_equal(before[:, :4], after[:, :4])
  assert (np.abs(before - after)[:, 4:].max(axis=2) > 1e-6).all()


def test_scores_are_those_of_its_logits():
  tokens = jnp.asarray(TOKENS)
  scores = make_scorer(LSTM, chunk=5)(params(), tokens, jnp.ones_like(tokens, bool))
  logits = LSTM.hidden(params(), tokens)[:, :-1] @ LSTM.head(params())
  logp = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, 1:, None], axis=2)[..., 0]
  np.testing.assert_allclose(scores.logp[:, 1:], logp, atol=1e-5)


def test_seeds_are_different_and_policies_start_near_uniform():
  one, other = LSTM.init(0), LSTM.init(1)
  assert all((x != y).any() for x, y in zip(*map(matrices, (one, other)), strict=True))
  logits = LSTM.hidden(one, jnp.asarray(TOKENS)) @ LSTM.head(one)
  assert np.abs(logits).max() < 0.2
  jax.tree.map(np.testing.assert_array_equal, one, LSTM.init(0))


def matrices(tree):
  return [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim == 2]
