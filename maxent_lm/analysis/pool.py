"""A pool of processes, one a device set: each command runs on its own cores or its own GPU."""

import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import queue
import shutil
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from maxent_lm import cli

Slot = Mapping[str, str]


class Work(NamedTuple):
  """One process: what people call it, its command, and the folder that its log goes into."""

  title: str
  command: Sequence[str]
  workdir: pathlib.Path


Chain = Sequence[Sequence[Work]]  # stages: each begins when the one before it is over


def run(chains: Sequence[Chain], slots: Sequence[Slot]) -> list[str]:
  """Runs all chains beside each other on all slots; returns what failed, and why.

  After every run the time that is left is told, as many seconds a run as those before it took.
  """
  total = sum(len(stage) for chain in chains for stage in chain)
  done, failed = 0, []
  free: queue.Queue[Slot] = queue.Queue()
  for slot in slots:
    free.put(slot)
  began = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(len(slots)) as threads:
    ahead = [[stage for stage in chain if stage] for chain in chains]
    waiting: dict[concurrent.futures.Future[str | None], tuple[int, Work]] = {}
    left = [0] * len(ahead)  # of the stage that a chain is in

    def begin(number: int) -> None:
      stage = ahead[number].pop(0) if ahead[number] else []
      left[number] = len(stage)
      waiting.update({threads.submit(_launch, work, free): (number, work) for work in stage})

    for number in range(len(ahead)):
      begin(number)
    while waiting:
      over, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
      for future in over:
        number, work = waiting.pop(future)
        error, done = future.result(), done + 1
        failed += [f'{work.title} ({error})'] if error else []
        result = f'FAILED: {error}' if error else 'finished'
        told = estimate(time.perf_counter() - began, done, total)
        print(f'{done}/{total} {work.title} {result}; {told}', flush=True)
        left[number] -= 1
        if not left[number]:
          begin(number)
  return failed


def estimate(seconds: float, done: int, total: int) -> str:
  """How long it has been, and how long it will be if the rest is like what is done."""
  left = seconds / done * (total - done)
  return f'{seconds / 60:.0f} min so far, about {left / 60:.0f} min left'


def slots(workers: int) -> list[dict[str, str]]:
  """What each worker's environment says of its devices: a GPU each, else a share of the cores.

  0 workers are as many as there are GPUs or else cores. More workers than GPUs share them, each
  with a part of the memory; it pays for small models. Cores are not shared. Where a process cannot
  be kept on cores (outside Linux) every worker has all of them.
  """
  gpus = visible_gpus()
  if gpus:
    return _shares(gpus, workers or len(gpus))
  cores = cli.cores()
  if cores is None:
    return [{} for _ in range(workers or os.cpu_count() or 1)]
  count = min(workers or len(cores), len(cores))
  return [{cli.CORES: ','.join(map(str, cores[number::count]))} for number in range(count)]


def _shares(gpus: Sequence[str], workers: int) -> list[dict[str, str]]:
  """A GPU for each worker in turn, with its part of what JAX would take of the memory."""
  each = -(-workers // len(gpus))
  memory = {} if each == 1 else {'XLA_PYTHON_CLIENT_MEM_FRACTION': f'{0.75 / each:.4f}'}
  return [{'CUDA_VISIBLE_DEVICES': gpus[number % len(gpus)], **memory} for number in range(workers)]


@contextlib.contextmanager
def alone(workdir: pathlib.Path) -> Generator[None, None, None]:
  """Waits until no other process holds this folder, then holds it to the end.

  Where a pool was killed its processes may still run; those of the next pool wait for them here,
  and find what they have finished.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  with (workdir / 'lock').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # goes with the process, however it ends
    yield


def visible_gpus() -> list[str]:
  """Numbers of the NVIDIA GPUs, asked of the driver so that this process takes none of them."""
  if 'CUDA_VISIBLE_DEVICES' in os.environ:
    return [gpu for gpu in os.environ['CUDA_VISIBLE_DEVICES'].split(',') if gpu]
  if shutil.which('nvidia-smi') is None:
    return []
  listed = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True, check=False).stdout
  return [str(number) for number, _ in enumerate(listed.splitlines())]


def _launch(work: Work, free: 'queue.Queue[Slot]') -> str | None:
  """Runs one command on a free slot; the reason if it fails."""
  slot = free.get()
  try:
    work.workdir.mkdir(parents=True, exist_ok=True)
    log = work.workdir / 'log.txt'
    with log.open('a') as file:
      status = subprocess.run(
        work.command, env=os.environ | slot, stdout=file, stderr=file, check=False
      ).returncode
    if not status:
      return None
    last = [line for line in log.read_text(errors='replace').splitlines() if line.strip()][-1:]
    return f'status {status}, {log}: {"".join(last)[:200]}'
  finally:
    free.put(slot)
