"""What a run keeps of its responses: the policy's own numbers of every token, a step once."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import crash, tiny_config

from maxent_lm import build
from maxent_lm.lm.scores import make_scorer
from maxent_lm.lm.tokenizer import encode

OPTIONS = {'steps': 6, 'samples_every': 2, 'checkpoint__every': 2, 'look__samples': 2}
OPTIONS |= {'batch__group_size': 3}


def rows_of(workdir):
  return [json.loads(line) for line in (workdir / 'rollouts.jsonl').open(encoding='utf-8')]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run with its policy, before the first step."""
  workdir = tmp_path_factory.mktemp('whole')
  run = build.rollout_run(tiny_config(**OPTIONS), workdir)
  run.train()
  return workdir, run.policy


def test_two_problems_of_every_second_step_and_of_the_last(whole):
  rows = rows_of(whole[0])
  places = [(row['step'], row['group']) for row in rows]
  assert places == [(step, group) for step in (0, 2, 4, 5) for group in (0, 1) for _ in range(2)]
  assert len({(row['step'], row['prompt']) for row in rows}) == 8


def test_the_numbers_are_those_of_the_policy(whole):
  """Of step 0, where policy and reference are one: V = 0, and the advantage alpha log pi."""
  workdir, policy = whole
  score = make_scorer(policy.lm, chunk=64)
  for row in rows_of(workdir)[:4]:
    prompt = encode(policy.tokenizer, row['prompt'])
    response = policy.tokenizer.convert_tokens_to_ids(row['tokens'])
    tokens = jnp.array([[*prompt, *response]])
    mask = jnp.arange(tokens.shape[1])[None] >= len(prompt)
    scores = jax.device_get(score(policy.params, tokens, mask))
    near = {'rtol': 1e-3, 'atol': 1e-4}
    np.testing.assert_allclose(row['entropy'], scores.entropy[0, len(prompt) :], **near)
    np.testing.assert_allclose(row['logp'], scores.logp[0, len(prompt) :], **near)
    np.testing.assert_allclose(row['value'], 0, atol=1e-5)
    np.testing.assert_allclose(row['soft_advantage'], 0.02 * np.array(row['logp']), **near)
    assert row['finished'] == (row['tokens'][-1] == '<eos>')
    assert row['value_of'] == 'lse_minus_ref' and 'advantage' not in row


def test_later_the_policy_has_left_its_reference(whole):
  last = rows_of(whole[0])[-1]
  assert np.abs(last['value']).max() > 1e-4


def test_a_crash_loses_no_response_and_doubles_none(whole, tmp_path):
  config = tiny_config(**OPTIONS)
  crash(build.rollout_run(config, tmp_path / 'run'), step=5)
  build.rollout_run(config, tmp_path / 'run').train()
  again, once = (each / 'rollouts.jsonl' for each in (tmp_path / 'run', whole[0]))
  assert again.read_bytes() == once.read_bytes()


def test_numbers_of_tokens_are_no_metrics(whole):
  for line in (whole[0] / 'metrics.jsonl').open():
    assert not any('look' in name for name in json.loads(line))


def test_advantages_of_transforms_are_kept_and_replayed_groups_are_not(tmp_path):
  """Constant over a response, and 0 over a group; step 1 only replays and has no line."""
  replay = {'replay__kind': 'fifo', 'replay__capacity': 8, 'replay__every': 2}
  options = {**OPTIONS, **replay, 'steps': 3, 'samples_every': 1, 'look__samples': 3}
  config = tiny_config('grpo', **options)
  build.rollout_run(config, tmp_path / 'run').train()
  rows = rows_of(tmp_path / 'run')
  assert sorted({row['step'] for row in rows}) == [0, 2]
  assert all(len(set(row['advantage'])) == 1 for row in rows)
  groups = np.array([row['advantage'][0] for row in rows]).reshape(-1, 3)
  np.testing.assert_allclose(groups.sum(axis=1), 0, atol=1e-4)


def test_nothing_is_kept_where_nothing_is_asked_for(tmp_path):
  config = tiny_config(steps=1, look__problems=0)
  run = build.rollout_run(config, tmp_path / 'run')
  assert run.look is None
  run.checkpointer.close()
  with pytest.raises(ValueError, match='config.look.problems and config.look.samples start'):
    build.rollout_run(tiny_config(look__samples=-1), tmp_path / 'other')


def test_rows_that_a_filter_drops_keep_their_numbers(tmp_path):
  """Nothing is right here, so that the filter leaves no row to learn from."""
  options = {'steps': 1, 'transforms': ('positive_rows',)}
  build.rollout_run(tiny_config('grpo', **options), tmp_path / 'run').train()
  rows = [row for row in rows_of(tmp_path / 'run') if row['reward'] < 1]
  assert rows and all(min(row['entropy']) > 0.1 for row in rows)
