"""From a config to a run: the only module that reads the config."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import ml_collections
import numpy as np
import optax

from maxent_lm.algorithms import LOSSES
from maxent_lm.data import Reader
from maxent_lm.evaluate import Evaluation
from maxent_lm.lm import partition, pretrained
from maxent_lm.lm import tokenizer as tokenizers
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.scores import make_scorer
from maxent_lm.masked import REDUCTIONS
from maxent_lm.sampling.generate import Generate, make_generate
from maxent_lm.sampling.policies import Sampling
from maxent_lm.shaping import TRANSFORMS, chain
from maxent_lm.tasks import TASKS
from maxent_lm.tasks.base import Subset, Task
from maxent_lm.temperature import CONTROLLERS
from maxent_lm.train import folder, loop
from maxent_lm.train.checkpoint import Checkpointer
from maxent_lm.train.collect import Demonstrations, Rollouts
from maxent_lm.train.state import TrainState, init_state
from maxent_lm.train.step import TARGETS, Parts, TargetUpdate, Update, make_update
from maxent_lm.types import Controller, Params, Scorer

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

Config = ml_collections.ConfigDict
BOOTSTRAP = {'terminal': False, 'bootstrap': True}  # config.batch.truncation
SOFT = ('soft_q', 'vargrad')  # objectives around the soft Bellman residual
REFERENCE = {'start': True, 'none': False}  # config.reference


@dataclasses.dataclass(frozen=True)
class Policy:
  """A model with its tokenizer; `params` are the weights that the run starts from."""

  lm: LM
  tokenizer: 'PreTrainedTokenizerBase'
  eos_id: int
  params: Params
  mesh: jax.sharding.Mesh

  def save(self, path: pathlib.Path, params: Params) -> None:
    """Writes a Hugging Face folder."""
    pretrained.save(path, self.lm.config, jax.device_get(params))
    self.tokenizer.save_pretrained(str(path))


@dataclasses.dataclass
class Run:
  """A run folder brought to life."""

  config: Config
  workdir: pathlib.Path
  policy: Policy
  state: TrainState
  reference: Params | None
  collect: loop.Collect
  update: Update
  checkpointer: Checkpointer

  def train(self) -> TrainState:
    """Trains from the newest checkpoint to `config.steps`, then exports `workdir/model`."""
    with jax.set_mesh(self.policy.mesh):
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
      )
    self.policy.save(self.workdir / 'model', self.state.params)
    self.checkpointer.close()
    return self.state


def rollout_run(config: Config, workdir: pathlib.Path) -> Run:
  """Training on the policy's own samples (`experiments/train.py`)."""
  batch = config.batch
  policy = make_policy(config, workdir)
  collect = Rollouts(
    reader=make_reader(config, policy, split='train'),
    generate=make_sampler(
      config, policy, sampling=Sampling(**config.sampling), group_size=batch.group_size
    ),
    prompts_per_step=batch.prompts,
    group_size=batch.group_size,
    max_new_tokens=batch.max_new_tokens,
    bootstrap=choose('config.batch.truncation', batch.truncation, BOOTSTRAP),
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
  )
  return _make_run(config, workdir, policy, collect)


def demonstration_run(config: Config, workdir: pathlib.Path) -> Run:
  """Supervised training on the task's demonstrations (`experiments/pretrain.py`)."""
  policy = make_policy(config, workdir)
  collect = Demonstrations(
    reader=make_reader(config, policy, split='train'),
    batch_size=config.batch.prompts,
    max_new_tokens=config.batch.max_new_tokens,
    seed=config.seed,
    sharding=partition.batch_sharding(policy.mesh),
  )
  return _make_run(config, workdir, policy, collect)


def make_evaluation(config: Config, policy: Policy) -> Evaluation:
  """Evaluation on the test split (`experiments/evaluate.py`)."""
  return Evaluation(
    reader=make_reader(config, policy, split='test'),
    generate=make_sampler(
      config,
      policy,
      sampling=Sampling(temperature=config.eval.temperature),
      group_size=config.eval.samples,
    ),
    scorer=make_run_scorer(config, policy),
    problems=config.eval.problems,
    samples=config.eval.samples,
    prompts=config.eval.prompts,
    max_new_tokens=config.batch.max_new_tokens,
    seed=config.eval.seed,
    mesh=policy.mesh,
    sharding=partition.batch_sharding(policy.mesh),
  )


def _make_run(config: Config, workdir: pathlib.Path, policy: Policy, collect: loop.Collect) -> Run:
  """Everything is built and checked before the first file is written."""
  parts = make_parts(config, policy)
  state = init_state(
    # A copy: the state is donated to every update, the start stays as reference.
    jax.tree.map(lambda x: x.copy(), policy.params),
    optimizer=parts.optimizer,
    alpha=parts.alpha,
    beta=parts.beta,
    has_target=parts.target_update is not None,
    seed=config.seed,
  )
  state = _place(state, policy.mesh)
  folder.record(workdir, config.to_dict())
  folder.make_once(workdir / 'start', lambda path: policy.save(path, policy.params))
  checkpointer = Checkpointer(
    workdir / 'checkpoints', every=config.checkpoint.every, keep=config.checkpoint.keep
  )
  keeps = choose('config.reference', config.reference, REFERENCE)
  reference = policy.params if keeps else None
  if checkpointer.latest() is not None:
    state = checkpointer.restore(state)
  return Run(
    config=config,
    workdir=workdir,
    policy=policy,
    state=state,
    reference=reference,
    collect=collect,
    update=make_update(parts),
    checkpointer=checkpointer,
  )


def _place(state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
  """Every leaf on the mesh: what is no parameter (step, key, counts) is replicated."""
  return jax.device_put(state, partition.param_shardings(state, mesh))


# --- Model -------------------------------------------------------------------------------------


def make_policy(config: Config, workdir: pathlib.Path) -> Policy:
  """The policy that the run started from, or will: `workdir/start`, `config.init`, or random."""
  mesh = partition.make_mesh(**config.mesh)
  started = workdir / 'start'
  source = started if started.exists() else pathlib.Path(config.init)
  if started.exists() or config.init:
    tokenizer = tokenizers.load_tokenizer(source)
    lm = _with_compute(config, pretrained.load_config(source))
    params = pretrained.load_params(source, lm.config)
  else:
    tokenizer = make_tokenizer(config)
    lm = _with_compute(config, LMConfig(vocab_size=len(tokenizer), **config.model))
    params = lm.init(config.seed)
  tokenizers.check_vocabulary(tokenizer, lm.config)
  params = jax.device_put(params, partition.param_shardings(params, mesh))
  return Policy(lm, tokenizer, _stop_id(config, tokenizer), params, mesh)


def newest_params(policy: Policy, workdir: pathlib.Path) -> tuple[Params, int]:
  """The parameters of the newest checkpoint and its step; the start's and 0 without one."""
  path = workdir / 'checkpoints'
  if not path.exists():
    return policy.params, 0
  checkpointer = Checkpointer(path, every=1, keep=1_000_000)
  step = checkpointer.latest()
  if step is None:
    return policy.params, 0
  return checkpointer.restore_params(policy.params), step


def _with_compute(config: Config, model: LMConfig) -> LM:
  compute = config.compute
  return LM(
    dataclasses.replace(
      model, dtype=compute.dtype, remat=compute.remat, scan_layers=compute.scan_layers
    )
  )


def make_tokenizer(config: Config) -> 'PreTrainedTokenizerBase':
  """The tokenizer of a model that starts from random weights."""
  if config.tokenizer.kind == 'characters' and not config.tokenizer.alphabet:
    raise ValueError(
      'config.init is empty: name the Hugging Face folder to start from with --config.init=FOLDER, '
      'or give config.tokenizer.alphabet to start from random weights'
    )
  kinds = {
    'characters': lambda: tokenizers.character_tokenizer(config.tokenizer.alphabet),
    'bytes': tokenizers.byte_tokenizer,
    'folder': lambda: tokenizers.load_tokenizer(pathlib.Path(config.tokenizer.folder)),
  }
  return choose('config.tokenizer.kind', config.tokenizer.kind, kinds)()


def _stop_id(config: Config, tokenizer: 'PreTrainedTokenizerBase') -> int:
  stop = config.tokenizer.stop_token or tokenizer.eos_token
  ids = tokenizer.get_vocab()
  if stop not in ids:
    raise ValueError(
      f'config.tokenizer.stop_token: {stop!r} is not a token of this tokenizer; '
      'name the token that ends a response'
    )
  return ids[stop]


def make_run_scorer(config: Config, policy: Policy) -> Scorer:
  """How training and evaluation look at a policy."""
  return make_scorer(policy.lm, chunk=config.compute.chunk)


def make_sampler(
  config: Config, policy: Policy, *, sampling: Sampling, group_size: int
) -> Generate:
  """Rollouts of the policy with this behaviour."""
  return make_generate(
    policy.lm,
    sampling=sampling,
    group_size=group_size,
    max_new_tokens=config.batch.max_new_tokens,
    eos_id=policy.eos_id,
  )


# --- Task --------------------------------------------------------------------------------------


def make_reader(config: Config, policy: Policy, *, split: str) -> Reader:
  """The task's problems whose prompts fit, with the tokenizer that reads them."""
  factory = choose('config.task', config.task, TASKS)
  task = factory(split=split, **config[config.task])
  reader = Reader(
    task=task,
    tokenizer=policy.tokenizer,
    eos_id=policy.eos_id,
    prompt_multiple=config.batch.prompt_multiple,
  )
  limit = config.batch.max_prompt_tokens
  if limit:
    lengths = map(len, reader.prompts([task[i] for i in range(len(task))]))
    reader = dataclasses.replace(reader, task=_fitting(task, np.array([*lengths]) <= limit, limit))
  return reader


def _fitting(task: Task, fits: np.ndarray, limit: int) -> Task:
  if not fits.any():
    raise ValueError(
      f'config.batch.max_prompt_tokens={limit} leaves none of the {len(task)} problems; raise it'
    )
  return Subset(task, np.flatnonzero(fits))


# --- Update ------------------------------------------------------------------------------------


def make_parts(config: Config, policy: Policy) -> Parts:
  """What one update is made of."""
  loss = choose('config.algorithm', config.algorithm, LOSSES)
  transforms = [
    functools.partial(choose('config.transforms', name, TRANSFORMS), **config[name])
    for name in config.transforms
  ]
  _check_temperature(config)
  return Parts(
    scorer=make_run_scorer(config, policy),
    loss=functools.partial(loss, **config[config.algorithm]),
    transform=chain(*transforms),
    reduction=choose('config.reduction', config.reduction, REDUCTIONS),
    optimizer=make_optimizer(config),
    alpha=make_controller(config, 'alpha'),
    beta=make_controller(config, 'beta'),
    target_update=make_target(config),
  )


def make_controller(config: Config, knob: str) -> Controller:
  """The controller of 'alpha' or 'beta'."""
  name = config.temperature[f'{knob}_control']
  make = choose(f'config.temperature.{knob}_control', name, CONTROLLERS)
  section: Mapping[str, Any] = config[knob].get(name, {})
  return make(config.temperature[knob], **_plain(section))


def _check_temperature(config: Config) -> None:
  temperature = config.temperature
  knobs = f'config.temperature: alpha={temperature.alpha} and beta={temperature.beta}'
  if temperature.alpha < 0 or temperature.beta < 0:
    raise ValueError(f'{knobs} must not be negative')
  if config.algorithm in SOFT and temperature.alpha + temperature.beta == 0:
    raise ValueError(f'{knobs}: {config.algorithm} needs a temperature alpha + beta above 0')
  observed = (temperature.alpha_control, temperature.beta_control)
  needs_reference = temperature.beta > 0 or 'target_kl' in observed
  if needs_reference and not choose('config.reference', config.reference, REFERENCE):
    raise ValueError(
      "config.temperature.beta > 0 or a target KL needs a reference: set config.reference='start'"
    )


def make_target(config: Config) -> TargetUpdate | None:
  """The target network's rule, or None without one."""
  rule = config.target.rule
  make = choose('config.target.rule', rule, TARGETS)
  return None if make is None else make(**config.target[rule])


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """AdamW behind a global-norm clip, with warm-up and an optional decay to zero."""
  o, steps = config.optimizer, config.steps
  rest = max(steps - o.warmup_steps, 1)
  decays = {
    'constant': optax.constant_schedule(o.learning_rate),
    'linear': optax.linear_schedule(o.learning_rate, 0.0, rest),
    'cosine': optax.cosine_decay_schedule(o.learning_rate, rest),
  }
  decay = choose('config.optimizer.decay', o.decay, decays)
  warmup = optax.linear_schedule(
    o.learning_rate / (o.warmup_steps + 1), o.learning_rate, o.warmup_steps
  )
  schedule = optax.join_schedules([warmup, decay], [o.warmup_steps])
  return optax.chain(
    optax.clip_by_global_norm(o.clip_norm),
    optax.adamw(schedule, b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay),
  )


# --- Names -------------------------------------------------------------------------------------


def choose(key: str, name: str, table: Mapping[str, Any]) -> Any:
  """table[name]; an unknown name is told with the known ones."""
  if name not in table:
    raise ValueError(f'{key}={name!r} is unknown; choose one of {", ".join(sorted(table))}')
  return table[name]


def _plain(section: Mapping[str, Any]) -> dict[str, Any]:
  return section.to_dict() if isinstance(section, Config) else dict(section)
