"""The run folder: what a run was started with, so that it can be read and resumed years later.

config.json      the resolved config          start/      the policy before the first step
versions.json    packages, device, commit     model/      the policy after the last step
metrics.jsonl    one line a step              checkpoints/
samples.jsonl    responses to read            tensorboard/
rollouts.jsonl   a few more, with entropy, value and advantage of every token (train/look.py)
data.json        SHA-256 of the files that the problems come from, where there are any
sandbox.json     the sandbox that programs were run in first, where any are
run.lock         who holds the folder (train/lock.py); stacks.txt: of a run that hung (watchdog.py)
dump-STEP/       the last of too many updates that were skipped (train/skips.py)
"""

import hashlib
import json
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

import jax

from maxent_lm import hosts, reading
from maxent_lm.tasks.sandbox.jail import TIERS

KNOBS = ('alpha', 'beta', 'sampler')
# What may change when a run goes on. The longest key or section (with a dot) decides; all that is
# not listed is frozen: model, tokenizer, start, task, seed, objective, kinds of controllers ...
FROZEN, WARN, FREE = 'frozen', 'warn', 'free'
CLASSES: Mapping[str, str] = {
  # How long it runs, where it is computed, what is watched, written and evaluated.
  **dict.fromkeys(('config.name', 'config.steps', 'config.self_training.rounds'), FREE),
  **dict.fromkeys(('config.mesh.', 'config.compute.', 'config.grace', 'config.watchdog'), FREE),
  **dict.fromkeys(('config.samples_every', 'config.look.', 'config.checkpoint.'), FREE),
  **dict.fromkeys(('config.eval.', 'config.guards.', 'config.skips.'), FREE),
  # Numbers that another run would have from its start: what it learns from here on is its own.
  **dict.fromkeys(('config.compute.dtype', 'config.compute.cache'), WARN),
  **dict.fromkeys(('config.batch.prompts', 'config.batch.group_size'), WARN),
  **dict.fromkeys(('config.batch.max_new_tokens', 'config.batch.prompt_multiple'), WARN),
  **dict.fromkeys(('config.batch.rounds', 'config.sampling.'), WARN),
  **dict.fromkeys(('config.optimizer.', 'config.critic.learning_rate'), WARN),
  # Of the knobs only the numbers; what controllers have learned stays.
  **{f'config.temperature.{knob}': WARN for knob in KNOBS},
  **{f'config.{knob}.': WARN for knob in KNOBS},
  **{f'config.{knob}.average': FROZEN for knob in KNOBS},
}
# Sections with whatever keys their user gives: one that is new there is no newer version's.
OPEN = ('config.reasoning_gym.options.',)
CURE = 'restore or remove it'  # of a file that is damaged
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'transformers', 'numpy')


def record(
  workdir: pathlib.Path, config: dict[str, Any], fingerprint: str = '', tier: str = ''
) -> None:
  """Writes what the module's docstring lists; no file for data or a sandbox that there is not.

  The first process does, after all have come here, who have then read what was there.
  """
  hosts.meet()
  if not hosts.is_first():
    return
  workdir.mkdir(parents=True, exist_ok=True)
  if tier and not (workdir / 'sandbox.json').exists():
    write_json(workdir / 'sandbox.json', {'tier': tier})
  if fingerprint:
    write_json(workdir / 'data.json', {'sha256': fingerprint})
  write_json(workdir / 'config.json', config)
  write_json(workdir / 'versions.json', versions())


def check_config(workdir: pathlib.Path, config: dict[str, Any]) -> list[str]:
  """What is no longer as the run was started with, in lines to tell; refuses what may not change.

  `CLASSES` says which. A key that only one of the two configs has is another version's of the
  code: it warns, unless it is free (or its section is `OPEN`).

  Raises:
    ValueError: something frozen differs; the sentence names each key with both values.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return []
  old, new = flat(read_json(path)), flat(json.loads(json.dumps(config)))
  found: dict[str, list[str]] = {FROZEN: [], WARN: [], FREE: []}
  for key in sorted(old.keys() | new.keys()):
    if key not in old or key not in new or old[key] != new[key]:
      was, now = (repr(each[key]) if key in each else 'missing' for each in (old, new))
      told = f'{_shown(key)} was {was} and is {now}'
      found[_class(key, both=key in old and key in new)].append(told)
  if found[FROZEN]:
    raise ValueError(
      f'{workdir} was started with another config: {"; ".join(found[FROZEN])}; choose another '
      '--workdir'
    )
  heads = {WARN: 'warning: goes on with another config', FREE: 'goes on with'}
  return [f'{workdir}: {heads[of]}: {"; ".join(found[of])}' for of in heads if found[of]]


def _class(key: str, *, both: bool) -> str:
  """The class of a key; `both`: both configs have it."""
  known = [each for each in CLASSES if key == each or (each[-1] == '.' and key.startswith(each))]
  of = CLASSES[max(known, key=len)] if known else FROZEN
  return WARN if of == FROZEN and not both and not key.startswith(OPEN) else of


def tell(lines: Iterable[str]) -> None:
  """To stderr, once."""
  for line in lines if hosts.is_first() else ():
    print(line, file=sys.stderr)


def check_data(workdir: pathlib.Path, fingerprint: str) -> None:
  """Refuses to go on with other data files than the run was started with.

  A folder that does not say what its data was is believed.

  Raises:
    ValueError: the files have changed.
  """
  path = workdir / 'data.json'
  known = _text(path, 'sha256') if path.exists() else fingerprint
  if known != fingerprint:
    raise ValueError(
      f'{workdir} was started with other data: the SHA-256 of its files was '
      f'{_shown(known[:12])}... and is {fingerprint[:12]}...; restore the files or '
      'choose another --workdir'
    )


def check_sandbox(workdir: pathlib.Path, tier: str) -> None:
  """Refuses to go on in a weaker sandbox than the run was started in.

  Raises:
    ValueError: it is weaker.
  """
  path = workdir / 'sandbox.json'
  if not tier or not path.exists():
    return
  first = _text(path, 'tier')
  if first not in TIERS:
    raise ValueError(f'{path} names the sandbox {first[:60]!r}, which is not known: {CURE}')
  if TIERS.index(tier) > TIERS.index(first):
    raise ValueError(
      f"{workdir} was started with the sandbox '{first}' and this machine gives only '{tier}'; go "
      'on where the first one works or choose another --workdir'
    )


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The object in a file of a run folder; raises ValueError if it is damaged."""
  return reading.read_object(path, cure=CURE, read=reading.parse_own)


def _text(path: pathlib.Path, key: str) -> str:
  value = read_json(path).get(key)
  if not isinstance(value, str):
    raise ValueError(f'{path} has no text as its {key!r}: {CURE}')
  return value


def _shown(text: str) -> str:
  """What a file says, on one line."""
  return text if text.isprintable() else repr(text)


def flat(tree: dict[str, Any], prefix: str = 'config') -> dict[str, Any]:
  """Nested keys joined by dots."""
  found = {}
  for key, value in tree.items():
    name = f'{prefix}.{key}'
    found |= flat(value, name) if isinstance(value, dict) else {name: value}
  return found


def versions() -> dict[str, Any]:
  """Python, packages, device, command and git commit (with '+changes' if the tree is dirty)."""
  return {
    'command': ' '.join(sys.argv),
    'commit': commit(),
    'python': platform.python_version(),
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'processes': jax.process_count(),
    **{package: metadata.version(package) for package in PACKAGES},
  }


def commit() -> str:
  """The git commit of the source tree, or 'unknown' outside a checkout.

  With `+changes.` and eight digits of their hash where files differ from it or are not in it.
  """
  root = pathlib.Path(__file__).parents[2]

  def git(*arguments: str) -> str:
    command = ['git', '-C', str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

  try:
    head, status = git('rev-parse', 'HEAD'), git('status', '--porcelain')
    if not status:
      return head
    changes = hashlib.sha256(f'{status}\n{git("diff", "HEAD")}'.encode()).hexdigest()
    return f'{head}+changes.{changes[:8]}'
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


def short(commit: str) -> str:
  """A commit by its first twelve digits, and what was changed."""
  digits, *changes = commit.split('+')
  return '+'.join([digits[:12], *changes])


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes through a temporary file, so that a reader never sees half of it."""
  write_text(path, json.dumps(value, indent=2) + '\n')


def write_lines(path: pathlib.Path, rows: Iterable[Any]) -> None:
  """One line of JSON a row, likewise."""
  write_text(path, ''.join(json.dumps(row) + '\n' for row in rows))


def write_text(path: pathlib.Path, text: str) -> None:
  """Likewise; a lone surrogate, which JSON can name and UTF-8 cannot, is written as '?'."""
  temporary = path.with_name(f'{path.name}.tmp')
  temporary.write_bytes(text.encode('utf-8', 'replace'))
  temporary.replace(path)


def make_once(folder: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
  """Calls `write(temporary folder)` and moves it to `folder`, unless `folder` exists already.

  Every process calls `write`, which is to write in the first one only; there the folder is made.
  """
  if hosts.first_says(folder.exists()):
    return
  temporary = folder.with_name(f'{folder.name}.partial')
  if hosts.is_first():
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
  write(temporary)
  if hosts.is_first():
    temporary.replace(folder)
