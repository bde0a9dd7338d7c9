"""The runs that are struck or watched: real scripts and configs, tiny."""

import pathlib
from typing import NamedTuple

import maxent_lm
from maxent_lm.analysis.chaos.attempts import Lab, plain

ROOT = pathlib.Path(maxent_lm.__file__).parents[1]


class Subject(NamedTuple):
  """A run of experiments/train.py from a warm start by experiments/pretrain.py.

  Attributes:
    config: a file in configs/.
    shape: flags of both, which give the model its shape.
    warm: flags of the warm start.
    flags: flags of the run.
  """

  config: str
  shape: tuple[str, ...]
  warm: tuple[str, ...]
  flags: tuple[str, ...]


# Every part that a checkpoint has to remember; a save in every second step, of which two are kept.
COUNTDOWN = Subject(
  config='two_numbers.py',
  shape=(),
  warm=(),
  flags=(
    *('--config.steps=16', '--config.checkpoint.every=2', '--config.samples_every=1'),
    *('--config.batch.prompts=4', '--config.batch.group_size=4', '--config.batch.ahead=1'),
    *('--config.replay.kind=prioritised', '--config.replay.capacity=7'),
    *('--config.replay.prompts=2', '--config.count_novelty.coefficient=0.1'),
    '--config.target.rule=polyak',
  ),
)
# Grading runs the programs in the sandbox, in processes of their own. Few problems and few answers
# to them: verdicts of so many programs are remembered that a short run would not come to the end.
PROGRAMS = Subject(
  config='list_functions.py',
  shape=(
    *('--config.model.num_layers=1', '--config.model.d_model=32', '--config.model.num_heads=2'),
    *('--config.model.num_kv_heads=2', '--config.model.head_dim=16', '--config.model.d_ff=48'),
  ),
  warm=('--config.steps=200', '--config.optimizer.learning_rate=1e-2'),
  flags=(
    *('--config.batch.prompts=4', '--config.batch.group_size=4', '--config.list_functions.size=20'),
    '--config.sampling.temperature=0.2',
  ),
)


def command(subject: Subject, workdir: pathlib.Path) -> tuple[str, ...]:
  """The script with its flags but --workdir; its warm start is in `workdir`."""
  start = f'--config.init={workdir / "warm" / "model"}'
  return (*_script('train.py', subject, 'soft_q'), start, *subject.flags)


def warm_start(subject: Subject, workdir: pathlib.Path, cache: pathlib.Path) -> None:
  """A policy that is right now and then, so that rewards tell responses apart.

  Raises:
    RuntimeError: its training does not end well.
  """
  if (workdir / 'warm' / 'model').exists():
    return
  lab = Lab((*_script('pretrain.py', subject, 'pretrain'), *subject.warm), workdir, workdir, cache)
  ended = plain(lab, workdir / 'warm')
  if ended.status:
    raise RuntimeError(f'the warm start ended with {ended.status}: {ended.said}')


def _script(script: str, subject: Subject, variant: str) -> tuple[str, ...]:
  config = f'--config={ROOT / "configs" / subject.config}:{variant}'
  return (str(ROOT / 'experiments' / script), config, '--config.mesh.data=1', *subject.shape)
