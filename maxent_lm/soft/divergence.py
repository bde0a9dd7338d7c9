"""Sampled estimators of KL(pi || ref) from the log-ratio of the tokens that pi sampled.

Shapes: any, elementwise; `log_ratio` = log pi(a) - log ref(a) in nats with a ~ pi. "Unbiased" is
meant for a ~ pi only: under other data none of them is. Gradients are those that autodiff sees,
with the samples held fixed, which is another matter than the value [Schulman 2020]:

| estimator | value               | gradient of its mean under fixed samples  |
|-----------|---------------------|-------------------------------------------|
| k1        | unbiased, any sign  | 0 in expectation: never minimise it       |
| k2        | biased, >= 0        | unbiased gradient of KL(pi || ref)        |
| k3        | unbiased, >= 0      | unbiased gradient of KL(ref || pi)        |
"""

import jax.numpy as jnp

from maxent_lm.types import Array

# exp(20) is far beyond any clip and still finite, so that no 0 * inf reaches a backward pass.
LOG_RATIO_BOUND = 20.0


def bounded(log_ratio: Array) -> Array:
  """`log_ratio` within +-LOG_RATIO_BOUND nats, before it is exponentiated."""
  return jnp.clip(log_ratio, -LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def k1(log_ratio: Array) -> Array:
  """log pi - log ref."""
  return log_ratio


def k2(log_ratio: Array) -> Array:
  """0.5 (log pi - log ref)^2."""
  return 0.5 * log_ratio**2


def k3(log_ratio: Array) -> Array:
  """ref / pi - 1 - log(ref / pi)."""
  return jnp.expm1(-log_ratio) + log_ratio
