"""Final answers: found where a response states one, and the graders' own labels are met.

gsm8k_model_solutions.jsonl holds the ends of 24 rows of `example_model_solutions.jsonl` from
github.com/openai/grade-school-math (MIT), chosen to show every form of answer that occurs there.
"""

import gzip
import json
import os
import pathlib
from decimal import Decimal
from fractions import Fraction

import cpu
import fuzzing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_lm.tasks.answers import (
  MAX_ANSWER,
  MAX_TEXT,
  extract,
  extract_boxed,
  extract_choice,
  extract_word,
)
from maxent_lm.tasks.equivalence import value
from maxent_lm.tasks.files import same

EXCERPT = pathlib.Path(__file__).parent / 'gsm8k_model_solutions.jsonl'


def agrees(row):
  gold, answer = extract(row['ground_truth']), extract(row['solution'])
  assert gold is not None
  return (answer is not None and same(gold, answer)) == row['is_correct']


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
    ('3 apples. A: 12\nand 9 more', '12'),
    ('The answer is 12.', '12'),
    ('the ANSWER IS -3 degrees', '-3'),
    ('Answer: 40%', '40%'),
    ('A: six of the 7', '7'),
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
def test_numbers_are_found(text, final):
  assert extract(text) == final


@pytest.mark.parametrize('text', ['A: 7\n#### none', 'A: six\n7', '####\nnone\n7'])
def test_a_mark_without_a_number_hides_the_others(text):
  assert value(extract(text)) is None


@pytest.mark.parametrize(
  'text',
  [
    'The answer is 3 and 5.',
    'The answer is either 3 or 5.',
    'The answer is 3 apples or 5 apples.',
    'The answer is 3, 5, one of these.',
    'The answer is $3$ or $5$.',
    '#### 3 or 5',
    'A: 3/ 5, I guess',
  ],
)
def test_hedges_are_no_number(text):
  assert not same('3', extract(text)) and not same('5', extract(text))


@pytest.mark.parametrize(
  'text',
  [
    'The answer is $42$ or 43.',
    'The answer is $42$, 43, 44.',
    'The answer is $42$ / 43',
    r'The answer is \(42\) or 43',
    'The answer is $42$ or maybe $43$',
    'The answer is $42$ apples, or $43$',
    'The answer is 42, possibly 43',
    'The answer is 42. Or 43.',
    'The answer is 42. Wait, 43.',
    'The answer is $42$. Perhaps it is 43.',
    'The answer is 42? no, 43',
    'The answer is 42 (or 43 apples)',
    'The answer is 42 apples in one case, otherwise 43',
    '#### 42 apples, alternatively 43',
    '#### 42 - no wait 43',
    '#### 42 xor 43',
    '#### 42 if lucky else 43',
    'The answer is not 42',
    "The answer isn't 41. Answer: it can't be 42",
    'The answer is certainly not the number 42',
    'The answer is less than 42',
    'The answer is at least 42',
    'The answer is no more than 42 apples',
    'The answer is between 42 and 50',
    'The answer is about 42',
    'The answer is $42$ is wrong',
    'The answer is 42 is not the sum',
    r'\boxed{41} or \boxed{42}',
    r'$\boxed{41}$, or maybe $\boxed{42}$',
    r'\boxed{41}, \boxed{42}. The answer is 42.',
    '#### 42 million',
    'The answer is 42 thousand dollars',
    'The answer is $42$ million',
    'The answer is 42 dozen eggs',
    'The answer is 42 squared is 1764',
  ],
)
def test_hedges_and_denials_earn_nothing(text):
  final = extract(text)
  assert final is None or not same('42', final)


@pytest.mark.parametrize(
  'text',
  [
    'The answer is 42 dollars',
    'The answer is 42. Therefore, she has 3 more than he does.',
    'The answer is **42**.',
    'The answer is $42$. I hope it is correct.',
    'The answer is $42$, because 3 or 4 of them go.',
    'The answer is 42 dollars, which is 50% of 84.',
    'The answer is 42 after 3 years.',
    'The answer is 42 eggs (6 for each of 7 days).',
    'The answer is $x = 42$ when $y = 3$.',
    'A: She has 42 apples in 3 baskets',
    r'\boxed{41} is too small, so \boxed{42}',
    r'\boxed{6 \cdot 7}, or \boxed{42}',
    r'\boxed{42} and \boxed{42}',
    r'41 or \boxed{42}',
  ],
)
def test_explanations_are_no_hedges(text):
  final = extract(text)
  assert final is not None and same('42', final)


@pytest.mark.parametrize(
  'text,number',
  [
    ('18', 18),
    (' 18\n', 18),
    ('1.5 million', 1_500_000),
    ('+7', 7),
    ('-7', -7),
    ('$5', 5),
    ('-$5', -5),
    ('$-5', -5),
    ('1,234,567.5', Fraction(2469135, 2)),
    ('50%', 50),
    ('.5', Fraction(1, 2)),
    ('-3/6', Fraction(-1, 2)),
    (r'-\frac{3}{6}', Fraction(-1, 2)),
    ('12 1/2', Fraction(25, 2)),
    ('007', 7),
    ('1e3', 1000),
    (r'2.5 \times 10^{3}', 2500),
    ('10^6', 10**6),
    ('x = 18 eggs', 18),
    ('1/0', None),
    ('5-3', None),
    ('6 * 7', None),
    ('3!', None),
    ('2^3', None),
    (r'\sqrt{4}', None),
    ('1/2/3', None),
    (r'3 \cdot 10^{1+1}', None),
    ('(1, 2)', None),
    ('x', None),
    ('1,23', None),
    ('1 000', None),
    ('٣', None),
    ('７', None),
    ('nan', None),
    ('inf', None),
    ('0x10', None),
    ('', None),
    ('%', None),
    ('9**9', None),
    ('1' * 10**6, None),
  ],
)
def test_numbers_that_are_written_out(text, number):
  assert value(text) == number


DECIMALS = st.decimals(
  allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
)


@settings(max_examples=200, deadline=None)
@given(
  DECIMALS,
  st.sampled_from(['', '#### ', 'A: ', 'The answer is ']),
  st.sampled_from(['', '.', ' eggs a day', '\nabc']),
)
def test_a_written_number_comes_back(number, mark, after):
  for text in (f'{number:f}', f'{number:,f}'):
    final = extract(f'so it is 4 {mark}{text}{after}')
    assert final is not None and value(final) == Fraction(Decimal(number))


@settings(max_examples=200, deadline=None)
@given(st.text('0123456789./%-+', max_size=12), st.text('0123456789./%-+', max_size=12))
def test_numbers_are_the_same_iff_their_values_are(left, right):
  assert same(left, right) == same(right, left) or None in (value(left), value(right))
  if None not in (value(left), value(right)):
    assert same(left, right) == (value(left) == value(right))


@pytest.mark.parametrize(
  'text',
  ['3' * 10**6, '(' * 10**6, '-' * 10**6, '$-' * 10**6, '.' * 10**6, '٣' * 10**6, '{' * 10**6]
  + ['#### ' + '9' * 10**6, 'A:' * 10**6, 'answer is ' * 10**5, '{' * 10**5 + 'x' + '}' * 10**5],
)
def test_hostile_texts_have_no_number(text):
  assert value(extract(text) or '') is None and value(text) is None


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
    (r'\boxed{1}, \boxed{2}', ''),
    (r'\boxed{1} or \boxed{2}; no: \boxed{3}', '3'),
    (r'\boxed{\boxed{1}} and \boxed{\boxed{1}}', r'\boxed{1}'),
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
    ('The answer is $3$, since $4$ is more.', '3'),
    ('The answer is $3$ and $5$.', '$3$ and $5$'),
    ('The answer is A or B.', 'A or B'),
    ('#### 18 eggs a day', '18'),
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
    ('The answer is (B) A man.', 'B'),
    ('The answer is **B**', 'B'),
    ('The answer is option C', 'C'),
    (r'so \boxed{C}', 'C'),
    (r'so \boxed{\text{(C)}}', 'C'),
    (r'so \boxed{\textbf{(C)}\ 17}', 'C'),
    ('(A) is wrong, (D) is right', None),
    ('it can only be (D), by (D) alone', 'D'),
    ('Option A fits.', 'A'),
    ('Option a fits.', None),
    ('A man has 5 apples', None),
    ('Answer: E) 21', 'E'),
    (r'\boxed{17}', None),
    (r'\boxed{A, B}', None),
    ('The answer is A or B', None),
    ('The answer is (A) or (B)', None),
    ('The answer is (A) or B', None),
    ('The answer is (A) 17 (B) 18', None),
    ('The answer is A B', None),
    ('The answer is not A', None),
    ('(B) or C', None),
    ('option B or C', None),
    ('The answer is (B) xor C', None),
    ('The answer is (B) else C', None),
    ('The answer is (B), maybe option C', None),
    ('#### (B)|C', None),
    ('#### B|C', None),
    ('#### B is wrong', None),
    ('#### (B) is not right', None),
    ('The answer is (B), not C', 'B'),
    ('The answer is (B) half of it', 'B'),
    (r'\boxed{A} or \boxed{B}', None),
    ('', None),
  ],
)
def test_extract_choice(text, letter):
  assert extract_choice(text) == letter


def test_letters_beyond_those_that_are_offered_are_no_choice():
  assert extract_choice('(R)', 'ABCR') == 'R' and extract_choice('(R)') is None
  assert extract_choice('answer is (A) Q)', 'ABC') == 'A'


@pytest.mark.parametrize(
  'text,word',
  [
    ('So the answer is No.', 'no'),
    ('yes', 'yes'),
    (' **Yes.**\n', 'yes'),
    (r'\boxed{\text{Yes}}', 'yes'),
    ('#### no, for it is not', 'no'),
    ('#### yes or no', None),
    ('#### yes is wrong', None),
    ('The answer is not yes', None),
    ('no idea', None),
    ('yes, it is', None),  # only where a mark stands
    ('The answer is nobody', None),
    ('The answer is maybe', None),
    ('', None),
  ],
)
def test_extract_word(text, word):
  assert extract_word(text, ('yes', 'no')) == word


def test_words_within_words():
  words = ('valid', 'invalid')
  assert extract_word('The answer is invalid.', words) == 'invalid'
  assert extract_word('#### valid', words) == 'valid'


@fuzzing.fuzzed(500)
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
  [r'\boxed{', '{', '}', r'\boxed{1}', '$', r'\(', 'answer is ', '(', ' ', r'\text{', '#### ']
  + [r'\boxed{1} or ', 'or ', ', ', 'A or ', 'than ', 'not ', '1 or '],
)
def test_extraction_takes_linear_time(unit):
  for text in (unit * 10**5, 'answer is ' + unit * 10**5, f'answer is a{unit * 10**5}b'):
    with cpu.at_most(0.5):
      extract(text)
      extract_choice(text)
      extract_word(text, ('yes', 'no'))
