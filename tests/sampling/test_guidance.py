"""With exact values guidance is the soft-optimal policy; with anything else it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle_streams import of_table, says
from toy_language import EOS, LENGTH, toy

from maxent_lm.lm import heads
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.sampling import guidance, loops, streams
from maxent_lm.sampling.generate import make_generate, make_sampler
from maxent_lm.sampling.policies import Sampling
from maxent_lm.soft import exact

KAPPA = 0.35
ALL = {'candidates': 0, 'tail': 'kept'}


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def binary(language):
  return language._replace(reward=(language.reward > 0.4).astype(float))


def return_distribution(language):
  """[S, A, R] probabilities of each different return after (s, a), and the returns [R]."""
  rows = exact.strings(language)
  total, mass = rows.reward.sum(axis=1), np.exp(exact.string_logp(language, language.log_ref))
  atoms = np.unique(total)
  found = np.zeros((*language.reward.shape, len(atoms)))
  for row, mask in enumerate(rows.mask):
    for state, action in zip(rows.states[row][mask], rows.tokens[row][mask], strict=True):
      found[state, action, np.searchsorted(atoms, total[row])] += mass[row]
  return found / found.sum(axis=-1, keepdims=True), atoms


def gap(language, log_pi, kappa=KAPPA):
  return exact.kl(language, exact.solve(language, 0.0, kappa).log_pi, np.asarray(log_pi))


def test_the_exponential_gain_is_exact():
  language = toy()
  probability, atoms = return_distribution(language)
  with np.errstate(divide='ignore'):
    gain = guidance.exponential_gain(jnp.log(probability), jnp.asarray(atoms), KAPPA)
  log_pi = guidance.guide(jnp.asarray(language.log_ref), gain, **ALL)
  np.testing.assert_allclose(
    np.exp(log_pi), np.exp(exact.solve(language, 0.0, KAPPA).log_pi), atol=1e-12
  )


def test_the_bernoulli_gain_is_the_exponential_gain_of_two_atoms():
  language = binary(toy())
  probability, _ = return_distribution(language)
  logit = np.log(probability[..., 1] + 1e-300) - np.log(probability[..., 0] + 1e-300)
  log_pi = guidance.guide(
    jnp.asarray(language.log_ref), guidance.bernoulli_gain(jnp.asarray(logit), KAPPA), **ALL
  )
  assert abs(gap(language, log_pi)) < 1e-12
  certain = guidance.bernoulli_gain(jnp.asarray([800.0, -800.0]), KAPPA)
  np.testing.assert_allclose(certain, [1 / KAPPA, 0], atol=1e-12)


def test_the_mean_gain_is_not_exact():
  language = toy()
  probability, atoms = return_distribution(language)
  gain = guidance.mean_gain(jnp.asarray(probability @ atoms), KAPPA)
  kl = gap(language, guidance.guide(jnp.asarray(language.log_ref), gain, **ALL))
  assert kl == pytest.approx(0.0477, abs=1e-3)  # computed independently


def test_steering_is_exact_for_the_soft_q_and_its_own_temperature_only():
  language = toy()
  soft = exact.solve(language, 0.0, KAPPA)
  base = jnp.asarray(language.log_ref)
  steered = {
    scale: guidance.guide(
      base, guidance.advantage_gain(soft.q, jnp.asarray(soft.value), scale / KAPPA), **ALL
    )
    for scale in (0.5, 1.0, 2.0)
  }
  assert abs(gap(language, steered[1.0])) < 1e-12
  assert min(gap(language, steered[0.5]), gap(language, steered[2.0])) > 1e-2
  value = exact.policy_value(language, language.log_ref, 0.0, 0.0)
  after = np.where(language.child < 0, 0, value[language.child])
  hard = guidance.advantage_gain(language.reward + after, jnp.asarray(value), 1 / KAPPA)
  assert gap(language, guidance.guide(base, hard, **ALL)) > 1e-2


def test_a_tail_without_values_is_not_exact():
  language = toy()
  soft = exact.solve(language, 0.0, KAPPA)
  gain = guidance.advantage_gain(soft.q, jnp.asarray(soft.value), 1 / KAPPA)
  base = jnp.asarray(language.log_ref)
  whole = guidance.guide(base, gain, candidates=3, tail='dropped')
  np.testing.assert_allclose(whole, guidance.guide(base, gain, **ALL), atol=1e-12)
  for tail in ('kept', 'lowest'):
    assert gap(language, guidance.guide(base, gain, candidates=2, tail=tail)) > 1e-3
  dropped = guidance.guide(base, gain, candidates=2, tail='dropped')
  assert (np.isneginf(np.asarray(dropped)).sum(axis=1) == 1).all()
  least = np.argmin(language.log_ref, axis=1)
  assert np.isneginf(np.asarray(dropped)[np.arange(15), least]).all()


def test_wrong_choices_are_told():
  with pytest.raises(ValueError, match="a tail of kept, lowest, dropped; got candidates=1, tail='"):
    guidance.guide(jnp.zeros((1, 3)), jnp.zeros((1, 3)), candidates=1, tail='cut')


def guides():
  """{name: (policy's stream, whether it is exact)}: every member over the toy's reference."""
  language, words = toy(), binary(toy())
  base = of_table(language, language.log_ref)
  soft = exact.solve(language, 0.0, KAPPA)
  probability, atoms = return_distribution(language)
  chances, _ = return_distribution(words)
  logit = np.log(chances[..., 1] + 1e-300) - np.log(chances[..., 0] + 1e-300)
  with np.errstate(divide='ignore'):
    gain = guidance.exponential_gain(jnp.log(probability), jnp.asarray(atoms), KAPPA)
  gains = {
    'atoms': (np.asarray(gain), language, True),
    'Bernoulli': (np.asarray(guidance.bernoulli_gain(jnp.asarray(logit), KAPPA)), words, True),
    'advantage': ((soft.q - soft.value[:, None]) / KAPPA, language, True),
    'mean': (probability @ atoms / KAPPA, language, False),
  }
  made = {
    name: (guidance.guided(base, of_table(language, table), **ALL), of, right)
    for name, (table, of, right) in gains.items()
  }
  ahead = streams.taken(of_table(language, soft.q))
  made['value of states'] = (
    guidance.guided_by_values(base, ahead, lambda value: value / KAPPA, **ALL),
    language,
    True,
  )
  made['soft policy'] = (
    guidance.steered(base, of_table(language, soft.log_pi), strength=1.0),
    language,
    True,
  )
  return made


@pytest.mark.parametrize('name', sorted(guides()))
def test_what_is_decoded_is_the_optimum_if_the_value_is_exact(name):
  stream, language, right = guides()[name]
  kl = gap(language, says(language, streams.mapped(stream, jax.nn.log_softmax)))
  assert abs(kl) < 1e-12 if right else kl == pytest.approx(0.0477, abs=1e-3)


@pytest.mark.parametrize('name', ['atoms', 'value of states'])
def test_samples_have_the_optimums_probabilities(name):
  """The recorded ones to 1e-6, and the frequencies by chi square."""
  stream, language, _ = guides()[name]
  rows = 4000
  generate = make_sampler(
    lambda _: stream, sampling=Sampling(), group_size=rows, max_new_tokens=LENGTH, eos_id=EOS
  )
  prompts = np.zeros((1, 1), np.int32)
  rollout = jax.device_get(generate(None, prompts, prompts == 0, jax.random.key(0)))
  strings = exact.strings(language)
  best = exact.string_logp(language, exact.solve(language, 0.0, KAPPA).log_pi)
  names = {tuple(t[m].tolist()): i for i, (t, m) in enumerate(zip(*strings[:2], strict=True))}
  drawn = [
    names[tuple(row[:n].tolist())] for row, n in zip(rollout.tokens, rollout.length, strict=True)
  ]
  np.testing.assert_allclose(rollout.logp.sum(axis=1), best[drawn], atol=1e-6)
  expected = rows * np.exp(best)
  counts = np.bincount(drawn, minlength=len(best))
  likely = expected > 5
  chi_square = ((counts - expected) ** 2 / expected)[likely].sum()
  assert likely.sum() > 10 and chi_square < likely.sum() + 4 * np.sqrt(2 * likely.sum())


def test_a_stronger_steering_is_a_lower_temperature_but_not_exactly():
  language = toy()
  base, soft = of_table(language, language.log_ref), exact.solve(language, 0.0, KAPPA)
  twice = guidance.steered(base, of_table(language, soft.log_pi), strength=2.0)
  log_pi = says(language, twice)
  first = soft.q[0] / (KAPPA / 2) + language.log_ref[0]
  np.testing.assert_allclose(np.exp(log_pi[0]), jax.nn.softmax(first), atol=1e-12)
  assert gap(language, log_pi, KAPPA / 2) > 1e-2


def test_reading_candidates_ahead_is_guidance_by_the_values_of_actions():
  """Whatever the values and the tail; as many candidates as actions is no truncation."""
  language = toy()
  base = of_table(language, language.log_ref)
  q = np.random.default_rng(0).normal(size=language.reward.shape)
  value = streams.taken(of_table(language, q))
  whole = guidance.guided_by_values(base, value, lambda v: v, **ALL)
  for candidates, tail in ((2, 'kept'), (2, 'dropped'), (1, 'lowest'), (3, 'dropped')):
    options = {'candidates': candidates, 'tail': tail}
    ahead = says(language, guidance.guided_by_values(base, value, lambda v: v, **options))
    here = says(language, guidance.guided(base, of_table(language, q), **options))
    np.testing.assert_allclose(ahead, here, atol=1e-12)
    same = np.allclose(here, says(language, whole), atol=1e-12)
    assert same == (candidates == 3)


def test_backing_up_the_exact_value_changes_nothing_and_planning_finds_it():
  """A value that is right of whole strings alone is the optimum's if it is backed up to them.

  Strings end with EOS here, never at the cap, of which streams know nothing.
  """
  language = toy()
  longest = [len(prefix) == LENGTH - 1 for prefix in language.prefixes]
  language.log_ref[longest] = [0.0, -np.inf, -np.inf]
  base = of_table(language, language.log_ref)
  q = exact.solve(language, 0.0, KAPPA).q / KAPPA
  whole = np.where(language.child < 0, q, 0)
  for table, depths in ((q, (0, 1, 2)), (whole, (LENGTH - 1,))):
    for depth in depths:
      value = streams.taken(of_table(language, table))
      for _ in range(depth):
        value = guidance.backed_up(base, value, candidates=0, eos_id=EOS)
      stream = guidance.guided_by_values(base, value, lambda gain: gain, **ALL)
      assert abs(gap(language, says(language, stream))) < 1e-12
  value = streams.taken(of_table(language, whole))
  stream = guidance.guided_by_values(base, value, lambda gain: gain, **ALL)
  assert gap(language, says(language, stream)) > 1e-2
  few = guidance.backed_up(base, value, candidates=1, eos_id=EOS)
  stream = guidance.guided_by_values(base, few, lambda gain: gain, **ALL)
  assert gap(language, says(language, stream)) > 1e-2


def test_equal_candidates_are_not_more_than_were_asked_for():
  log_pi = guidance.guide(jnp.zeros((2, 5)), jnp.ones((2, 5)), candidates=2, tail='dropped')
  np.testing.assert_array_equal(np.isfinite(log_pi).sum(axis=1), 2)


# --- models ------------------------------------------------------------------------------------

TINY = LMConfig(
  vocab_size=11,
  d_model=16,
  num_layers=2,
  num_heads=2,
  num_kv_heads=2,
  head_dim=8,
  d_ff=24,
  max_length=32,
  tied=False,
)
READINGS = {
  'q_sharp': ('atoms', guidance.q_sharp(low=0.0, high=1.0, kappa=0.2)),
  'controlled': ('atoms', guidance.controlled(low=0.0, high=1.0, kappa=0.2)),
  'ilql': ('ilql', None),
}


def read(name, critic, hidden):
  kind, gain = READINGS[name]
  if kind == 'ilql':
    return guidance.ilql(critic, hidden, beta=4.0)
  return gain(heads.atom_logp(critic['atoms'], hidden, 3))


def rough(params, seed):
  """Large random weights, so that no distribution is near another."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  noise = [jnp.asarray(rng.normal(size=x.shape) * 0.5, jnp.float32) for x in leaves]
  return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


@pytest.mark.parametrize('name', READINGS)
def test_decoding_with_a_head_is_reading_it_along_the_sequence(name):
  kind = READINGS[name][0]
  with jax.enable_x64(False):
    lm, sizes = LM(TINY), {'count': 3} if kind == 'atoms' else {}
    policy = rough(lm.init(0), 1)
    net = heads.CRITICS[kind](lm, chunk=8, trunk='own', width=12, **sizes)
    critic = rough(net.init(policy, 0), 2)

    def open_stream(params):
      policy, critic = params
      gains = streams.of_model(lm, critic['trunk'], lambda hidden: read(name, critic, hidden))
      return guidance.guided(streams.policy(lm, policy), gains, candidates=4, tail='kept')

    options = {'sampling': Sampling(), 'group_size': 5, 'max_new_tokens': 6, 'eos_id': 1}
    prompts, valid = np.array([[0, 3, 4], [5, 6, 7]], np.int32), np.ones((2, 3), bool)
    valid[0, 0] = False
    run = make_sampler(open_stream, **options)
    rollout = jax.device_get(run((policy, critic), prompts, valid, jax.random.key(0)))
    plain = make_generate(lm, **options)(policy, prompts, valid, jax.random.key(0))
    assert (rollout.tokens != plain.tokens).any()
    for row in range(10):
      prompt, length = prompts[row // 5][valid[row // 5]], rollout.length[row]
      tokens = jnp.asarray([[*prompt, *rollout.tokens[row, :length]]])
      base = jax.nn.log_softmax(lm.logits(policy, tokens))
      gain = read(name, critic, lm.hidden(critic['trunk'], tokens))
      log_pi = guidance.guide(base, gain, candidates=4, tail='kept')[0, len(prompt) - 1 : -1]
      expected = log_pi[np.arange(length), rollout.tokens[row, :length]]
      np.testing.assert_allclose(rollout.logp[row, :length], expected, atol=1e-4)
      entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1)
      np.testing.assert_allclose(rollout.entropy[row, :length], entropy, atol=1e-4)


def states(lm, params, texts):
  """[C, D] after each of C texts of one length; padded, so that they are compiled once."""
  length = len(texts[0])
  tokens = np.zeros((len(texts), 12), np.int32)
  tokens[:, :length] = texts
  return jax.jit(lm.hidden)(params, tokens)[:, length - 1]


def after_base(lm, policy, texts):
  """[C, V] log-probabilities of what follows."""
  return jax.nn.log_softmax(states(lm, policy, texts) @ lm.head(policy))


def grown(texts):
  """Every text with every token at its end."""
  return [[*text, token] for text in texts for token in range(TINY.vocab_size)]


def later_gains(lm, policy, texts, gains_of):
  """One token later: log E_base exp(gain) of all that may follow, where a text goes on."""
  after = gains_of(grown(texts)).reshape(len(texts), -1)
  found = jax.nn.logsumexp(after_base(lm, policy, texts) + after, axis=1)
  ended = np.array([text[-1] == 1 for text in texts])
  return jnp.where(ended, gains_of(texts), found)


@pytest.mark.parametrize(('later', 'slots'), [(False, 0), (True, 0), (True, 2)])
def test_decoding_with_an_outcome_head_is_reading_every_candidate(later, slots, monkeypatch):
  """A classifier that judges what was read: candidates are appended, one by one.

  In caches that begin with two columns and are full again and again, and in a ring of columns.
  """
  monkeypatch.setattr(loops, 'NARROWEST', 2)
  with jax.enable_x64(False):
    lm = LM(TINY)
    policy = rough(lm.init(0), 1)
    critic = rough(
      heads.CRITICS['outcome'](lm, chunk=8, trunk='own', width=12, count=3).init(policy, 0), 2
    )
    gain = guidance.q_sharp(low=0.0, high=1.0, kappa=0.2)
    options = {'candidates': 4, 'tail': 'lowest'}

    def gains_of(texts):
      return gain(heads.outcome_logp(critic, states(lm, critic['trunk'], texts)))

    def open_stream(_):
      base = streams.policy(lm, policy)
      value = streams.of_model(lm, critic['trunk'], lambda h: gain(heads.outcome_logp(critic, h)))
      if later:
        value = guidance.backed_up(base, value, candidates=0, eos_id=1)
      return guidance.guided_by_values(base, value, lambda x: x, **options)

    run = make_sampler(
      open_stream, sampling=Sampling(), group_size=4, max_new_tokens=6, eos_id=1, slots=slots
    )
    prompts = np.array([[5, 6, 7]], np.int32)
    rollout = jax.device_get(run(None, prompts, prompts > 0, jax.random.key(0)))
    assert rollout.length.max() == 6
    for row in range(4):
      text = prompts[0].tolist()
      for column in range(rollout.length[row]):
        log_base, longer = after_base(lm, policy, [text]), grown([text])
        gains = later_gains(lm, policy, longer, gains_of) if later else gains_of(longer)
        log_pi = guidance.guide(log_base, gains[None], **options)
        text.append(int(rollout.tokens[row, column]))
        assert rollout.logp[row, column] == pytest.approx(float(log_pi[0, text[-1]]), abs=1e-4)


def test_two_atoms_are_the_bernoulli_value():
  lm = LM(TINY)
  net = heads.CRITICS['atoms'](lm, chunk=8, trunk='own', width=12, count=2)
  critic = rough(net.init(lm.init(0), 0), 2)
  hidden = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16)))
  logp = heads.atom_logp(critic['atoms'], hidden, 2)
  expected = guidance.bernoulli_gain(logp[..., 1] - logp[..., 0], 0.2)
  found = guidance.q_sharp(low=0.0, high=1.0, kappa=0.2)(logp)
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_tokens_without_probability_do_not_spoil_the_entropy():
  language = toy()
  gains = of_table(language, np.zeros_like(language.log_ref))
  stream = guidance.guided(
    of_table(language, language.log_ref), gains, candidates=2, tail='dropped'
  )
  generate = make_sampler(
    lambda _: stream, sampling=Sampling(), group_size=8, max_new_tokens=LENGTH, eos_id=EOS
  )
  prompts = np.zeros((1, 1), np.int32)
  rollout = generate(None, prompts, prompts == 0, jax.random.key(0))
  assert np.isfinite(rollout.entropy).all() and (np.asarray(rollout.entropy[:, 0]) > 0).all()
