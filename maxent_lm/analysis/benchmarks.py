"""What a benchmark prints last: every measurement is a process of its own."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


class Failed(ValueError):
  """A benchmark ended without a result; says how, in one line."""


def measure(command: Sequence[str], *, cwd: os.PathLike[str], settings: dict[str, str]) -> Any:
  """The last line that `command` prints, from JSON.

  Nothing that was compiled before helps; `settings` are added to the environment.

  Raises:
    Failed: the process did not end well.
  """
  environment = {k: v for k, v in os.environ.items() if k != 'JAX_COMPILATION_CACHE_DIR'}
  environment |= settings
  done = subprocess.run(
    command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
  )
  if done.returncode:
    script = next(part for part in command[1:] if part != '-m')
    last = (done.stderr.strip() or 'no message').splitlines()[-1]
    raise Failed(f'{script} ended with {done.returncode}: {last}')
  return json.loads(done.stdout.splitlines()[-1])


def bounds(told: Mapping[str, Any]) -> dict[str, Any]:
  """Of rollout and update, their share of the rate of products, and what takes most of the time."""
  row: dict[str, Any] = {}
  for name in ('rollout', 'update'):
    seconds, products, moved = (told[f'{name}_{part}'] for part in ('s', 'products_s', 'bytes_s'))
    row |= {
      f'{name} share': told[f'{name}_share'],
      f'{name} bound': bound(seconds, products, moved),
    }
  return row


def bound(seconds: float, products: float, moved: float) -> str:
  """What takes most of the time, with its part of it."""
  parts = {'products': products, 'bytes': moved, 'rest': max(0.0, seconds - products - moved)}
  name, most = max(parts.items(), key=lambda part: part[1])
  return f'{name} {most / seconds:.0%}'
