"""The search finds what the values know, and the beams are what was read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle_streams import of_table, returns
from toy_language import EOS, LENGTH, STRINGS, toy

from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.sampling import streams
from maxent_lm.sampling.policies import Sampling
from maxent_lm.sampling.step_beam import make_search
from maxent_lm.soft import exact

PROMPT = np.zeros((1, 1), np.int32)


def best_value(language):
  """[S, A] the largest return that can still be had after an action, itself included."""
  q = np.array(language.reward)
  for state in reversed(range(len(q))):
    for action, child in enumerate(language.child[state]):
      if child >= 0:
        q[state, action] += q[child].max()
  return q


def mean_value(language):
  value = exact.policy_value(language, language.log_ref, 0.0, 0.0)
  return language.reward + np.where(language.child < 0, 0, value[language.child])


def search(language, q, *, seed=0, sampling=None, **sizes):
  options = {'beams': 1, 'candidates': 3, 'steps': LENGTH, 'step_tokens': 1, 'stops': ()} | sizes
  run = make_search(
    lambda _: of_table(language, language.log_ref),
    lambda _: streams.taken(of_table(language, q)),
    sampling=sampling or Sampling(),
    eos_id=EOS,
    **options,
  )
  return jax.device_get(run(None, PROMPT, PROMPT == 0, jax.random.key(seed)))


def texts(found):
  """[[(string, value) of every beam that there is] of every prompt]."""
  return [
    [
      (tuple(row[:n].tolist()), float(v))
      for row, n, v in zip(tokens, lengths, values, strict=True)
      if v > -np.inf
    ]
    for tokens, lengths, values in zip(found.tokens, found.length, found.value, strict=True)
  ]


def languages():
  return {'toy': toy()} | {
    str(seed): exact.random(np.random.default_rng(seed), actions=3, length=LENGTH, eos=EOS)
    for seed in range(4)
  }


def terminal(language):
  """The same returns, all of them on the last action."""
  table = returns(language)
  return exact.from_function(
    lambda string: table[string], language.log_ref, eos=language.eos, length=language.length
  )


@pytest.mark.parametrize('name', languages())
def test_one_beam_with_the_exact_value_finds_the_best_string(name):
  language = terminal(languages()[name])
  table = returns(language)
  best = max(table, key=table.__getitem__)
  ((string, value),) = texts(search(language, best_value(language)))[0]
  assert string == best and value == pytest.approx(table[best], abs=1e-6)


@pytest.mark.parametrize('name', languages())
def test_all_beams_and_all_candidates_find_every_string_in_order(name):
  """Even soft values, which rank prefixes otherwise: nothing is cut off."""
  language = terminal(languages()[name])
  table = returns(language)
  q = exact.solve(language, 0.0, 0.35).q
  found = texts(search(language, q, beams=STRINGS))[0]
  assert dict(found) == pytest.approx(table, abs=1e-6)
  assert [v for _, v in found] == pytest.approx(sorted(table.values(), reverse=True), abs=1e-6)


def test_a_mean_value_goes_for_the_sure_reward():
  """Left pays .1 always, right 1 in one of twenty: the best string needs the best value."""
  ref = np.array([[0.02, 0.49, 0.49], [0.9, 0.05, 0.05], [0.05, 0.475, 0.475]])
  reward = np.array([[0, 0, 0], [0.1, 0.1, 0.1], [1, 0, 0]], float)
  language = exact.from_tables(EOS, 2, reward, np.log(ref))
  sizes = {'steps': 2, 'candidates': 3}
  assert texts(search(language, best_value(language), **sizes))[0][0][0] == (2, EOS)
  assert texts(search(language, mean_value(language), **sizes))[0][0][0][0] == 1
  assert texts(search(language, mean_value(language), beams=7, **sizes))[0][0][0] == (2, EOS)


def test_steps_of_several_tokens_end_at_a_stop_and_are_ranked_when_whole():
  language = terminal(toy())
  table, q = returns(language), best_value(terminal(toy()))
  options = {'beams': 2, 'candidates': 3, 'steps': 2, 'step_tokens': 2}
  free = texts(search(language, q, stops=(), **options))[0]
  assert all(len(string) == 4 or string[-1] == EOS for string, _ in free)
  assert dict(free) == pytest.approx({s: table[s] for s, _ in free}, abs=1e-6)
  # With every token a stop a step is one token, and two steps reach two tokens.
  short = texts(search(language, q, stops=(1, 2), **options))[0]
  assert all(len(string) <= 2 for string, _ in short)


def test_equal_steps_are_one_candidate():
  """A policy that is sure of all but its first token: of twelve draws two steps differ."""
  ref = np.full((7, 3), 1e-30)
  ref[0, 1:] = 0.5
  ref[1:, 1] = 1.0
  reward = np.zeros((7, 3))
  reward[3:, 1] = np.arange(4)
  language = exact.from_tables(EOS, 3, reward, np.log(ref))
  sizes = {'beams': 4, 'candidates': 3, 'steps': 1, 'step_tokens': 3}
  for seed in range(5):
    found = texts(search(language, best_value(language), seed=seed, **sizes))[0]
    assert 1 <= len(found) <= 2 and len(dict(found)) == len(found)
    assert dict(found).items() <= {(1, 1, 1): 0.0, (2, 1, 1): 2.0}.items()


def test_what_the_sampling_forbids_is_no_candidate():
  language = terminal(toy())
  found = texts(search(language, best_value(language), sampling=Sampling(0.0), beams=4))[0]
  greedy, state = [], 0
  while state >= 0:
    greedy.append(int(np.argmax(language.log_ref[state])))
    state = language.child[state, greedy[-1]]
  assert [string for string, _ in found] == [tuple(greedy)]


def test_a_models_beams_have_the_values_of_their_own_text():
  """Rows that stop early, finished ones, reordered caches: none reads what is another's."""
  config = LMConfig(
    vocab_size=9,
    d_model=16,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    d_ff=24,
    max_length=64,
    tied=False,
  )
  lm = LM(config)
  params = jax.tree.map(lambda x: x * 12 if x.ndim > 1 else x, lm.init(0))
  weights = jnp.asarray(np.random.default_rng(0).normal(size=16), jnp.float32)
  run = make_search(
    lambda params: streams.policy(lm, params),
    lambda params: streams.of_model(lm, params, lambda hidden: hidden @ weights),
    sampling=Sampling(),
    beams=3,
    candidates=2,
    steps=3,
    step_tokens=3,
    stops=(4, 5),
    eos_id=1,
  )
  prompts, valid = np.array([[0, 3, 4], [5, 6, 7]], np.int32), np.ones((2, 3), bool)
  valid[0, 0] = False
  found = jax.device_get(run(params, prompts, valid, jax.random.key(9)))
  assert found.finished.any() and not found.finished.all() and len(np.unique(found.length)) > 2
  assert (np.diff(found.value, axis=1) <= 0).all()
  for prompt, beams in zip([[3, 4], [5, 6, 7]], texts(found), strict=True):
    assert len({string for string, _ in beams}) == 3
    for string, value in beams:
      hidden = lm.hidden(params, jnp.asarray([[*prompt, *string]]))[0, -1]
      assert value == pytest.approx(float(hidden @ weights), abs=1e-3)


@pytest.mark.parametrize('name', ['beams', 'candidates', 'steps', 'step_tokens'])
def test_no_size_is_zero(name):
  with pytest.raises(ValueError, match=f'step beam: {name} is 0; it must be at least 1'):
    search(toy(), toy().reward, **{name: 0})


def test_more_candidates_than_tokens():
  with pytest.raises(ValueError, match='4 candidates, but only 3 tokens'):
    search(toy(), toy().reward, candidates=4)
