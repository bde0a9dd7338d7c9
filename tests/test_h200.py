"""configs/h200.py and the benchmark's preset for GPUs, as far as they go without one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import h200
from experiments import benchmark
from maxent_lm import build
from maxent_lm.analysis import sizes
from maxent_lm.build.tasks import make_task
from maxent_lm.lm.decoder import LM

MEMORY = 80e9


def millions(lm):
  leaves = jax.tree.leaves(lm.abstract_params())
  return sum(math.prod(leaf.shape) for leaf in leaves) / 1e6


@pytest.mark.parametrize('variant', h200.VARIANTS)
def test_a_run_fits_on_one_gpu(variant, tmp_path):
  config = h200.get_config(variant)
  config.mesh.data = 1
  if variant == 'pretrain':
    config.batch.group_size = 1
  plan = build.memory_plan(config, tmp_path)
  assert plan.needed < MEMORY
  assert 50e6 < plan.stays['parameters'] / 4 < 150e6


def test_prompts_and_solutions_fit():
  config = h200.get_config()
  config.countdown.sets = 300
  task = make_task(config, split='train')
  rng = np.random.default_rng(0)
  for i in range(0, len(task), 7):
    assert len(task[i].prompt) < config.batch.max_prompt_tokens
    assert len(task.demonstration(task[i], rng)) < config.batch.max_new_tokens


def test_another_variant_is_told():
  with pytest.raises(ValueError, match=r'h200.py:dqo is unknown; choose one of pretrain, soft_q'):
    h200.get_config('dqo')


def test_the_benchmarks_gpu_preset_is_traced():
  """Rollout and update in bfloat16, nothing allocated; 82 M parameters."""
  work = sizes.PRESETS['gpu']
  lm = LM(work.config)
  assert 50 < millions(lm) < 150
  generate = benchmark.make_rollout(lm, work, 'fixed', 0)
  prompts = jax.ShapeDtypeStruct((work.prompts, sizes.PROMPT), jnp.int32)
  valid = jax.ShapeDtypeStruct(prompts.shape, bool)
  rollout = jax.eval_shape(generate, lm.abstract_params(), prompts, valid, jax.random.key(0))
  rows = work.prompts * work.group_size
  assert rollout.tokens.shape == (rows, work.response)
  scorer, pull = benchmark.make_scorer(lm, work, 'groups', work.microbatch)
  columns = sizes.PROMPT + work.response + 1
  batch = [jax.ShapeDtypeStruct((rows, columns), dtype) for dtype in (jnp.int32, bool)]
  scores = jax.eval_shape(scorer, lm.abstract_params(), *batch)
  assert scores.logp.dtype == jnp.float32
  assert pull is not None
