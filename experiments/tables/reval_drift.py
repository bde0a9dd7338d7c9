"""Training on no reward at all must change nothing [ReVal, Appendix C and Proposition 1].

python experiments/tables/reval_drift.py --preset=cpu --workdir=runs/tables/reval_drift --check

r = 0 and the policy starts at the reference, so it starts at the optimum. The residual of whole
responses with V = LSE (TBRM) first has to move the shift of the logits to where V(s_0) = 0, and
disturbs the policy on its way; with V = LSE - LSE_ref (ReVal) residual and gradient are 0 from the
start. Tables of logits in float64 (31 strings, all of them in the batch), shifted by c in every
state; and small random transformers in float32, whose log-sum-exp is about log V without any shift.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maxent_lm.algorithms import LOSSES
from maxent_lm.analysis import tables
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.masked import masked_sum, sequence_sum
from maxent_lm.soft import exact
from maxent_lm.types import Array, Batch, Params, Scores, Temperature, Views

OBJECTIVES = {'TBRM': 'lse', 'ReVal': 'lse_minus_ref'}
SHIFTS = (0.0, 1.0, 2.0, 5.0)
STEPS = {'smoke': 2000, 'cpu': 2000, 'full': 2000}
SEEDS = {'smoke': 1, 'cpu': 3, 'full': 10}
KAPPA = 0.3
# Plain gradient descent for the transformers: Adam would turn rounding errors into steps.
TABLE, TRANSFORMER = optax.adam(3e-2, eps=1e-4), optax.sgd(0.1)
COLUMNS = ('policy', 'objective', 'published', 'gradient', 'largest KL', 'last KL', 'remark')
Score = Callable[[Params], Scores]


def build(preset: str, workdir: pathlib.Path) -> tables.Table:
  """Trains every policy with both objectives."""
  del workdir
  rows: list[dict[str, Any]] = []
  language = exact.random(np.random.default_rng(0), actions=3, length=4, eos=0)
  with jax.enable_x64(True):
    for shift in SHIFTS:
      for objective in OBJECTIVES:
        found = tabular(language, objective, shift, STEPS[preset])
        rows.append({'policy': f'table, c = {shift:g}', 'objective': objective, **found})
  for objective in OBJECTIVES:
    for seed in range(SEEDS[preset]):
      found = transformer(language, objective, seed, STEPS[preset] // 4)
      rows.append({'policy': f'transformer, seed {seed}', 'objective': objective, **found})
  for row in rows:
    row['published'] = {'TBRM': 'drifts', 'ReVal': 'stays'}[row['objective']]
    if row['policy'] == 'table, c = 0' and row['objective'] == 'TBRM':
      row['remark'] = 'log-softmax logits have V = 0: nothing to move'
  note = (
    'Norm of the first gradient; largest and last KL(reference || policy) over strings, nats, '
    f'along {STEPS[preset]} steps of Adam at 3e-2 (transformers: {STEPS[preset] // 4} of gradient '
    f'descent at 0.1), kappa = beta = {KAPPA:g}. The optimum of both objectives is the reference: '
    'what TBRM shows is the way there.'
  )
  return tables.Table(COLUMNS, rows, note, gates(rows))


def gates(rows: list[dict[str, Any]]) -> list[tables.Gate]:
  """TBRM leaves and comes back, ReVal does not move."""
  moved = [r for r in rows if r['objective'] == 'TBRM' and r['policy'] != 'table, c = 0']
  stayed = [r for r in rows if r['objective'] == 'ReVal']
  tabular_rows = [r for r in moved if r['policy'].startswith('table')]
  return [
    tables.Gate('TBRM starts with a gradient', all(r['gradient'] > 1e-2 for r in moved)),
    tables.Gate('TBRM drifts', all(r['largest KL'] > 1e-3 for r in moved)),
    tables.Gate('TBRM returns (tables)', all(r['last KL'] < 1e-6 for r in tabular_rows)),
    tables.Gate(
      'ReVal stays', all(r['gradient'] < 1e-5 and r['largest KL'] < 1e-6 for r in stayed)
    ),
  ]


def tabular(language: exact.Language, objective: str, shift: float, steps: int) -> dict[str, float]:
  """Logits log ref + c."""
  batch = exact.to_batch(language)
  states = jnp.asarray(np.pad(exact.strings(language).states, ((0, 0), (0, 1))))

  def score(q: Params) -> Scores:
    return exact.tabular_scores(q, states, batch.tokens)

  return train(score, jnp.asarray(language.log_ref + shift), batch, objective, TABLE, steps)


def transformer(
  language: exact.Language, objective: str, seed: int, steps: int
) -> dict[str, float]:
  """A random model, which is its own reference."""
  lm = LM(
    LMConfig(
      vocab_size=3,
      d_model=32,
      num_layers=2,
      num_heads=2,
      num_kv_heads=1,
      head_dim=16,
      d_ff=64,
      tied=False,
    )
  )
  batch = exact.with_prompt(exact.to_batch(language), language.eos)
  scorer = make_scorer(lm, chunk=batch.tokens.size)
  return train(
    lambda p: scorer(p, batch.tokens, batch.mask),
    lm.init(seed),
    batch,
    objective,
    TRANSFORMER,
    steps,
  )


def train(
  score: Score,
  start: Params,
  batch: Batch,
  objective: str,
  tx: optax.GradientTransformation,
  steps: int,
) -> dict[str, float]:
  """Descends without reward; KL(reference || policy) is measured before each step."""
  batch = batch._replace(reward=jnp.zeros_like(batch.reward))
  knobs = Temperature(jnp.asarray(0.0), jnp.asarray(KAPPA))
  reference = jax.lax.stop_gradient(score(start))
  prior = masked_sum(reference.logp, batch.mask, axis=1)

  def total(params: Params) -> tuple[Array, Array]:
    scores = score(params)
    views = Views(scores, None, reference)
    values, _ = LOSSES['path'](views, batch, knobs, value=OBJECTIVES[objective])
    gap = prior - masked_sum(scores.logp, batch.mask, axis=1)
    return sequence_sum(values, batch.mask), jnp.sum(jnp.exp(prior) * gap)

  def step(carry: tuple, _: None) -> tuple[tuple, tuple[Array, Array]]:
    params, state = carry
    gradient, kl = jax.grad(total, has_aux=True)(params)
    updates, state = tx.update(gradient, state)
    return (optax.apply_updates(params, updates), state), (optax.global_norm(gradient), kl)

  run = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=steps)[1])
  norms, kls = map(np.asarray, run(start))
  return {
    'gradient': float(norms[0]),
    'largest KL': float(kls.max()),
    'last KL': float(abs(kls[-1])),
  }


if __name__ == '__main__':
  tables.script('reval_drift', build)
