"""What no run can be asked for, told before anything is built."""

import jax

from maxent_lm.build.names import Config
from maxent_lm.lm import partition


def check_numbers(config: Config) -> None:
  """Raises ValueError, naming the keys, if a run is counted or timed in what cannot be."""
  saves = config.checkpoint
  if min(config.steps, config.samples_every, saves.every, saves.keep, saves.misses) < 1:
    raise ValueError(
      'config.steps, samples_every, checkpoint.every, checkpoint.keep and checkpoint.misses '
      'start at 1'
    )
  if min(config.grace, config.watchdog) < 0:
    raise ValueError('config.grace and config.watchdog are seconds and start at 0')


def check_rows(key: str, rows: int, mesh: jax.sharding.Mesh) -> None:
  """Raises ValueError, naming the key, if the devices cannot share the rows."""
  shards = partition.batch_shards(mesh)
  if rows < 1 or rows % shards:
    raise ValueError(
      f'{key}={rows} cannot be split over {shards} devices (mesh data x fsdp); make it a multiple'
    )


def check_sampler_is_plain(config: Config) -> None:
  """Raises ValueError where a sampler is steered that nobody steers."""
  start, control = config.temperature.sampler, config.temperature.sampler_control
  if (start, control) != (1.0, 'fixed'):
    raise ValueError(
      f"config.temperature.sampler={start} by '{control}' is for experiments/train.py; leave it at "
      "1 and 'fixed', and set config.sampling.temperature"
    )
