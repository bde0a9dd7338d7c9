r"""Final answers: where a response states one. Nothing is run.

Worked example:

  extract(r'so x = 5, that is \boxed{\frac{5}{1}}.')                == r'\frac{5}{1}'
  extract('The answer is $(0, 9]$.')                                 == '(0, 9]'
  extract('16 - 7 = 9 eggs, 9 * 2 = $18.\n#### $1,018.50 a day')     == '$1,018.50'
  extract_choice('Therefore the answer is (B) 17.')                  == 'B'
  extract_choice('#### A or B')                                      is None
  extract_word('So the answer is no.', ('yes', 'no'))                == 'no'

What an answer means, and whether two are the same, is for equivalence to say. Every function is
total: hostile text (a million digits, digits of other scripts, nested brackets) costs at most
linear time.
"""

import re
from collections.abc import Sequence

from maxent_lm.tasks.hedges import OTHER, denied, disputed, joined, taken_back
from maxent_lm.tasks.maths.compare import Status, compare
from maxent_lm.tasks.maths.notation import parse

MAX_TEXT = 1 << 14  # characters at the end of a text that are searched
MAX_NUMBER = 60  # characters of one number, sign and commas included
MAX_ANSWER = 512  # characters of an answer
LETTERS = 'ABCDEFGHIJ'

# ASCII digits only. No part can match the same text in two ways: the searches are linear.
_DIGITS = r'(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+'
_SIGN = r'(?:(?<![\w)])[-+])?'  # after a digit, a letter or a bracket it is an operator
_SCALE = r'(?: (?:hundred|thousand|million|billion|trillion)\b)?'
_NUMBER = re.compile(rf'{_SIGN}(?:\$-?)?(?:{_DIGITS})(?:/[0-9]+)?%?{_SCALE}')
_SOFT_MARK = re.compile(r'\bA:|\banswer is\b|\banswer\s?:', re.IGNORECASE)
_BRACES = re.compile(r'\\[a-zA-Z]+|\\.|[{}]', re.DOTALL)
_MATHS = re.compile(r'\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]')
_SENTENCE_END = re.compile(r'[.!?](?=\s|$)')
_PROSE = re.compile(r'(?<![\\{A-Za-z])(?!and\b)[A-Za-z]{3,}(?![A-Za-z}])')
_FONT = re.compile(r'\\(?:text|mathrm|textbf|mathbf)\s?\{([^{}]*)\}')
_BEFORE_OPTION = re.compile(r'[\s*_:]*(?:option|choice)?[\s*_:]*', re.IGNORECASE)
_OPERATION = re.compile(r'\s*[=+*/^<>-](?!\*)')  # A = 5 is no choice


def extract_boxed(text: str) -> str | None:
  r"""What the last balanced \boxed{} or \fbox{} holds, the outer one of nested ones.

  '' if `or`, `and` or a comma joins it to a box before it that is not shown to say the same: of
  alternatives none is the answer.

  One pass over the text: `\{` and `\}` are no braces, an unclosed one is passed over.
  """
  opened: list[tuple[int, int]] = []  # where a brace was opened, and its box begins, or -1
  found, found_end, beside = None, 0, None  # `beside`: what the box holds that it is joined to
  command, command_start, command_end = '', 0, 0
  for match in _BRACES.finditer(text):
    mark = match.group()
    if mark == '{':
      is_box = command in (r'\boxed', r'\fbox') and not text[command_end : match.start()].strip()
      opened.append((match.end(), command_start if is_box else -1))
    elif mark == '}' and opened:
      start, box = opened.pop()
      if box >= 0:
        is_joined = box >= found_end and joined(text[found_end:box])
        beside = found if is_joined else None
        found, found_end = text[start : match.start()].strip(), match.end()
    command, command_start, command_end = mark, match.start(), match.end()
  return found if beside is None or found is None or _alike(beside, found) else ''


def _alike(one: str, other: str) -> bool:
  left, right = parse(one), parse(other)
  if left is None or right is None:
    return one == other
  return compare(left, right) is Status.EQUAL


def _marked(text: str) -> str | None:
  """The line that the last `####` opens, else the last softer mark; None if there is neither."""
  head, mark, tail = text.rpartition('####')
  if not mark:
    marks = list(_SOFT_MARK.finditer(text))
    if not marks:
      return None
    tail = text[marks[-1].end() :]
  return tail.lstrip(' \t\r\n:*').partition('\n')[0]


def extract(text: str, *, finished: bool = True) -> str | None:
  r"""The final answer of a response, as written; None if it has none.

  The first of these that the end of the text (MAX_TEXT characters) has:

    1. the last balanced \boxed{}
    2. what the line says that the last `####` opens, else the last `answer is`, `answer:` or `A:`:
       a formula between math delimiters, a choice such as (B), a short expression up to the end of
       the sentence, else the first number, unless it is denied, or others are offered beside it
       (hedges.py)
    3. the last number
    4. the only choice that is named: (B), option B

  A mark that no answer follows means no answer. More than MAX_ANSWER characters are no answer, nor
  is a number of more than MAX_NUMBER. Of a response that was cut (not `finished`), an answer at the
  very end might have gone on and is none.
  """
  text = text[-MAX_TEXT:]
  found = extract_boxed(text)
  if found is None:
    line = _marked(text)
    if line is None:
      found = _last_number(text) or extract_choice(text)
    else:
      found = _from_line(line)
  if not found or len(found) > MAX_ANSWER:
    return None
  return found if finished or not text.rstrip(' *').endswith(found) else None


def _last_number(text: str) -> str | None:
  found = [match.group() for match in _NUMBER.finditer(text)][-1:]
  return found[0] if found and len(found[0]) <= MAX_NUMBER else None


def _from_line(line: str) -> str | None:
  """The answer in what follows a mark."""
  line = line.strip(' \t\r*')
  sentence = line[: end.start()] if (end := _SENTENCE_END.search(line)) else line
  maths = _MATHS.match(line)
  if maths and not disputed(line[maths.end() :]):
    return next(group for group in maths.groups() if group).strip()
  choice = None if _OPERATION.match(line[1:]) else _only_letter(line, LETTERS)
  if choice:
    return choice
  if not _PROSE.search(sentence):
    return None if disputed(line[len(sentence) :]) else sentence.strip('* ')
  number = _NUMBER.search(line)
  if number and taken_back(line[: number.start()]):
    return None
  if number and not disputed(line[number.end() :]):
    return number.group() if len(number.group()) <= MAX_NUMBER else None
  return sentence.strip('* ') if number or len(sentence.split()) < 4 else None


# --- one of several options --------------------------------------------------------------------


def stated(text: str) -> str | None:
  """Where a response states its answer: its last box, else its marked line, without fonts."""
  text = text[-MAX_TEXT:]
  boxed = extract_boxed(text)
  line = _marked(text) if boxed is None else boxed
  return None if line is None else re.sub(_FONT, r'\1', line)


def extract_choice(text: str, letters: str = LETTERS) -> str | None:
  """The letter that a response to a multiple-choice question settles on; None if none.

  It must come first in the last box, else on the marked line, and no other letter may be offered
  there, nor may it be denied: hedging is no choice. A response without box and mark must be the
  letter itself, or name no other one, as `(B)` or `option B`.
  """
  text = text[-MAX_TEXT:]
  line = stated(text)
  if line is not None:
    return _only_letter(line, letters)
  alone = re.fullmatch(rf'\(?([{letters}])\)?\.?', text.strip())
  if alone:
    return alone[1]
  named = rf'\(([{letters}])\)|\b(?i:option|choice)\s+\(?([{letters}])\b'
  matches = list(re.finditer(named, text))
  found = {match[1] or match[2] for match in matches}
  others = re.compile(rf'\)?\s*{_joined_letter(letters)}')
  if len(found) != 1 or any(others.match(text, match.end()) for match in matches):
    return None
  return found.pop()


def _joined_letter(letters: str) -> str:
  """A pattern of a letter that is offered beside another one."""
  joint = rf'(?:\b(?:and|{OTHER})\b|[,;/&|?])'
  words = rf'(?:(?:and|{OTHER}|option|choice)\b[\s(*]{{0,3}}){{0,3}}'
  return rf"{joint}[\s(*]{{0,3}}{words}[{letters}](?![\w'])"


def _only_letter(line: str, letters: str) -> str | None:
  """The letter that a line begins with; None if another one is offered after it."""
  before = _BEFORE_OPTION.match(line)
  first = re.compile(rf'\(?([{letters}])(?:(\))|(?=[.,;:*\s|/&?]|$))').match(
    line, before.end() if before else 0
  )
  if first is None:
    return None
  rest = line[first.end() :]
  if denied(rest):
    return None
  if first[2]:  # after (B) or B) a capital A may be a word
    rival = rf'\(?\b[{letters}]\)|{_joined_letter(letters)}'
  else:
    rival = rf"(?<![\w'])[{letters}](?![\w'])"
  rivals = ''.join(re.findall(rival, rest))
  return None if set(rivals) & set(letters) - {first[1]} else first[1]


def extract_word(text: str, words: Sequence[str]) -> str | None:
  """The one of `words` that a response settles on, in any case; None if none.

  It must come first in the last box, else on the marked line, and none of the others may follow
  there. A response without box and mark must be the word itself.
  """
  text = text[-MAX_TEXT:]
  line = stated(text)
  word = rf'\b(?:{"|".join(map(re.escape, words))})\b'
  ends = r'\W*\Z' if line is None else ''
  line = text if line is None else line
  first = re.match(rf'[\W_]*{word}{ends}', line, re.IGNORECASE)
  if first is None or denied(line[first.end() :]):
    return None
  named = {name.casefold() for name in re.findall(word, line, re.IGNORECASE)}
  return next((each for each in words if named == {each.casefold()}), None)
