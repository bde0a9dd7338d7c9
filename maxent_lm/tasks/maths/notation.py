r"""Answers as trees: a bounded recursive-descent parser of LaTeX and plain notation.

Worked example:

  parse(r'x = 1 \pm \sqrt{2}')   a list of two values, each named x
  parse('(0, 9]')                ('tuple', '(]', (('num', 0), ('num', 9)))

The kinds of nodes are those of nodes.py.

Where notation is ambiguous: 1\frac{4}{5} and 1 4/5 are mixed numbers (the fraction being proper),
1/2x is (1/2)x, \log is \ln, e and i are the constants, `(a, b)` is a pair and an interval,
`3 \pm 2` is the list 5, 1 (all signs of one value are linked), % is a unit (50% is 50), 2 million
is 2,000,000 (which words are units is for units.py to say), x^10 is x^{10} but \frac12 is 1/2, a
comma list at the top has no order. Inequalities with a variable on one side are intervals. A chain
of equations is not an answer.
"""

import functools
from collections.abc import Callable
from fractions import Fraction

from maxent_lm.tasks.maths import nodes, units
from maxent_lm.tasks.maths.nodes import STRUCTURES, Node
from maxent_lm.tasks.maths.tokens import END, FUNCTIONS, Cursor, Token, clean, tokenise

MAX_NESTING = 30
MAX_INDEX = 64  # of a root

_RELATIONS = ('=', '<', '>', '<=', '>=', '!=', 'in')
_SEPARATORS = (',', ';', 'or')
_OPENERS = ('(', '[', '{', '\\{', 'lfloor', 'lceil', 'inf')
_INVERSES = {'sin': 'arcsin', 'cos': 'arccos', 'tan': 'arctan'}


class _Parser(Cursor):
  """Recursive descent over tokens; every method raises ValueError where they are no answer."""

  def __init__(self, tokens: list[Token]) -> None:
    super().__init__(tokens)
    self.nesting = self.bars = self.functions = 0
    self.degrees = False  # whether the current value is in degrees

  # lists, relations, units

  def answer(self) -> Node:
    items = nodes.expand(self.items())
    if self.peek() != END:
      raise ValueError('something follows')
    return items[0] if len(items) == 1 else ('list', items)

  def items(self) -> list[Node]:
    found = [self.item()]
    while self.accept(*_SEPARATORS):
      self.accept('or')  # "1, 2, and 3"
      found.append(self.item())
    return found

  def item(self) -> Node:
    sides, operators = [self.side()], []
    while self.at(*_RELATIONS):
      operators.append(self.take())
      sides.append(self.side())
    return nodes.relate(operators, sides)

  def side(self) -> Node:
    """A value with its unit, or words."""
    if self.peek()[0] == 'text':
      words = self.words()
      if words in ('all real numbers', 'all reals', 'real numbers'):
        return nodes.REALS
      return ('var', words) if len(words) == 1 else ('word', words)
    outer, self.degrees = self.degrees, False
    negative = self.at('-') and self.peek(1) == ('op', '\\$')
    self.place += negative
    currency = self.accept('\\$')
    node = self.ratio()
    node = self.scale(nodes.negative(node) if negative else node)
    unit = 'dollar' if currency else self.unit() or 'degree' * self.degrees
    self.degrees = outer
    return ('unit', unit, node) if unit else node

  def ratio(self) -> Node:
    parts = [self.union()]
    while self.accept(':'):
      parts.append(self.union())
    return parts[0] if len(parts) == 1 else ('ratio', tuple(map(nodes.scalar, parts)))

  def words(self) -> str:
    found = []
    while self.peek()[0] == 'text':
      found.append(self.take())
    return ' '.join(found)

  def unit(self) -> str:
    parts = []
    while self.peek()[0] == 'text' or self.at('%', '\\$'):
      parts += self.take().replace('/', ' / ').split()
      if self.at('^') and self.peek(1)[0] == 'num':
        self.take()
        parts.append(f'^{self.take()}')
      if self.at('/') and self.peek(1) in (('var', 'h'), ('var', 's')):
        parts += [self.take(), self.take()]
      elif self.at('/') and self.peek(1)[0] == 'text':
        parts.append(self.take())
    return units.unit(parts) if parts else ''

  def scale(self, node: Node) -> Node:
    """The value times a word of scale, if one follows."""
    kind, word = self.peek()
    if kind != 'text' or word not in units.SCALES:
      return node
    self.take()
    factor = units.SCALES[word]
    if node[0] == 'num':
      return nodes.number(node[1] * factor)
    return nodes.join('mul', [node, nodes.number(factor)])

  # expressions

  def union(self) -> Node:
    parts = [self.sum()]
    while self.at('cup') or (self.peek() == ('var', 'U') and parts[-1][0] in STRUCTURES):
      self.take()
      parts.append(self.sum())
    if len(parts) > 1 and not all(part[0] in ('tuple', 'set') for part in parts):
      raise ValueError('a union of what is no set')
    return parts[0] if len(parts) == 1 else ('union', tuple(parts))

  def sum(self) -> Node:
    terms = [self.term()]
    while self.at('+', '-', 'pm', 'mp'):
      terms.append(self.term())
    return nodes.join('add', terms)

  def term(self) -> Node:
    sign = self.take() if self.at('+', '-', 'pm', 'mp') else '+'
    return nodes.signed(sign, self.product())

  def product(self) -> Node:
    factors = [self.factor()]
    while True:
      if self.at('/') and self.peek(1)[0] != 'text':
        self.take()
        factors = [('div', nodes.scalar(nodes.join('mul', factors)), nodes.scalar(self.factor()))]
      elif self.accept('*') or self.starts():
        factors.append(self.factor())
      else:
        return nodes.join('mul', factors)

  def starts(self) -> bool:
    """Whether a factor starts here without a sign: the product that is only written next to it."""
    kind, value = self.peek()
    if kind == 'var':
      return value != 'U' or self.peek(1) not in (('op', '('), ('op', '['))
    if kind == 'num':
      return self.tokens[self.place - 1] == ('op', ')')  # elsewhere: two numbers side by side
    if kind == 'op' and value == '|':
      return self.bars == 0
    return kind == 'name' or (kind == 'op' and value in _OPENERS)

  def factor(self) -> Node:
    self.nesting += 1
    if self.nesting > MAX_NESTING:
      raise ValueError('nested too deeply')
    if self.at('+', '-'):
      node = nodes.signed(self.take(), self.factor())
    else:
      node = self.powers(self.atom())
    self.nesting -= 1
    return node

  def powers(self, node: Node) -> Node:
    while self.at('^', '!', 'deg'):
      operator = self.take()
      if operator == '^':
        node = 'pow', nodes.scalar(node), self.exponent()
      elif operator == '!':
        node = 'call', 'factorial', (nodes.scalar(node),)
      elif self.functions:
        node = 'mul', (nodes.scalar(node), ('const', 'pi'), nodes.number(Fraction(1, 180)))
      else:
        node, self.degrees = nodes.scalar(node), True
    return node

  def exponent(self) -> Node:
    self.nesting += 1
    if self.nesting > MAX_NESTING:
      raise ValueError('nested too deeply')
    sign = self.take() if self.at('+', '-') else '+'
    node = nodes.scalar(self.atom())
    if self.accept('^'):
      node = 'pow', node, self.exponent()
    self.nesting -= 1
    return nodes.signed(sign, node)

  def atom(self) -> Node:
    kind, value = self.peek()
    if kind == 'num':
      return self.number()
    if kind == 'exact':
      return nodes.number(self.take())
    if kind == 'var':
      return self.variable()
    if kind == 'name':
      return self.named()
    if kind == 'op' and value in _BRACKETS:
      return _BRACKETS[value](self)
    raise ValueError('expected a value')

  def number(self) -> Node:
    text = self.take()
    if self.accept('_'):
      base = self.number_alone() if self.peek()[0] == 'num' else self.group()
      if not text.isdigit() or base[0] != 'num' or base[1] not in range(2, 37):
        raise ValueError('no base')
      return 'based', text.lstrip('0'), int(base[1])
    whole = nodes.number(text)
    part = self.proper_fraction() if '.' not in text else None
    return whole if part is None else nodes.number(whole[1] + part)

  def proper_fraction(self) -> Fraction | None:
    """The fraction of a mixed number, if one is next."""
    place, tokens = self.place, list(self.tokens)
    if self.peek()[0] == 'num':
      above, _, below = self.take(), self.expect('/'), self.take()
      if not (str(above).isdigit() and str(below).isdigit() and 0 < int(above) < int(below)):
        raise ValueError('two numbers side by side')
      return Fraction(int(above), int(below))
    if self.peek() == ('name', 'frac'):
      _, above, below = self.named()
      if above[0] == below[0] == 'num' and 0 < above[1] < below[1]:
        return above[1] / below[1]
    self.place, self.tokens = place, tokens
    return None

  def variable(self) -> Node:
    name = self.take()
    if self.accept('_'):
      name += '_' + self.subscript()
    is_call = self.peek() == ('op', '(') and self.peek(1)[0] == 'var'
    if is_call and (self.peek(2), self.peek(3)) == (('op', ')'), ('op', '=')):
      name += f'({self.peek(1)[1]})'
      self.place += 3
    return ('const', name) if name in ('e', 'i') else ('var', name)

  def subscript(self) -> str:
    if not self.accept('{'):
      return str(self.take())
    parts = []
    while not self.accept('}'):
      if self.peek() == END:
        raise ValueError('an open subscript')
      parts.append(str(self.take()))
    return ''.join(parts)

  def named(self) -> Node:
    name = self.take()
    if name == 'pi':
      return 'const', 'pi'
    if name == 'reals':
      return nodes.REALS
    if name == 'emptyset':
      return 'set', ()
    if name == 'frac':
      return 'div', self.argument(), self.argument()
    if name == 'binom':
      return 'call', 'binom', (self.argument(), self.argument())
    if name in ('sqrt', 'cbrt'):
      return self.root(3 if name == 'cbrt' else 2)
    return self.function(name)

  def argument(self) -> Node:
    """What follows \\frac: a group, or a single digit or letter."""
    kind, value = self.peek()
    if kind == 'num' and len(value) > 1:
      self.tokens[self.place] = 'num', value[1:]
      return nodes.number(value[0])
    return nodes.scalar(self.number_alone() if kind == 'num' else self.nested_atom())

  def number_alone(self) -> Node:
    return nodes.number(self.take())

  def nested_atom(self) -> Node:
    self.nesting += 1
    if self.nesting > MAX_NESTING:
      raise ValueError('nested too deeply')
    node = self.atom()
    self.nesting -= 1
    return node

  def root(self, index: int) -> Node:
    if self.accept('['):
      text = self.take() if self.peek()[0] == 'num' else ''
      if not text.isdigit() or not 2 <= int(text) <= MAX_INDEX:
        raise ValueError('no index of a root')
      index = int(text)
      self.expect(']')
    inner = self.number_alone() if self.peek()[0] == 'num' else self.nested_atom()
    return 'root', nodes.scalar(inner), index

  def function(self, name: str) -> Node:
    base = None
    if name == 'log' and self.accept('_'):
      base = self.number_alone() if self.peek()[0] == 'num' else self.nested_atom()
    power = self.exponent() if self.accept('^') else None
    if power == nodes.number(-1):
      name, power = _INVERSES[name] if name in _INVERSES else name + '^-1', None
    self.functions += 1
    arguments = [self.nested_atom() if self.at('(') else self.factor()]
    while not self.tokens[self.place - 1] == ('op', ')') and self.simple():
      arguments.append(self.factor())
    self.functions -= 1
    node = nodes.call(name, nodes.join('mul', arguments), base)
    return node if power is None else ('pow', node, power)

  def simple(self) -> bool:
    return self.starts() and self.peek()[1] not in FUNCTIONS

  # brackets

  def group(self) -> Node:
    self.expect('{')
    items = self.items()
    self.expect('}')
    return items[0] if len(items) == 1 else ('set', nodes.expand(items))

  def bracket(self) -> Node:
    opening = self.take()
    items = self.items()
    brackets = opening + self.expect(')', ']')
    if brackets == '()' and len(items) == 1:
      return items[0]
    return 'tuple', brackets, tuple(items)

  def braces(self) -> Node:
    self.take()
    if self.accept('\\}'):
      return 'set', ()
    items = self.items()
    self.expect('\\}')
    return 'set', nodes.expand(items)

  def absolute(self) -> Node:
    self.take()
    self.bars += 1
    inner = self.sum()
    self.expect('|')
    self.bars -= 1
    return 'call', 'abs', (nodes.scalar(inner),)

  def rounded(self) -> Node:
    name = {'lfloor': 'floor', 'lceil': 'ceil'}[self.take()]
    inner = self.sum()
    self.expect('rfloor' if name == 'floor' else 'rceil')
    return 'call', name, (nodes.scalar(inner),)

  def infinity(self) -> Node:
    self.take()
    return 'inf', 1

  def matrix(self) -> Node:
    self.take()
    rows: list[tuple[Node, ...]] = []
    row: list[Node] = []
    while True:
      row.append(nodes.scalar(self.sum()))
      separator = self.expect('&', '\\\\', 'end')
      if separator != '&':
        rows.append(tuple(row))
        row = []
      if separator == 'end' or (separator == '\\\\' and self.accept('end')):
        return 'matrix', tuple(rows)


_BRACKETS: dict[str, Callable[[_Parser], Node]] = {
  '(': _Parser.bracket,
  '[': _Parser.bracket,
  '{': _Parser.group,
  '\\{': _Parser.braces,
  '|': _Parser.absolute,
  'lfloor': _Parser.rounded,
  'lceil': _Parser.rounded,
  'inf': _Parser.infinity,
  'begin': _Parser.matrix,
}


@functools.lru_cache(maxsize=1 << 14)
def parse(text: str) -> Node | None:
  """The tree of an answer; None if it cannot be read within the bounds."""
  try:
    tokens = tokenise(clean(text))
    return _Parser(tokens).answer() if tokens else None
  except (ValueError, IndexError, ZeroDivisionError, RecursionError, OverflowError):
    return None
