"""Data that no run can learn from: each kind is left out or masked, and counted, or told.

Other bad input stands with what reads it: rows that are not UTF-8 in tests/tasks/test_jsonl.py,
tokenizers without an end token in tests/test_configs.py, rows of unknown reward in
tests/train/test_unknown_rewards.py, a batch without any response in tests/train/test_poison.py.
"""

import json
import types

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build, data
from maxent_lm.sampling.generate import Rollout
from maxent_lm.shaping import TRANSFORMS
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.human_eval import HumanEval
from maxent_lm.tasks.jsonl_task import Jsonl
from maxent_lm.train.collect import Rollouts


class Prompts:
  """Problems of these prompts; all responses are right."""

  def __init__(self, *, split, prompts):
    self._problems = [Problem(f'{split}/{i}', text, '', i) for i, text in enumerate(prompts)]

  def __len__(self):
    return len(self._problems)

  def __getitem__(self, index):
    return self._problems[index]

  def reward(self, problem, response, finished):
    return 1.0

  def cluster(self, problem, response):
    return None

  def modes(self, problem):
    return None


def reader(prompts, **changes):
  with tiny_config(**changes).unlocked() as config:
    config.task, config.mine = 'mine', {'prompts': tuple(prompts)}
  policy = build.make_policy(config, None)
  names = build.NAMES._replace(tasks={'mine': Prompts})
  return build.make_reader(config, policy, split='train', names=names)


def test_prompts_that_are_empty_or_too_long_are_left_out_and_counted(caplog):
  found = reader(['1+2', '', '1+2+3+4+5', '4', ''], batch__max_prompt_tokens=5)
  assert [found.task[i].id for i in range(len(found.task))] == ['train/0', 'train/3']
  assert caplog.messages == [
    '3 of the 5 problems of train are left out: 2 have no prompt, and the prompts of 1 are longer '
    'than config.batch.max_prompt_tokens=5'
  ]
  caplog.clear()
  assert len(reader(['1', '2']).task) == 2 and not caplog.messages


@pytest.mark.parametrize('prompts', [['', ''], ['1+2+3', '']])
def test_a_task_of_which_nothing_is_left_is_told(prompts):
  with pytest.raises(ValueError, match='leaves none of the 2 problems'):
    reader(prompts, batch__max_prompt_tokens=2)


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


def test_ids_that_stand_twice_are_told(tmp_path):
  row = {'prompt': 'def f(x):\n', 'canonical_solution': '    return x\n', 'entry_point': 'f'}
  row['test'] = 'def check(candidate):\n    assert candidate(1) == 1\n'
  rows = [{'task_id': name, **row} for name in ('a/0', 'a/1', 'a/0', 'a/2', 'a/2')]
  write(tmp_path / 'test.jsonl', rows)
  with pytest.raises(
    ValueError,
    match=r'2 ids stand on several rows of .*, the first one is '
    r'a/0: correct or remove them',
  ):
    HumanEval(data_dir=str(tmp_path), cache_dir=str(tmp_path / 'cache'))


def test_rows_that_stand_twice_are_two_problems(tmp_path):
  """Files without ids number their rows."""
  write(tmp_path / 'train.jsonl', [{'prompt': '1+1', 'answer': '2'}] * 2)
  task = Jsonl(data_dir=str(tmp_path), split='train', cache_dir=str(tmp_path / 'cache'))
  assert [task[i].id for i in range(2)] == ['jsonl/train/0', 'jsonl/train/1']


@pytest.mark.parametrize('name', ['group_normalised', 'leave_one_out'])
@pytest.mark.parametrize('rewards', [[1, 1, 1, 1], [0, 0, 0, 0], [1, None, None, None], [None] * 4])
def test_a_group_without_a_difference_has_no_advantage(name, rewards):
  """All alike, one that is known, none: finite and 0, even with nothing added to a deviation."""
  known = [[4, 5] if reward is not None else [] for reward in rewards]
  sequences = data.Sequences.unweighted([[3]] * 4, known)._replace(
    reward=[reward or 0 for reward in rewards], group=np.zeros(4)
  )
  section = {'eps': 0.0, 'ddof': 1} if name == 'group_normalised' else {}
  batch = TRANSFORMS[name](data.make_batch(sequences, columns=4), None, **section)
  assert not np.asarray(batch.advantage).any()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(batch))


@pytest.mark.parametrize('bootstrap', [False, True])
def test_responses_that_never_end_are_cut_ones(bootstrap):
  """No EOS: counted in `finished`, and as config.batch.truncation has it."""
  tokenizer = build.make_policy(tiny_config(), None).tokenizer
  reading = data.Reader(
    task=Prompts(split='train', prompts=['1']),
    tokenizer=tokenizer,
    eos_id=tokenizer.eos_token_id,
    prompt_multiple=4,
  )
  numbers = np.full((2, 3), -0.5, np.float32)
  rollout = Rollout(np.full((2, 3), 4), np.full(2, 3), np.zeros(2, bool), numbers, numbers)
  rollouts = Rollouts(
    reader=reading,
    generate=lambda *_: rollout,
    prompts_per_step=1,
    group_size=2,
    max_new_tokens=3,
    bootstrap=bootstrap,
    seed=0,
    sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
  )
  heat = types.SimpleNamespace(value=1.0)
  state = types.SimpleNamespace(params=None, key=jax.random.key(0), sampler=heat)
  sampled = rollouts.sample(0, state)
  assert sampled.metrics['finished'] == 0 and sampled.metrics['length'] == 3
  assert sampled.groups[0].bootstrap.tolist() == [bootstrap] * 2
  assert np.asarray(rollouts.batch(sampled.groups).mask).sum() == 6
