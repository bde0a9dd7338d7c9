"""Scripts as the processes of one run, on this machine."""

import os
import pathlib
import socket
import subprocess
import sys

import quick

ROOT = pathlib.Path(__file__).parent.parent


def start(command, *, processes, devices):
  """Popen of each process, with so many simulated devices; `command` is told who it is in flags."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  environment = {
    **os.environ,
    **{'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': quick.devices(devices), 'PYTHONPATH': str(ROOT)},
    'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  who = [f'--coordinator={address}', f'--num_processes={processes}']
  return [
    subprocess.Popen(
      [sys.executable, *command, *([*who, f'--process_id={number}'] if processes > 1 else [])],
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(processes)
  ]


def finish(started, *, timeout=600):
  """(status, stdout without Gloo's chatter, stderr) of each process; none outlives the test."""
  try:
    said = [process.communicate(timeout=timeout) for process in started]
  finally:
    for process in started:
      process.kill()
  return [
    (process.returncode, ''.join(line for line in out.splitlines(True) if 'Gloo' not in line), err)
    for process, (out, err) in zip(started, said, strict=True)
  ]


def run(command, *, processes, devices):
  """What each process printed; all must end well."""
  ended = finish(start(command, processes=processes, devices=devices))
  for status, _, errors in ended:
    assert status == 0, errors
  return [printed for _, printed, _ in ended]
