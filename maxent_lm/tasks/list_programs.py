"""A small language of functions on lists of four integers, written in Python: all of its programs.

Worked example: four programs compute ten times the last number, minus the first, and the largest

  [x[3]*10,-x[0],max(x)]   [x[-1]*10,-x[0],max(x)]
  [x[3]*10,-x[-4],max(x)]   [x[-1]*10,-x[-4],max(x)]

A program is a list of parts, and parts P are made by

  P = N | -N | N*10        N = x[I] | max(x) | min(x)        I = 0 | 1 | 2 | 3 | -1 | ... | -4

A function is what programs do: it is a sequence of part functions, and has the programs that spell
each of them in one of its ways. Parts are the same function iff their values are the same on all of
EXAMPLES and PROBES. The forms of a digit look different (5, -5, 50), so that the form is seen;
which number of the list it is has to be found by comparing examples.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

LENGTH = 4  # of every list
NUMBERS = (*(f'x[{i}]' for i in range(LENGTH)), *(f'x[{-1 - i}]' for i in range(LENGTH)))
FORMS = ('{}', '-{}', '{}*10')
ALPHABET = 'adefilmnorstux0123456789+-*/%<>[](): =,'


def _examples() -> tuple[tuple[int, ...], ...]:
  """Lists of different digits, so that it is seen which one has gone where."""
  every = list(itertools.permutations(range(1, 10), LENGTH))
  return tuple(every[i] for i in np.random.default_rng(0).permutation(len(every)))


def _probes(count: int) -> tuple[tuple[int, ...], ...]:
  """Lists of larger numbers, some of them twice."""
  rng = np.random.default_rng(1)
  return tuple(tuple(rng.integers(0, 21, LENGTH).tolist()) for _ in range(count))


EXAMPLES = _examples()  # what problems show some of
PROBES = _probes(24)  # what no problem shows


class Part(NamedTuple):
  """A part function.

  Attributes:
    spellings: all of its programs.
    shown: [#EXAMPLES] its values there; `hidden`: [#PROBES].
  """

  spellings: tuple[str, ...]
  shown: tuple[int, ...]
  hidden: tuple[int, ...]


class Function(NamedTuple):
  """What some programs compute: the list of what its parts do."""

  parts: tuple[Part, ...]

  @property
  def modes(self) -> int:
    """Number of its programs."""
    return math.prod(len(part.spellings) for part in self.parts)

  @property
  def programs(self) -> tuple[str, ...]:
    """All programs of the language that compute it, the simplest spelling first."""
    spelled = itertools.product(*(part.spellings for part in self.parts))
    return tuple(f'[{",".join(parts)}]' for parts in spelled)


def values(part: str, inputs: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
  """What a part of the language is on each of the lists."""
  function = eval(f'lambda x: {part}', {})  # never a text that a model wrote
  return tuple(function(list(each)) for each in inputs)


@functools.cache
def parts() -> tuple[Part, ...]:
  """All part functions."""
  spellings: dict[tuple[int, ...], list[str]] = {}
  for number in (*NUMBERS, 'max(x)', 'min(x)'):
    for form in FORMS:
      text = form.format(number)
      spellings.setdefault(values(text, EXAMPLES + PROBES), []).append(text)
  cut = len(EXAMPLES)
  return tuple(
    Part(tuple(texts), outputs[:cut], outputs[cut:]) for outputs, texts in spellings.items()
  )


@functools.cache
def functions(count: int) -> tuple[Function, ...]:
  """All functions of `count` parts: 18, 324 or 5,832 of 1, 2 or 3."""
  return tuple(Function(each) for each in itertools.product(parts(), repeat=count))


@functools.cache
def spellings() -> frozenset[str]:
  """The programs of all parts."""
  return frozenset(text for part in parts() for text in part.spellings)


def in_language(text: str) -> bool:
  """Whether a text without blanks is a program."""
  bracketed = text[:1] == '[' and text[-1:] == ']'
  return bracketed and spellings().issuperset(text[1:-1].split(','))
