"""What a benchmark prints last: every measurement is a process of its own."""

import json
import os
import subprocess
from collections.abc import Sequence
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
