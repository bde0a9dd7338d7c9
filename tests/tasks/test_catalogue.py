"""The catalogue of expressions: its published sizes, and texts and values against the parser."""

import numpy as np
import pytest

from maxent_lm.tasks.catalogue import OPERATORS, catalogue
from maxent_lm.tasks.expressions import canonical, evaluate


@pytest.mark.parametrize(
  ('size', 'count'),
  [(1, 1), (2, 6), (3, 68), (4, 1170), (5, 27142), pytest.param(6, 793002, marks=pytest.mark.slow)],
)
def test_the_number_of_forms_is_the_published_one(size, count):
  """OEIS A140606; two forms that shared their residues would be one, and the number too small."""
  assert len(catalogue(size).whole) == count


@pytest.mark.parametrize('size', [2, 3, 4, 5])
def test_forms_are_canonical_and_differ(size):
  book = catalogue(size)
  forms = book.whole if size < 5 else book.whole[::50]
  numbers = (2, 3, 5, 7, 11)[:size]
  keys = [book.key(form) for form in forms]
  assert len(set(keys)) == len(keys)
  for form, key in zip(forms, keys, strict=True):
    texts = [text.format(*numbers) for text in book.texts(form, OPERATORS)]
    assert {canonical(text) for text in texts} == {key.format(*numbers)}
    assert len(set(texts)) == len(texts) == book.count_texts(OPERATORS)[form]
    assert key.format(*numbers) in texts


@pytest.mark.parametrize('operators', ['+', '+-', '*/', '-/', '+-*'])
def test_operators_that_are_left_out_are_in_no_text(operators):
  book = catalogue(4)
  for form in book.whole[::7]:
    texts = book.texts(form, operators)
    wanted = [t for t in book.texts(form, OPERATORS) if set(t) & set(OPERATORS) <= set(operators)]
    assert list(texts) == wanted and len(wanted) == book.count_texts(operators)[form]


@pytest.mark.parametrize('numbers', [(2, 3, 5, 7), (1, 2, 3, 4), (1, 2, 3, 5, 7), (4, 6, 8, 9, 12)])
def test_values_are_those_of_the_canonical_texts(numbers):
  book = catalogue(len(numbers))
  others = tuple(n + 20 for n in numbers)
  rows = list(book.reach(np.array([others, numbers]), None))
  targets, forms = rows[1]
  assert len(rows) == 2 and (np.diff(targets) >= 0).all()
  reached = dict(zip(forms.tolist(), targets.tolist(), strict=True))
  for form in book.whole if len(numbers) < 5 else book.whole[::20]:
    value = evaluate(book.key(form).format(*numbers))
    right = value is not None and value > 0 and value.denominator == 1
    assert reached.get(form) == (int(value) if right else None)
  few_targets, few_forms = next(book.reach(np.array([numbers]), 10))
  assert few_targets.tolist() == targets[targets <= 10].tolist()
  assert few_forms.tolist() == forms[targets <= 10].tolist()


def test_errors():
  with pytest.raises(ValueError, match='no catalogue of 7 numbers'):
    catalogue(7)
  with pytest.raises(ValueError, match='1000000 is too large for 4 numbers'):
    next(catalogue(4).reach(np.array([[1, 999998, 999999, 1000000]]), None))
