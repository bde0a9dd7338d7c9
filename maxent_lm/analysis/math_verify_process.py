"""math-verify [Kydlíček et al.] in a process of its own, which can be killed.

As a program it says 'ready' and answers JSON lines {"gold": text, "answer": text} with
{"equal": bool, "read": whether it made an expression of the gold text}, calling math-verify as its
README does: both texts parsed with the default settings, the gold one first, with its own timeouts
of 5 s for each of the three steps.
"""

import json
import os
import resource
import select
import subprocess
import sys
import time
from typing import Any, NamedTuple

MEMORY = 4 << 30  # bytes of address space
START_S, ANSWER_S = 300.0, 25.0  # three steps of 5 s, and a busy machine


class Reply(NamedTuple):
  """What math-verify says; `ended` is False if it did not answer and was killed."""

  equal: bool
  read: bool
  ended: bool


class MathVerify:
  """A process that is started when it is first asked, and again after it was killed."""

  def __init__(self) -> None:
    self._process: subprocess.Popen | None = None

  def ask(self, gold: str, answer: str) -> Reply:
    """Whether the two texts agree.

    Raises:
      ModuleNotFoundError: math-verify is not installed.
    """
    process = self._started()
    assert process.stdin is not None
    question = json.dumps({'gold': gold, 'answer': answer})
    try:
      process.stdin.write(question.encode() + b'\n')
      process.stdin.flush()
      line = _line(process, ANSWER_S)
    except OSError:
      line = ''
    if not line:
      self.stop()
      return Reply(equal=False, read=False, ended=False)
    return Reply(**json.loads(line), ended=True)

  def _started(self) -> subprocess.Popen:
    if self._process is None:
      self._process = subprocess.Popen(
        [sys.executable, '-P', os.path.abspath(__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
      )
      if _line(self._process, START_S) != 'ready':
        self.stop()
        raise ModuleNotFoundError('math_verify could not be loaded')
    return self._process

  def stop(self) -> None:
    """Kills the process."""
    if self._process is not None:
      self._process.kill()
      self._process.communicate()
      self._process = None


def _line(process: subprocess.Popen, seconds: float) -> str:
  """The next whole line; '' if it does not come in time or the process ends."""
  assert process.stdout is not None
  pipe, text, deadline = process.stdout.fileno(), b'', time.monotonic() + seconds
  while not text.endswith(b'\n'):
    ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
    part = os.read(pipe, 1 << 12) if ready else b''
    if not part:
      return ''
    text += part
  return text.decode().strip()


def main() -> None:
  """Answers until standard input ends."""
  import logging

  import math_verify  # ty: ignore[import-not-found]

  logging.disable(logging.CRITICAL)
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
  print('ready', flush=True)
  for line in sys.stdin:
    print(json.dumps(_judge(math_verify, **json.loads(line))), flush=True)


def _judge(math_verify: Any, gold: str, answer: str) -> dict[str, bool]:
  try:
    wanted, got = math_verify.parse(gold), math_verify.parse(answer)
    equal = bool(math_verify.verify(wanted, got))
  except Exception:  # it promises to raise nothing
    return {'equal': False, 'read': False}
  return {'equal': equal, 'read': any(not isinstance(each, str) for each in wanted)}


if __name__ == '__main__':
  main()
