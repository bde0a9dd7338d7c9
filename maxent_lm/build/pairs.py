"""From a run's policy to a file of its own graded samples (`experiments/make_pairs.py`)."""

import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from maxent_lm.build.checks import check_sampler_is_plain
from maxent_lm.build.names import Config
from maxent_lm.build.policy import trained_policy
from maxent_lm.build.reader import make_reader
from maxent_lm.build.run import make_sampler
from maxent_lm.lm import partition
from maxent_lm.sampling.policies import Sampling
from maxent_lm.tasks.base import draw_indices


def sampled_rows(
  config: Config, workdir: pathlib.Path, *, batches: int
) -> Iterator[dict[str, Any]]:
  """{'prompt', 'completions'} of training problems: config.batch.prompts of them a batch.

  The policy is the newest in `workdir`, sampled as config.sampling says, config.batch.group_size
  responses a problem, graded by the task. Cut responses are left out, since text cannot say that
  they were cut, and those of unknown reward; so are problems of which nothing is left.

  Raises:
    FileNotFoundError: `workdir` holds no run and `config.init` names no folder.
  """
  check_sampler_is_plain(config)
  policy, params, _ = trained_policy(config, workdir)
  reader, size = make_reader(config, policy, split='train'), config.batch.group_size
  generate = make_sampler(config, policy, sampling=Sampling(**config.sampling), group_size=size)
  key, sharding = jax.random.key(config.seed), partition.batch_sharding(policy.mesh)
  for number in range(batches):
    indices = draw_indices(reader.task, number, config.batch.prompts, config.seed)
    problems = [reader.task[i] for i in indices]
    padded = jax.device_put(reader.padded(reader.prompts(problems)), sharding)
    with jax.set_mesh(policy.mesh):
      rollout = jax.device_get(generate(params, *padded, jax.random.fold_in(key, number)))
    rows = [problem for problem in problems for _ in range(size)]
    graded = reader.grade(rows, rollout.tokens, rollout.length, rollout.finished)
    for at, problem in enumerate(problems):
      completions = [
        {'text': graded.texts[row], 'reward': float(graded.rewards[row])}
        for row in range(at * size, (at + 1) * size)
        if graded.finished[row] and not math.isnan(graded.rewards[row])
      ]
      if completions:
        yield {'prompt': problem.prompt, 'completions': completions}
