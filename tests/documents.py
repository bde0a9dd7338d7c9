"""What README, CONTRIBUTING and docs/ hold: fences, commands, links, tables."""

import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
  path
  for pattern in ('README.md', 'CONTRIBUTING.md', 'experiments/README.md', 'docs/**/*.md')
  for path in ROOT.glob(pattern)
)
SHELL = ('', 'sh', 'bash')  # fences without a language may hold commands

# What stands for something of the reader's, in commands that are parsed and not run. FOLDER, FILE,
# POD and names of files are taken as they are: nothing is opened.
PLACEHOLDERS = {
  '...': ('--config=configs/countdown.py:soft_q', '--workdir=FOLDER'),  # as in the others above
  '--process_id=$i': ('--process_id=0',),  # of a loop
}
NO_COMMAND = re.compile(r'<\w+>|\|')  # <name>, smoke|cpu: a pattern of commands, in running text


class Fence(NamedTuple):
  """A fenced block, with the number of its first line."""

  language: str
  text: str
  line: int


class Command(NamedTuple):
  """A command of this project, and where it stands; in running text it may lack required flags."""

  where: str
  argv: tuple[str, ...]
  whole: bool


def fences(text: str) -> list[Fence]:
  """All fenced blocks."""
  found = re.finditer(r'^```([^\n]*)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
  return [Fence(each[1].strip(), each[2], text[: each.start()].count('\n') + 2) for each in found]


def without_fences(text: str) -> str:
  """The text, with empty lines in place of fenced blocks."""
  blank = re.compile(r'^```[^\n]*\n.*?^```$', re.MULTILINE | re.DOTALL)
  return blank.sub(lambda each: '\n' * each[0].count('\n'), text)


def commands(text: str, name: str) -> list[Command]:
  """Every command of this project in shell fences and in code spans that begin with one."""
  found = []
  for fence in fences(text):
    if fence.language in SHELL:
      found += [Command(f'{name}:{fence.line}', argv, True) for argv in _of_shell(fence.text)]
  for span in re.finditer(r'`((?:python|make) (?:[^`\n]|\n(?!\n))+)`', without_fences(text)):
    if not NO_COMMAND.search(span[1]):
      line = text[: span.start()].count('\n') + 1
      shortened = _of_shell(' '.join(span[1].split()))
      found += [Command(f'{name}:{line}', argv, False) for argv in shortened]
  return found


def _of_shell(text: str) -> Iterator[tuple[str, ...]]:
  """Simple commands that call python, pip or make, also behind srun, in loops and in quotes."""
  text = re.sub(r'\\\n|\|\s*\n', ' ', text)
  for line in text.splitlines():
    if not re.search(r'\b(python|pip|make)\b', line):
      continue
    words = shlex.shlex(line, posix=True, punctuation_chars=';|&')
    words.whitespace_split = True
    simple: list[str] = []
    for word in [*words, ';']:
      if set(word) <= set(';|&'):
        yield from _of_simple(simple)
        simple = []
      else:
        simple.append(word)


def _of_simple(words: list[str]) -> Iterator[tuple[str, ...]]:
  for number, word in enumerate(words):
    if pathlib.PurePath(word).name in ('python', 'pip', 'make'):
      yield tuple(_filled(words[number:]))
      return
    if word.startswith('--command='):
      yield from _of_shell(word.removeprefix('--command='))


def _filled(words: list[str]) -> Iterator[str]:
  for word in words:
    optional = word.startswith('[') and word.endswith(']')
    yield from PLACEHOLDERS.get(word, (word[1:-1] if optional else word,))


def links(text: str) -> list[str]:
  """Targets of links and images that are no addresses."""
  found = re.findall(r'\]\(([^)\s]+)\)', without_fences(text))
  return [each for each in found if not re.match(r'[a-z]+://|mailto:', each)]


def anchors(text: str) -> set[str]:
  """The anchor of every heading, as GitHub and MkDocs make it."""
  heads = re.findall(r'^#+ (.*)$', without_fences(text), re.MULTILINE)
  return {re.sub(r'[\s-]+', '-', re.sub(r'[^\w\s-]', '', head.lower()).strip()) for head in heads}


def paths(text: str) -> set[str]:
  """Paths of the repository that are named in code spans and commands."""
  known = r'(?:experiments|configs|tests|maxent_lm|docs|notebooks)/[\w./-]*'
  return {
    each.rstrip('.')
    for each in re.findall(rf'(?<![\w/.-]){known}(?![\w<*])', text)
    if not re.search(r'\d{4,}', each)
  }


def sections(text: str) -> Iterator[str]:
  """The text between two headings of any level."""
  yield from re.split(r'^#+ .*$', without_fences(text), flags=re.MULTILINE)


def tables(text: str) -> list[list[list[str]]]:
  """The rows of every table, cells stripped; row 1 is the line of the alignments."""
  found = re.findall(r'(?:^\|.*\|$\n?)+', without_fences(text), re.MULTILINE)
  return [
    [[cell.strip() for cell in line.strip('|').split('|')] for line in each.splitlines()]
    for each in found
  ]
