"""Arithmetic expressions: a bounded parser, exact values, and a canonical form.

Worked example:

  evaluate('(11-7)/2+5')    == Fraction(7)
  canonical('(11-7)/2+5')   == '5-(7-11)/2'
  canonical('5-(7-11)/2')   == '5-(7-11)/2'

Grammar, over + - * / with the usual precedence, left associative, no spaces and no unary sign:

  sum := product (('+' | '-') product)*    product := atom (('*' | '/') atom)*
  atom := number | '(' sum ')'             number := [1-9][0-9]*

Canonical form. Two expressions are equal iff they are equal up to commutativity, associativity and
the rewriting of signs and inverses: a-(b-c) = (a+c)-b, a/(b/c) = (a*c)/b, (b-a)*(d-c) =
(a-b)*(c-d), a-(b-c)*(d-e) = a+(c-b)*(d-e). Nothing that rests on the values of the numbers merges
(x*1 and x/1, 2+2 and 2*2), nor does distributivity. For expressions that use each variable once
this is equality as rational functions.

A form is a pair (sign, node). Nodes are nested tuples that compare by structure, so that the order
of the parts depends on the order of the numbers and on nothing else:

  (0, n)            the number n
  (1, terms)        a sum: sorted (node, sign) pairs, oriented to be the greater of itself and its
                    negative; no node in it is a sum
  (2, above, below) a product: sorted factors of numerator and denominator; none is a product

The sign is 0 for what equals its own negative by rewriting alone, as a-a does.
"""

import functools
from fractions import Fraction
from typing import Any, NamedTuple

MAX_LENGTH = 64  # characters; also bounds the recursion of the parser and the size of every number

Node = tuple[Any, ...]
Form = tuple[int, Node]
Tree = int | tuple[str, Any, Any]

NUMBER, SUM, PRODUCT = range(3)
DIGITS = frozenset('0123456789')


class Analysis(NamedTuple):
  """What is known of an expression: value (None: division by zero), sorted numbers, key."""

  value: Fraction | None
  numbers: tuple[int, ...]
  key: str


# --- parsing ---------------------------------------------------------------------------------


class _Parser:
  """Recursive descent over one text; every method raises ValueError where the text is no match."""

  def __init__(self, text: str) -> None:
    self.text, self.position = text, 0

  def peek(self) -> str:
    return self.text[self.position : self.position + 1]

  def take(self) -> str:
    self.position += 1
    return self.text[self.position - 1]

  def chain(self, operators: tuple[str, str]) -> Tree:
    deeper = self.atom if operators[0] == '*' else lambda: self.chain(('*', '/'))
    tree = deeper()
    while self.peek() in operators:
      tree = (self.take(), tree, deeper())
    return tree

  def atom(self) -> Tree:
    if self.peek() == '(':
      self.take()
      tree = self.chain(('+', '-'))
      if self.peek() != ')':
        raise ValueError('unbalanced parenthesis')
      self.take()
      return tree
    start = self.position
    while self.peek() in DIGITS:
      self.take()
    digits = self.text[start : self.position]
    if not digits or digits[0] == '0':
      raise ValueError('not a number')
    return int(digits)


def parse(text: str) -> Tree | None:
  """Syntax tree (nested (operator, left, right), ints at the leaves); None for anything else."""
  if len(text) > MAX_LENGTH:
    return None
  parser = _Parser(text)
  try:
    tree = parser.chain(('+', '-'))
  except ValueError:
    return None
  return tree if parser.position == len(text) else None


# --- values and numbers ----------------------------------------------------------------------


def operate(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
  """left operator right, exactly; None for division by zero."""
  if operator == '+':
    return left + right
  if operator == '-':
    return left - right
  if operator == '*':
    return left * right
  return left / right if right else None


def _value(tree: Tree) -> Fraction | None:
  if isinstance(tree, int):
    return Fraction(tree)
  left, right = _value(tree[1]), _value(tree[2])
  return None if left is None or right is None else operate(tree[0], left, right)


def _numbers(tree: Tree) -> list[int]:
  return [tree] if isinstance(tree, int) else _numbers(tree[1]) + _numbers(tree[2])


# --- canonical form --------------------------------------------------------------------------


def number(n: int) -> Form:
  """The form of a single number."""
  return 1, (NUMBER, n)


def _terms(form: Form, sign: int) -> list[tuple[Node, int]]:
  own, node = form
  if node[0] != SUM:
    return [(node, own * sign)]
  factor = (own or 1) * sign  # a sum of sign 0 equals its negative: either orientation will do
  return [(term, factor * s) for term, s in node[1]]


def _add(left: Form, right: Form, sign: int) -> Form:
  terms = _terms(left, 1) + _terms(right, sign)
  positive = tuple(sorted(terms))
  negative = tuple(sorted((node, -s) for node, s in terms))
  if positive == negative:
    return 0, (SUM, positive)
  return (1, (SUM, positive)) if positive > negative else (-1, (SUM, negative))


def _parts(node: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
  return (node[1], node[2]) if node[0] == PRODUCT else ((node,), ())


def _multiply(left: Form, right: Form, invert: bool) -> Form:
  above, below = _parts(left[1])
  over, under = _parts(right[1])
  if invert:
    over, under = under, over
  node = (PRODUCT, tuple(sorted(above + over)), tuple(sorted(below + under)))
  return left[0] * right[0], node


def combine(operator: str, left: Form, right: Form) -> Form:
  """The form of `left operator right`."""
  if operator in ('+', '-'):
    return _add(left, right, 1 if operator == '+' else -1)
  return _multiply(left, right, invert=operator == '/')


def _form(tree: Tree) -> Form:
  if isinstance(tree, int):
    return number(tree)
  return combine(tree[0], _form(tree[1]), _form(tree[2]))


# --- text ------------------------------------------------------------------------------------


def _can_flip(node: Node) -> bool:
  """Whether the negative of `node` can be written without a unary sign, as b-a for a-b."""
  if node[0] == NUMBER:
    return False
  if node[0] == SUM:
    return any(sign < 1 or _can_flip(term) for term, sign in node[1])
  return any(map(_can_flip, node[1] + node[2]))


def _write_sum(node: Node, sign: int) -> str:
  positive = [term for term, s in node[1] if s * sign >= 0]
  negative = [term for term, s in node[1] if s * sign < 0]
  flipped = []
  if not positive:
    first = next(filter(_can_flip, negative))
    negative.remove(first)
    flipped = [_write(first, -1)]
  text = '+'.join(flipped + [_write(term, 1) for term in positive])
  return text + ''.join('-' + _write(term, 1) for term in negative)


def _write_product(node: Node, sign: int) -> str:
  factors = [*node[1], *node[2]]
  flip = next((i for i, factor in enumerate(factors) if _can_flip(factor)), -1) if sign < 0 else -1
  texts = [
    f'({_write(factor, -1 if i == flip else 1)})' if factor[0] == SUM else str(factor[1])
    for i, factor in enumerate(factors)
  ]
  split = len(node[1])
  return '*'.join(texts[:split]) + ''.join('/' + text for text in texts[split:])


def _write(node: Node, sign: int) -> str:
  if node[0] == NUMBER:
    return str(node[1])
  return (_write_sum if node[0] == SUM else _write_product)(node, sign)


def write(form: Form) -> str:
  """The one expression that stands for all with this form; canonical(write(f)) = write(f)."""
  sign, node = form
  return _write(node, sign or 1)


def join(operator: str, left: str, right: str, kinds: tuple[int, int]) -> str:
  """`left operator right` as text with the fewest parentheses; `kinds` are the operands' kinds.

  Parentheses that only undo associativity are left out: a+(b-c) is written a+b-c.
  """
  if operator in ('*', '/') and kinds[0] == SUM:
    left = f'({left})'
  needs = {'+': (), '-': (SUM,), '*': (SUM,), '/': (SUM, PRODUCT)}[operator]
  return f'{left}{operator}({right})' if kinds[1] in needs else f'{left}{operator}{right}'


# --- the whole ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1 << 16)
def analyse(text: str) -> Analysis | None:
  """Value, numbers and canonical key of an expression; None if it is not one."""
  tree = parse(text)
  if tree is None:
    return None
  return Analysis(_value(tree), tuple(sorted(_numbers(tree))), write(_form(tree)))


def evaluate(text: str) -> Fraction | None:
  """Exact value of an expression; None if it is not one or divides by zero."""
  analysis = analyse(text)
  return analysis.value if analysis else None


def canonical(text: str) -> str | None:
  """Canonical key of an expression, itself an expression; None if `text` is not one."""
  analysis = analyse(text)
  return analysis.key if analysis else None
