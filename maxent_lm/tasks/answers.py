"""Numeric final answers: find one in a text, read it exactly, compare. Bounded; nothing is run.

Worked example:

  extract_final('16 - 7 = 9 eggs, 9 * 2 = $18.\n#### $1,018.50')   == '$1,018.50'
  parse_number('$1,018.50')                                         == Fraction(2037, 2)
  equal('1018.5', '$1,018.50')                                      is True

Every function is total: hostile text (a million digits, digits of other scripts, nested brackets)
costs at most linear time and gives None or False.
"""

import re
from fractions import Fraction

MAX_TEXT = 1 << 14  # characters at the end of a text that are searched
MAX_NUMBER = 60  # characters of one number, sign and commas included
MAX_DIGITS = 40

# ASCII digits only. No part can match the same text in two ways: the searches are linear.
_DIGITS = r'(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+'
_SIGN = r'(?:(?<![\w)])[-+])?'  # after a digit, a letter or a bracket it is an operator
_NUMBER = re.compile(rf'{_SIGN}(?:\$-?)?(?:{_DIGITS})(?:/[0-9]+)?%?')
_SOFT_MARK = re.compile(r'\bA:|\banswer is\b|\banswer:', re.IGNORECASE)


def _after_mark(text: str) -> str | None:
  """What follows the last `####`, else the last softer mark; None if there is neither."""
  head, mark, tail = text.rpartition('####')
  if mark:
    return tail
  marks = list(_SOFT_MARK.finditer(text))
  return text[marks[-1].end() :] if marks else None


def extract_final(text: str) -> str | None:
  """The final answer as written: the first number on the line that a mark opens, else the last one.

  The mark is the last `####`; without one the last `A:`, `answer is` or `answer:`. A mark that no
  number follows means no answer (None); only a text without any mark falls back on its last number.
  """
  text = text[-MAX_TEXT:]
  tail = _after_mark(text)
  if tail is None:
    found = [match.group() for match in _NUMBER.finditer(text)][-1:]
  else:
    first = _NUMBER.search(tail.lstrip().partition('\n')[0])
    found = [first.group()] if first else []
  return found[0] if found and len(found[0]) <= MAX_NUMBER else None


def parse_number(text: str) -> Fraction | None:
  """Exact value of a decimal or simple fraction a/b, with sign, thousands commas, $ and %.

  `$` and `%` are units and dropped: 50% is 50. None for anything else, for more than MAX_DIGITS
  digits, and for a denominator of zero.
  """
  if len(text) > MAX_NUMBER:
    return None
  text = text.strip()
  digits = sum(character in '0123456789' for character in text)
  if digits > MAX_DIGITS or not _NUMBER.fullmatch(text):
    return None
  above, _, below = re.sub(r'[$%,+]', '', text).partition('/')
  sign = -1 if '-' in above else 1
  denominator = Fraction(below or 1)
  return sign * Fraction(above.replace('-', '')) / denominator if denominator else None


def equal(gold: str, answer: str) -> bool:
  """Whether both are numbers, and the same one."""
  value = parse_number(gold)
  return value is not None and value == parse_number(answer)
