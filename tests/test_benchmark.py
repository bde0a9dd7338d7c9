"""The benchmark does the same work whatever its speed options are, and says how long it took."""

import json
import subprocess
import sys

import pytest
from test_lint import ROOT


def measured(*arguments):
  command = [sys.executable, 'experiments/benchmark.py', '--preset=smoke', '--rounds=2']
  done = subprocess.run(
    [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
  )
  return json.loads(done.stdout.splitlines()[-1])


def test_fixed_lengths_are_all_sampled():
  row = measured('--microbatch=0')
  assert row['tokens'] == 2 * 4 * 64  # 2 prompts, 4 responses each, 64 tokens
  assert 0 < row['update_share'] < 1 and 0 < row['rollout_share'] < 1
  assert row['step_s'] == pytest.approx(
    row['rollout_s'] + row['update_s'], abs=0.01
  )  # of two steps


def test_slots_and_microbatches_do_the_same_work():
  plain = measured('--lengths=geometric')
  fast = measured('--lengths=geometric', '--slots=3', '--microbatch=100')
  assert plain['tokens'] == fast['tokens'] < 2 * 4 * 64
