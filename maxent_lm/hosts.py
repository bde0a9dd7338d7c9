"""Several processes that are one run: what each of them does, and how all of them end.

Every process runs the same program, holds the same host values and steps through them in the same
order: what is drawn is a function of seeds, and what only some have found out is gathered. Their
devices are one mesh, grading is divided (`share`), and the first process alone writes (`is_first`).
With one process nothing here does anything.
"""

import contextlib
import glob
import importlib.util
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Item = TypeVar('Item')

SMALLEST = 1024  # bytes gathered at a time; powers of two, as every size is a compilation
STOPPED = 128 + signal.SIGTERM  # exit status: the same command goes on


class Stopped(Exception):
  """A signal reached the run; all processes have saved the same step and stop."""


def connect(coordinator: str, processes: int | None, process: int | None) -> None:
  """Joins the other processes, if there are any; before anything asks JAX for its devices.

  With all three arguments there are `processes` of them, this is number `process`, and number 0
  listens at `coordinator`, HOST:PORT. Where SLURM, Open MPI or a TPU pod started it, JAX finds what
  is not given, '' or None; otherwise a process to which nothing is given is alone.

  Raises:
    ValueError: some of the arguments are given without the others and without such a launcher, or
      are no such numbers.
  """
  if coordinator and processes is not None and process is not None:
    if ':' not in coordinator or not 0 <= process < processes:
      raise ValueError(
        f'--coordinator={coordinator} must be HOST:PORT, and --process_id={process} one of '
        f'0 ... {processes - 1}'
      )
    jax.distributed.initialize(coordinator, processes, process)
  elif is_launched(os.environ):
    jax.distributed.initialize(coordinator or None, processes, process)
  elif (coordinator, processes, process) != ('', None, None):
    raise ValueError(
      '--coordinator=HOST:PORT, --num_processes and --process_id belong together; give all three, '
      'or none under SLURM, Open MPI and on a TPU pod'
    )


def is_launched(environment: Mapping[str, str]) -> bool:
  """Whether a launcher that JAX knows has started this process, perhaps beside others."""

  def count(name: str) -> int:
    return int(environment.get(name) or 1)

  slurm = 'SLURM_STEP_NODELIST' in environment and count('SLURM_STEP_NUM_TASKS') > 1
  mpi = 'OMPI_MCA_orte_hnp_uri' in environment and count('OMPI_COMM_WORLD_SIZE') > 1
  pod = ',' in environment.get('TPU_WORKER_HOSTNAMES', '') or count('MEGASCALE_NUM_SLICES') > 1
  platforms = environment.get('JAX_PLATFORMS') or 'tpu'
  return slurm or mpi or ('tpu' in platforms.split(',') and (pod or _has_tpu()))


def _has_tpu() -> bool:
  """Chips are here; how many hosts share the pod only its own service knows, and JAX asks it."""
  chips = glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*')
  return bool(chips) and importlib.util.find_spec('libtpu') is not None


def stop_at_once() -> None:
  """SIGTERM kills from here on, and so ends all processes: nothing is to be saved."""
  if jax.distributed.is_initialized():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_first() -> bool:
  """Whether this is the process that writes files and talks."""
  return jax.process_index() == 0


def check_alone(what: str) -> None:
  """Raises ValueError if there are other processes."""
  if jax.process_count() > 1:
    raise ValueError(f'{what} runs in one process but was started in {jax.process_count()}')


def meet() -> None:
  """Nobody goes on before all are here: what was read before is not what is written after."""
  first_says(True)


def first_says(answer: bool) -> bool:
  """What the first process thinks; nobody goes on before all have asked."""
  if jax.process_count() == 1:
    return answer
  return bool(multihost_utils.broadcast_one_to_all(np.array(answer)))


def first_counts(number: int) -> int:
  """A number (int32) as the first process knows it; nobody goes on before all have asked."""
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.broadcast_one_to_all(np.array(number, np.int32)))


def share(items: Sequence[Item], work: Callable[[Sequence[Item]], list[Any]]) -> list[Any]:
  """`work(items)`, whose entries JSON can hold, one an item; every process does its part of them.

  The parts are of adjacent items, in the order of the processes, as equal as can be.
  """
  count, index = jax.process_count(), jax.process_index()
  if count == 1:
    return work(items)
  start, end = (len(items) * at // count for at in (index, index + 1))
  parts = _gather(json.dumps(work(items[start:end])).encode())
  return [result for part in parts for result in json.loads(part)]


def _gather(mine: bytes) -> list[bytes]:
  """What each process has, in their order."""
  lengths = multihost_utils.process_allgather(np.array([len(mine)], np.int32)).ravel()
  width = SMALLEST
  while width < lengths.max():
    width *= 2
  padded = np.zeros(width, np.uint8)
  padded[: len(mine)] = np.frombuffer(mine, np.uint8)
  rows = multihost_utils.process_allgather(padded)
  return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def fetch(tree: Any) -> Any:
  """The arrays of a tree as host arrays, whole in every process, one at a time."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


def fetch_to_first(tree: Any) -> Any:
  """The arrays of a tree as host arrays, whole in the first process; None in the others.

  They take part in one array at a time and keep none of them.
  """
  leaves, structure = jax.tree.flatten(tree)
  kept = []
  for leaf in leaves:
    whole = fetch(leaf)
    if is_first():
      kept.append(whole)
  return jax.tree.unflatten(structure, kept) if is_first() else None


@contextlib.contextmanager
def end_together() -> Generator[None, None, None]:
  """Wrap the program: what ends one of several processes ends all of them.

  An error is told and the process is gone at once, without the farewell for which JAX would wait:
  the others, which wait for it in a collective, then fail too. `Stopped` is told once.
  """
  try:
    yield
  except Stopped as stopped:
    if is_first():
      print(stopped, file=sys.stderr)
    sys.exit(STOPPED)
  except BaseException as error:
    fine = isinstance(error, SystemExit) and not error.code
    if fine or not jax.distributed.is_initialized():
      raise
    text = error.code if isinstance(error, SystemExit) else traceback.format_exc()
    print(f'process {jax.process_index()}: {text}', file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)
