"""Final answers: equality is equality of exact numbers, and the graders' own labels are met.

gsm8k_model_solutions.jsonl holds the ends of 24 rows of `example_model_solutions.jsonl` from
github.com/openai/grade-school-math (MIT), chosen to show every form of answer that occurs there.
"""

import gzip
import json
import os
import pathlib
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm.tasks.answers import (
  MAX_ANSWER,
  MAX_DIGITS,
  MAX_NUMBER,
  MAX_TEXT,
  equal,
  extract,
  extract_boxed,
  extract_choice,
  extract_final,
  parse_number,
)

EXCERPT = pathlib.Path(__file__).parent / 'gsm8k_model_solutions.jsonl'


def agrees(row):
  gold, answer = extract_final(row['ground_truth']), extract_final(row['solution'])
  assert gold is not None
  return (answer is not None and equal(gold, answer)) == row['is_correct']


def test_agrees_with_the_labels_of_an_excerpt():
  rows = [json.loads(line) for line in EXCERPT.read_text().splitlines()]
  assert len(rows) == 24 and 0 < sum(row['is_correct'] for row in rows) < 24
  assert all(map(agrees, rows))


@pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')
def test_agrees_with_all_5276_labels():
  path = pathlib.Path(os.environ['MAXENT_LM_DATA']) / 'gsm8k' / 'model_solutions.jsonl.gz'
  with gzip.open(path, 'rt', encoding='utf-8') as file:
    assert [agrees(json.loads(line)) for line in file] == [True] * 5276


@pytest.mark.parametrize(
  'text,final',
  [
    ('#### 5', '5'),
    ('#### 3\n#### 5', '5'),
    ('####\n5', '5'),
    ('2+2\n#### $1,234.50 in total, not 7', '$1,234.50'),
    ('#### none, as I said: A: 7', '7'),
    ('A: 7\n#### none', None),
    ('3 apples. A: 12\nand 9 more', '12'),
    ('The answer is 12.', '12'),
    ('the ANSWER IS -3 degrees', '-3'),
    ('Answer: 40%', '40%'),
    ('A: six of the 7', '7'),
    ('A: six\n7', None),
    ('16-7 = 9, so 9*2=18.', '18'),
    ('from 10-3', '3'),
    ('f(x)-3', '3'),
    ('é-3', '3'),
    ('A: 3\nA: 5', '5'),
    ('#### 5' + ' ' * MAX_TEXT, None),
    ('x = -3', '-3'),
    ('it costs -$5', '-$5'),
    ('about .5', '.5'),
    ('3/4', '3/4'),
    ('1,234,56', '56'),
    ('1,2345', '2345'),
    ('no number', None),
    ('', None),
  ],
)
def test_extract_final(text, final):
  assert extract_final(text) == final


@pytest.mark.parametrize(
  'text,value',
  [
    ('18', 18),
    (' 18\n', 18),
    ('+7', 7),
    ('-7', -7),
    ('$5', 5),
    ('-$5', -5),
    ('$-5', -5),
    ('1,234,567.5', Fraction(2469135, 2)),
    ('50%', 50),
    ('.5', Fraction(1, 2)),
    ('-3/6', Fraction(-1, 2)),
    ('007', 7),
    ('1/0', None),
    ('--5', None),
    ('5-3', None),
    ('5.', None),
    ('1,23', None),
    ('1 000', None),
    ('1e3', None),
    ('1/2/3', None),
    ('1/-2', None),
    ('٣', None),
    ('７', None),
    ('½', None),
    ('nan', None),
    ('inf', None),
    ('0x10', None),
    ('', None),
    ('%', None),
    ('9**9', None),
    ('7' + ' ' * 80 + 'no', None),
    (' ' * 100 + '7', None),
    ('1' * MAX_DIGITS, int('1' * MAX_DIGITS)),
    ('1' * (MAX_DIGITS + 1), None),
  ],
)
def test_parse_number(text, value):
  assert parse_number(text) == value


DECIMALS = st.decimals(
  allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
)


@settings(max_examples=200, deadline=None)
@given(
  DECIMALS, st.sampled_from(['', '#### ', 'A: ', 'The answer is ']), st.text('abc \n', max_size=5)
)
def test_a_written_number_comes_back(number, mark, after):
  for text in (f'{number:f}', f'{number:,f}'):
    final = extract_final(f'so it is 4 {mark}{text} {after}')
    assert final is not None and parse_number(final) == Fraction(Decimal(number))


@settings(max_examples=200, deadline=None)
@given(st.text('0123456789.,/$%-+ ', max_size=12), st.text('0123456789.,/$%-+ ', max_size=12))
def test_equality_is_that_of_values(left, right):
  assert equal(left, right) == equal(right, left)
  assert equal(left, left) == (parse_number(left) is not None)
  assert equal(left, right) == (parse_number(left) == parse_number(right) is not None)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60) | st.text('0123456789.,/$%-+#A: ', max_size=60))
def test_what_is_extracted_is_in_the_text_and_short(text):
  final = extract_final(text)
  parse_number(text)
  if final is not None:
    assert final in text and len(final) <= MAX_NUMBER
    assert (
      parse_number(final) is not None
      or final.rstrip('%').endswith(('/0', '/00'))
      or (sum(c.isdigit() for c in final) > MAX_DIGITS or set(final.partition('/')[2]) <= set('0%'))
    )


@pytest.mark.parametrize(
  'text',
  ['3' * 10**6, '(' * 10**6, '-' * 10**6, '$-' * 10**6, '.' * 10**6, '٣' * 10**6, 'A:' * 10**6]
  + ['#### ' + '9' * 10**6, 'answer is ' * 10**5, '{' * 10**5 + 'x' + '}' * 10**5],
)
def test_hostile_texts_have_no_answer(text):
  assert extract_final(text) is None and parse_number(text) is None and not equal(text, text)


# --- answers of any kind --------------------------------------------------------------------------


@pytest.mark.parametrize(
  'text,boxed',
  [
    (r'so \boxed{5}', '5'),
    (r'\boxed{1} then \boxed{2}.', '2'),
    (r'\boxed{ \frac{1}{\sqrt{2}} }', r'\frac{1}{\sqrt{2}}'),
    (r'\boxed{\{1, 2\}}', r'\{1, 2\}'),
    (r'\boxed{\{1, 2}', r'\{1, 2'),
    (r'\boxed {5}', '5'),
    (r'\fbox{5}', '5'),
    (r'\boxed{\boxed{5}}', r'\boxed{5}'),
    (r'\boxed{1}, cut: \boxed{2', '1'),
    (r'{ open \boxed{7}', '7'),
    (r'} shut \boxed{7} }}', '7'),
    (r'\boxed{a}{b}', 'a'),
    (r'\boxed{}', ''),
    (r'\boxed 5', None),
    (r'\boxed', None),
    (r'\notboxed{5}', None),
    (r'\boxedx{5}', None),
    ('', None),
  ],
)
def test_extract_boxed(text, boxed):
  assert extract_boxed(text) == boxed


@pytest.mark.parametrize(
  'text,final',
  [
    (r'#### 7, no: \boxed{x^2} #### 8', 'x^2'),
    (r'\boxed{1}\n The answer is 2.', '1'),
    (r'\boxed{}', None),
    ('#### 5', '5'),
    ('#### (1, 2]\nas I said: 7', '(1, 2]'),
    ('The answer is 2.\n#### 3', '3'),
    ('####', None),
    ('The answer is 12.', '12'),
    ('The answer is 1.5.', '1.5'),
    (r'The answer is $\frac{3}{4}$.', r'\frac{3}{4}'),
    (r'The answer is \((0, 9]\), since 3 is less than 4.', '(0, 9]'),
    (r'The answer is \frac{3}{4}.', r'\frac{3}{4}'),
    ('The answer is: **x = 5**.', 'x = 5'),
    ('The answer is 5 because 7 is odd.', '5'),
    ('The answer is 18 eggs a day', '18'),
    ('The answer is (B).', 'B'),
    ('The answer is B', 'B'),
    ('Answer: D) 17', 'D'),
    ('The answer is A = 5', 'A = 5'),
    ('The answer is Evelyn.', 'Evelyn'),
    ('The answer is not something I would know.', None),
    ('The answer is', None),
    ('A: 3\nA: 5', '5'),
    ('16-7 = 9, so 9*2=18.', '18'),
    ('so it must be option C', 'C'),
    ('we choose (E)', 'E'),
    ('nothing', None),
    ('', None),
    ('#### ' + '1+' * MAX_ANSWER, None),
    (r'\boxed{5}' + ' ' * MAX_TEXT, None),
  ],
)
def test_extract(text, final):
  assert extract(text) == final


@pytest.mark.parametrize(
  'text,letter',
  [
    ('The answer is (B).', 'B'),
    ('The answer is B.', 'B'),
    (r'so \boxed{C}', 'C'),
    (r'so \boxed{\text{(C)}}', 'C'),
    (r'so \boxed{\textbf{(C)}\ 17}', 'C'),
    ('(A) is wrong, (D) is right', 'D'),
    ('Option A fits.', 'A'),
    ('Option a fits.', None),
    ('A man has 5 apples', None),
    ('Answer: E) 21', 'E'),
    (r'\boxed{17}', None),
    ('', None),
  ],
)
def test_extract_choice(text, letter):
  assert extract_choice(text) == letter


@settings(max_examples=500, deadline=None)
@given(
  st.text(max_size=60)
  | st.lists(
    st.sampled_from(r'\boxed{ { } #### A: answer is $ \( \) (B) 12 x . \text{'.split())
  ).map(''.join)
)
def test_what_is_extracted_is_in_the_text(text):
  for found in (extract(text), extract_boxed(text), extract_choice(text)):
    assert found is None or found in text


@pytest.mark.parametrize(
  'unit',
  [r'\boxed{', '{', '}', r'\boxed{1}', '$', r'\(', 'answer is ', '(', ' ', r'\text{', '#### '],
)
def test_extraction_takes_linear_time(unit):
  for text in (unit * 10**5, 'answer is ' + unit * 10**5, f'answer is a{unit * 10**5}b'):
    start = time.monotonic()
    extract(text)
    extract_choice(text)
    assert time.monotonic() - start < 0.5
