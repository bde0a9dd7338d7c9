"""From a config to a run on responses that others wrote: preferences, graded samples in a file."""

import pathlib

from maxent_lm.build.checks import check_rows, check_sampler_is_plain
from maxent_lm.build.names import Config
from maxent_lm.build.policy import Policy, make_policy, make_show
from maxent_lm.build.run import Run, make_run
from maxent_lm.data import bucket
from maxent_lm.lm import partition
from maxent_lm.shaping import IMPORTANCE
from maxent_lm.tasks.tfds import jsonl
from maxent_lm.train.offline import Example, Offline, encode_examples, read_examples

OBSERVED = ('entropy_mc', 'off_policy')  # metrics of them
BEHAVIOUR = (  # objectives that read the behaviour's log-probabilities
  *('grpo', 'ppo', 'gspo', 'cispo', 'gmpo', 'sapo', 'vespo', 'dcpo', 'bapo', 'kl_cov'),
  'mirror_descent',
)


def offline_run(config: Config, workdir: pathlib.Path) -> Run:
  """Training on the graded responses in config.offline.path (`experiments/preference.py`).

  Metrics, `kl` among them, are then about the file's responses: a controller that holds a KL does
  not hold that of the policy's samples.
  """
  _check_behaviour(config)
  _check_rollouts(config)
  batch, path = config.batch, config.offline.path
  policy = make_policy(config, workdir)
  check_rows('config.batch.prompts', batch.prompts, policy.mesh)
  examples = read_examples(path)
  encoded = encode_examples(
    examples, policy.tokenizer, policy.eos_id, make_show(config, policy.tokenizer)
  )
  limit = batch.max_prompt_tokens or max(len(each.prompt) for each in encoded)
  fits = [number for number, each in enumerate(encoded) if len(each.prompt) <= limit]
  if not fits:
    raise ValueError(
      f'config.batch.max_prompt_tokens={limit} leaves none of the {len(examples)} rows of '
      f"'{path}'; raise it"
    )
  longest = max(fits, key=lambda number: len(encoded[number].prompt))
  _check_room(config, policy, len(encoded[longest].prompt), examples[longest])
  collect = Offline(
    examples=[examples[number] for number in fits],
    encoded=[encoded[number] for number in fits],
    prompts_per_step=batch.prompts,
    group_size=batch.group_size,
    max_new_tokens=batch.max_new_tokens,
    prompt_multiple=batch.prompt_multiple,
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
  )
  return make_run(
    config,
    workdir,
    policy,
    collect,
    group_size=batch.group_size,
    data=jsonl.fingerprint(path),
  )


def _check_behaviour(config: Config) -> None:
  """Nothing reads the log-probabilities of whoever wrote the responses."""
  reads = [('config.algorithm', config.algorithm)] if config.algorithm in BEHAVIOUR else []
  for name in config.transforms:
    section = config[name]
    if name == 'perplexity_bonus' or (name == 'kl_in_reward' and section.kl != 'exact'):
      reads.append(('config.transforms', name))
    if name in IMPORTANCE and section.estimate in ('surprisal', 'entropy_change'):
      reads.append((f'config.{name}.estimate', section.estimate))
  for name in config.guards.alarms:
    if config.guards[name].observe in OBSERVED:
      reads.append(('config.guards.alarms', name))
  for knob in ('alpha', 'beta'):
    control = config.temperature[f'{knob}_control']
    observed = config[knob].get(control, {}).get('observe', '')
    if control == 'target_kl_per_prompt' or observed in OBSERVED:
      reads.append((f'config.temperature.{knob}_control', control))
  if reads:
    key, name = reads[0]
    raise ValueError(
      f'{key}: {name!r} needs the log-probabilities of whoever wrote the responses, which a file '
      'does not tell; choose another'
    )


def _check_rollouts(config: Config) -> None:
  """Nothing is asked for that only sampling could do."""
  check_sampler_is_plain(config)
  asked = {
    'config.batch.rounds': config.batch.rounds != 1,
    'config.batch.ahead': config.batch.ahead != 0,
    'config.count_novelty.coefficient': config.count_novelty.coefficient != 0,
    'config.replay.kind': config.replay.kind != 'none',
  }
  for key, wrong in asked.items():
    if wrong:
      raise ValueError(f'{key} is for samples of the policy, but config.offline.path has responses')


def _check_room(config: Config, policy: Policy, longest: int, example: Example) -> None:
  """The longest prompt, rounded up, and a response have positions in the model."""
  needed = bucket(longest, config.batch.prompt_multiple) + config.batch.max_new_tokens
  if needed > policy.lm.config.max_length:
    raise ValueError(
      f"line {example.line} of '{config.offline.path}' has a prompt of {longest} tokens and needs "
      f'{needed} positions but the model has {policy.lm.config.max_length}; lower '
      'config.batch.max_prompt_tokens, which leaves such lines out, or max_new_tokens'
    )
