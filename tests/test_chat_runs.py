"""Runs whose prompts are messages of a chat: what the policy reads, and what its folder keeps."""

import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.lm import pretrained
from maxent_lm.lm.config import LMConfig
from maxent_lm.lm.decoder import LM
from maxent_lm.lm.tokenizer import byte_tokenizer, load_tokenizer
from maxent_lm.train.offline import Example, encode_examples

TEMPLATE = '{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}'


@pytest.fixture
def folder(tmp_path):
  tokenizer = byte_tokenizer()
  tokenizer.chat_template = TEMPLATE
  shape = LMConfig(len(tokenizer), 16, 1, 2, 1, 8, 16, max_length=64)
  pretrained.save(tmp_path / 'model', shape, LM(shape).init(0))
  tokenizer.save_pretrained(str(tmp_path / 'model'))
  return tmp_path / 'model'


def configured(folder, chat):
  config = tiny_config(steps=1, chat=chat)
  with config.unlocked():
    config.init = str(folder)
  return config


def test_a_run_reads_its_prompts_in_the_template(folder, tmp_path):
  prompts = {}
  for chat in ('none', 'template'):
    config = configured(folder, chat)
    policy = build.make_policy(config, tmp_path / chat)
    reader = build.make_reader(config, policy, split='train')
    problems = [reader.task[i] for i in range(3)]
    prompts[chat] = reader.prompts(problems)
    plain = [problem.prompt for problem in problems]
  assert [policy.tokenizer.decode(ids) for ids in prompts['none']] == plain
  shown = [f'[user] {prompt}<eos>' for prompt in plain]
  assert [policy.tokenizer.decode(ids) for ids in prompts['template']] == shown


def test_what_a_run_saves_has_the_template(folder, tmp_path):
  policy = build.make_policy(configured(folder, 'template'), tmp_path / 'run')
  policy.save(tmp_path / 'start', policy.params)
  assert load_tokenizer(tmp_path / 'start').chat_template == TEMPLATE


def test_prompts_of_a_file_are_shown_likewise():
  (encoded,) = encode_examples(
    [Example('ab', ['c'], [1.0])], byte_tokenizer(), 1, lambda texts: [f'<{x}>' for x in texts]
  )
  assert byte_tokenizer().decode(encoded.prompt) == '<ab>'


def test_what_cannot_be_shown_is_told_before_anything_is_written(folder, tmp_path):
  (folder / 'chat_template.jinja').unlink()
  with pytest.raises(ValueError, match='the tokenizer has no chat template'):
    build.rollout_run(configured(folder, 'template'), tmp_path / 'run')
  with pytest.raises(
    ValueError, match=r"config\.chat='x' is unknown; choose one of none, template"
  ):
    build.rollout_run(configured(folder, 'x'), tmp_path / 'run')
  (folder / 'chat_template.jinja').write_text('{{ messages[0].system }}{{ raise_exception("no") }}')
  with pytest.raises(ValueError, match='the chat template failed: no'):
    build.rollout_run(configured(folder, 'template'), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
