"""The smallest real runs: Countdown with two numbers and a model of a few thousand weights."""

import pytest

from configs import countdown


def tiny_config(variant='soft_q', **changes):
  """`changes` are dotted keys with __ for the dots: batch__prompts=2."""
  return shrunk(countdown.get_config(variant), **changes)


def shrunk(config, **changes):
  """The config on two numbers and with a model of a few thousand weights."""
  config.countdown = {'num_numbers': (2,), 'max_number': 9, 'min_modes': 1, 'test_fraction': 0.3}
  config.model.update(d_model=32, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=16, d_ff=48)
  config.batch.update(prompts=4, group_size=2, max_new_tokens=8, prompt_multiple=8)
  config.eval.update(problems=8, samples=4, prompts=8)
  config.mesh.data = 1
  config.optimizer.update(warmup_steps=2, decay='constant')
  config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in changes.items()})
  return config.lock()


def crash(run, *, step):
  """Trains until this step, which the power does not last for; what is committed stays."""
  collect = run.collect

  def failing(number, state):
    if number == step:
      raise RuntimeError('power cut')
    return collect(number, state)

  run.collect = failing
  with pytest.raises(RuntimeError, match='power cut'):
    run.train()
  run.checkpointer.close()


def get_config(variant):
  """For scripts: --config=tests/tiny_runs.py:VARIANT, on all devices."""
  return tiny_config(variant, mesh__data=-1)
