"""Prompts as a model's chat template shows them, rendered where a hostile template does no harm.

A template is a program that comes with a tokenizer. It runs in jinja's immutable sandbox, and that
in a process of its own (chat_worker.py), which may use so much processor time and memory and is
killed otherwise: loops without output cannot be bounded from inside. The date is not to be had
(`strftime_now` is undefined), so that a prompt is the same on every day.
"""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from maxent_lm import reading

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

TEMPLATE = 2**18  # characters; the largest have a tenth of it
OUTPUT = 2**20  # characters of a rendered prompt, beside those of the prompt itself
SECONDS = 5.0  # of processor time for one prompt, and for starting and compiling
MEMORY = 512 * reading.MIB  # of the process
WALL_SECONDS = 1800.0  # after which a process that is not even scheduled is given up

_PYTHON = (sys.executable, '-s', '-P')  # no user's packages, and not the folder of the script
_WORKER = pathlib.Path(__file__).with_name('chat_worker.py')


def render(template: str, prompts: Sequence[str], tokens: Mapping[str, str]) -> list[str]:
  """Each prompt as the only message of a user, up to where the assistant begins.

  `tokens` are the special tokens that a template may name, as `bos_token`.

  Raises:
    ValueError: the template is too long, does not compile, fails, refuses, or exceeds a limit.
  """
  if len(template) > TEMPLATE:
    raise ValueError(
      f'the chat template has {len(template):,} characters, at most {TEMPLATE:,} are read'
    )
  limits = {'seconds': SECONDS, 'memory': MEMORY, 'output': OUTPUT}
  request = [{'template': template, 'tokens': dict(tokens), **limits}, *prompts]
  process = subprocess.Popen(
    [*_PYTHON, str(_WORKER)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    cwd='/',
    env={'PYTHONHASHSEED': '0'},
  )
  try:
    lines = ''.join(json.dumps(each) + '\n' for each in request).encode()
    output, _ = process.communicate(lines, timeout=WALL_SECONDS)
  except subprocess.TimeoutExpired:
    raise ValueError(f'the chat template took longer than {WALL_SECONDS:g} s') from None
  finally:
    process.kill()
    process.wait()
  return _replies(output, len(prompts), process.returncode)


def _replies(output: bytes, count: int, status: int) -> list[str]:
  """The rendered prompts; raises ValueError for the reason why there are fewer."""
  replies = [json.loads(line) for line in output.splitlines() if line.endswith((b'"', b'}'))]
  failed = [each['error'] for each in replies if isinstance(each, dict)]
  if failed:
    raise ValueError(f'the chat template failed: {failed[0]}')
  if len(replies) != count:
    reason = {
      -signal.SIGPROF: f'it took more than {SECONDS:g} s of processor time',
      -signal.SIGKILL: 'its process was killed',
    }.get(status, f'its process ended with status {status}')
    raise ValueError(f'the chat template failed: {reason}')
  return replies


@dataclasses.dataclass(frozen=True)
class Chat:
  """Prompts as a template shows them; each is rendered once.

  Attributes:
    template: in jinja's language.
    tokens: special tokens by name.
  """

  template: str
  tokens: Mapping[str, str]
  _known: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)

  def __call__(self, prompts: Sequence[str]) -> list[str]:
    """The prompts, rendered; raises ValueError as `render`."""
    new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
    if new:
      self._known.update(zip(new, render(self.template, new, self.tokens), strict=True))
    return [self._known[prompt] for prompt in prompts]


def of_tokenizer(tokenizer: 'PreTrainedTokenizerBase') -> Chat:
  """The chat template of a tokenizer, the one called 'default' if it has several.

  Raises:
    ValueError: it has none.
  """
  template = tokenizer.chat_template
  if isinstance(template, dict):
    template = template.get('default')
  if not isinstance(template, str):
    raise ValueError(
      'the tokenizer has no chat template: use one that has, or show prompts as they are'
    )
  tokens = {name: str(each) for name, each in tokenizer.special_tokens_map.items()}
  return Chat(template, tokens)
