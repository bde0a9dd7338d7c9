"""What sweeps from a warm start have in common: the sizes of a preset, and the start itself."""

from typing import NamedTuple

import ml_collections

Config = ml_collections.ConfigDict


class Size(NamedTuple):
  """A preset: seeds, updates and prompts of a run, and what it is evaluated on.

  Attributes:
    warm_steps: of the warm start; 0 for as many as its config has.
    layers: of a model from random weights; 0 for as many as its config has.
  """

  seeds: int
  steps: int
  prompts: int
  warm_steps: int
  problems: int
  samples: int
  layers: int = 0


def parsed(arg: str, presets: dict[str, Size], file: str) -> tuple[Size, str]:
  """The size of `PRESET[,FOLDER]`, and the folder or ''.

  Raises:
    ValueError: an unknown preset.
  """
  preset, _, folder = arg.partition(',')
  if preset not in presets:
    known = ', '.join(presets)
    raise ValueError(f'configs/sweeps/{file}.py:{arg} is unknown; choose a preset of {known}')
  return presets[preset], folder


def start(config: Config, size: Size, *, seed: int, folder: str) -> Config:
  """`config`, a warm start, as that of a seed; or, with a folder, the model that is there."""
  config.update(name='start', seed=seed, init=folder)
  config.steps = 0 if folder else size.warm_steps or config.steps
  config.model.num_layers = size.layers or config.model.num_layers
  return evaluated(config, size)


def run(config: Config, size: Size, *, name: str, seed: int, init: str) -> Config:
  """`config` as a run of a seed from the start in `init`."""
  config.update(name=name, seed=seed, init=init, steps=size.steps)
  config.batch.prompts = size.prompts
  return evaluated(config, size)


def evaluated(config: Config, size: Size) -> Config:
  """`config`, evaluated as the preset says."""
  config.eval.update(problems=size.problems, samples=size.samples, prompts=min(64, size.problems))
  return config
