"""From a config to the problems that a run can read: those whose prompts have tokens and fit."""

import dataclasses
import logging

import numpy as np

from maxent_lm.build.names import NAMES, Config, Names
from maxent_lm.build.policy import Policy, make_show
from maxent_lm.build.tasks import make_task
from maxent_lm.data import Reader, bucket
from maxent_lm.tasks.base import Subset


def make_reader(config: Config, policy: Policy, *, split: str, names: Names = NAMES) -> Reader:
  """The task's problems whose prompts fit, with the tokenizer that reads them.

  A problem without a prompt, or with one of more than `config.batch.max_prompt_tokens`, is left
  out; a warning says how many there are of each.

  Raises:
    ValueError: none is left, or the model has no room for the longest prompt and its response.
  """
  task = make_task(config, split=split, names=names)
  reader = Reader(
    task=task,
    tokenizer=policy.tokenizer,
    eos_id=policy.eos_id,
    prompt_multiple=config.batch.prompt_multiple,
    show=make_show(config, policy.tokenizer),
  )
  lengths = np.array(
    [len(prompt) for prompt in reader.prompts([task[i] for i in range(len(task))])]
  )
  limit = config.batch.max_prompt_tokens or lengths.max()
  fits = (lengths > 0) & (lengths <= limit)
  if not fits.any():
    raise ValueError(
      f'config.batch.max_prompt_tokens={limit} leaves none of the {len(task)} problems; raise it'
    )
  longest = bucket(lengths[fits].max(), config.batch.prompt_multiple)
  needed, room = longest + config.batch.max_new_tokens, policy.lm.config.max_length
  if needed > room:
    raise ValueError(
      f'prompts of up to {longest} tokens (rounded up) and config.batch.max_new_tokens='
      f'{config.batch.max_new_tokens} need {needed} positions but the model has {room}; '
      'lower config.batch.max_prompt_tokens or max_new_tokens'
    )
  if fits.all():
    return reader
  logging.getLogger(__name__).warning(
    '%d of the %d problems of %s are left out: %d have no prompt, and the prompts of %d are longer '
    'than config.batch.max_prompt_tokens=%d',
    (~fits).sum(), len(task), split, (lengths == 0).sum(), (lengths > limit).sum(), limit,
  )  # fmt: skip
  return dataclasses.replace(reader, task=Subset(task, np.flatnonzero(fits)))
