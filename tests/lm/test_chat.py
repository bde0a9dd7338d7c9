"""Chat templates: rendered as transformers renders them, and harmless whatever they try."""

import json
import pathlib
import signal
import subprocess
import sys

import fuzzing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm.lm import chat, tokenizer

TOKENS = {'bos_token': '<s>', 'eos_token': '</s>'}
# In the manner of Qwen 2.5, Llama 2 and Mistral.
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
INST = (
  "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% endif %}"
  "{% for message in messages %}{% if message['role'] == 'user' %}"
  "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
  "{% else %}{{ raise_exception('only users') }}{% endif %}{% endfor %}"
)
LOOP = """{% set ns = namespace(count=0) %}
{% for message in messages %}
  {% set ns.count = ns.count + 1 %}
  {% if message.content is not string %}{% break %}{% endif %}
{{ ns.count }}: {{ message | tojson }}
{% generation %}{{ message.content | trim }}{% endgeneration %}
{% endfor %}
{% if tools is none and documents is none %}{{ eos_token }}{% endif %}"""
TEMPLATES = {'chatml': CHATML, 'inst': INST, 'loop': LOOP}


@pytest.fixture
def reader():
  found = tokenizer.byte_tokenizer()
  found.add_special_tokens({'bos_token': '<s>'})
  return found


@pytest.mark.parametrize('name', TEMPLATES)
def test_rendered_as_transformers_does(reader, name):
  reader.chat_template = TEMPLATES[name]
  prompts = ['1 + 1 =', ' a\n<b> "é" ', '', '{{ 7 * 7 }} {% raw %}', '\U0001f600']
  shown = chat.of_tokenizer(reader)(prompts)
  assert shown == [
    reader.apply_chat_template(
      [{'role': 'user', 'content': prompt}], tokenize=False, add_generation_prompt=True
    )
    for prompt in prompts
  ]


def test_literal():
  assert chat.render(CHATML, ['1+1='], {}) == [
    '<|im_start|>user\n1+1=<|im_end|>\n<|im_start|>assistant\n'
  ]
  assert chat.render(INST, [' x '], TOKENS) == ['<s>[INST] x [/INST]']


def test_each_prompt_is_rendered_once(monkeypatch):
  asked = []
  render = chat.render

  def spy(template, prompts, tokens):
    asked.append(list(prompts))
    return render(template, prompts, tokens)

  monkeypatch.setattr(chat, 'render', spy)
  show = chat.Chat('<{{ messages[0].content }}>', {})
  assert show(['a', 'b', 'a']) == ['<a>', '<b>', '<a>']
  assert show(['b', 'c']) == ['<b>', '<c>'] and show([]) == []
  assert asked == [['a', 'b'], ['c']]


def test_a_tokenizer_without_a_template_or_with_several(reader):
  with pytest.raises(ValueError, match='the tokenizer has no chat template: use one that has'):
    chat.of_tokenizer(reader)
  reader.chat_template = {'tool_use': 'x', 'default': '{{ bos_token }}y'}
  assert chat.of_tokenizer(reader)(['a']) == ['<s>y']
  reader.chat_template = {'tool_use': 'x'}
  with pytest.raises(ValueError, match='has no chat template'):
    chat.of_tokenizer(reader)


@pytest.mark.parametrize(
  ('template', 'reason'),
  [
    ('{{ ', r'unexpected .*end of template.* \(TemplateSyntaxError\)'),
    ('{% for x in %}', 'TemplateSyntaxError'),
    ('{{ nobody.x }}', 'UndefinedError'),
    ('{{ raise_exception("no\nsystem") }}', r'failed: no system \(TemplateError\)'),
    ('{{ 1 / 0 }}', 'ZeroDivisionError'),
    ('{{ strftime_now("%Y") }}', "'strftime_now' is undefined"),
    ('{% include "/etc/passwd" %}', 'no loader'),
    ('{{ messages.append(1) }}', 'SecurityError'),
    ('{{ messages.__class__.__mro__ }}', "access to attribute '__class__' .* is unsafe"),
    ('{{ ().__class__.__base__.__subclasses__() }}', "attribute '__class__' .* is unsafe"),
    ('{{ "{0.__class__.__mro__}".format(1) }}', 'SecurityError|__class__'),
    ('{{ cycler.__init__.__globals__.os.system("true") }}', 'is unsafe|SecurityError'),
    ('{{ x }}' * 2**16, 'has 458,752 characters, at most 262,144 are read'),
  ],
)
def test_what_a_template_may_not_do(template, reason):
  with pytest.raises(ValueError, match=reason) as error:
    chat.render(template, ['a'], {})
  assert '\n' not in str(error.value)


NESTED = '{% for a in range(99999) %}' * 4 + '{% endfor %}' * 4
BOMBS = {
  'loops without output': (NESTED, 'more than 0.5 s of processor time'),
  'loops with output': (
    NESTED.replace('{% endfor %}', 'xxxxxxxx{% endfor %}', 1),
    'it wrote more than 1,048,577 characters',
  ),
  'a power': ('{{ (10 ** (9 ** 9)) is odd }}', 'more than 0.5 s of processor time'),
  'a long range': ('{% for a in range(10 ** 9) %}{% endfor %}', 'OverflowError'),
  'a long text': ('{{ "a" * 10 ** 10 }}', 'MemoryError'),
  'a long list': ('{% set a = [0] * 10 ** 10 %}', 'MemoryError'),
  'doubling': (
    '{% set n = namespace(x="aaaaaaaa") %}{% for i in range(60) %}{% set n.x = n.x + n.x %}'
    '{% endfor %}',
    'MemoryError',
  ),
  'padding': ('{{ "a" | center(10 ** 10) }}', 'MemoryError'),
  'a macro that calls itself': (
    '{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}',
    'RecursionError',
  ),
  'depth': ('{% if x %}' * 9000 + '{% endif %}' * 9000, 'RecursionError|status|MemoryError|Syntax'),
  'brackets': ('{{ ' + '(' * 50_000 + ')' * 50_000 + ' }}', 'RecursionError|status|MemoryError'),
  'joined text': ('{{ range(99999) | join("a" * 100000) }}', 'MemoryError'),
}


@pytest.mark.parametrize('name', BOMBS)
def test_bombs_end(monkeypatch, name):
  """In so much processor time and memory, which are the process's own."""
  monkeypatch.setattr(chat, 'SECONDS', 0.5)
  monkeypatch.setattr(chat, 'MEMORY', 2**28)
  template, reason = BOMBS[name]
  with pytest.raises(ValueError, match=f'the chat template failed: .*({reason})'):
    chat.render(template, ['a'], {})


def test_a_bomb_takes_the_place_of_no_other_prompt(monkeypatch):
  """All or nothing: rendered prompts are not given out without the others."""
  monkeypatch.setattr(chat, 'SECONDS', 0.5)
  show = chat.Chat(f'{{% if "b" in messages[0].content %}}{NESTED}{{% endif %}}x', {})
  with pytest.raises(ValueError, match='processor time'):
    show(['a', 'b', 'c'])
  assert show(['a']) == ['x']


PIECES = st.lists(
  st.sampled_from(
    [
      *(
        '{% for m in messages %}',
        '{% endfor %}',
        '{% if a %}',
        '{% else %}',
        '{% endif %}',
        '{{ ',
      ),
      *(' }}', '{% set x = ', ' %}', 'messages', '[0]', '.content', '|', 'join', 'range(9)', ' ~ '),
      *(
        '**',
        '99',
        '-1',
        "'",
        '"',
        '{#',
        '#}',
        '{% macro f() %}',
        '{% endmacro %}',
        'f()',
        '|length',
      ),
      *('{% raw %}', '{% endraw %}', 'loop.index', '\n', ' ', 'raise_exception("x")', '.format(1)'),
    ]
  ),
  max_size=14,
).map(''.join)


# The worker's own functions, a fork each: starting Python takes longer than a template does.
FORKS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import chat_worker
for line in sys.stdin:
  if not (child := os.fork()):
    request, prompt = json.loads(line)
    chat_worker.limit(request['memory'])
    for reply in chat_worker.replies(iter([json.dumps(request), json.dumps(prompt)])):
      os.write(1, json.dumps(reply).encode() + b'\\n')
    os._exit(0)
  status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  os.write(1, json.dumps({'status': status}).encode() + b'\\n')
"""


@pytest.fixture(scope='module')
def forks():
  folder = pathlib.Path(chat.__file__).parent
  command = [sys.executable, '-P', '-c', FORKS, str(folder)]
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True, 'bufsize': 1}
  with subprocess.Popen(command, **pipes) as process:
    yield process
    process.stdin.close()


@fuzzing.fuzzed(150)
@given(data=st.data())
def test_any_template_renders_or_is_refused(forks, data):
  whole = data.draw(st.sampled_from([CHATML, INST, LOOP])).encode()
  texts = fuzzing.damaged(whole).map(lambda content: content.decode('utf-8', 'replace'))
  request = {'template': data.draw(PIECES | texts), 'tokens': TOKENS, 'output': 1000}
  prompt = data.draw(st.text(max_size=10))
  forks.stdin.write(json.dumps([{**request, 'seconds': 0.3, 'memory': 2**28}, prompt]) + '\n')
  reply = json.loads(forks.stdout.readline())
  if isinstance(reply, dict) and 'status' in reply:
    assert reply == {'status': -signal.SIGPROF}
    return
  if isinstance(reply, dict):
    assert reply['error'] and '\n' not in reply['error']
  else:
    assert len(reply) <= 1000 + len(prompt)
  assert json.loads(forks.stdout.readline()) == {'status': 0}
