"""Every objective that claims the soft-optimal policy reaches it; controls that must not, do not.

Tables of logits in float64 on languages small enough to enumerate, trained off-policy on every
string with equal weight, from random logits. KL is KL(pi* || pi) over strings, from the oracle.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_language import state_kappa, toy

from maxent_lm import masked
from maxent_lm.algorithms import LOSSES
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.soft import exact, residual
from maxent_lm.types import Scores, Temperature, Views

TOLERANCE = 1e-8
LAMBDAS = (0.0, 0.5, 1.0)
TINY = LMConfig(
  vocab_size=3,
  d_model=32,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=16,
  d_ff=64,
  tied=False,
)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def toy_with_prior():
  return toy(), 0.1, 0.25


def random_without_prior():
  """EOS is not token 0, rewards on every token; hotter, and beta = 0."""
  return exact.random(np.random.default_rng(5), actions=4, length=3, eos=2), 0.6, 0.0


CASES = [toy_with_prior, random_without_prior]


def soft_q(gradient, value):
  def loss(views, batch, temperature, lam):
    return LOSSES['soft_q'](views, batch, temperature, lam=lam, gradient=gradient, value=value)

  return loss


def vargrad(views, batch, temperature, lam):
  del lam
  return LOSSES['vargrad'](views, batch, temperature)


semi = soft_q('semi', 'lse')


def fit(loss, language, temperature, lam, *, batch=None, states=None, lag=0.0, steps=4000):
  """[S, A] log-policy after `steps` of Adam on `loss`; `lag` > 0: a Polyak target."""
  batch = exact.to_batch(language) if batch is None else batch
  states = padded_states(language) if states is None else states
  tokens = batch.tokens
  ref = exact.tabular_scores(jnp.asarray(language.log_ref), states, tokens)
  reference = ref if np.any(np.asarray(temperature.beta) > 0) else None
  tx = optax.adam(optax.cosine_decay_schedule(3e-2, steps))

  def value(q, target):
    views = Views(exact.tabular_scores(q, states, tokens), None, reference)
    if lag:
      views = views._replace(target=exact.tabular_scores(target, states, tokens))
    return masked.sequence_sum(loss(views, batch, temperature, lam)[0], batch.mask)

  def step(_, carry):
    q, target, state = carry
    update, state = tx.update(jax.grad(value)(q, target), state)
    q = optax.apply_updates(q, update)
    return q, target + lag * (q - target), state

  start = jnp.asarray(np.random.default_rng(1).normal(size=language.reward.shape))
  q = jax.lax.fori_loop(0, steps, step, (start, start, tx.init(start)))[0]
  return jax.nn.log_softmax(q, axis=-1)


def padded_states(language):
  return jnp.asarray(np.pad(exact.strings(language).states, ((0, 0), (0, 1))))


def distance(language, alpha, beta, log_pi):
  return exact.kl(language, exact.solve(language, alpha, beta).log_pi, np.asarray(log_pi))


@pytest.mark.parametrize(
  ('case', 'gradient', 'value', 'lag'),
  [
    (toy_with_prior, 'semi', 'lse', 0.0),
    (toy_with_prior, 'semi', 'lse', 0.05),
    (toy_with_prior, 'residual', 'lse', 0.0),
    (toy_with_prior, 'semi', 'lse_minus_ref', 0.0),
    (toy_with_prior, 'residual', 'lse_minus_ref', 0.0),
    (random_without_prior, 'semi', 'lse', 0.0),
    (random_without_prior, 'semi', 'lse', 0.05),
    (random_without_prior, 'residual', 'lse', 0.0),
  ],
)
def test_soft_q_reaches_the_optimum(case, gradient, value, lag):
  language, alpha, beta = case()
  temperature = Temperature(jnp.asarray(alpha), jnp.asarray(beta))
  loss = soft_q(gradient, value)
  run = jax.jit(jax.vmap(lambda lam: fit(loss, language, temperature, lam, lag=lag)))
  for lam, log_pi in zip(LAMBDAS, run(jnp.asarray(LAMBDAS)), strict=True):
    assert distance(language, alpha, beta, log_pi) < TOLERANCE, f'lam={lam}'


@pytest.mark.parametrize('case', CASES)
def test_vargrad_reaches_the_optimum(case):
  language, alpha, beta = case()
  temperature = Temperature(jnp.asarray(alpha), jnp.asarray(beta))
  kl = distance(language, alpha, beta, jax.jit(lambda: fit(vargrad, language, temperature, 0))())
  assert kl < TOLERANCE


@pytest.mark.parametrize('loss', [semi, vargrad], ids=['soft_q', 'vargrad'])
def test_a_temperature_for_each_state(loss):
  language = toy()
  alpha = state_kappa()
  states = padded_states(language)
  temperature = Temperature(jnp.asarray(alpha)[states], 0.5 * jnp.asarray(alpha)[states])
  log_pi = jax.jit(lambda: fit(loss, language, temperature, 0.5))()
  kl = distance(language, alpha, 0.5 * alpha, log_pi)
  assert kl < TOLERANCE


@pytest.mark.parametrize('lam', LAMBDAS)
def test_bootstrapped_cuts(lam):
  """Half of the rows are cut after two tokens: the value at the cut stands in for the rest."""
  language, alpha, beta = toy_with_prior()
  whole = exact.to_batch(language)
  short = whole.mask & (jnp.arange(whole.mask.shape[1]) < 2)[None, :]
  cut = whole._replace(mask=short, bootstrap=whole.mask.sum(axis=1) > 2)
  batch = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), whole, cut)
  states = jnp.tile(padded_states(language), (2, 1))
  temperature = Temperature(jnp.asarray(alpha), jnp.asarray(beta))
  run = jax.jit(lambda lam: fit(semi, language, temperature, lam, batch=batch, states=states))
  kl = distance(language, alpha, beta, run(lam))
  assert kl < TOLERANCE


# Controls: each of these is a known mistake, and the machinery above has to notice it.


def test_control_path_without_eos():
  language, alpha, beta = toy_with_prior()
  batch = exact.to_batch(language)
  last = masked.last_action(batch.mask)
  ends = last & (batch.tokens == language.eos)
  mask = batch.mask & ~ends
  total = masked.masked_sum(batch.reward, batch.mask, axis=1)
  reward = jnp.where(masked.last_action(mask), total[:, None], 0)
  batch = batch._replace(mask=mask, reward=reward)
  assert control(language, alpha, beta, vargrad, batch) > 1e-2


def test_control_without_truncated_strings():
  language, alpha, beta = toy_with_prior()
  batch = exact.to_batch(language)
  ended = ((batch.tokens == language.eos) & batch.mask).any(axis=1)
  batch = batch._replace(mask=batch.mask & ended[:, None])
  assert control(language, alpha, beta, vargrad, batch) > 1e-2


def test_control_bootstrapped_as_if_terminal():
  language, alpha, beta = toy_with_prior()
  batch = exact.to_batch(language)
  short = batch.mask & (jnp.arange(batch.mask.shape[1]) < 2)[None, :]
  batch = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), batch, batch._replace(mask=short))
  states = jnp.tile(padded_states(language), (2, 1))
  assert control(language, alpha, beta, semi, batch, states) > 1e-2


def test_control_renormalised_prior():
  """Tempering the reference state by state is another objective with another optimum."""
  language, alpha, beta = toy_with_prior()
  tempered = np.asarray(jax.nn.log_softmax(jnp.asarray(language.log_ref) * beta / (alpha + beta)))
  other = exact.solve(language._replace(log_ref=tempered), 0.0, alpha + beta).log_pi
  assert distance(language, alpha, beta, other) > 1e-2


def test_control_values_that_are_never_trained():
  """The default of [Guo et al. 2022]: log pi against stopped values leaves V where it began."""

  def frozen_value(views, batch, temperature, lam):
    steps = residual.read(views.policy, views.reference, batch, temperature)
    steps = steps._replace(value=jax.lax.stop_gradient(steps.value))
    return 0.5 * residual.suffix(residual.one_step(steps), batch.mask, lam) ** 2, {}

  language, alpha, beta = toy_with_prior()
  assert control(language, alpha, beta, frozen_value) > 1e-2


def control(language, alpha, beta, loss, batch=None, states=None):
  temperature = Temperature(jnp.asarray(alpha), jnp.asarray(beta))
  run = jax.jit(lambda: fit(loss, language, temperature, 0.0, batch=batch, states=states))
  return distance(language, alpha, beta, run())


# The same in float32 with a transformer, whose states share all of their parameters.


@pytest.mark.parametrize(
  ('loss', 'lam'),
  [(semi, 0.0), (semi, 1.0), (soft_q('residual', 'lse_minus_ref'), 1.0), (vargrad, 0.0)],
  ids=['soft_q(0)', 'soft_q(1)', 'soft_q residual', 'vargrad'],
)
def test_a_small_transformer_reaches_the_optimum(loss, lam):
  with jax.enable_x64(False):
    language = exact.random(np.random.default_rng(3), actions=3, length=5, eos=1)
    batch, reference = prompted(language)
    temperature = Temperature(jnp.float32(0.2), jnp.float32(0.3))
    lm = LM(TINY)
    scorer = make_scorer(lm, chunk=batch.tokens.size)

    def value(params):
      views = Views(scorer(params, batch.tokens), None, reference)
      return masked.sequence_sum(loss(views, batch, temperature, lam)[0], batch.mask)

    params = minimise(value, lm.init(0), steps=600)
    logp = masked.masked_sum(scorer(params, batch.tokens).logp, batch.mask, axis=1)
  best = exact.brute_force(language, 0.2, 0.3)[0]
  assert len(best) == 63
  assert np.sum(np.exp(best) * (best - np.asarray(logp, np.float64))) < 1e-3


def minimise(value, params, steps):
  """Adam with clipping, warm-up and cosine decay; one compiled loop."""
  rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 50, steps)
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

  def step(_, carry):
    params, state = carry
    update, state = tx.update(jax.grad(value)(params), state)
    return optax.apply_updates(params, update), state

  return jax.jit(lambda p: jax.lax.fori_loop(0, steps, step, (p, tx.init(p)))[0])(params)


def prompted(language):
  """The batch and its reference scores behind one prompt token.

  The prompt is EOS, which no prefix contains: rotary attention cannot count equal tokens, so that
  a prompt that looks like a letter would make different states indistinguishable.
  """

  def front(values):
    return jnp.pad(values, ((0, 0), (1, 0)))

  batch = exact.to_batch(language)
  log_ref = jnp.asarray(language.log_ref, jnp.float32)
  reference = exact.tabular_scores(log_ref, padded_states(language), batch.tokens)
  rows = {name: front(x) for name, x in batch._asdict().items() if x.ndim == 2}
  batch = batch._replace(**rows)
  tokens = batch.tokens.at[:, 0].set(language.eos)
  return batch._replace(tokens=tokens), Scores(*map(front, reference))
