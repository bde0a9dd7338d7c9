"""The 31-string language on which most exact numbers in these tests were first computed."""

import numpy as np

from maxent_lm.soft import exact

A, EOS, LENGTH, STATES, STRINGS = 3, 0, 4, 15, 31


def toy() -> exact.Language:
  """Three actions with EOS = 0, cap 4; half of the strings pay 0, the others U(0, 1)."""
  rng = np.random.default_rng(0)
  rewards = rng.uniform(0, 1, STRINGS)
  rewards = np.where(rng.random(STRINGS) < 0.5, 0, rewards)
  logits = rng.normal(size=(STATES, A)) * 0.8
  log_ref = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
  names = [
    tuple(tokens[mask].tolist())
    for tokens, mask in zip(*exact.strings(_blank(log_ref))[:2], strict=True)
  ]
  table = dict(zip(names, rewards, strict=True))
  return exact.from_function(lambda string: table[string], log_ref, eos=EOS, length=LENGTH)


def state_kappa() -> np.ndarray:
  """[S] temperatures in U(.2, .6): the next draws of the same generator, after initial logits."""
  rng = np.random.default_rng(0)
  rng.uniform(0, 1, STRINGS), rng.random(STRINGS)
  rng.normal(size=(STATES, A)), rng.normal(size=(STATES, A))
  return rng.uniform(0.2, 0.6, size=STATES)


def _blank(log_ref: np.ndarray) -> exact.Language:
  return exact.from_tables(EOS, LENGTH, np.zeros_like(log_ref), log_ref)
