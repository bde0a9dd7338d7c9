"""Play with a world: what is recorded is what was seen, done, paid, and thought likely."""

import jax
import numpy as np
import pytest
from lm.tiny_lm import roughened, tiny

from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.sampling.interact import make_interact
from maxent_lm.sampling.manners import plain
from maxent_lm.sampling.policies import Sampling

START = 36
LM_ = LM(tiny(max_length=64))


class Echo:
  """Shows the last action, plus the row's number at first; row i ends after i + 1 steps."""

  def __init__(self, rows):
    self.over = np.zeros(rows, bool)
    self.longest = rows
    self.shown = np.arange(rows, dtype=np.int32)
    self.time = 0
    self.log = []

  def see(self):
    return np.where(self.over, 0, self.shown).astype(np.int32)

  def step(self, tokens):
    live = ~self.over
    self.log.append((self.see(), tokens.copy(), live))
    self.shown = tokens
    self.time += 1
    self.over |= np.arange(len(self.over)) < self.time
    return np.where(live, tokens / 4, 0.0)


def params():
  return roughened(LM_.init(0), scale=0.1)


def play(rows, *, multiple=1, temperature=1.0, world=None):
  interact = make_interact(
    LM_, manner=plain(Sampling(temperature=temperature)), start=START, multiple=multiple
  )
  return interact(params(), world or Echo(rows), jax.random.key(0))


def test_a_row_is_what_was_seen_and_done_in_turns():
  world = Echo(5)
  played = play(5, world=world)
  assert played.tokens.shape == (5, 11) and (played.tokens[:, 0] == START).all()
  for step, (seen, action, live) in enumerate(world.log):
    at = 2 * step + 1
    np.testing.assert_array_equal(played.tokens[:, at], seen)
    np.testing.assert_array_equal(played.tokens[live, at + 1], action[live])
    np.testing.assert_array_equal(played.mask[:, at + 1], live)
    np.testing.assert_array_equal(played.reward[:, at + 1], np.where(live, action / 4, 0))
  assert not played.mask[:, 1::2].any()
  assert played.mask.sum(axis=1).tolist() == [1, 2, 3, 4, 5]
  assert not played.logp[~played.mask].any() and not played.reward[~played.mask].any()
  earned = sum(np.where(live, action / 4, 0) for _, action, live in world.log)
  np.testing.assert_allclose(played.returns, earned, rtol=1e-6)


def test_the_scorer_sees_the_probabilities_that_were_drawn_from():
  played = play(6)
  batch = played.batch()
  scored = make_scorer(LM_, chunk=64)(params(), batch.tokens).logp
  np.testing.assert_allclose(
    np.asarray(scored)[played.mask], played.logp[played.mask], atol=1e-5, rtol=0
  )
  assert np.unique(played.tokens[played.mask]).size > 5


def test_a_behaviour_temperature_is_recorded():
  played = play(6, temperature=2.0)
  scored = make_scorer(LM_, chunk=64)(params(), played.batch().tokens).logp
  assert np.abs(np.asarray(scored)[played.mask] - played.logp[played.mask]).max() > 1e-2


def test_a_row_does_not_depend_on_the_others_nor_on_the_width():
  few, many = play(3), play(5, multiple=16)
  assert many.tokens.shape[1] == 16
  for name, short in few._asdict().items():
    for row in range(3):
      end = np.flatnonzero(few.mask[row]).max() + 1
      long = getattr(many, name)
      np.testing.assert_allclose(short[row, :end], long[row, :end], atol=1e-5)


def test_play_ends_with_the_last_episode():
  world = Echo(3)
  world.longest = 20
  played = play(3, world=world)
  assert world.time == 3 and played.tokens.shape == (3, 41)


def test_episodes_that_do_not_fit_are_told():
  with pytest.raises(ValueError, match='81 columns do not fit: the model has 64 positions'):
    play(40)
