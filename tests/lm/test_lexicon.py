"""Words in token ids: what is marked is what a regular expression finds in the decoded text."""

import os
import pathlib
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxent_lm.lm import tokenizer as tokenizers_lib
from maxent_lm.lm.lexicon import CONNECTIVES, compile_lexicon, connectives

WORDS = ('so', 'if', 'because', 'as a result', 'wait')
LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,\n"()'
PLAIN = ('also', 'soap', 'ifs', 'x', 'waiting', 'result', 'a', 'we', 'some', 'SO', 'awaits')
TEXTS = (
  'So we wait, because 2 is even. As a result, x',
  'also soap if\nIf (wait) "because" ifs awaiting.',
  'so',
)


def byte_pairs():
  """A byte-level BPE with a few hundred merges, like those of GPT-2."""
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
  from transformers import PreTrainedTokenizerFast

  bpe = Tokenizer(models.BPE())
  bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  bpe.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=330,
    special_tokens=['<eos>'],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  bpe.train_from_iterator([*TEXTS, ' because so if wait. Because, some ifs also'] * 3, trainer)
  return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token='<eos>')


def prepended():
  """A BPE that writes a space with the next word, and one before the text, like Llama's."""
  from tokenizers import Tokenizer, decoders, models, normalizers
  from transformers import PreTrainedTokenizerFast

  alphabet = ['<eos>', '▁', *sorted(set(LETTERS + '2') - {' '}), '▁s', '▁so', '▁i', '▁if', 'so']
  merges = [('▁', 's'), ('▁s', 'o'), ('▁', 'i'), ('▁i', 'f'), ('s', 'o')]
  bpe = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, merges))
  bpe.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
  bpe.decoder = decoders.Sequence(
    [decoders.Replace('▁', ' '), decoders.Fuse(), decoders.Strip(' ', 1, 0)]
  )
  return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token='<eos>')


MAKERS = {
  'bytes': tokenizers_lib.byte_tokenizer,
  'characters': lambda: tokenizers_lib.character_tokenizer(LETTERS + '2'),
  'byte pairs': byte_pairs,
  'prepended': prepended,
}


@pytest.fixture(scope='module', params=MAKERS)
def tokenizer(request):
  return MAKERS[request.param]()


WIDTH = 320  # of all texts, so that a matcher is compiled once


def compiled(tokenizer, words):
  return jax.jit(compile_lexicon(tokenizer, words))


def marked(tokenizer, matcher, text):
  """Ids, their places in the text, and which of them are marked."""
  encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
  ids = encoded['input_ids']
  found = np.asarray(matcher(padded([ids])))[0]
  assert not found[len(ids) :].any()
  return ids, encoded['offset_mapping'], found[: len(ids)]


def padded(rows):
  return jnp.asarray([row + [-1] * (WIDTH - len(row)) for row in rows], jnp.int32)


def by_regular_expression(words, text):
  """[len(text)] bool, the characters of every occurrence."""
  found = np.zeros(len(text), bool)
  for word in words:
    first = f'[{word[0]}{word[0].upper()}]'
    for match in re.finditer(rf'(?<!\w)(?={first}{re.escape(word[1:])}(?!\w))', text):
      found[match.start() : match.start() + len(word)] = True
  return found


def check(tokenizer, matcher, words, text):
  """Every token that holds more than space is marked as its characters are."""
  ids, offsets, found = marked(tokenizer, matcher, text)
  expected = by_regular_expression(words, text)
  for name, (start, end), mark in zip(
    tokenizer.convert_ids_to_tokens(ids), offsets, found, strict=True
  ):
    if name != '▁' and not text[start:end].isspace():
      assert mark == expected[start:end].any(), (text, name, start)
  return found


def random_text(rng):
  words = [rng.choice([*WORDS, *PLAIN, 'So', 'Because', 'As a result']) for _ in range(12)]
  return ''.join(word + rng.choice([' ', ', ', '.\n', ' (', ' "']) for word in words)


def test_marks_are_those_of_a_regular_expression(tokenizer):
  matcher = compiled(tokenizer, WORDS)
  rng = random.Random(0)
  for text in (*TEXTS, *(random_text(rng) for _ in range(20))):
    found = check(tokenizer, matcher, WORDS, text)
    assert found.any() or 'so' not in text


def test_every_token_of_a_phrase_is_marked_and_its_inner_spaces():
  tokenizer = MAKERS['bytes']()
  found = marked(tokenizer, compiled(tokenizer, WORDS), 'x as a result y')[2]
  np.testing.assert_array_equal(found, [False] * 2 + [True] * 11 + [False] * 2)


def test_a_leading_space_in_the_same_token_is_marked():
  tokenizer = byte_pairs()
  ids, _, found = marked(tokenizer, compiled(tokenizer, WORDS), 'wait because x')
  assert len(ids) < len('wait because x') and found.any()
  assert tokenizer.decode([i for i, mark in zip(ids, found, strict=True) if mark]) == 'wait because'


def test_ids_that_are_nothing_end_a_word_and_match_nothing():
  tokenizer = MAKERS['bytes']()
  matcher = compile_lexicon(tokenizer, WORDS)
  ids = tokenizer('also', add_special_tokens=False)['input_ids']
  assert not matcher(jnp.asarray([ids], jnp.int32)).any()
  for nothing in (-1, len(tokenizer), 10**6):
    cut = jnp.asarray([[*[nothing] * 2, *ids[2:], nothing]], jnp.int32)
    np.testing.assert_array_equal(matcher(cut), [[False, False, True, True, False]])
  assert not matcher(jnp.full((2, 3), -1)).any()


def test_rows_are_alone_and_jit_is_the_same():
  tokenizer = MAKERS['bytes']()
  matcher = compile_lexicon(tokenizer, WORDS)
  tokens = padded([tokenizer(text, add_special_tokens=False)['input_ids'] for text in TEXTS])
  found = np.asarray(jax.jit(matcher)(tokens))
  np.testing.assert_array_equal(matcher(tokens), found)
  for row in range(len(TEXTS)):
    np.testing.assert_array_equal(jax.jit(matcher)(tokens[row : row + 1])[0], found[row])


def test_scripts_without_spaces_need_no_boundary():
  tokenizer = MAKERS['bytes']()
  text = '我们知道因为它是偶数所以可以'
  ids, _, found = marked(tokenizer, compiled(tokenizer, connectives(('zh',))), text)
  marks = [i for i, mark in zip(ids, found, strict=True) if mark]
  assert tokenizer.decode(marks) == '因为所以'


@pytest.mark.parametrize('language', CONNECTIVES)
def test_every_connective_is_found_and_named_once(language):
  words = connectives((language,))
  assert len(set(words)) == len(words) > 20
  tokenizer = MAKERS['bytes']()
  matcher = compiled(tokenizer, words)
  for word in words:
    ids, _, found = marked(tokenizer, matcher, word)
    assert found.all(), word
    assert len(ids) == len(word.encode())


def test_marks_need_no_boundary():
  tokenizer = tokenizers_lib.character_tokenizer('0123456789+-*/()')
  found = marked(tokenizer, compiled(tokenizer, ('+', '-')), '(12+3)-4*5')[2]
  assert ''.join(np.where(found, 'x', '.')) == '...x..x...'


def test_user_errors_are_told_in_a_sentence():
  with pytest.raises(ValueError, match='config.lexicon.languages.* de, fr, es, zh'):
    connectives(('en', 'klingon'))
  with pytest.raises(ValueError, match='none of the words'):
    compile_lexicon(tokenizers_lib.character_tokenizer('0123456789'), WORDS)


@pytest.mark.skipif('MAXENT_LM_DATA' not in os.environ, reason='needs MAXENT_LM_DATA')
@pytest.mark.parametrize('name', ['tokenizers/minimind', 'tokenizers/gpt2', 'models/stories260K'])
def test_real_tokenizers(name):
  tokenizer = tokenizers_lib.load_tokenizer(pathlib.Path(os.environ['MAXENT_LM_DATA']) / name)
  words = (*WORDS, 'however', 'on the other hand')
  matcher = compiled(tokenizer, words)
  rng = random.Random(1)
  for _ in range(30):
    check(tokenizer, matcher, words, random_text(rng) + 'However, soon on the other hand.')
