"""Sweeping is the policy among the actions of one move, and turns exactly at blanks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.sampling.manners import plain, sweeping
from maxent_lm.sampling.policies import Sampling
from maxent_lm.tasks.algorithmic import TASKS, Episodes

LEFT, RIGHT = 0, 1
RULES = TASKS['Reverse']
SWEEPING = sweeping(moves=RULES.directions, silent=RULES.silent, blank=RULES.base, first=RIGHT)


@pytest.fixture
def logits():
  return jnp.asarray(np.random.default_rng(0).normal(size=(4, RULES.vocabulary)), jnp.float32)


def test_plain_is_the_behaviour_whatever_happened(logits):
  behaviour = Sampling(temperature=2.0)
  action, seen = jnp.array([RULES.start, 3, 4, 5]), jnp.array([0, 1, 2, 0])
  told = plain(behaviour)(logits, action, seen)
  np.testing.assert_array_equal(told, behaviour.log_probs(logits))


@pytest.mark.parametrize('move', [LEFT, RIGHT])
@pytest.mark.parametrize('write', [False, True])
def test_on_the_tape_it_goes_on_and_is_the_policy_given_the_move(logits, move, write):
  action = jnp.full(4, RULES.action(move, write=write, symbol=1))
  told = np.exp(SWEEPING(logits, action, jnp.zeros(4, int)))
  same = np.array(RULES.directions) == move
  assert (told[:, ~same] == 0).all()
  conditional = np.asarray(jax.nn.softmax(logits))[:, same]
  conditional /= conditional.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(told[:, same], conditional, rtol=1e-5)


@pytest.mark.parametrize('move', [LEFT, RIGHT])
def test_at_a_blank_it_turns_and_writes_nothing(logits, move):
  action = jnp.full(4, RULES.action(move, write=True, symbol=0))
  told = np.exp(SWEEPING(logits, action, jnp.full(4, RULES.base)))
  expected = np.eye(RULES.vocabulary)[[RULES.silent[1 - move]] * 4]
  np.testing.assert_array_equal(told, expected)


def test_it_starts_with_the_first_move(logits):
  told = np.exp(SWEEPING(logits, jnp.full(4, RULES.start), jnp.zeros(4, int)))
  assert (told[:, np.array(RULES.directions) != RIGHT] == 0).all()


def test_directions_are_those_that_heads_take():
  for rules in TASKS.values():
    for token, move in enumerate(rules.directions):
      world = Episodes(rules, 3, 1, np.random.default_rng(0))
      world.step(np.array([token]))
      gone = world._head[0].tolist()
      assert gone == ([[-1, 0], [1, 0], [0, -1], [0, 1]][move] if move >= 0 else [0, 0])
