"""Rollouts against the scorer: what was recorded while sampling is what training will see."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.data import pad_prompts
from maxent_lm.lm import partition
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.sampling import loops
from maxent_lm.sampling.generate import make_generate
from maxent_lm.sampling.policies import Sampling

EOS = 1
CONFIG = LMConfig(
  family='qwen3',
  vocab_size=13,
  d_model=32,
  num_layers=2,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
  max_length=64,
  tied=False,
)
PROMPTS = [[5, 6, 7], [3], [8, 9, 2, 4, 10]]


def sharp(lm):
  """Sharper than at initialisation, so that distributions differ between states."""
  return lm, jax.tree.map(lambda x: x * 4 if x.ndim > 1 else x, lm.init(0))


@pytest.fixture(scope='module')
def policy():
  return sharp(LM(CONFIG))


@pytest.fixture(scope='module')
def shallow():
  """One layer, for programs that contain the decoder many times."""
  return sharp(LM(dataclasses.replace(CONFIG, num_layers=1)))


@functools.cache
def compiled(lm, constants, **settings):
  """`constants` are those of `loops`, which programs are made with."""
  del constants
  return make_generate(lm, eos_id=EOS, **settings)


def generate(
  policy,
  prompts=PROMPTS,
  *,
  columns=8,
  seed=0,
  heat=1.0,
  group_size=4,
  sampling=Sampling(),  # noqa: B008
  max_new_tokens=10,
  **settings,
):
  lm, params = policy
  settings |= {'group_size': group_size, 'sampling': sampling, 'max_new_tokens': max_new_tokens}
  run = compiled(lm, (loops.NARROWEST, loops.FEWEST), **settings)
  tokens, valid = pad_prompts(prompts, multiple=columns)
  return jax.device_get(run(params, tokens, valid, jax.random.key(seed), heat))


def right_padded(prompts, rollout, group_size):
  rows = [
    [*prompts[i // group_size], *rollout.tokens[i, : rollout.length[i]]]
    for i in range(len(rollout.length))
  ]
  width = max(map(len, rows)) + 1
  tokens = np.array([row + [0] * (width - len(row)) for row in rows], np.int32)
  starts = [len(prompts[i // group_size]) for i in range(len(rows))]
  return tokens, starts


def test_recorded_log_probs_and_entropies_are_the_scorers(policy):
  rollout = generate(policy)
  tokens, starts = right_padded(PROMPTS, rollout, 4)
  lm, params = policy
  scores = make_scorer(lm, chunk=16)(params, tokens)
  for row, (start, length) in enumerate(zip(starts, rollout.length, strict=True)):
    here = slice(start, start + length)
    np.testing.assert_allclose(rollout.logp[row, :length], scores.logp[row, here], atol=2e-5)
    np.testing.assert_allclose(rollout.entropy[row, :length], scores.entropy[row, here], atol=2e-5)


def test_the_end_of_a_response(policy):
  rollout = generate(policy, group_size=16)
  assert rollout.finished.any()
  assert not rollout.finished.all()
  for tokens, length, finished, logp, entropy in zip(*rollout[:5], strict=True):
    assert (tokens[: length - 1] != EOS).all()
    assert finished == (tokens[length - 1] == EOS)
    assert finished or length == 10
    assert (tokens[length:] == EOS).all()
    assert (logp[length:] == 0).all()
    assert (entropy[length:] == 0).all()


def test_rows_do_not_depend_on_their_neighbours_or_on_padding(policy):
  alone = generate(policy, PROMPTS[:1], columns=4)
  among = generate(policy, PROMPTS, columns=16)
  np.testing.assert_array_equal(alone.tokens, among.tokens[:4])
  np.testing.assert_allclose(alone.logp, among.logp[:4], atol=5e-5)


def test_same_key_same_samples_and_another_key_others(policy):
  np.testing.assert_array_equal(generate(policy).tokens, generate(policy).tokens)
  assert (generate(policy).tokens != generate(policy, seed=1).tokens).any()


def test_the_behaviours_log_prob_is_recorded_not_the_policys(policy):
  sampling = Sampling(temperature=0.5, top_k=3)
  rollout = generate(policy, sampling=sampling)
  tokens, starts = right_padded(PROMPTS, rollout, 4)
  lm, params = policy
  logits = lm.logits(params, jnp.asarray(tokens))
  for row, (start, length) in enumerate(zip(starts, rollout.length, strict=True)):
    behaviour = sampling.log_probs(logits[row, start - 1 : start + length - 1])
    expected = behaviour[np.arange(length), tokens[row, start : start + length]]
    np.testing.assert_allclose(rollout.logp[row, :length], expected, atol=5e-5)
    assert np.isfinite(expected).all()


def test_the_confidence_is_the_policys_and_changes_no_sample(policy):
  plain = generate(policy)
  rollout = generate(policy, sampling=Sampling(top_k=12), confidence_k=3)
  assert plain.confidence is None
  np.testing.assert_array_equal(generate(policy, confidence_k=3).tokens, plain.tokens)
  tokens, starts = right_padded(PROMPTS, rollout, 4)
  lm, params = policy
  logp = np.sort(jax.nn.log_softmax(lm.logits(params, jnp.asarray(tokens))))
  for row, (start, length) in enumerate(zip(starts, rollout.length, strict=True)):
    expected = -logp[row, start - 1 : start + length - 1, -3:].mean(axis=-1)
    np.testing.assert_allclose(rollout.confidence[row, :length], expected, atol=5e-5)
    assert (rollout.confidence[row, length:] == 0).all()


def test_heat_is_a_factor_on_the_temperature(policy):
  """Powers of two, so that dividing twice rounds as dividing once."""
  hot = generate(policy, heat=jnp.float32(2.0), sampling=Sampling(temperature=0.5, top_p=0.9))
  plain = generate(policy, sampling=Sampling(top_p=0.9))
  jax.tree.map(np.testing.assert_array_equal, hot, plain)
  cold = generate(policy, heat=jnp.float32(0.5))
  as_configured = generate(policy, sampling=Sampling(temperature=0.5))
  jax.tree.map(np.testing.assert_array_equal, cold, as_configured)
  assert (cold.tokens != plain.tokens).any()


def test_first_tokens_follow_the_models_distribution(policy):
  lm, params = policy
  rollout = generate(policy, PROMPTS[:1], group_size=4096)
  counts = np.bincount(rollout.tokens[:, 0], minlength=13)
  probs = np.asarray(jax.nn.softmax(lm.logits(params, jnp.array([PROMPTS[0]]))[0, -1]))
  chi_square = ((counts - 4096 * probs) ** 2 / (4096 * probs)).sum()
  assert chi_square < 32.9  # 99.9% point of chi square with 12 degrees of freedom


def test_greedy_is_the_argmax_at_every_step(policy):
  rollout = generate(policy, group_size=1, sampling=Sampling(temperature=0.0))
  tokens, starts = right_padded(PROMPTS, rollout, 1)
  lm, params = policy
  best = np.argmax(lm.logits(params, jnp.asarray(tokens)), axis=-1)
  for row, (start, length) in enumerate(zip(starts, rollout.length, strict=True)):
    np.testing.assert_array_equal(
      tokens[row, start : start + length], best[row, start - 1 : start + length - 1]
    )


def counting(rows):
  """A model that notes the number of rows of every decoding step."""

  class CountingLM(LM):
    def decode(self, params, token, cache):
      jax.debug.callback(lambda _: rows.append(len(token)), cache.length)
      return super().decode(params, token, cache)

  return CountingLM(CONFIG)


def test_decoding_stops_when_every_row_has_ended(policy):
  _, params = policy
  steps = []
  rollout = generate((counting(steps), params), PROMPTS[:1], group_size=2)
  jax.effects_barrier()
  assert rollout.length.max() < 10, 'choose a seed whose rows end early, or this shows nothing'
  # The first token comes from the prefill, every other from one decoding step.
  assert len(steps) == rollout.length.max() - 1


def same(one, other):
  np.testing.assert_array_equal(one.tokens, other.tokens)
  np.testing.assert_array_equal(one.length, other.length)
  np.testing.assert_array_equal(one.finished, other.finished)
  for left, right in zip(*map(jax.tree.leaves, (one[3:], other[3:])), strict=True):
    np.testing.assert_allclose(left, right, atol=2e-5)


@pytest.mark.parametrize('slots', [1, 2, 5, 11, 12, 100])
def test_slots_that_are_filled_again_give_the_same_samples(policy, slots):
  settings = {'confidence_k': 3, 'max_new_tokens': 20, 'seed': 3}
  plain = generate(policy, **settings)
  assert len(set(plain.length.tolist())) > 4, 'rows that all end together show nothing'
  same(generate(policy, slots=slots, **settings), plain)


@pytest.mark.parametrize('slots', [0, 1, 5])
@pytest.mark.parametrize('columns', [32, 33])
def test_caches_that_grow_give_the_same_samples(shallow, monkeypatch, slots, columns):
  settings = {'max_new_tokens': columns, 'seed': 1, 'slots': slots}
  monkeypatch.setattr(loops, 'NARROWEST', columns + 1)
  whole = generate(shallow, **settings)
  assert whole.length.max() > columns // 2 + 1, (
    'rows that fit into half of the columns show nothing'
  )
  for narrowest in (8, 16):
    monkeypatch.setattr(loops, 'NARROWEST', narrowest)
    same(generate(shallow, **settings), whole)


@pytest.mark.parametrize('slots', [0, 5, 8])
@pytest.mark.parametrize('columns', [20, 32])
def test_slots_that_are_halved_give_the_same_samples(shallow, monkeypatch, slots, columns):
  """In caches that grow before, while and after few rows are left."""
  settings = {'max_new_tokens': columns, 'seed': 3, 'slots': slots, 'confidence_k': 3}
  whole = generate(shallow, cells=2, **settings)
  monkeypatch.setattr(loops, 'FEWEST', 1)
  for narrowest in (2, 8, columns):
    monkeypatch.setattr(loops, 'NARROWEST', narrowest)
    same(generate(shallow, **settings), whole)


def test_slots_do_the_work_of_fewer_steps(policy):
  """12 rows in 4 slots: fewer rows x steps than 12 until the longest has ended."""
  _, params = policy
  rows = []
  settings = {'max_new_tokens': 40, 'seed': 1}
  work = []
  for slots in (0, 4):
    rows.clear()
    rollout = generate((counting(rows), params), slots=slots, **settings)
    jax.effects_barrier()
    work.append(sum(rows))
  assert work[0] == 12 * (rollout.length.max() - 1)
  assert work[1] < 0.75 * work[0]


@pytest.mark.parametrize(('slots', 'share'), [(0, 0.75), (6, 0.9)])
def test_halved_slots_do_the_work_of_fewer_rows(policy, monkeypatch, slots, share):
  _, params = policy
  rows = []
  work = []
  monkeypatch.setattr(loops, 'FEWEST', 1)
  for cells in (2, 1):
    rows.clear()
    rollout = generate(
      (counting(rows), params), slots=slots, cells=cells, max_new_tokens=40, seed=1
    )
    jax.effects_barrier()
    work.append(sum(rows))
  assert work[1] < share * work[0]
  assert work[1] >= sum(rollout.length - 1)


def test_what_does_not_fit_is_refused(policy):
  with pytest.raises(ValueError, match='A cache of 68 slots does not fit'):
    generate(policy, max_new_tokens=60)


@pytest.mark.parametrize('prompts', [PROMPTS, PROMPTS * 2 + PROMPTS[:2]])
def test_eight_devices_draw_what_one_does(prompts):
  """12 rows, which eight devices cannot share, and 32, which they can; 26 tokens are no blocks."""
  lm = LM(dataclasses.replace(CONFIG, vocab_size=52))
  params = jax.tree.map(lambda x: x * 4 if x.ndim > 1 else x, lm.init(0))
  mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
  one = generate((lm, params), prompts)
  with jax.set_mesh(mesh):
    placed = jax.device_put(params, partition.param_shardings(params, mesh))
    eight = generate((lm, placed), prompts)
  np.testing.assert_array_equal(eight.tokens, one.tokens)
  np.testing.assert_allclose(eight.logp, one.logp, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(eight.entropy, one.entropy, rtol=1e-5, atol=1e-5)
