"""Other ways to write an answer in LaTeX; used by the tests and by experiments/tables."""

import re
from collections.abc import Iterator


def variants(text: str) -> Iterator[str]:
  """The same answer, written in other ways; a way that changes nothing gives the answer itself."""
  for written in _written(text):
    # the comma of 1,234 does not stand before a space
    if not re.search(r'\d,\d{3}', text) or ', ' not in written:
      yield written


def _written(text: str) -> Iterator[str]:
  yield f'${text}$'
  yield f'\\boxed{{{text}}}'
  yield re.sub(r'(?<!\\right)\)', r'\\right)', re.sub(r'(?<!\\left)\(', r'\\left(', text)).replace(
    r'\frac', r'\dfrac'
  )
  yield (
    text.replace(r'\ddfrac', r'\tfrac').replace('+', ' + ').replace(',', ', ').replace('  ', ' ')
  )
  yield re.sub(r'\\frac(\d)(\d)', r'\\frac{\1}{\2}', text)
  yield re.sub(r'(\d) ?\\frac\{(\d+)\}\{(\d+)\}', r'\1 \2/\3', text)
  yield re.sub(r'(?<!\d)(?<!\d )\\d?frac\{(-?\d+)\}\{(\d+)\}', r'{\1}/{\2}', text)
  yield re.sub(r'\\sqrt\{(\w+)\}', r'{\1}^{1/2}', text)
  yield re.sub(r'\\text\{\(?(\w+)\)?\}$', r'\1', text)
  yield text.replace('pmatrix', 'bmatrix').replace(r'^\circ', '°').replace(r'\pi', 'π')
