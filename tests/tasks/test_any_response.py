"""Whatever a model writes, and it may write anything: a class or none, never an error."""

import math

import fuzzing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import base
from maxent_lm.tasks import TASKS, answers, code_answers, expressions, hedges, list_functions
from maxent_lm.tasks.base import Sandboxed
from maxent_lm.tasks.jsonl_task import VERIFY
from maxent_lm.tasks.stories import Stories

PIECES = st.lists(
  st.sampled_from(
    [
      *(
        '[',
        ']',
        '(',
        ')',
        'x[0]',
        'x[-4]',
        'max(x)',
        '*10',
        '-',
        '+',
        '/',
        ',',
        ' ',
        '\n',
        '1',
        '9',
      ),
      *(
        'def f(x):\n',
        '  return x\n',
        '```',
        '```python\n',
        '"',
        "'",
        '"""',
        '#',
        '\\',
        '\t',
        '\0',
      ),
      *('#### ', r'\boxed{', '}', 'answer is ', '(A)', 'not ', '=', '0', '1e9', '%', '$', '²', '٣'),
      *(
        'lambda x: ',
        'é',
        '\ud800',
        '\u2028',
        '<eos>',
        'valid',
        'red',
        'A->B',
        ':',
        ';',
        '|',
        '.',
        '_',
      ),
    ]
  ),
  max_size=16,
).map(''.join)
TEXTS = st.text(max_size=60) | PIECES
NO_DATA = (
  *(
    'arithmetic',
    'countdown',
    'graph_coloring',
    'list_functions',
    'random_numbers',
    'random_walks',
  ),
  *('star_graph', 'stories', 'treesample'),
)


@fuzzing.fuzzed(300)
@given(text=TEXTS)
def test_parsers(text):
  assert isinstance(list_functions.canonical(text), str | None)
  assert isinstance(list_functions.wrapped(text), str)
  assert isinstance(code_answers.fenced(text), str | None)
  assert isinstance(code_answers.same(text), str | None)
  assert code_answers.until(text, ('\ndef ', '\nif')).endswith('\n')
  assert isinstance(answers.stated(text), str | None)
  assert isinstance(answers.extract_word(text, ('valid', 'invalid')), str | None)
  assert isinstance(expressions.evaluate(text), object)
  assert isinstance(hedges.taken_back(text) or hedges.denied(text) or hedges.disputed(text), bool)
  for rule in VERIFY.values():
    for finished in (True, False):
      found = rule.read(text, finished=finished)
      assert found is None or isinstance(rule.name(found), str)


@pytest.fixture(scope='module', params=NO_DATA)
def task(request):
  section = base.get_config()[request.param].to_dict()
  small = {'graphs': 200, 'size': 200, 'sets': 50} | {'max_target': 99, 'max_number': 9}
  section |= {name: value for name, value in small.items() if name in section}
  return TASKS[request.param](split='test', **section)


@fuzzing.fuzzed(60)
@given(data=st.data())
def test_tasks(task, data):
  problem = task[data.draw(st.integers(0, len(task) - 1))]
  shown = not isinstance(task, Stories)  # which demonstrates nothing
  right = task.demonstration(problem, np.random.default_rng(0)) if shown else problem.prompt
  damaged = fuzzing.damaged(right.encode()).map(lambda text: text.decode('utf-8', 'replace'))
  text = data.draw(TEXTS | damaged)
  found = task.cluster(problem, text)
  assert found is None or isinstance(found, str)
  if isinstance(task, Sandboxed):
    assert isinstance(task.program(problem, text).code, str)
    return
  for finished in (True, False):
    assert math.isfinite(task.reward(problem, text, finished))
