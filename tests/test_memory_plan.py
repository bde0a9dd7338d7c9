"""What a run needs of memory, told before it is allocated, and refused where it cannot be."""

import math

import jax
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.build import memory
from maxent_lm.build.plan import make_plan
from maxent_lm.lm import pretrained
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.tokenizer import byte_tokenizer


def array_bytes(tree):
  return sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  )


@pytest.mark.parametrize('variant', ['soft_q', 'double_q', 'reval', 'grpo'])
def test_what_stays_is_what_a_run_has(variant, tmp_path):
  config = tiny_config(variant, steps=1)
  plan = build.memory_plan(config, tmp_path / 'run')
  run = build.rollout_run(config, tmp_path / 'run')
  assert plan.stays['parameters'] == array_bytes(run.state.params)
  assert plan.stays['optimiser'] == array_bytes(run.state.opt_state)
  assert plan.state == array_bytes((run.state, run.policy.params))
  run.checkpointer.close()


def test_devices_share_what_stays(tmp_path):
  one, eight = (
    build.memory_plan(tiny_config(**mesh), tmp_path)
    for mesh in ({}, {'mesh__data': 1, 'mesh__fsdp': 2, 'mesh__tensor': 2})
  )
  assert one.state / 4 < eight.state < one.state / 3  # norms are whole everywhere


def test_reckoned_is_about_what_xla_takes(tmp_path):
  config = tiny_config(
    batch__max_prompt_tokens=16,
    batch__max_new_tokens=16,
    batch__prompts=64,
    model__d_model=64,
    model__num_layers=2,
  )
  plan = build.memory_plan(config, tmp_path)
  programs = make_plan(config, jax.devices()[:1])
  for name in ('update', 'rollout'):
    found = getattr(programs, name).compile().memory_analysis()
    added = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    assert 0.5 < sum(getattr(plan, name).values()) / added < 2, name


@pytest.mark.parametrize(
  ('key', 'part', 'name'),
  [
    ('batch.prompts', 'rollout', 'cache'),
    ('batch.prompts', 'update', 'scores'),
    ('compute.microbatch', 'update', 'activations'),
    ('compute.slots', 'rollout', 'logits'),
  ],
)
def test_twice_as_much_of_a_size_is_twice_the_memory(key, part, name, tmp_path):
  sizes = {'batch.prompts': 4, 'compute.microbatch': 16, 'compute.slots': 2}
  found = []
  for factor in (1, 2):
    config = tiny_config()
    config.update_from_flattened_dict({key: factor * sizes[key]})
    found.append(getattr(build.memory_plan(config, tmp_path), part)[name])
  assert found[1] == 2 * found[0] > 0


def test_a_narrow_cache_is_half(tmp_path):
  wide, narrow = (
    build.memory_plan(tiny_config(compute__cache=cache), tmp_path).rollout['cache']
    for cache in ('float32', 'bfloat16')
  )
  assert wide == 2 * narrow


def test_a_folder_is_planned_from_its_configuration_alone(tmp_path):
  """There are no weights in it."""
  model = LMConfig(300, 16, 2, 2, 1, 8, 16, max_length=640)
  folder = tmp_path / 'model'
  pretrained.save(folder, model, LM(model).init(0))
  byte_tokenizer().save_pretrained(str(folder))
  (folder / pretrained.WEIGHTS).unlink()
  config = tiny_config(init=str(folder), tokenizer__stop_token='')
  plan = build.memory_plan(config, tmp_path / 'run')
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(LM(model).abstract_params()))
  assert plan.stays['parameters'] == 4 * count


def test_a_state_that_is_larger_than_a_device_is_refused(tmp_path, monkeypatch):
  plan = build.memory_plan(tiny_config(), tmp_path)
  monkeypatch.setattr(memory, 'device_memory', lambda mesh: plan.state)
  assert build.memory_plan(tiny_config(), tmp_path).there == plan.state
  monkeypatch.setattr(memory, 'device_memory', lambda mesh: plan.state - 1)
  with pytest.raises(ValueError, match=r'does not fit: .* stay on each of 1 devices') as error:
    build.memory_plan(tiny_config(), tmp_path)
  assert '\n' not in str(error.value)


def test_the_last_line_is_the_verdict(tmp_path):
  plan = build.memory_plan(tiny_config(), tmp_path)
  assert build.memory_lines(plan)[-1].startswith('fits, because ')
  short = plan._replace(there=plan.needed - 1)
  assert build.memory_lines(short)[-1].startswith('may not fit, because ')
  assert 'optimiser' in build.memory_lines(plan)[0]


def test_a_host_has_memory(tmp_path):
  assert build.memory_plan(tiny_config(), tmp_path).there > 2**28
