"""Other libraries are asked for the work that experiments/benchmark.py does."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from test_lint import ROOT

from experiments import benchmark
from experiments.peers import work
from maxent_lm.analysis import sizes

PARITY = ('torch_grpo',)
SCRIPTS = {'torch_grpo': 'torch', 'trl_grpo': 'trl', 'tunix_grpo': 'tunix'}
TIMES = ('rollout_s', 'rollout_cpu_s', 'update_s', 'update_cpu_s', 'step_s', 'first_step_s')
TOLD = (*TIMES, 'start_s', 'peak_mb', 'first_peak_mb', 'tokens_per_s')


def measured(script, *arguments):
  package = SCRIPTS[script]
  if importlib.util.find_spec(package) is None:
    pytest.skip(f'{package} is not installed')
  command = [sys.executable, '-m', f'experiments.peers.{script}', '--preset=smoke', '--rounds=2']
  done = subprocess.run(
    [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_the_work_is_that_of_the_benchmark():
  assert work.SHAPES.keys() == sizes.PRESETS.keys() - {'gpu'}
  for name, shape in work.SHAPES.items():
    known = sizes.PRESETS[name]
    told = dataclasses.asdict(known.config) | known._asdict()
    assert {key: told[key] for key in shape._fields} == shape._asdict()
    assert known.config.family == 'llama' and known.config.tied
  for name in ('PROMPT', 'EOS', 'ENDS', 'RESPONSE'):
    assert getattr(work, name) == getattr(benchmark, name)


@pytest.mark.parametrize('shape', work.SHAPES.values(), ids=work.SHAPES)
def test_a_constant_ends_as_often_where_logits_are_equal(shape):
  logits = np.zeros(shape.vocab_size)
  logits[work.EOS] = work.end_logit(shape)
  logits[work.PAD] = -np.inf
  assert np.exp(logits)[work.EOS] / np.exp(logits).sum() == pytest.approx(work.ENDS)


@pytest.mark.parametrize(
  'script', [pytest.param(each, marks=pytest.mark.parity) for each in PARITY]
)
@pytest.mark.slow
def test_torch_does_the_work(script):
  check(script)


@pytest.mark.parametrize('script', ['trl_grpo', 'tunix_grpo'])
@pytest.mark.slow
def test_peers_do_the_work(script):
  check(script)


def check(script):
  """Fixed lengths are all sampled, others are shorter; every number is there."""
  row = measured(script)
  assert row['tokens'] == 2 * 4 * 64
  assert all(row[key] > 0 for key in TOLD)
  assert measured(script, '--lengths=geometric', '--microbatch=1')['tokens'] < 2 * 4 * 256


@pytest.mark.parity
def test_responses_end_as_ours_do():
  torch = pytest.importorskip('torch')
  from experiments.peers import torch_model

  logits = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
  ours = benchmark.Ending().log_probs(jnp.asarray(logits))
  theirs = torch_model.Ending('geometric')(torch.zeros(3, 1), torch.from_numpy(logits))
  np.testing.assert_allclose(theirs, ours, atol=1e-6)
  never = torch_model.Ending('fixed')(torch.zeros(3, 1), torch.from_numpy(logits)).softmax(-1)
  assert (never[:, work.EOS] == 0).all() and torch.allclose(never.sum(1), torch.ones(3))


@pytest.mark.parity
def test_parts_of_a_batch_have_the_gradient_of_the_whole():
  torch = pytest.importorskip('torch')
  from experiments.peers import torch_model

  shape = work.SHAPES['smoke']
  length = torch.tensor([3, 9, 1, 7, 9, 2, 5, 4])
  tokens = torch.randint(
    2, shape.vocab_size, (8, work.PROMPT + 9), generator=torch.Generator().manual_seed(0)
  )
  samples = torch_model.Samples(tokens, length)
  advantage = torch_model.advantages(samples, shape.group_size)
  assert advantage.view(-1, shape.group_size).mean(1) == pytest.approx([0, 0], abs=1e-6)

  def updated(parts):
    model = torch_model.make_model(shape)
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    torch_model.update(model, optimizer, samples, advantage, parts)
    return [a - b for a, b in zip(model.parameters(), before, strict=True)]

  whole = updated([torch.arange(8)])
  parts = updated(length.argsort().split(3))
  assert max(step.abs().max() for step in whole) > 1e-3
  for a, b in zip(whole, parts, strict=True):
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
