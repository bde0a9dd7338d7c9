"""The benchmark does the same work whatever its speed options are, and says how long it took."""

import functools
import json
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest
from test_lint import ROOT
from tiny_runs import tiny_config

from experiments import benchmark, benchmark_ahead
from maxent_lm import data
from maxent_lm.analysis import sizes, utilisation
from maxent_lm.lm.decoder import LM
from maxent_lm.train.metrics import read_metrics


@functools.cache
def measured(*arguments):
  command = [sys.executable, 'experiments/benchmark.py', '--preset=smoke', '--rounds=2']
  done = subprocess.run(
    [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
  )
  *told, row = done.stdout.splitlines()
  assert [line.split(':')[0] for line in told] == ['rollout', 'update']
  return json.loads(row)


def test_fixed_lengths_are_all_sampled():
  row = measured('--microbatch=0')
  assert row['tokens'] == 2 * 4 * 64  # 2 prompts, 4 responses each, 64 tokens
  assert 0 < row['update_share'] < 1 and 0 < row['rollout_share'] < 1
  # Of two steps: the mean of both against the faster rollout and the faster update.
  assert row['step_s'] >= row['rollout_s'] + row['update_s'] - 0.002


def test_a_step_is_the_median_of_whole_steps():
  seconds = [(90, 90), (1, 6), (3, 2)]  # the first compiles; what lies between takes half a second
  steps = [
    benchmark.Measured(*(benchmark.Timed(x, x) for x in step), sum(step) + 0.5, np.full(8, length))
    for step, length in zip(seconds, (9, 3, 5), strict=True)
  ]
  works = [benchmark.needed(sizes.PRESETS['smoke'], step, 0, 1) for step in steps]
  row, _ = benchmark.summary(steps, works, utilisation.Peaks(flops=1e9, bandwidth=1e9))
  assert (row['step_s'], row['rollout_s'], row['update_s']) == (6.5, 1, 2)
  assert row['first_step_s'] == 180.5 and row['tokens'] == 32
  assert (row['rollout_tokens_per_s'], row['update_tokens_per_s']) == (24, 20)


@pytest.mark.parametrize(('microbatch', 'pieces'), [(0, 1), (200, 2), (64, 6), (130, 3)])
def test_pieces_are_those_of_the_tokens_that_there_are(microbatch, pieces):
  work = sizes.PRESETS['smoke']._replace(response=64)
  scorer, _ = benchmark.make_scorer(LM(work.config), work, 'groups', microbatch)
  assert benchmark.pieces_of(scorer, np.full(8, 45), 1) == pieces  # 360 tokens
  assert benchmark.pieces_of(scorer, np.full(8, 64), 1) == scorer.most_pieces(8, 64)
  assert benchmark.pieces_of(scorer, np.zeros(8, int), 1) == 1


NARROW = '--microbatch=0', '--dtype=bfloat16', '--least_s=1'


def test_steps_go_on_for_as_long_as_asked():
  row = measured(*NARROW)
  # A median, and a sum of at least 1.
  assert row['steps'] > 2 and row['steps'] * row['step_s'] > 0.5


def test_what_bounds_a_step_is_reckoned_from_what_is_measured():
  row = measured(*NARROW)
  assert row['dtype'] == 'bfloat16' and row['copy_gbs'] > 0
  for name in ('rollout', 'update'):
    seconds = row[f'{name}_s']
    rate = row[f'{name}_gflop'] / seconds
    assert row[f'{name}_gflops'] == pytest.approx(rate, rel=0.3)  # of milliseconds
    assert row[f'{name}_tokens_per_s'] == pytest.approx(row['tokens'] / seconds, rel=0.3)
    assert 0 < row[f'{name}_products_s'] + row[f'{name}_bytes_s']


def test_slots_microbatches_and_devices_do_the_same_work():
  variable = '--lengths=geometric', '--response=96', '--widths=2'
  plain = measured(*variable)
  fast = measured(*variable, '--slots=3', '--microbatch=200')
  apart = measured(*variable, '--devices=2')
  assert plain['tokens'] == fast['tokens'] == apart['tokens'] < 2 * 4 * 96
  assert [each['devices'] for each in (plain, fast, apart)] == [1, 1, 2]


@pytest.mark.parametrize('slots', [0, 3])
def test_the_plain_decoder_has_the_same_samples(slots):
  work = sizes.PRESETS['smoke']._replace(group_size=8, response=70)
  lm = LM(work.config)
  prompts = np.random.default_rng(0).integers(2, 32, (work.prompts, sizes.PROMPT), np.int32)
  asked = lm.init(0), prompts, np.ones_like(prompts, bool), jax.random.key(3)
  ours, plain = (
    benchmark.make_rollout(lm, work, 'geometric', number, decoder=name)(*asked)
    for number, name in ((slots, 'slots'), (0, 'plain'))
  )
  assert 0 < ours.finished.sum() < 16 and ours.length.min() < 35
  for name in ('tokens', 'length', 'finished'):
    np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))
  chex.assert_trees_all_close((ours.logp, ours.entropy), (plain.logp, plain.entropy), atol=1e-5)


def test_the_naive_scorer_has_the_same_scores():
  lm = LM(sizes.PRESETS['smoke'].config)
  work = sizes.PRESETS['smoke']._replace(response=6)
  rng = np.random.default_rng(0)
  prompts = rng.integers(2, 32, (work.prompts, sizes.PROMPT), np.int32)
  rows = [list(rng.integers(2, 32, length)) for length in (6, 3, 1, 5, 6, 2, 4, 6)]
  repeated = np.repeat(prompts, work.group_size, axis=0).tolist()
  batch = data.make_batch(
    data.Sequences.unweighted(repeated, rows), columns=sizes.PROMPT + work.response + 1
  )
  scored = [
    jax.jit(benchmark.make_scorer(lm, work, name, 0)[0])(lm.init(0), batch.tokens, batch.mask)
    for name in ('groups', 'naive')
  ]
  ours, naive = (jax.tree.map(lambda values: values * batch.mask, each) for each in scored)
  chex.assert_trees_all_close(ours, naive, atol=1e-5)


def test_steps_and_their_grading_are_timed_with_and_without_early_rollouts(tmp_path):
  for ahead in (False, True):
    workdir = tmp_path / str(ahead)
    steps, grading = benchmark_ahead.measure(tiny_config(steps=5), workdir, ahead=ahead, wait=0.05)
    assert len(steps) == len(grading) == 2
    assert all(step > graded >= 0.05 for step, graded in zip(steps, grading, strict=True))
    found = [row.get('staleness') for row in read_metrics(workdir / 'metrics.jsonl')]
    assert found == ([0, 1, 1, 1, 1] if ahead else [None] * 5)
