"""Grading while the next batch is generated: rollouts that are one step of training old.

In step s the device is asked for the rollout of step s + 1 before the host grades that of step s,
so the two work at the same time; then it is asked for the update of step s:

  host     fetch s | ask s+1 | grade s ........... | update s | fetch s+1 | ask s+2 | grade s+1 ...
  device   .. update s-1     | rollout s+1 ........           | update s  | rollout s+2 ........

So the rollout of step s + 1 is of the parameters before the update of step s. What a device is
asked for runs in the order in which it was asked, without being waited for: one thread is enough,
and what fails or is interrupted in grading ends the run as it does without.

Shapes: B rows of a batch, R response columns.
"""

from typing import NamedTuple

import numpy as np

from maxent_lm.sampling.generate import Rollout
from maxent_lm.train.collect import Answers, Collected, Rollouts, Sampled, fetch
from maxent_lm.train.state import TrainState

NEVER = -1


class Early(NamedTuple):
  """What was sampled before its turn.

  Attributes:
    step: int32, whose turn it will be; `NEVER` for none.
    answers: [B] and [B, R], not graded yet.
  """

  step: np.ndarray
  answers: Answers


class Ahead:
  """`rollouts` that are asked for one step early; the first step has none and is sampled at once.

  The rows of step s > 0 are those that `rollouts.sample` gives for step s with the state of step
  s - 1: its parameters and its sampler's temperature. Their behaviour log-probabilities are of
  that state, so objectives see by how much they are off-policy. `staleness`, 0 or 1 steps, is in
  the metrics; the age of what replay draws counts from the step that it was sampled for. The last
  step asks, too, so that a run that is prolonged is the longer run.
  """

  def __init__(self, rollouts: Rollouts) -> None:
    if rollouts.rounds > 1:
      raise ValueError(
        f'Ahead: a step of up to {rollouts.rounds} rounds is not known before it is graded'
      )
    self._rollouts = rollouts
    self._early = _nothing(rollouts)
    self._on_device: tuple[int, Rollout] | None = None  # newer than `_early`

  def __call__(self, step: int, state: TrainState) -> Collected:
    """The step's batch, as `Rollouts` makes it."""
    sampled = self.sample(step, state)
    batch = self._rollouts.batch(sampled.groups)
    return Collected(batch, sampled.metrics, sampled.samples, sampled.fresh)

  def sample(self, step: int, state: TrainState) -> Sampled:
    """The step's groups; the next step's responses are on their way afterwards."""
    early, rollouts = self.memory, self._rollouts
    questions = rollouts.questions(step)
    stale = int(early.step) == step
    answers = early.answers if stale else fetch(rollouts.ask(questions, step, state))
    self._on_device = step + 1, rollouts.ask(rollouts.questions(step + 1), step + 1, state)
    sampled = rollouts.grade(questions, answers)
    return sampled._replace(metrics={**sampled.metrics, 'staleness': float(stale)})

  @property
  def memory(self) -> Early:
    """What was asked for last, part of a checkpoint; waits for the device to have it."""
    if self._on_device is not None:
      step, rollout = self._on_device
      self._early = Early(np.asarray(step, np.int32), fetch(rollout))
      self._on_device = None
    return self._early

  @memory.setter
  def memory(self, early: Early) -> None:
    self._early, self._on_device = early, None


def _nothing(rollouts: Rollouts) -> Early:
  """For no step, in the shapes of a rollout."""
  rows = rollouts.prompts_per_step * rollouts.group_size
  columns = rollouts.max_new_tokens
  answers = Answers(
    tokens=np.zeros((rows, columns), np.int32),
    length=np.zeros(rows, np.int32),
    finished=np.zeros(rows, bool),
    logp=np.zeros((rows, columns), np.float32),
  )
  return Early(np.asarray(NEVER, np.int32), answers)
