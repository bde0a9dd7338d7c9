"""A small language of functions on lists of integers, written in Python: all of its programs.

Worked example: of at most 3 operations and 24 characters, seven are for the two smallest elements

  sorted(x)[:2]   sorted(x[::-1])[:2]   sorted(sorted(x))[:2]   sorted(sorted(x)[:2])
  sorted(x)[:2][:2]   sorted(x)[:-1][:2]   sorted(x)[:2][-2:]

A program is an expression in x. Lists L and numbers N are made by

  L = x | L[SLICE] | sorted(L)
    | [MAP for i in L] | [i for i in L if TEST] | [MAP for i in L if TEST]
  N = sum(L) | max(L) | min(L) | len(L) | L[INDEX]

and every rule but L = x is one operation. A function is what programs do: two programs compute the
same one iff their values are the same on all of EXAMPLES and PROBES. What raises an exception on
one of these lists, as the largest of no elements does, is no program of the language.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SLICES = ('1:', ':-1', '::-1', ':2', '2:', '-2:', '::2')
MAPS = ('i+1', 'i+2', 'i+3', 'i-1', '9-i', '8-i', '7-i')
TESTS = ('i>2', 'i>3', 'i>4', 'i<3', 'i<4', 'i<5')
REDUCTIONS = ('sum', 'max', 'min', 'len')
INDICES = ('0', '1', '-1')
ALPHABET = 'adefilmnorstux0123456789+-*/%<>[](): =,'


def _examples(count: int) -> tuple[tuple[int, ...], ...]:
  """Lists of 4 or 5 different digits, so that it is seen which one has gone where."""
  rng = np.random.default_rng(0)
  return tuple(tuple((1 + rng.permutation(6)[: 4 + i % 2]).tolist()) for i in range(count))


def _probes(count: int) -> tuple[tuple[int, ...], ...]:
  """Lists of 4 to 8 numbers, some of them twice."""
  rng = np.random.default_rng(1)
  return tuple(tuple(rng.integers(0, 21, 4 + i % 5).tolist()) for i in range(count))


EXAMPLES = _examples(256)  # what problems show some of
PROBES = _probes(24)  # what no problem shows


class Function(NamedTuple):
  """What some programs compute.

  Attributes:
    programs: all programs of the language that compute it, the simplest first: that of the fewest
      operations, and of those the shortest.
    operations: of the simplest program.
    shown: its values on EXAMPLES, written as Python writes them.
    hidden: its values on PROBES.
  """

  programs: tuple[str, ...]
  operations: int
  shown: tuple[str, ...]
  hidden: tuple[str, ...]


def _longer(text: str) -> Iterator[str]:
  """Every list that one more operation makes of a list."""
  yield from (f'{text}[{part}]' for part in SLICES)
  yield f'sorted({text})'
  yield from (f'[{each} for i in {text}]' for each in MAPS)
  yield from (f'[{each} for i in {text} if {test}]' for each in ('i', *MAPS) for test in TESTS)


def _numbers(text: str) -> Iterator[str]:
  """Every number that one operation makes of a list."""
  yield from (f'{name}({text})' for name in REDUCTIONS)
  yield from (f'{text}[{index}]' for index in INDICES)


def derive(operations: int, longest: int) -> dict[str, int]:
  """The expressions of so many operations and characters at most, with their operations."""
  lists, found = ['x'], {'x': 0}
  for count in range(1, operations + 1):
    numbers = [new for text in lists for new in _numbers(text) if len(new) <= longest]
    lists = [new for text in lists for new in _longer(text) if len(new) <= longest]
    found |= dict.fromkeys([*lists, *numbers], count)
  return found


def values(program: str, inputs: tuple[tuple[int, ...], ...]) -> tuple[str, ...] | None:
  """The values of a program of `derive`, as Python writes them; None if it raises an exception."""
  function = eval(f'lambda x: {program}', {})  # never a text that a model wrote
  try:
    return tuple(repr(function(list(each))) for each in inputs)
  except (IndexError, ValueError):
    return None


@functools.lru_cache(maxsize=8)
def functions(operations: int, longest: int) -> tuple[Function, ...]:
  """All functions of the language, the simplest first; takes a second at most."""
  found = derive(operations, longest)
  programs: dict[tuple[str, ...], list[str]] = {}
  for text in sorted(found, key=lambda text: (found[text], len(text), text)):
    outputs = values(text, EXAMPLES + PROBES)
    if outputs is not None:
      programs.setdefault(outputs, []).append(text)
  cut = len(EXAMPLES)
  return tuple(
    Function(tuple(texts), found[texts[0]], outputs[:cut], outputs[cut:])
    for outputs, texts in programs.items()
  )
