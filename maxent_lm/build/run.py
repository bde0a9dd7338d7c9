"""From a config to a run in its folder, and to its evaluation."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import jax

from maxent_lm import hosts, replay
from maxent_lm.build.checks import check_numbers, check_rows
from maxent_lm.build.guards import make_guards
from maxent_lm.build.names import NAMES, Config, Names, choose
from maxent_lm.build.policy import Policy, make_policy, score_chunk
from maxent_lm.build.reader import make_reader
from maxent_lm.build.training import make_look, make_training
from maxent_lm.build.update import make_measure
from maxent_lm.data import abstract_batch, bucket
from maxent_lm.evaluation import Evaluation
from maxent_lm.lm import partition
from maxent_lm.lm.scores import make_scorer
from maxent_lm.replay import PRIORITIES
from maxent_lm.sampling.generate import Generate, make_generate
from maxent_lm.sampling.policies import Sampling
from maxent_lm.tasks.base import fingerprint
from maxent_lm.tasks.code_answers import weakest_tier
from maxent_lm.train import counts, folder, loop
from maxent_lm.train.ahead import Ahead
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.collect import Counted, Demonstrations, Mixed, Remembers, Rollouts, Sample
from maxent_lm.train.guards import Guards
from maxent_lm.train.look import Look
from maxent_lm.train.rounds import Example, Examples
from maxent_lm.train.skips import Skips
from maxent_lm.train.state import TrainState
from maxent_lm.train.step import Update
from maxent_lm.train.watchdog import Watchdog
from maxent_lm.types import Params, Scorer

BOOTSTRAP = {'terminal': False, 'bootstrap': True}  # config.batch.truncation


@dataclasses.dataclass
class Run:
  """A run folder brought to life; `remembers`: collectors whose memory goes into checkpoints."""

  config: Config
  workdir: pathlib.Path
  policy: Policy
  state: TrainState
  reference: Params | None
  collect: loop.Collect
  remembers: Mapping[str, Remembers]
  update: Update
  checkpointer: Checkpointer
  guards: Guards
  skips: Skips
  look: Look | None = None

  def train(self) -> TrainState:
    """Trains from the newest checkpoint to `config.steps`, then exports `workdir/model`."""
    own = f'.{jax.process_index()}' if jax.process_count() > 1 else ''
    watchdog = Watchdog(self.workdir / f'stacks{own}.txt', seconds=self.config.watchdog)
    with jax.set_mesh(self.policy.mesh), watchdog:
      self.state = loop.train(
        self.state,
        steps=self.config.steps,
        collect=self.collect,
        update=self.update,
        reference=self.reference,
        checkpointer=self.checkpointer,
        workdir=self.workdir,
        name=self.config.name,
        samples_every=self.config.samples_every,
        guards=self.guards,
        skips=self.skips,
        memory=lambda: {name: each.memory for name, each in self.remembers.items()},
        look=self.look,
        beat=watchdog.beat,
      )
    self.policy.save(self.workdir / 'model', self.state.params)
    self.checkpointer.close()
    hosts.meet()  # nobody leaves before the first process has written
    return self.state


def rollout_run(config: Config, workdir: pathlib.Path, *, names: Names = NAMES) -> Run:
  """Training on the policy's own samples (`experiments/train.py`)."""
  batch = config.batch
  if config.offline.path:
    raise ValueError(
      f"config.offline.path='{config.offline.path}' is read by experiments/preference.py; leave it "
      "out to train on the policy's own samples"
    )
  policy = make_policy(config, workdir)
  check_rows('config.batch.prompts', batch.prompts, policy.mesh)
  rollouts = Rollouts(
    reader=make_reader(config, policy, split='train', names=names),
    generate=make_sampler(
      config, policy, sampling=Sampling(**config.sampling), group_size=batch.group_size
    ),
    prompts_per_step=batch.prompts,
    group_size=batch.group_size,
    max_new_tokens=batch.max_new_tokens,
    bootstrap=choose('config.batch.truncation', batch.truncation, BOOTSTRAP),
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
    rounds=batch.rounds,
  )
  if batch.rounds < 1:
    raise ValueError(f'config.batch.rounds={batch.rounds} must be at least 1')
  ahead = make_ahead(config, rollouts)
  sample = rollouts.sample if ahead is None else ahead.sample
  counted = make_counted(config, rollouts, sample)
  sample = sample if counted is None else counted.sample
  mixed = make_mixed(config, policy, rollouts, sample)
  remembers = {'ahead': ahead, 'replay': mixed, 'counts': counted}
  there = {name: each for name, each in remembers.items() if each is not None}
  task, group_size = rollouts.reader.task, batch.group_size
  collect = mixed or counted or ahead or rollouts
  data, tier = fingerprint(task), weakest_tier(task)
  return make_run(
    config,
    workdir,
    policy,
    collect,
    there,
    names=names,
    group_size=group_size,
    data=data,
    tier=tier,
    look=make_look(config, policy),
  )


def make_ahead(config: Config, rollouts: Rollouts) -> Ahead | None:
  """Rollouts that are asked for one step early, or None without."""
  batch, every = config.batch, config.replay.every
  if batch.ahead not in (0, 1):
    raise ValueError(f'config.batch.ahead={batch.ahead} must be 0 or 1')
  if batch.ahead and (batch.rounds > 1 or (config.replay.kind != 'none' and every > 1)):
    raise ValueError(
      f'config.batch.ahead=1 grades one round of every step while the next step is sampled, so it '
      f'needs config.batch.rounds={batch.rounds} and config.replay.every={every} to be 1'
    )
  return Ahead(rollouts) if batch.ahead else None


def make_counted(config: Config, rollouts: Rollouts, sample: Sample) -> Counted | None:
  """Rollouts with a bonus for answers seldom seen in the run, or None without."""
  section = config.count_novelty
  if section.coefficient == 0:
    return None
  return Counted(rollouts, sample, section.coefficient, counts.init(size=section.size))


def make_mixed(config: Config, policy: Policy, rollouts: Rollouts, sample: Sample) -> Mixed | None:
  """Replay and demonstrations beside the fresh samples, or None without any."""
  section = config.replay
  table = {'none': None, **PRIORITIES}
  priority = choose('config.replay.kind', section.kind, table)
  if priority is None:
    if section.demonstrations:
      raise ValueError(
        "config.replay.demonstrations are mixed in by replay: set config.replay.kind='fifo'"
      )
    return None
  if section.every < 1 or section.prompts < 0 or section.demonstrations < 0:
    raise ValueError('config.replay.every starts at 1, prompts and demonstrations at 0')
  check_rows(
    'config.batch.prompts + config.replay.prompts + config.replay.demonstrations',
    config.batch.prompts + section.prompts + section.demonstrations,
    policy.mesh,
  )
  task, reader = rollouts.reader.task, rollouts.reader
  prompts = reader.prompts([task[i] for i in range(len(task))])
  memory = replay.init(
    capacity=section.capacity,
    group_size=config.batch.group_size,
    width=max(map(len, prompts)) + config.batch.max_new_tokens,
  )
  return Mixed(
    rollouts=rollouts,
    sample=sample,
    memory=memory,
    priority=priority,
    exponent=section.exponent,
    drawn=section.prompts,
    demonstrations=section.demonstrations,
    every=section.every,
  )


def demonstration_run(config: Config, workdir: pathlib.Path, *, names: Names = NAMES) -> Run:
  """Supervised training on the task's demonstrations (`experiments/pretrain.py`)."""
  policy = make_policy(config, workdir)
  check_rows('config.batch.prompts', config.batch.prompts, policy.mesh)
  collect = Demonstrations(
    reader=make_reader(config, policy, split='train', names=names),
    batch_size=config.batch.prompts,
    max_new_tokens=config.batch.max_new_tokens,
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
  )
  data = fingerprint(collect.reader.task)
  return make_run(config, workdir, policy, collect, names=names, data=data)


def example_run(config: Config, workdir: pathlib.Path, examples: Sequence[Example]) -> Run:
  """Supervised training on these examples (`build/self_training.py`)."""
  policy = make_policy(config, workdir)
  check_rows('config.batch.prompts', config.batch.prompts, policy.mesh)
  collect = Examples(
    examples=examples,
    batch_size=config.batch.prompts,
    max_new_tokens=config.batch.max_new_tokens,
    prompt_multiple=config.batch.prompt_multiple,
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
  )
  return make_run(config, workdir, policy, collect)


def make_evaluation(config: Config, policy: Policy, *, names: Names = NAMES) -> Evaluation:
  """Evaluation on the test split (`experiments/evaluate.py`)."""
  check_rows('config.eval.prompts', config.eval.prompts, policy.mesh)
  return Evaluation(
    reader=make_reader(config, policy, split='test', names=names),
    generate=make_sampler(
      config,
      policy,
      sampling=Sampling(temperature=config.eval.temperature),
      group_size=config.eval.samples,
      confidence_k=config.eval.confidence_k,
    ),
    scorer=make_run_scorer(config, policy),
    problems=config.eval.problems,
    samples=config.eval.samples,
    prompts=config.eval.prompts,
    max_new_tokens=config.batch.max_new_tokens,
    temperature=config.eval.temperature,
    seed=config.eval.seed,
    mesh=policy.mesh,
    sharding=partition.batch_sharding(policy.mesh),
  )


def make_run(
  config: Config,
  workdir: pathlib.Path,
  policy: Policy,
  collect: loop.Collect,
  remembers: Mapping[str, Remembers] = MappingProxyType({}),
  *,
  names: Names = NAMES,
  group_size: int = 1,
  data: str = '',
  tier: str = '',
  look: Look | None = None,
) -> Run:
  """Everything is built and checked before the first file is written.

  So many rows of a batch as are a group, one after the other, have the same prompt. `data` is the
  fingerprint of the files that it is trained on, '' if there are none; `tier` the sandbox that
  programs are run in, '' if none are; `look` what is kept of a step to be looked at.
  """
  folder.tell(folder.check_config(workdir, config.to_dict()))
  folder.check_data(workdir, data)
  folder.check_sandbox(workdir, tier)
  check_numbers(config)
  guards, skips = make_guards(config), Skips(**config.skips)
  training = make_training(config, policy, group_size=group_size, names=names, look=look)
  networks = training.networks and training.networks(hosts.fetch(policy.params))
  state = partition.place_all(training.init(policy.params, networks), policy.mesh)
  reference = policy.params if training.has_reference else None
  _trace(training.update, state, reference, policy.mesh, _first_shape(config, policy, group_size))
  checkpointer = Checkpointer(
    workdir / 'checkpoints',
    every=config.checkpoint.every,
    keep=config.checkpoint.keep,
    verify=config.checkpoint.verify,
    misses=config.checkpoint.misses,
  )
  resumed = checkpointer.resume(state)
  if resumed is not None:
    state, step = resumed
    for name, each in remembers.items():
      each.memory = checkpointer.restore_memory(name, each.memory, step)
  folder.record(workdir, config.to_dict(), data, tier)  # of a run that can go on
  folder.make_once(workdir / 'start', lambda path: policy.save(path, policy.params))
  return Run(
    config=config,
    workdir=workdir,
    policy=policy,
    state=state,
    reference=reference,
    collect=collect,
    remembers=remembers,
    update=training.update,
    checkpointer=checkpointer,
    guards=guards,
    skips=skips,
    look=look,
  )


def _trace(
  update: Update,
  state: TrainState,
  reference: Params | None,
  mesh: jax.sharding.Mesh,
  shape: tuple[int, int],
) -> None:
  """Traces one update without computing it, so that what it refuses is refused now.

  `shape`: rows and columns; if they are those of the first batch, it is not traced again.
  """
  with jax.set_mesh(mesh):
    jax.eval_shape(update, state, reference, abstract_batch(*shape, mesh))


def _first_shape(config: Config, policy: Policy, group_size: int) -> tuple[int, int]:
  """Rows and columns of the first batch, if its prompts are short and all of them sampled."""
  batch, shards = config.batch, partition.batch_shards(policy.mesh)
  rows = max(shards, batch.prompts // shards * shards) * group_size
  return rows, bucket(1, batch.prompt_multiple) + batch.max_new_tokens + 1


def make_run_scorer(config: Config, policy: Policy) -> Scorer:
  """How evaluation looks at a policy."""
  return make_scorer(policy.lm, chunk=score_chunk(config, policy.lm), measure=make_measure(config))


def make_sampler(
  config: Config, policy: Policy, *, sampling: Sampling, group_size: int, confidence_k: int = 0
) -> Generate:
  """Rollouts of the policy with this behaviour."""
  return make_generate(
    policy.lm,
    sampling=sampling,
    group_size=group_size,
    max_new_tokens=config.batch.max_new_tokens,
    eos_id=policy.eos_id,
    confidence_k=confidence_k,
    slots=config.compute.slots,
    cells=partition.batch_shards(policy.mesh),
  )
