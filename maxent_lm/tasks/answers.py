r"""Final answers: find one in a text; read numbers exactly and compare them. Nothing is run.

Worked example:

  extract(r'so x = 5, that is \boxed{\frac{5}{1}}.')               == r'\frac{5}{1}'
  extract('The answer is $(0, 9]$.')                                == '(0, 9]'
  extract_choice('Therefore the answer is (B).')                    == 'B'
  extract_final('16 - 7 = 9 eggs, 9 * 2 = $18.\n#### $1,018.50')    == '$1,018.50'
  parse_number('$1,018.50')                                         == Fraction(2037, 2)
  equal('1018.5', '$1,018.50')                                      is True

`extract` finds answers of any kind, for equivalence.py to compare; `extract_final`, `parse_number`
and `equal` are for tasks whose answers are numbers. Every function is total: hostile text (a
million digits, digits of other scripts, nested brackets) costs at most linear time and gives None
or False.
"""

import re
from fractions import Fraction

MAX_TEXT = 1 << 14  # characters at the end of a text that are searched
MAX_NUMBER = 60  # characters of one number, sign and commas included
MAX_DIGITS = 40
MAX_ANSWER = 512  # characters of an answer that is no number

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


# --- answers of any kind -----------------------------------------------------------------------

_BRACES = re.compile(r'\\[a-zA-Z]+|\\.|[{}]', re.DOTALL)
_MATHS = re.compile(r'\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]')
_SENTENCE_END = re.compile(r'[.!?](?=\s|$)')
_PROSE = re.compile(r'(?<![\\{A-Za-z])[A-Za-z]{3,}(?![A-Za-z}])')
_LEADING_CHOICE = re.compile(r'[\s*_:]*\(?([A-J])(?:\)|[.,;:*]|\s(?!\s*[=+*/^<>-])|$)')
_FONT = re.compile(r'\\(?:text|mathrm|textbf)\s?\{([^{}]*)\}')
_CHOICE = re.compile(r'\(([A-J])\)|\b(?i:option|choice)\s+\(?([A-J])\b')


def extract_boxed(text: str) -> str | None:
  r"""What the last balanced \boxed{} or \fbox{} holds, the outer one of nested ones.

  One pass over the text: `\{` and `\}` are no braces, an unclosed one is passed over.
  """
  opened: list[tuple[int, bool]] = []  # where a brace was opened, and whether by a box
  found = None
  command, command_end = '', 0
  for match in _BRACES.finditer(text):
    mark = match.group()
    if mark == '{':
      is_box = command in (r'\boxed', r'\fbox') and not text[command_end : match.start()].strip()
      opened.append((match.end(), is_box))
    elif mark == '}' and opened:
      start, is_box = opened.pop()
      found = text[start : match.start()] if is_box else found
    command, command_end = mark, match.end()
  return found if found is None else found.strip()


def extract(text: str) -> str | None:
  r"""The final answer of a response, as written; None if it has none.

  The first of these that the end of the text (MAX_TEXT characters) has:

    1. the last balanced \boxed{}
    2. the line after the last `####`
    3. what follows the last `answer is`, `answer:` or `A:` on its line: a formula between math
       delimiters, a choice such as (B), a short expression up to the end of the sentence, else the
       first number
    4. the last number
    5. the last choice: (B), option B

  A mark that no answer follows means no answer. More than MAX_ANSWER characters are no answer.
  """
  text = text[-MAX_TEXT:]
  found = extract_boxed(text)
  if found is None:
    tail = _after_mark(text)
    if tail is None:
      found = extract_final(text) or extract_choice(text)
    elif '####' in text:
      found = tail.strip().partition('\n')[0].strip()
    else:
      found = _from_sentence(tail.lstrip().partition('\n')[0])
  return found if found and len(found) <= MAX_ANSWER else None


def _from_sentence(line: str) -> str | None:
  """The answer in what follows `answer is`."""
  line = line.strip().strip('*').lstrip(':').strip()
  maths = _MATHS.match(line)
  if maths:
    return next(group for group in maths.groups() if group).strip()
  choice = _LEADING_CHOICE.match(line)
  if choice:
    return choice.group(1)
  sentence = line[: end.start()] if (end := _SENTENCE_END.search(line)) else line
  if not _PROSE.search(sentence):
    return sentence.strip('* ')
  number = _NUMBER.search(line)
  if number:
    return number.group()
  return sentence.strip('* ') if len(sentence.split()) < 4 else None


def extract_choice(text: str) -> str | None:
  """The letter A to J that a response to a multiple-choice question settles on; None if none.

  A box or `answer is` goes before the last `(B)` or `option B`.
  """
  text = text[-MAX_TEXT:]
  boxed = extract_boxed(text)
  tail = re.sub(_FONT, r'\1', boxed) if boxed else _after_mark(text)
  leading = _LEADING_CHOICE.match(tail) if tail else None
  if leading:
    return leading.group(1)
  found = list(_CHOICE.finditer(tail if boxed and tail else text))
  return next(group for group in found[-1].groups() if group) if found else None


# --- numbers -----------------------------------------------------------------------------------


def equal(gold: str, answer: str) -> bool:
  """Whether both are numbers, and the same one."""
  value = parse_number(gold)
  return value is not None and value == parse_number(answer)
