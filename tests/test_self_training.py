"""Rounds of self-training with the smallest runs: resuming, rationalisation, what is refused."""

import dataclasses
import json
import os
import signal
import time

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build, hosts
from maxent_lm.lm import pretrained
from maxent_lm.sampling.generate import Rollout
from maxent_lm.train import signals

SMALL = {
  'steps': 3,
  'self_training__rounds': 2,
  'self_training__samples': 4,
  'self_training__problems': 6,
  'self_training__prompts': 4,
  'checkpoint__every': 2,
}
BEST = {'self_training__filters': ('best',)}  # an untrained policy solves nothing


def config(variant='raft', **changes):
  return tiny_config(variant, **{**SMALL, **changes})


def rows(folder):
  return [json.loads(line) for line in (folder / 'rounds.jsonl').read_text().splitlines()]


def timeless(row):
  return {name: value for name, value in row.items() if name != 'seconds'}


def model(folder, number=2):
  path = folder / 'rounds' / f'{number:03d}' / 'train' / 'model'
  return pretrained.load_params(path, pretrained.load_config(path))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Two rounds that nobody interrupted."""
  folder = tmp_path_factory.mktemp('whole')
  seen = list(build.self_training(config(**BEST), folder).rounds())
  assert seen == rows(folder)
  return folder


def test_a_signal_stops_it_between_batches_of_samples(tmp_path, monkeypatch):
  loop = build.self_training(config(**BEST), tmp_path)
  batch = build.SelfTraining._batch

  def asked(loop, *arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    while not signals.stopping(0):
      time.sleep(0.001)
    return batch(loop, *arguments)

  with monkeypatch.context() as patched, signals.listening(grace=0):
    patched.setattr(build.SelfTraining, '_batch', asked)
    with pytest.raises(hosts.Stopped, match='stopped while sampling; the same command'):
      list(loop.rounds())
  assert len(rows(tmp_path)) == 1 and not (tmp_path / 'rounds' / '001').exists()


def test_every_round_has_a_row(whole):
  found = rows(whole)
  assert [row['round'] for row in found] == [0, 1, 2]
  assert [row['kept'] for row in found] == [0, 6, 6]
  assert found[1]['covered'] == 6 and found[1]['problems_sampled'] == 6
  names = {'pass@1', 'pass@4', 'coverage@4', 'distinct@4', 'entropy', 'kl', 'train_pass@1'}
  assert names <= found[1].keys()
  assert found[0]['kl'] == 0 and found[2]['kl'] != 0


def test_a_killed_loop_is_the_one_that_was_never_killed(whole, tmp_path, monkeypatch):
  """Killed while training in round 1, before the row of round 1, and while sampling round 2."""
  loop = build.self_training(config(**BEST), tmp_path)
  train = build.Run.train

  def dies(run):
    run.config = run.config.copy_and_resolve_references()
    run.config.steps = 2
    train(run)
    raise RuntimeError('power cut')

  monkeypatch.setattr(build.Run, 'train', dies)
  with pytest.raises(RuntimeError):
    list(loop.rounds())
  monkeypatch.undo()
  assert [row['round'] for row in rows(tmp_path)] == [0]
  kept = tmp_path / 'rounds' / '001' / 'kept.jsonl'
  before = kept.stat().st_mtime_ns
  again = iter(build.self_training(config(**BEST), tmp_path).rounds())
  assert [next(again)['round'] for _ in range(2)] == [0, 1]  # and killed again
  assert kept.stat().st_mtime_ns == before
  list(build.self_training(config(**BEST), tmp_path).rounds())
  assert list(map(timeless, rows(tmp_path))) == list(map(timeless, rows(whole)))
  jax.tree.map(np.testing.assert_array_equal, model(tmp_path), model(whole))
  for number in (1, 2):
    name = f'rounds/{number:03d}/kept.jsonl'
    assert (tmp_path / name).read_text() == (whole / name).read_text()


def test_a_round_starts_from_the_start_or_goes_on(whole, tmp_path):
  def starts(folder, number):
    path = folder / 'rounds' / f'{number:03d}' / 'train' / 'start'
    return np.asarray(pretrained.load_params(path, pretrained.load_config(path))['head'])

  np.testing.assert_array_equal(starts(whole, 2), np.asarray(model(whole, 1)['head']))
  changes = {**BEST, 'self_training__continue_from': 'start', 'steps': 1}
  list(build.self_training(config(**changes), tmp_path).rounds())
  np.testing.assert_array_equal(starts(tmp_path, 2), starts(tmp_path, 1))
  assert (np.asarray(model(tmp_path, 1)['head']) != starts(tmp_path, 1)).any()


def parrot(loop):
  """A policy that repeats the hint before the comma if there is one, and else says nothing."""
  tokenizer, samples = loop.policy.tokenizer, loop.config.self_training.samples

  def generate(params, prompts, valid, key):
    width, texts = loop.config.batch.max_new_tokens, []
    for row, seen in zip(np.asarray(prompts), np.asarray(valid), strict=True):
      shown = tokenizer.decode(row[seen])
      texts += [shown.split('|')[0] if '|' in shown else ''] * samples
    tokens = np.full((len(texts), width), loop.policy.eos_id)
    length = np.array([len(text) + 1 for text in texts])
    for row, text in enumerate(texts):
      tokens[row, : len(text)] = tokenizer.encode(text, add_special_tokens=False)
    zeros = np.zeros((len(texts), width), np.float32)
    return Rollout(tokens, length, np.ones(len(texts), bool), zeros, zeros)

  return dataclasses.replace(loop, generate=generate)


def test_a_rationalised_response_is_learned_without_its_hint(tmp_path):
  changes = {
    'self_training__hint': '{answer}|{prompt}',
    'tokenizer__alphabet': '0123456789+-*/()=,:|',
  }
  changes |= {'self_training__rounds': 1, 'steps': 1}
  loop = parrot(build.self_training(config('star', **changes), tmp_path))
  row = list(loop.rounds())[1]
  assert (row['covered'], row['kept'], row['hinted']) == (6, 24, 24)
  assert row['train_pass@1'] == 0  # with a hint it is not the policy's own accuracy
  lines = (tmp_path / 'rounds' / '001' / 'kept.jsonl').read_text().splitlines()
  problems = {loop.reader.task[i].id: loop.reader.task[i] for i in range(6)}
  for each in map(json.loads, lines):
    problem = problems[each['problem']]
    assert each['text'] == problem.answer
    assert each['prompt_tokens'] == loop.reader.prompts([problem])[0]
    assert each['response_tokens'][-1] == loop.policy.eos_id


def test_a_policy_that_solves_nothing_is_told(tmp_path):
  loop = dataclasses.replace(
    build.self_training(config(), tmp_path), evaluation=lambda params, start: {}
  )
  loop = dataclasses.replace(parrot(loop), evaluation=loop.evaluation)
  with pytest.raises(build.NothingKept, match='none of 24 responses was kept'):
    list(loop.rounds())


@pytest.mark.parametrize(
  ('key', 'value', 'sentence'),
  [
    ('filters', ('corect',), "filters='corect' is unknown; choose one of balanced, best, correct"),
    ('filters', ('entropy_band',), "entropy_band.scale='bits' is unknown"),
    ('continue_from', 'best', "continue_from='best' is unknown; choose one of current, start"),
    ('hint', 'Hint: {prompt}', 'must hold {answer} and {prompt}'),
    ('hint', '{answer}' + ',' * 600 + '{prompt}', 'but the model has 512; shorten it'),
    ('rounds', 0, 'start at 1'),
  ],
)
def test_wrong_values_are_told_before_anything_is_written(key, value, sentence, tmp_path):
  wrong = config(**{'self_training__entropy_band__scale': 'bits', f'self_training__{key}': value})
  with pytest.raises(ValueError, match=sentence):
    build.self_training(wrong, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('variant', ['star', 'rest', 'raft'])
def test_every_method_builds(variant, tmp_path):
  assert build.self_training(config(variant), tmp_path).keep([]) == []
