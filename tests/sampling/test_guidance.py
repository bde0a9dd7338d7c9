"""With exact values guidance is the soft-optimal policy; with anything else it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_language import toy

from maxent_lm.sampling import guidance
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
