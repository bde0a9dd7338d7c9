"""The canonical form is equality of rational functions; the parser accepts its grammar only."""

import itertools
from fractions import Fraction

import fuzzing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm.tasks.expressions import MAX_LENGTH, analyse, canonical, evaluate, parse


def spell(tree):
  """Every operation in parentheses."""
  return str(tree) if isinstance(tree, int) else f'({spell(tree[1])}{tree[0]}{spell(tree[2])})'


def trees(numbers):
  """All trees over a sequence of numbers, in that order."""
  if len(numbers) == 1:
    yield numbers[0]
  for cut in range(1, len(numbers)):
    for left, right in itertools.product(trees(numbers[:cut]), trees(numbers[cut:])):
      yield from ((operator, left, right) for operator in '+-*/')


def exact(tree, at):
  if isinstance(tree, int):
    return at[tree]
  left, right = exact(tree[1], at), exact(tree[2], at)
  if tree[0] == '/':
    return left / right
  return {'+': left + right, '-': left - right, '*': left * right}[tree[0]]


# A140606(n) of the OEIS, "number of inequivalent expressions involving n operands".
@pytest.mark.parametrize('size,count', [(1, 1), (2, 6), (3, 68), (4, 1170)])
def test_forms_are_the_rational_functions(size, count):
  """With each variable used once, equal keys and equal values at a generic point are the same."""
  generic = {i + 2: Fraction(p) for i, p in enumerate((10007, 1000003, 100000007, 10**10 + 19))}
  pairs = set()
  for order in itertools.permutations((2, 3, 4, 5)[:size]):
    for tree in trees(order):
      pairs.add((canonical(spell(tree)), exact(tree, generic)))
  assert len(pairs) == len({key for key, _ in pairs}) == len({value for _, value in pairs}) == count


@pytest.mark.parametrize(
  'left,right',
  [
    ('2-(3-4)', '(2+4)-3'),
    ('2/(3/4)', '(2*4)/3'),
    ('(3-2)*(5-4)', '(2-3)*(4-5)'),
    ('9-(2-3)*(4-5)', '9+(3-2)*(4-5)'),
    ('2-3*(4-5)', '2+3*(5-4)'),
    ('(2-3)/(4-5)', '(3-2)/(5-4)'),
    ('((2+3))', '3+2'),
    ('7-(8-8)*2', '(8-8)*2+7'),  # a difference of equal terms is its own negative
    ('7-(8-8)', '7+8-8'),
  ],
)
def test_rewritings_merge(left, right):
  assert canonical(left) == canonical(right) is not None


@pytest.mark.parametrize(
  'left,right',
  [
    ('2+2', '2*2'),
    ('5*1', '5/1'),
    ('2*(3+4)', '2*3+2*4'),
    ('2-3', '3-2'),
    ('2/3', '3/2'),
    ('5*1', '5'),
    ('3+4', '4+3+5-5'),
  ],
)
def test_values_and_distributivity_do_not_merge(left, right):
  assert canonical(left) != canonical(right)


@pytest.mark.parametrize(
  'text,key,value',
  [
    ('((3-2)*4-5)*6', '6*(4*(3-2)-5)', -6),  # only a term deep inside can carry the sign
    ('(2-3)*4', '4*(2-3)', -4),
    ('(2-3)*4-5*(7-6)', '4*(2-3)+5*(6-7)', -9),
    ('(2-3)*4-5', '4*(2-3)-5', -9),
  ],
)
def test_signs_are_written_without_a_unary_minus(text, key, value):
  assert (canonical(text), evaluate(key)) == (key, value)


NUMBERS = st.integers(1, 20)
TREES = st.recursive(
  NUMBERS, lambda t: st.tuples(st.sampled_from('+-*/'), t, t), max_leaves=8
).filter(lambda tree: len(spell(tree)) <= MAX_LENGTH)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_the_key_is_an_expression_of_the_same_class_numbers_and_value(tree):
  text = spell(tree)
  found = analyse(text)
  assert found is not None
  again = analyse(found.key)
  assert again is not None and (again.key, again.numbers) == (found.key, found.numbers)
  if found.value is not None:
    assert again.value == found.value


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_values_are_those_of_exact_arithmetic(tree):
  try:
    value = exact(tree, {n: Fraction(n) for n in range(1, 21)})
  except ZeroDivisionError:
    value = None
  assert parse(spell(tree)) == tree
  assert evaluate(spell(tree)) == value


def mirror(tree):
  """Another expression of the same class: operands change places, signs and inverses move."""
  if isinstance(tree, int):
    return tree
  operator, left, right = tree
  left, right = mirror(left), mirror(right)
  if operator in '+*':
    return operator, right, left
  if not isinstance(right, int) and right[0] == '-' and operator == '-':
    return '-', ('+', left, right[2]), right[1]  # a-(b-c) = (a+c)-b
  if not isinstance(right, int) and right[0] == '/' and operator == '/':
    return '/', ('*', left, right[2]), right[1]  # a/(b/c) = (a*c)/b
  return operator, left, right


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_rewriting_keeps_the_key(tree):
  assert canonical(spell(mirror(tree))) in (canonical(spell(tree)), None)


def test_precedence_and_associativity():
  assert evaluate('2+3*4') == 14 and evaluate('20-5-3') == 12 and evaluate('24/4/2') == 3
  assert (
    evaluate('(2+3)*4') == 20 and evaluate('2-(3-4)*5') == 7 and evaluate('1/3') == Fraction(1, 3)
  )


@pytest.mark.parametrize(
  'text',
  ['', ' ', '-2', '+2', '2+', '2 + 3', '2+3 ', '02', '2+03', '0', '2(3)', '(2)(3)', '2**3', '2//3']
  + ['2^3', '2+3=5', '(2+3', '2+3)', '()', '2+-3', '2.5', '1e3', '٣+2', '２+3', 'x', '2+3\n', '2,3']
  + ['__import__("os")', '(' * 10**6, '1' * 65, '+'.join('1' * 33), '\x00', '2+(3*)'],
)  # fmt: skip
def test_anything_else_is_rejected(text):
  assert parse(text) is None and evaluate(text) is None and canonical(text) is None


def test_long_and_deep_expressions_within_the_bound():
  assert evaluate('(' * 31 + '7' + ')' * 31) == 7
  assert evaluate('9' * 64) == 10**64 - 1


def test_division_by_zero_has_a_class_but_no_value():
  assert evaluate('5/(3-3)') is None and canonical('5/(3-3)') == '5/(3-3)'


@fuzzing.fuzzed(300)
@given(st.text('0123456789+-*/() ', max_size=70))
def test_no_text_raises(text):
  found = analyse(text)
  assert found is None or analyse(found.key) is not None
