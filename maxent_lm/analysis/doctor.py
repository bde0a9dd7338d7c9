"""What is in a run folder, what is wrong with it, and what can be done: reads, changes nothing."""

import collections
import dataclasses
import itertools
import pathlib
from typing import Any

from maxent_lm import reading
from maxent_lm.lm import pretrained
from maxent_lm.train import folder, lock, manifest, steps

FINE, RESUMABLE, LOST = 0, 1, 2  # exit status
ROWS = ('metrics.jsonl', 'samples.jsonl', 'rollouts.jsonl')
SHOWN = 5  # steps that a sentence names


@dataclasses.dataclass
class Findings:
  """Lines to print: what is there, and what of it is wrong; and what the run can go on from.

  Attributes:
    found: what is there, a line each.
    wrong: what is wrong and costs at most some steps, a sentence each.
    fatal: what keeps the run from going on, likewise.
    step: the newest intact checkpoint, 0 where the run starts at the beginning.
    command: of the run, as it was given; '' if not known.
  """

  found: list[str] = dataclasses.field(default_factory=list)
  wrong: list[str] = dataclasses.field(default_factory=list)
  fatal: list[str] = dataclasses.field(default_factory=list)
  step: int = 0
  command: str = ''

  @property
  def status(self) -> int:
    """0 fine, 1 something is wrong but the run can be resumed, 2 it cannot."""
    return LOST if self.fatal else RESUMABLE if self.wrong else FINE


def examine(workdir: pathlib.Path, level: str = 'full') -> Findings:
  """Looks at every file of a run folder; `level`: see `manifest.verify`.

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: an unknown level.
  """
  if not workdir.is_dir():
    raise FileNotFoundError(f'{workdir} is not a folder: give the --workdir of a run')
  findings = Findings()
  planned = _config(workdir, findings)
  _versions(workdir, findings)
  _checkpoints(workdir / 'checkpoints', level, findings)
  for name in ROWS:
    _rows(workdir / name, findings)
  _exports(workdir, findings, finished=bool(planned) and findings.step >= planned)
  _leftovers(workdir, findings)
  return findings


def text(workdir: pathlib.Path, findings: Findings) -> str:
  """What there is, what is wrong, and what to do."""
  lines = [*findings.found]
  lines += [f'WRONG: {sentence}' for sentence in [*findings.fatal, *findings.wrong]]
  if findings.fatal:
    lines.append('The run cannot be resumed as it is.')
  else:
    whence = f'step {findings.step}' if findings.step else 'the beginning'
    command = findings.command or f'the command that it was started with, --workdir={workdir}'
    lines.append(f'The run goes on from {whence} with: {command}')
  return '\n'.join(lines)


def _config(workdir: pathlib.Path, findings: Findings) -> int:
  """The steps that the run is to take; 0 if that is not known."""
  config = _json(workdir / 'config.json', findings.fatal)
  if config is None:
    return 0
  planned = config.get('steps', 0)
  findings.found.append(f'config.json: {config.get("name") or "a run"}, {planned} steps')
  return planned if isinstance(planned, int) else 0


def _versions(workdir: pathlib.Path, findings: Findings) -> None:
  versions = _json(workdir / 'versions.json', findings.wrong)
  if versions is None:
    return
  shown = ('commit', 'device', 'python', 'jax')
  told = ', '.join(f'{name} {versions[name]}' for name in shown if name in versions)
  findings.found.append(f'versions.json: {told}')
  command = str(versions.get('command', ''))
  if command.split(' ')[0].endswith('.py'):
    findings.command = f'python {command}'


def _json(path: pathlib.Path, wrong: list[str]) -> dict[str, Any] | None:
  """The object in a file; None, and a sentence in `wrong`, if there is none."""
  if not path.exists():
    wrong.append(f'{path.name} is missing.')
    return None
  try:
    return folder.read_json(path)
  except (OSError, ValueError) as error:
    wrong.append(f'{path.name} cannot be read ({" ".join(str(error).split())}).')
    return None


def _checkpoints(checkpoints: pathlib.Path, level: str, findings: Findings) -> None:
  """Every step with its verdict; the newest intact one is what the run goes on from."""
  for step in steps.saved(checkpoints):
    problems = manifest.verify(checkpoints / str(step), level)
    if problems:
      findings.found.append(f'checkpoints/{step}: damaged')
      findings.wrong.append(f'checkpoints/{step} is damaged: {", ".join(problems[:5])}.')
    else:
      size = manifest.size(checkpoints / str(step))
      findings.found.append(f'checkpoints/{step}: intact, {size / 1e6:.1f} MB')
      findings.step = step
  for name in steps.quarantined(checkpoints):
    findings.wrong.append(f'checkpoints/{name} was found damaged and set aside; delete it.')
  for path in checkpoints.glob('*.undone*'):
    findings.found.append(f'checkpoints/{path.name}: of before the run went back to a step')
  for path in steps.leftovers(checkpoints):
    findings.wrong.append(f'checkpoints/{path.name} was cut off; the next save removes it.')
  if not findings.step and (steps.saved(checkpoints) or steps.quarantined(checkpoints)):
    findings.fatal.append(
      'No checkpoint is intact: restore one from a copy, or start anew in another folder.'
    )
  elif not findings.step:
    findings.found.append('checkpoints: none yet')


def _rows(path: pathlib.Path, findings: Findings) -> None:
  """Lines of JSON with a step each; what a killed run leaves after its checkpoint is dropped."""
  if not path.exists():
    if path.name == 'metrics.jsonl' and findings.step:
      findings.wrong.append('metrics.jsonl is missing: the numbers of the steps so far are lost.')
    return
  numbers: list[int] = []
  for at, line in reading.lines(path):
    try:
      numbers.append(_step(line))
    except (ValueError, TypeError, LookupError):
      if line.endswith(b'\n'):
        findings.fatal.append(f'{path.name}: line {at} is damaged: restore or remove the file.')
      else:
        findings.wrong.append(f'{path.name}: line {at} is torn; the resumed run drops it.')
      break
  which = f', steps {min(numbers)}-{max(numbers)}' if numbers else ''
  findings.found.append(f'{path.name}: {len(numbers)} rows{which}')
  if path.name == 'metrics.jsonl':
    _every_step_once(path.name, numbers, findings)


def _step(line: bytes) -> int:
  step = reading.parse_own(line)['step']
  if type(step) is not int:  # nor infinity, which is none either
    raise ValueError(f'{step!r} is no step')
  return step


def _every_step_once(name: str, numbers: list[int], findings: Findings) -> None:
  counts = collections.Counter(numbers)
  twice = sorted(step for step, count in counts.items() if count > 1)
  every = range(max([*numbers, findings.step - 1]) + 1)  # a damaged number may be of any size
  holes = list(itertools.islice((step for step in every if step not in counts), SHOWN + 1))
  for word, found in (('missing', holes), ('there more than once', twice)):
    if found:
      shown = ', '.join(map(str, found[:SHOWN])) + (', ...' if len(found) > SHOWN else '')
      findings.wrong.append(f'{name}: steps {shown} are {word}.')
  if numbers != sorted(numbers):
    findings.wrong.append(f'{name}: the steps are not in order.')


def _exports(workdir: pathlib.Path, findings: Findings, *, finished: bool) -> None:
  """The policies before the first and after the last step."""
  for name, needed, wrong in (
    ('start', bool(findings.step), findings.fatal),
    ('model', finished, findings.wrong),
  ):
    exported = workdir / name
    if not exported.is_dir():
      if needed:
        wrong.append(f'{name}/ is missing.')
      continue
    try:
      tensors = _tensors(exported)
    except (OSError, ValueError) as error:
      wrong.append(f'{name}/ cannot be read: {" ".join(str(error).split())}')
    else:
      findings.found.append(f'{name}/: readable, {tensors} tensors')


def _tensors(exported: pathlib.Path) -> int:
  """How many tensors the files of a Hugging Face folder have; of the files, only headers are read.

  Raises:
    FileNotFoundError: there are no weights.
    ValueError: a header does not fit its file.
  """
  pretrained.load_config(exported)
  return len(pretrained.read_headers(exported))


def _leftovers(workdir: pathlib.Path, findings: Findings) -> None:
  for path in sorted([*workdir.glob('*.partial'), *workdir.glob('*.tmp')]):
    findings.wrong.append(f'{path.name} was cut off while it was written; delete it.')
  held = workdir / lock.NAME
  if held.is_file() and held.read_bytes().strip():  # empty when the run is over
    holder = lock.read(held) or 'somebody'
    findings.found.append(f'{lock.NAME}: {holder} (is at work here, or was killed)')
