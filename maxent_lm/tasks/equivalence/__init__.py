r"""Whether two final answers say the same: bounded, symmetric, never running what it reads.

Worked example:

  status(r'\frac{1}{2}', '0.5')        Status.EQUAL
  status('x = 5', '5')                 Status.EQUAL
  status('42', '41 or 42')             Status.DIFFERENT
  status('42', 'x = 42 = 42')          Status.UNVERIFIABLE, which earns nothing
  cluster(['1/2', '0.5', 'no idea'])   [0, 0, 1]

What is understood: integers, decimals (exactly: 0.333 is not 1/3), fractions, mixed numbers,
percents (a unit: 50% is 50, not 0.5), money, degrees and other units, tuples, sets, lists,
intervals, unions, matrices, radicals, polynomials and their quotients, powers, logarithms and other
functions, equations, inequalities, numbers with a base (52_8 is not 42), choices and words; LaTeX
and plain (maths/notation.py), compared as maths/compare.py says. What is not understood equals
only itself.

Equality is that of values: 6 * 7 is 42. Whether an answer is worked out is for the task to ask
(`value`). It is reflexive and symmetric. It is not transitive (x = 5 and y = 5 are both 5), so that
classes are those of its closure, which do not depend on the order of the answers.

As a program, see __main__.py: `python -m maxent_lm.tasks.equivalence`.
"""

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from fractions import Fraction

from maxent_lm.tasks import answers, clusters
from maxent_lm.tasks.maths import algebra, forms
from maxent_lm.tasks.maths.algebra import Form
from maxent_lm.tasks.maths.compare import Status, compare, judge
from maxent_lm.tasks.maths.nodes import STRUCTURES, Node
from maxent_lm.tasks.maths.notation import parse

__all__ = ['Status', 'cluster', 'equal', 'grade', 'label', 'readable', 'status', 'unit', 'value']

MAX_TEXT = 4096  # characters of an answer before anything is done with it
MAX_LABEL = 512  # characters


def status(gold: str, answer: str) -> Status:
  """Whether the two answers say the same; the order of the arguments does not matter."""
  gold, answer = gold.strip(), answer.strip()
  if gold == answer:
    return Status.EQUAL
  if max(len(gold), len(answer)) > MAX_TEXT:
    return Status.UNVERIFIABLE
  with contextlib.suppress(_Passing):
    return _status(*sorted((gold, answer)))
  return Status.UNVERIFIABLE


class _Passing(Exception):
  """Time was over: the next time may be luckier, and nothing is to be remembered."""


@functools.lru_cache(maxsize=1 << 16)
def _status(first: str, second: str) -> Status:
  left, right = parse(first), parse(second)
  if left is None or right is None:
    return Status.UNVERIFIABLE
  outcome = judge(left, right)
  if outcome.passing:
    raise _Passing
  return outcome.status


def equal(gold: str, answer: str) -> bool:
  """Whether the two answers are shown to say the same."""
  return status(gold, answer) is Status.EQUAL


def grade(gold: str, response: str) -> tuple[Status, str | None]:
  """Status and text of the final answer of a response; DIFFERENT and None if it has none."""
  answer = answers.extract(response)
  return (Status.DIFFERENT, None) if answer is None else (status(gold, answer), answer)


def readable(gold: str) -> bool:
  """Whether a gold answer is understood, so that answers other than its own text can equal it."""
  node = parse(gold) if len(gold) <= MAX_TEXT else None
  return node is not None and compare(node, node) is Status.EQUAL


def cluster(texts: Sequence[str | None]) -> list[int]:
  """Semantic classes 0, 1, ... of answers, in order of appearance; -1 for None, no answer.

  The classes are those of the closure of `equal`; what is not understood is a class of its own.
  n different answers take up to n (n - 1) / 2 comparisons.
  """
  given = [text.strip() for text in texts if text is not None]
  numbers = iter(clusters.by_relation(given, equal))
  return [-1 if text is None else next(numbers) for text in texts]


def label(answer: str) -> str:
  """A name for what an answer says: equal labels are equal answers, but not the other way round.

  Numbers, radicals and polynomials have one label, whatever way they are written. One of more than
  MAX_LABEL characters is replaced by its SHA-256.
  """
  answer = answer.strip()
  node = parse(answer) if len(answer) <= MAX_TEXT else None
  name = ' '.join(answer.split()) if node is None else _write(node, answer)
  if len(name) <= MAX_LABEL:
    return name
  return f'sha256:{hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()}'


def value(answer: str) -> Fraction | None:
  """The rational number that an answer writes out, its name or unit left out; None if it does not.

  Written out are decimals, fractions, mixed numbers, and such times a power of ten; 6 * 7 is not.
  """
  node = parse(answer.strip()) if len(answer) <= MAX_TEXT else None
  node = None if node is None else _bare(node)
  form = _form(node) if node is not None and _written_out(node) else None
  return None if form is None else algebra.rational(form)


def unit(answer: str) -> str:
  """The unit that an answer has, in one spelling ('minute' for min and minutes); '' without."""
  node = parse(answer.strip()) if len(answer) <= MAX_TEXT else None
  while node is not None and node[0] == 'named':
    node = node[2]
  return node[1] if node is not None and node[0] == 'unit' else ''


def _bare(node: Node) -> Node:
  while node[0] in ('named', 'unit'):
    node = node[2]
  return node


def _written_out(node: Node) -> bool:
  if node[0] == 'div':
    return node[1][0] == node[2][0] == 'num'
  if node[0] == 'pow':
    return node[1] == ('num', Fraction(10)) and node[2][0] == 'num'
  if node[0] == 'mul':  # a sign before a fraction, or a power of ten after a decimal
    sign = len(node[1]) == 2 and node[1][0] == ('num', Fraction(-1))
    power = len(node[1]) == 2 and node[1][0][0] == 'num' and node[1][1][0] == 'pow'
    return (sign or power) and _written_out(node[1][1])
  return node[0] == 'num'


def _form(node: Node) -> Form | None:
  """The exact form of a scalar; None for a structure and for what has none."""
  node = _bare(node)
  try:
    return None if node[0] in STRUCTURES else forms.form(algebra.Algebra(), node)
  except (algebra.TooLarge, ZeroDivisionError):
    return None


def _write(node: Node, text: str) -> str:
  form = _form(node)
  if form is None:
    return ' '.join(text.split())
  number = algebra.rational(form)
  return str(number) if number is not None else algebra.write(form)
