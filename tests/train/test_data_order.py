"""Problems of a step are a function of its number: a run that goes on skips and repeats none."""

import pytest
from tiny_runs import crash, tiny_config

from maxent_lm import build
from maxent_lm.train.collect import Rollouts

PROMPTS, STEPS = 36, 9


@pytest.fixture
def asked(monkeypatch):
  """(step, ids of its problems) of every rollout, in the order in which they are asked for."""
  seen = []
  ask = Rollouts.ask

  def watched(self, questions, number, state):
    seen.append((number, [problem.id for problem in questions.problems]))
    return ask(self, questions, number, state)

  monkeypatch.setattr(Rollouts, 'ask', watched)
  return seen


@pytest.mark.parametrize('ahead', [0, 1])
def test_the_next_hundred_problems_are_those_of_a_run_that_was_never_stopped(
  ahead, tmp_path, asked
):
  """Beyond the end of several epochs; rollouts that were one step ahead are not asked for twice."""
  changes = {'checkpoint__every': 2, 'batch__prompts': PROMPTS, 'batch__ahead': ahead}
  config = tiny_config(steps=STEPS, **changes)
  build.rollout_run(config, tmp_path / 'whole').train()
  whole = dict(asked)
  crash(build.rollout_run(config, tmp_path / 'part'), step=5)
  asked.clear()
  run = build.rollout_run(config, tmp_path / 'part')
  assert run.state.step == 4
  run.train()
  assert [number for number, _ in asked] == list(range(4 + ahead, STEPS + ahead))
  assert all(ids == whole[number] for number, ids in asked)
  assert sum(len(ids) for _, ids in asked) >= 100
  drawn = [name for number in range(4) for name in whole[number]]
  size = len(set(drawn))
  assert 2 * size < len(drawn)  # the resume is in the third epoch or later
  assert len(set(drawn[:size])) == len(set(drawn[size : 2 * size])) == size
  assert drawn[:size] != drawn[size : 2 * size]
