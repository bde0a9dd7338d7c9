"""How every script starts: flags, one-sentence errors, other processes, the compilation cache.

`python experiments/X.py --config=configs/Y.py[:arg] --workdir=DIR --config.key=value`

Several processes are one run (hosts.py). Where no launcher tells, they are told with
`--coordinator=HOST:PORT --num_processes=N --process_id=I`, or in the environment as
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
"""

import contextlib
import errno
import os
import pathlib
import re
import sys
from collections.abc import Callable, Generator, Sequence

import jax
import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

import maxent_lm
from maxent_lm import hosts, process
from maxent_lm.tasks.sandbox import SandboxUnavailable, TooManyFaults
from maxent_lm.train import lock, signals
from maxent_lm.train.skips import Poisoned

CORES = 'MAXENT_LM_CORES'  # environment: the cores of this process, as '0,1'
Main = Callable[[ml_collections.ConfigDict, pathlib.Path], None]


def run(main: Main) -> None:
  """Defines --config and --workdir, parses the command line and calls `main(config, workdir)`."""
  config = config_flags.DEFINE_config_file('config', None, 'Experiment.', lock_config=True)
  workdir = flags.DEFINE_string(
    'workdir', None, 'Folder of this run; made if missing.', required=True
  )
  coordinator = flags.DEFINE_string(
    'coordinator', os.environ.get('JAX_COORDINATOR_ADDRESS', ''), 'HOST:PORT of process 0.'
  )
  processes = flags.DEFINE_integer(
    'num_processes', os.environ.get('JAX_NUM_PROCESSES'), 'Processes of this run.'
  )
  process = flags.DEFINE_integer(
    'process_id', os.environ.get('JAX_PROCESS_ID'), 'Which of them this one is.'
  )
  flags.mark_flag_as_required('config')
  prepare()

  def start(_: Sequence[str]) -> None:
    with user_errors():
      folder = as_folder(workdir.value)
      hosts.connect(coordinator.value, processes.value, process.value)
    with hosts.end_together(), run_errors():
      main(config.value, folder)

  app.run(start, flags_parser=parse)


def as_folder(workdir: str) -> pathlib.Path:
  """Raises ValueError for an address, which would be a folder named `gs:` on each host."""
  if '://' in workdir:
    raise ValueError(
      f'--workdir={workdir} is an address; name a folder that all processes see, such as the place '
      'where a bucket is mounted'
    )
  return pathlib.Path(workdir)


def train(main: Main) -> None:
  """`run`, for training: the folder is this run's alone, and a first signal is a request."""

  def alone(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    with contextlib.ExitStack() as held:
      with user_errors():
        if hosts.is_first():
          held.enter_context(lock.hold(workdir))
        held.enter_context(signals.listening(grace=config.grace))
        hosts.meet()  # nobody reads before the first process has the folder
      main(config, workdir)

  run(alone)


def prepare() -> None:
  """What every script wants: configs/ importable, a compilation cache, few places of memory, only
  warnings logged.

  Compiled programs are kept in JAX_COMPILATION_CACHE_DIR, or else in ~/.cache/maxent_lm/jax, or
  nowhere if there is no home.
  MAXENT_LM_CORES=0,1 keeps the process on these cores, before XLA counts them.
  """
  if os.environ.get(CORES) and cores() is not None:
    os.sched_setaffinity(0, {int(core) for core in os.environ[CORES].split(',')})
  process.share_arenas()
  # configs/ lies beside the package and its files import each other.
  sys.path.insert(0, str(pathlib.Path(maxent_lm.__file__).parents[1]))
  os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')  # it misses torch, loudly
  logging.set_verbosity(logging.WARNING)  # orbax tells every file it writes
  home = os.path.expanduser('~')  # itself, where neither HOME nor the system knows of one
  default = None if home == '~' else os.path.join(home, '.cache', 'maxent_lm', 'jax')
  folder = os.environ.get('JAX_COMPILATION_CACHE_DIR', default)
  jax.config.update('jax_compilation_cache_dir', folder)


def cores() -> list[int] | None:
  """The cores of this process, or None where a process cannot be kept on some (not on Linux)."""
  if not hasattr(os, 'sched_getaffinity'):
    return None
  return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def user_errors() -> Generator[None, None, None]:
  """Turns the errors of wrong input into one line on stderr and exit status 1.

  Wrap the building of a run, not the run itself: a ValueError in the middle of training is a bug
  and keeps its traceback. MAXENT_LM_TRACEBACK=1 keeps it here too.
  """
  try:
    yield
  except (ValueError, TypeError, OSError) as error:
    if os.environ.get('MAXENT_LM_TRACEBACK'):
      raise
    sys.exit(f'error: {_sentence(error)}')


@contextlib.contextmanager
def run_errors() -> Generator[None, None, None]:
  """What ends a run that is under way, told in one sentence.

  Too many skipped updates, failed saves or faults of the sandbox are that sentence and exit status
  1. A file that cannot be written, as on a full disk, has it above the traceback.
  """
  from maxent_lm.train.checkpoint import NotSavedError  # Orbax, which not every script needs

  try:
    yield
  except (Poisoned, NotSavedError, SandboxUnavailable, TooManyFaults) as error:
    sys.exit(f'error: {_sentence(error)}')
  except OSError as error:
    mended = 'once that is mended, the same command goes on from the newest checkpoint'
    print(f'error: {_sentence(error)}; {mended}', file=sys.stderr)
    raise


def parse(argv: Sequence[str]) -> Sequence[str]:
  """absl's parsing, with unknown config keys and bad config files told in one sentence."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    sys.exit(f'error: {_flat(error)}')
  except (AttributeError, LookupError) as error:  # IndexError: --config.transforms[9]
    hint = _flat(error)
    hint = hint[max(hint.find('Did you mean'), 0) :]
    sys.exit(f'error: unknown config key {_key(argv, error)}. {hint}')
  except (OSError, TypeError, ValueError) as error:
    sys.exit(f'error: {_flat(error)}')


def _key(argv: Sequence[str], error: Exception) -> str:
  """The --config.… argument that the error is about, as the user typed it."""
  wrong = re.search(r'"?(?:instead of )?"(\w+)"\?|^[\'"]+(\w+)', str(error))
  name = next((group for group in wrong.groups() if group), '') if wrong else ''
  typed = [_flat(a.split('=')[0]) for a in argv if a.startswith('--config.')]
  return next((argument for argument in typed if name and name in argument), ', '.join(typed))


def _sentence(error: Exception) -> str:
  """Its message on one line; the system does not say which disk is full."""
  text = ' '.join(str(error).split())
  full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
  if full and error.filename is None:
    return f'{text}: make room where --workdir is, or where temporary files are (TMPDIR)'
  return text


def _flat(error: Exception | str) -> str:
  """The message on one line; of a traceback inside it (a config file that raised), the last one."""
  text = str(error).replace('\\n', '\n').replace("\\'", "'").strip('"\'\n ')
  if 'Traceback' in text:
    text = text.splitlines()[-1]
  return ' '.join(text.split())
