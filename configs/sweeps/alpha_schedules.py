"""Twelve schedules of alpha on one task, all from one warm start a seed.

python experiments/sweep.py --sweep=configs/sweeps/alpha_schedules.py:countdown,cpu --workdir=runs/a

The argument is TASK,PRESET[,FOLDER[,DATA]]: with the folder of a model all seeds start there and no
warm start is trained; DATA is the folder of the files that GSM8K and MBPP read.
`experiments/tables/alpha_schedules.py` makes the table of several tasks.

The objective is VarGrad at a fixed beta, so that kappa = alpha + beta and alpha is all that
differs. What a schedule aims at depends on the task and is in AIMS.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections

from configs import arithmetic, countdown, graph_coloring, gsm8k, list_functions
from configs.published.method import weighted
from configs.sweeps import warm
from maxent_lm.analysis import sweep

LOW, HIGH = 1e-4, 0.1  # the box of every learned alpha, reward units per nat


class Aims(NamedTuple):
  """What the schedules of a task start from and aim at.

  Attributes:
    alpha: where every schedule but the fixed ones begins.
    entropy: nats a token.
    semantic_entropy: nats a group of samples.
    kl: nats a response.
  """

  alpha: float
  entropy: float
  semantic_entropy: float
  kl: float


# Between what the warm start has and what a run without alpha ends at.
AIMS = {
  'countdown': Aims(alpha=0.02, entropy=0.37, semantic_entropy=1.5, kl=0.5),
  'graph_coloring': Aims(alpha=0.02, entropy=0.4, semantic_entropy=1.0, kl=0.5),
  'list_functions': Aims(alpha=0.01, entropy=0.2, semantic_entropy=1.6, kl=0.5),
  'arithmetic': Aims(alpha=0.005, entropy=0.02, semantic_entropy=0.1, kl=0.2),
  'gsm8k': Aims(alpha=0.001, entropy=0.3, semantic_entropy=1.0, kl=5.0),
  'mbpp': Aims(alpha=0.001, entropy=0.3, semantic_entropy=1.0, kl=5.0),
}
BETA = {'gsm8k': 0.005, 'mbpp': 0.005}  # long responses: the KL of a response is larger
CPU_BETA = 0.05
PRESETS = {
  'smoke': warm.Size(seeds=1, steps=2, prompts=4, warm_steps=4, problems=8, samples=4, layers=1),
  'cpu': warm.Size(seeds=3, steps=40, prompts=32, warm_steps=0, problems=128, samples=16),
  'h200': warm.Size(seeds=1, steps=40, prompts=64, warm_steps=0, problems=256, samples=16),
}
SHORTER = {'list_functions': {'steps': 25, 'prompts': 24, 'problems': 64}}  # programs are run


def schedules(steps: int, aims: Aims) -> dict[str, dict[str, Any]]:
  """The schedules by name: what each changes in the config of a run of `steps` updates."""
  start, third = aims.alpha, max(1, steps // 3)
  box = {'low': LOW, 'high': HIGH}
  stages = {'boundaries': (third, 2 * third + 1), 'values': (start / 3, start / 9)}
  linear = {'name': 'linear_schedule', 'arguments': {'end_value': 0.0, 'transition_steps': steps}}
  cosine = {'name': 'cosine_decay_schedule', 'arguments': {'decay_steps': steps, 'alpha': 0.1}}
  semantic = {'observe': 'semantic_entropy', 'target': aims.semantic_entropy, **box}
  kl = {'observe': 'kl', 'target': aims.kl, 'horizon': 2560, **box}
  stuck = {'patience': max(1, steps // 10), 'decay': 0.8, 'factor': 1.5, 'high': HIGH}
  return {
    **{f'alpha = {alpha:g}': alpha_by('fixed', alpha) for alpha in (0.0, 0.01, 0.03, 0.1)},
    'linear': alpha_by('schedule', start, **linear),
    'cosine': alpha_by('schedule', start, **cosine),
    'stages': alpha_by('stages', start, **stages),
    'dual to entropy': alpha_by('target_entropy', start, target=aims.entropy, **box),
    'dual to semantic entropy': alpha_by('dual', start, **semantic),
    'KL-adaptive': alpha_by('adaptive_kl', start, **kl),
    'raised when stuck': alpha_by('raise_when_stuck', start, **stuck),
    'token-weighted': alpha_by('fixed', start) | uncertain_tokens(),
  }


def alpha_by(kind: str, start: float, **options: Any) -> dict[str, Any]:
  """alpha by the controller `kind`; 'KL-adaptive' raises it when the policy goes too far."""
  keys = {f'alpha.{kind}.{name}': value for name, value in options.items()}
  return {'temperature.alpha': start, 'temperature.alpha_control': kind, **keys}


def uncertain_tokens() -> dict[str, Any]:
  """alpha from 0 where a token is certain to twice its value where it is the least so."""
  return {'transforms': ('importance',), **weighted('linear', (0.0, 2.0), at='alpha')}


def _mbpp(_: str) -> ml_collections.ConfigDict:
  """MBPP with the sizes of configs/gsm8k.py."""
  config = gsm8k.get_config()
  config.task = 'mbpp'
  return config


TASKS: dict[str, Callable[[str], ml_collections.ConfigDict]] = {
  'countdown': countdown.get_config,
  'graph_coloring': graph_coloring.get_config,
  'list_functions': list_functions.get_config,
  'arithmetic': arithmetic.get_config,
  'gsm8k': lambda _: gsm8k.get_config(),
  'mbpp': _mbpp,
}
PRETRAINED = ('gsm8k', 'mbpp')  # start from the weights in a folder


def make_config(
  task: str, preset: str, folder: str, data: str, point: sweep.Point, seed: int, init: str
) -> ml_collections.ConfigDict:
  """The warm start of a seed, or a schedule from there."""
  start = point.name == sweep.START
  size = sized(task, preset)
  config = TASKS[task]('pretrain' if start and not folder else 'soft_q')
  if task in PRETRAINED:
    _large(config)
    config[task].data_dir = data
  if start:
    return warm.start(config, size, seed=seed, folder=folder)
  warm.run(config, size, name=point.name, seed=seed, init=init)
  config.algorithm = 'vargrad'
  config.critic.kind = 'none'
  config.temperature.update(beta=BETA.get(task, CPU_BETA), beta_control='fixed')
  config.update_from_flattened_dict(dict(point.changes))
  return config


def sized(task: str, preset: str) -> warm.Size:
  """The sizes of a preset on a task."""
  size = PRESETS[preset]
  return size._replace(**SHORTER.get(task, {})) if preset == 'cpu' else size


def _large(config: ml_collections.ConfigDict) -> None:
  """A model of half a billion parameters on one GPU."""
  config.batch.update(group_size=8, max_new_tokens=320, max_prompt_tokens=256)
  config.compute.update(dtype='bfloat16', remat=True, microbatch=32_768)
  config.optimizer.update(learning_rate=1e-6, decay='linear')


def get_sweep(arg: str = 'countdown,cpu') -> sweep.Sweep:
  """`arg`: TASK,PRESET[,FOLDER[,DATA]]."""
  task, preset, folder, data = (*arg.split(',', 3), '', '', '')[:4]
  if task not in TASKS or preset not in PRESETS:
    raise ValueError(
      f'configs/sweeps/alpha_schedules.py:{arg} is unknown; give TASK,PRESET[,FOLDER[,DATA]], a '
      f'task of {", ".join(TASKS)} and a preset of {", ".join(PRESETS)}'
    )
  if task in PRETRAINED and not (folder and data):
    raise ValueError(
      f'alpha_schedules: {task} starts from weights and reads files; name the folders of both, '
      f'--warm_start={task}=FOLDER --data={task}=FOLDER'
    )
  size = sized(task, preset)
  k = size.samples
  return sweep.Sweep(
    name=f'alpha_schedules_{task}',
    config=functools.partial(make_config, task, preset, folder, data),
    points=sweep.listed(schedules(size.steps, AIMS[task])),
    seeds=size.seeds,
    measured=(
      *('pass@1', f'pass@{k}', f'coverage@{k}', 'entropy', 'semantic_entropy', 'kl'),
      *('auroc_semantic', 'alpha', 'train_seconds'),
    ),
    plane=('pass@1', f'coverage@{k}'),
    note=f'VarGrad, {size.steps} steps of {size.prompts} prompts x 8 samples, on {task}.',
  )
