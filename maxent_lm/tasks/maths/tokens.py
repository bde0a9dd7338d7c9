"""An answer as written, in LaTeX or plain, cut into tokens. Nothing is run; time is linear.

Worked example:

  tokenise(r'\\frac{1}{2}\\pi')   [('name', 'frac'), ('op', '{'), ('num', '1'), ..., ('name', 'pi')]
  tokenise('10,080 miles')      [('num', '10080'), ('text', 'miles')]

A token is (kind, value): 'num' a decimal in ASCII digits, 'exact' a Fraction (a repeating decimal),
'var' a variable, 'name' a function, constant or construct, 'text' a word in lower case, 'op' the
rest. Spacing, sizes (\\left, \\big) and fonts are dropped.

Commas. A chain of digit groups outside brackets is one number iff it is grouped in threes as a
whole: 1,234 is a number, 27,54,108 and 2500,7500 are lists. Inside brackets a comma separates:
(2,251,252) has three parts. Explicit grouping (`{,}`, `,\\!`, `\\,` before three digits) joins
anywhere. Digits of other scripts are no digits.
"""

import re
from fractions import Fraction
from typing import Any

from maxent_lm.tasks.maths.units import UNITS

MAX_TEXT = 512  # characters of an answer without superfluous spaces
MAX_EXPONENT = 400  # of a decimal in scientific notation

Token = tuple[str, Any]
END: Token = ('end', '')

FUNCTIONS = frozenset(
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp abs floor ceil'.split()
)
_NAMES = FUNCTIONS | {'pi', 'frac', 'sqrt', 'cbrt', 'binom', 'emptyset', 'reals'}
_ALIASES = {
  **dict.fromkeys(('dfrac', 'tfrac', 'cfrac'), 'frac'),
  **dict.fromkeys(('dbinom', 'tbinom'), 'binom'),
  **{f'a{name}': f'arc{name}' for name in ('sin', 'cos', 'tan')},
  'varnothing': 'emptyset',
}
_OPERATORS = {
  **dict.fromkeys(('cdot', 'times', 'ast'), '*'),
  **dict.fromkeys(('le', 'leq', 'leqslant'), '<='),
  **dict.fromkeys(('ge', 'geq', 'geqslant'), '>='),
  **dict.fromkeys(('ne', 'neq'), '!='),
  **dict.fromkeys(('mid', 'vert', 'lvert', 'rvert'), '|'),
  **dict.fromkeys(('infty', 'infinity', 'inf', 'oo'), 'inf'),
  **dict.fromkeys(('cup', 'union'), 'cup'),
  **dict.fromkeys(('or', 'and'), 'or'),
  **{name: name for name in ('pm', 'mp', 'in', 'lfloor', 'rfloor', 'lceil', 'rceil')},
  **{'div': '/', 'lt': '<', 'gt': '>', 'colon': ':', 'degree': 'deg', 'circ': 'deg'},
  **{'lbrace': '\\{', 'rbrace': '\\}', 'langle': '(', 'rangle': ')', 'lbrack': '[', 'rbrack': ']'},
}
_GREEK = frozenset(
  'alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi '
  'rho sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell'.split()
)
_DROPPED = frozenset(
  'left right big Big bigl bigr Bigl Bigr bigg Bigg biggl biggr displaystyle textstyle quad qquad '
  'limits rm'.split()
)
_PLAIN = FUNCTIONS | {'pi', 'sqrt', 'cbrt', 'asin', 'acos', 'atan'}
_PLAIN_OPERATORS = frozenset({'infinity', 'inf', 'oo', 'infty', 'cup', 'union', 'or', 'and', 'in'})
_SHORT_WORDS = frozenset({'no', 'is', 'of', 'to', 'it', 'if'})

_UNICODE = str.maketrans(
  {
    **{'−': '-', '–': '-', '×': '*', '·': '*', '⋅': '*', '÷': '/', '∕': '/', '\u00a0': ' '},
    **{'π': r'\pi ', '√': r'\sqrt ', '∞': r'\infty ', '≤': r'\le ', '≥': r'\ge ', '≠': r'\ne '},
    **{
      '∪': r'\cup ',
      '±': r'\pm ',
      '∓': r'\mp ',
      '∈': r'\in ',
      '°': r'^\circ ',
      '∅': r'\emptyset ',
    },
    **{
      '²': '^2 ',
      '³': '^3 ',
      '½': r'\frac12 ',
      '¼': r'\frac14 ',
      '¾': r'\frac34 ',
      'θ': r'\theta ',
    },
    **{'⌊': r'\lfloor ', '⌋': r'\rfloor ', '⌈': r'\lceil ', '⌉': r'\rceil ', 'ℝ': r'\mathbb{R}'},
  }
)
_GROUPING = re.compile(r'(?<=[0-9])(?:,\s?\\!\s?|\{,\}\s?|\\,)(?=[0-9]{3}(?![0-9]))')
_CHAIN = re.compile(r'[0-9]+(?:,[0-9]+)+')
_THOUSANDS = re.compile(r'[0-9]{1,3}(?:,[0-9]{3})+')
_TOKEN = re.compile(
  r'(?P<space>\s+|\\[ ,;:!]|~)'
  r'|(?P<repeating>[0-9]*\.[0-9]*\\(?:overline|bar)\s?\{[0-9]+\})'
  r'|(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+(?![0-9A-Za-z]))?)'
  r'|(?P<degree>\^\s?(?:\\circ(?![A-Za-z])|\{\s?\\circ\s?\}))'
  r'|(?P<reals>\\mathbb\s?\{?R\}?)'
  r'|(?P<text>\\(?:text|mbox|textbf|textrm|textit|textsf|mathrm|mathbf|mathit|mathsf|operatorname)'
  r'\s?\{(?P<content>[^{}]*)\})'
  r'|(?P<matrix>\\(?:begin|end)\s?\{[pbv]?matrix\})'
  r'|(?P<command>\\[A-Za-z]+)'
  r'|(?P<word>[A-Za-z]+)'
  r'|(?P<op>\\\\|\\[{}%$]|\*\*|<=|>=|!=|[-+*/^!%=<>,;:|_()\[\]{}&$])'
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z .,'/-]*")
_CHOICE = re.compile(r'\(?([A-Z])[).]?')


def clean(text: str) -> str:
  """The answer without outer delimiters, double spaces, a full stop; Unicode signs as LaTeX."""
  text = re.sub(r'\s+', ' ', text.translate(_UNICODE)).strip()
  text = text.removesuffix('.').strip()
  if len(text) > 1 and text[0] == text[-1] == '$' and not text.endswith(r'\$'):
    text = re.sub(r'(?<!\\)\$', '', text)
  for opening, closing in ((r'\(', r'\)'), (r'\[', r'\]')):
    if text.startswith(opening) and text.endswith(closing):
      text = text[2:-2]
  if text.startswith(r'\boxed{') and text.endswith('}'):
    text = text[7:-1]
  return _GROUPING.sub('', text.strip().removesuffix('.').strip())


def tokenise(text: str) -> list[Token]:
  """Tokens of a cleaned text.

  Raises:
    ValueError: more than MAX_TEXT characters, or something that no answer has.
  """
  if len(text) > MAX_TEXT:
    raise ValueError('too long')
  tokens: list[Token] = []
  place, depth, listed = 0, 0, 0  # `listed`: up to here commas are known to separate
  while place < len(text):
    chain = _CHAIN.match(text, place) if depth == 0 and place >= listed else None
    if chain and _THOUSANDS.fullmatch(chain.group()):
      digits = chain.group().replace(',', '')
      decimals = re.compile(r'\.[0-9]+').match(text, chain.end())
      tokens.append(('num', digits + (decimals.group() if decimals else '')))
      place = decimals.end() if decimals else chain.end()
      continue
    listed = chain.end() if chain else listed
    match = _TOKEN.match(text, place)
    if match is None:
      raise ValueError(f'unexpected {text[place]!r}')
    found = _token(match)
    depth += sum((value in ('(', '[', '\\{')) - (value in (')', ']', '\\}')) for _, value in found)
    tokens += found
    place = match.end()
  return tokens


def _token(match: re.Match[str]) -> list[Token]:
  kind, text = match.lastgroup, match.group()
  if kind == 'content':  # lastgroup names the inner group of a \text{...}
    kind = 'text'
  if kind == 'space':
    return []
  if kind == 'op':
    return [('op', {'**': '^', '$': '\\$', '\\%': '%'}.get(text, text))]
  if kind == 'degree':
    return [('op', 'deg')]
  if kind == 'reals':
    return [('name', 'reals')]
  if kind == 'matrix':
    return [('op', 'begin' if text.startswith('\\begin') else 'end')]
  readers = {'number': _number, 'repeating': _repeating, 'command': _command, 'word': _word}
  return readers[kind](text) if kind in readers else _text(match.group('content'))


def _number(text: str) -> list[Token]:
  exponent = re.split('[eE]', text)[1:]
  if exponent and (len(exponent[0]) > 5 or abs(int(exponent[0])) > MAX_EXPONENT):
    raise ValueError('too large')
  return [('exact', Fraction(text))] if exponent else [('num', text)]


def _repeating(text: str) -> list[Token]:
  whole, _, rest = text.partition('.')
  fixed, _, period = rest.partition('\\')
  period = period[period.index('{') + 1 : -1]
  cycle = Fraction(int(period), 10 ** len(fixed) * (10 ** len(period) - 1))
  return [('exact', Fraction(f'{whole or 0}.{fixed or 0}') + cycle)]


def _command(text: str) -> list[Token]:
  name = text[1:]
  name = _ALIASES.get(name, name)
  if name in _DROPPED:
    return []
  if name in _NAMES:
    return [('name', name)]
  if name in _OPERATORS:
    return [('op', _OPERATORS[name])]
  if name in _GREEK:
    return [('var', name)]
  if name in ('max', 'min'):  # they occur as subscripts
    return [('text', name)]
  raise ValueError(f'unknown command {text}')


def is_word(letters: str) -> bool:
  """Whether a run of letters is a word rather than a product of variables."""
  low = letters.lower()
  if low in UNITS or low in _SHORT_WORDS:
    return True
  return len(low) > 2 and not set(low).isdisjoint('aeiou') and not set(low) <= set('abcd')


def _word(text: str) -> list[Token]:
  name = _ALIASES.get(text, text)
  if name in _PLAIN:
    return [('name', name)]
  if text.lower() in _PLAIN_OPERATORS:
    return [('op', _OPERATORS[text.lower()])]
  return [('text', text.lower())] if is_word(text) else [('var', letter) for letter in text]


def _text(content: str) -> list[Token]:
  """\\text{...}: a choice, a separator, a function, words; anything else is read as if bare."""
  content = content.strip()
  choice = _CHOICE.fullmatch(content)
  if choice:
    return [('var', choice.group(1))]
  if not _WORDS.fullmatch(content):
    return tokenise(content)
  words = content.lower().strip(' .,').split()
  if words in (['or'], ['and']):
    return [('op', 'or')]
  if len(words) == 1 and words[0] in _PLAIN:
    return [('name', _ALIASES.get(words[0], words[0]))]
  return [('text', word.strip('.,')) for word in words]


class Cursor:
  """A place in a list of tokens."""

  def __init__(self, tokens: list[Token]) -> None:
    self.tokens, self.place = tokens, 0

  def peek(self, ahead: int = 0) -> Token:
    """The token `ahead` of the next one, or END."""
    place = self.place + ahead
    return self.tokens[place] if place < len(self.tokens) else END

  def at(self, *operators: str) -> bool:
    """Whether the next token is one of these operators."""
    kind, value = self.peek()
    return kind == 'op' and value in operators

  def take(self) -> Any:
    """The value of the next token, which is passed; IndexError at the end."""
    self.place += 1
    return self.tokens[self.place - 1][1]

  def accept(self, *operators: str) -> bool:
    """Passes the next token if it is one of these operators."""
    found = self.at(*operators)
    self.place += found
    return found

  def expect(self, *operators: str) -> str:
    """Passes one of these operators; ValueError if another token is next."""
    if not self.at(*operators):
      raise ValueError(f'expected one of {operators}')
    return self.take()
