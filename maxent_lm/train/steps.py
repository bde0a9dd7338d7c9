"""The folder `checkpoints/` as a file system sees it: `8/` is the state after 8 updates.

8.corrupt, 8.corrupt.1    damaged; kept for whoever wants to look, never read
8.undone                  of a run that went back to an earlier step
8.orbax-checkpoint-tmp    cut off while it was written; 8.deleted while it was removed
"""

import pathlib
import shutil

from maxent_lm.train import manifest

CUT_OFF = '.orbax-checkpoint-tmp'  # how Orbax calls a folder that it is still writing
DELETED = '.deleted'


def saved(folder: pathlib.Path) -> list[int]:
  """The steps that are there, in order, whatever their condition."""
  paths = folder.iterdir() if folder.is_dir() else ()
  names = [path.name for path in paths if path.is_dir()]
  return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def quarantined(folder: pathlib.Path) -> list[str]:
  """The names of what was set aside as damaged."""
  return sorted(path.name for path in folder.glob('*.corrupt*'))


def leftovers(folder: pathlib.Path) -> list[pathlib.Path]:
  """What a killed run has not finished writing or removing."""
  return sorted([*folder.glob(f'*{CUT_OFF}*'), *folder.glob(f'*{DELETED}')])


def set_aside(folder: pathlib.Path, step: int, word: str) -> str:
  """Renames `8` to `8.<word>`, or to `8.<word>.1` and so on; gives the new name."""
  name, number = f'{step}.{word}', 0
  while (folder / name).exists():
    number += 1
    name = f'{step}.{word}.{number}'
  (folder / str(step)).rename(folder / name)
  return name


def remove(folder: pathlib.Path, step: int) -> None:
  """Deletes a step; cut off, it leaves no step that is half there."""
  away = folder / f'{step}{DELETED}'
  shutil.rmtree(away, ignore_errors=True)
  (folder / str(step)).rename(away)
  shutil.rmtree(away, ignore_errors=True)


def remove_leftovers(folder: pathlib.Path) -> None:
  """While nothing is being written."""
  for path in leftovers(folder):
    shutil.rmtree(path, ignore_errors=True)


def free_space(folder: pathlib.Path) -> int:
  """Bytes that can still be written there."""
  return shutil.disk_usage(folder).free


def newest_intact(folder: pathlib.Path, level: str) -> tuple[int | None, dict[int, list[str]]]:
  """The newest step that verifies (`manifest.verify`), and what is wrong with those after it.

  Raises:
    ValueError: there are steps, here or in quarantine, and none is intact.
  """
  wrong = {}
  for step in reversed(saved(folder)):
    problems = manifest.verify(folder / str(step), level)
    if not problems:
      return step, wrong
    wrong[step] = problems
  if wrong or quarantined(folder):
    told = [f'{step}: {summary(problems)}' for step, problems in wrong.items()]
    told += [f'{name}: set aside earlier' for name in quarantined(folder)]
    raise ValueError(
      f'{folder} holds no intact checkpoint ({"; ".join(told)}); restore one from a copy, or '
      'choose another --workdir to start anew'
    )
  return None, {}


def summary(problems: list[str]) -> str:
  """The first problem, and how many more there are."""
  more = len(problems) - 1
  return problems[0] + (f' and {more} more' if more else '')
