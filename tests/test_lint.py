"""ruff (lint and format) and the type checker pass."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
  'command',
  [['ruff', 'check'], ['ruff', 'format', '--check'], ['ty', 'check', '--python', sys.prefix]],
  ids=' '.join,
)
def test_clean(command):
  ran = subprocess.run(
    [sys.executable, '-m', *command], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert ran.returncode == 0, ran.stdout + ran.stderr
