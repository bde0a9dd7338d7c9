"""A sandbox that is killed, hung or flooded while a run grades: no reward is 0 for its faults."""

import os
import signal
import types

import jax
import numpy as np
import pytest

from maxent_lm import cli
from maxent_lm.data import Reader
from maxent_lm.lm.tokenizer import byte_tokenizer
from maxent_lm.sampling.generate import Rollout
from maxent_lm.tasks import code_answers
from maxent_lm.tasks.list_functions import ListFunctions
from maxent_lm.tasks.sandbox import (
  Sandbox,
  SandboxUnavailable,
  TooManyFaults,
  Verdict,
  pool,
  supervisor,
)
from maxent_lm.train.collect import Rollouts

TOKENS, COLUMNS = byte_tokenizer(), 64
STATE = types.SimpleNamespace(
  params=None, key=jax.random.key(0), sampler=types.SimpleNamespace(value=1.0)
)
WRONG = '[0,0,0]'
FLOOD = "[print('y'*10**6) for _ in iter(int,1)]"
ENDLESS = '[0 for _ in iter(int,1)]'


@pytest.fixture
def sandbox(monkeypatch):
  """The sandbox of the task, and nobody else's; unharmed at first."""
  try:
    with Sandbox(parallel=2) as mine:
      grader = code_answers.Grader(mine, size=0)
      monkeypatch.setattr(code_answers, 'shared_grader', lambda tier: grader)
      yield mine
  except SandboxUnavailable as error:
    pytest.skip(str(error))


def serving(sandbox):
  """The process that answers: process 1 of the namespace of pids if there is one."""
  pid = sandbox.zygote_pid
  if sandbox.tier != 'ns':
    return pid
  with open(f'/proc/{pid}/task/{pid}/children') as file:
    return int(file.read().split()[0])


def answer(step, responses):
  """The step of a run whose policy says this, the first of them of the first problem."""
  task = ListFunctions(split='train', size=4)
  reader = Reader(task=task, tokenizer=TOKENS, eos_id=TOKENS.eos_token_id, prompt_multiple=8)

  def generate(*_):
    rows = [TOKENS(text)['input_ids'] + [TOKENS.eos_token_id] for text in responses]
    tokens = np.array([row + [0] * (COLUMNS - len(row)) for row in rows], np.int32)
    lengths = np.array([len(row) for row in rows])
    numbers = np.full(tokens.shape, -0.5, np.float32)
    return Rollout(tokens, lengths, np.ones(len(rows), bool), numbers, numbers)

  rollouts = Rollouts(
    reader=reader,
    generate=generate,
    prompts_per_step=1,
    group_size=len(responses),
    max_new_tokens=COLUMNS,
    bootstrap=False,
    seed=0,
    sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
  )
  sampled = rollouts.sample(step, STATE)
  return sampled, rollouts.batch(sampled.groups)


def right_answer(step):
  task = ListFunctions(split='train', size=4)
  sampled, _ = answer(step, [WRONG])
  (problem,) = [each for each in (task[i] for i in range(4)) if each.id == sampled.names[0].problem]
  return problem.answer


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_goes_on_with_another_zygote(sandbox, monkeypatch, number):
  monkeypatch.setattr(supervisor, 'ANSWER_S', 1.0)
  for step in range(2):
    good = right_answer(step)
    os.kill(serving(sandbox), number)
    sampled, _ = answer(step, [good, WRONG] * 4)
    assert sampled.groups[0].reward.tolist() == [1, 0] * 4
    assert sampled.metrics['faults'] == 0 and sampled.metrics['success'] == 0.5
  assert sandbox.counts['restarts'] == 2


def test_responses_that_flood_and_hang_are_wrong_and_harm_no_other(sandbox):
  good = right_answer(0)
  sampled, batch = answer(0, [FLOOD, good, ENDLESS, good, WRONG])
  assert sampled.groups[0].reward.tolist() == [0, 1, 0, 1, 0]
  assert sampled.metrics['faults'] == 0
  assert np.asarray(batch.mask).any(axis=1).all()


def test_rows_that_the_sandbox_says_nothing_of_are_not_there(sandbox, monkeypatch):
  good, run = right_answer(0), Sandbox.run

  def sometimes(mine, program):
    verdict = run(mine, program)
    return verdict if program.code.count(good) else Verdict('infra_error', 'lost')

  monkeypatch.setattr(Sandbox, 'run', sometimes)
  sampled, batch = answer(0, [good, WRONG, ENDLESS])
  np.testing.assert_allclose(sampled.metrics['faults'], 2 / 3)
  assert sampled.metrics['success'] == 1  # of those of which something is known
  assert np.asarray(batch.mask).any(axis=1).tolist() == [True, False, False]


def test_too_many_faults_are_told_in_a_sentence(sandbox, monkeypatch, capsys):
  monkeypatch.setattr(pool, 'FEW', 3)
  monkeypatch.setattr(Sandbox, '_attempt', lambda *_: Verdict('infra_error', 'lost'))
  with pytest.raises(SystemExit) as ended, cli.run_errors():
    answer(0, [WRONG, '[1]', '[2]', '[3]'])
  assert 'of the last' in ended.value.code and 'faults of the sandbox' in ended.value.code
  assert TooManyFaults.__mro__[1] is RuntimeError and not capsys.readouterr().err
