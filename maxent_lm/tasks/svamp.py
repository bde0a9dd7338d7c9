"""SVAMP: short word problems, changed so that shallow patterns fail [Patel et al. 2021].

Worked example:

  prompt         'Question: Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars
                  on each pack, How much do you have to pay to buy each pack?\nAnswer:'
  demonstration  ' 76 - 25 = 51\n#### 51'
  reward         1 for any response whose final answer (answers.py) is 51
  cluster        the final answer as a fraction in lowest terms: '51'

The file is SVAMP.json of github.com/arkilpatel/SVAMP, a row a line, as test.jsonl: 1,000 problems
that are for testing. Who trains on problems of this form brings a train.jsonl with the same fields.
Known limits: the data set has no worked solutions, a demonstration is its equation. The answer of
chal-680 is 1 and the value of its equation 5, which is right: there a demonstration is the answer.
"""

from maxent_lm.tasks import equivalence, expressions
from maxent_lm.tasks.base import Problem
from maxent_lm.tasks.files import AnswerTask, plain, question
from maxent_lm.tasks.tfds import jsonl


def solution(equation: str, gold: str) -> str:
  """`76 - 25 = 51` and the final answer; the answer alone if the equation has another value."""
  terms = [term.removesuffix('.0') for term in equation.split()]
  if terms[:1] == ['('] and terms[-1:] == [')']:  # every equation stands in brackets
    terms = terms[1:-1]
  value = expressions.evaluate(''.join(terms))
  final = f'#### {gold}'
  if value is None or value != equivalence.value(gold):
    return final
  return f'{" ".join(terms)} = {gold}\n{final}'.replace('( ', '(').replace(' )', ')')


class SVAMP(AnswerTask):
  """The problems of `<data_dir>/test.jsonl[.gz]`; arguments as `FileTask`."""

  NAME = 'svamp'
  FIELDS = {'Body': 'text', 'Question': 'text', 'Equation': 'text', 'Answer': 'number'}

  def read(self, name: str, row: jsonl.Row) -> Problem | None:
    """Its data is the solution."""
    gold = plain(row['Answer'])
    if equivalence.value(gold) is None:
      return None
    body = row['Body'].strip()
    pause = '' if body.endswith(('.', '!', '?', ',')) else ','
    prompt = question(f'{body}{pause} {row["Question"].strip()}')
    return Problem(name, prompt, gold, solution(row['Equation'], gold))
