r"""What takes a stated answer back, or offers others beside it.

Worked example, by what stands around 42:

  taken_back('less than ')                       True
  disputed(' or 43'), disputed(', possibly 43')  True, True
  disputed(' is wrong')                          True
  disputed(', since 43 is odd')                  False: an explanation
  joined(' or '), joined('. So, ')               True, False: what stands between two boxes

Explanations hold numbers, too, and no rule tells all of them from hedges. Those here lose none of
the right answers of GSM8K's labelled solutions. Time is linear.
"""

import re

OTHER = (
  'or|xor|nor|else|otherwise|alternatively|maybe|possibly|perhaps|probably|no(?=,)|wait|no wait'
)
_VALUE = r'(?:[0-9]|\$|\\\(|\\\[)'
_NOT = re.compile(r"\b(?:not|never|cannot)\b|n't\b", re.IGNORECASE)
_BOUND = re.compile(
  r'(?:\b(?:no|less|more|fewer|greater|smaller|larger|higher|lower|least|most|between|about|around|'
  r'roughly|approximately|nearly|almost|under|over|below|above|except|unlike|beyond)\b|[<>~≤≥≈])'
  r'(?:\s(?:than|to|be|a|the|really|exactly|equal|as|is|of)\b){0,3}[\s$*(]{0,4}\Z',
  re.IGNORECASE,
)
_DENIED = re.compile(
  r"\W{0,3}(?:(?:is|was|are|were|seems|looks)\s(?:not|wrong|incorrect|false|untrue)\b|isn't|wasn't)",
  re.IGNORECASE,
)
_GOES_ON = re.compile(
  r'\W{0,3}(?:dozens?|half|halves|squared|cubed|factorial|minus|plus|hundred|thousand|million|'
  r'billion|trillion)\b',
  re.IGNORECASE,
)
_EXPLAINED = re.compile(
  r'\b(?:since|because|as|for|not|so|therefore|thus|hence|where|which|when|with|after|in|on|at|by|'
  rf'from|per|over|during|each|of|out)\b|\((?!\s*(?:{OTHER})\b)',
  re.IGNORECASE,
)
_SENTENCE_END = re.compile(r'[.!?](?=\s|$)')
_RIVAL = re.compile(
  rf'(?:\A|[,;.?!(-])\s{{0,3}}(?:{OTHER})\b\W{{0,9}}(?:[a-z]{{1,20}}\W{{1,9}}){{0,2}}{_VALUE}',
  re.IGNORECASE,
)
_JOINT = rf'\b(?:and|either|{OTHER})\b'
_JOINED = re.compile(rf'[\s$().\\]*(?:[,;/&|]|{_JOINT})(?:[\s$(),;/&|\\]|{_JOINT})*', re.IGNORECASE)
LONGEST = 60  # characters between two boxes that are joined


def taken_back(before: str) -> bool:
  """Whether words before a number, from a mark on, deny it or make it a bound."""
  return bool(_NOT.search(before) or _BOUND.search(before[-80:]))


def denied(after: str) -> bool:
  """Whether what follows an answer says that it is wrong."""
  return bool(_DENIED.match(after))


def disputed(after: str) -> bool:
  """Whether what follows a number or formula on its line denies it, goes on, or has others."""
  sentence = after[: end.start()] if (end := _SENTENCE_END.search(after)) else after
  stated = sentence[: aside.start()] if (aside := _EXPLAINED.search(sentence)) else sentence
  if denied(after) or _GOES_ON.match(after):
    return True
  return bool(re.search(_VALUE, stated) or _RIVAL.search(after))


def joined(between: str) -> bool:
  """Whether what stands between two boxes makes alternatives or a list of them."""
  return len(between) <= LONGEST and bool(_JOINED.fullmatch(between))
