import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import tiny

from maxent_lm.lm import tokenizer as tokenizers_lib

ALPHABET = string.digits + '+-*/()= \n'
PLAIN = st.text(alphabet=st.characters(exclude_categories=['Cs'], exclude_characters='<'))


@pytest.fixture(scope='module')
def by_byte():
  return tokenizers_lib.byte_tokenizer()


@pytest.fixture(scope='module')
def by_character():
  return tokenizers_lib.character_tokenizer(ALPHABET)


@settings(deadline=None, max_examples=50)
@given(text=PLAIN)
def test_bytes_encode_any_text_and_decode_it_again(by_byte, text):
  ids = tokenizers_lib.encode(by_byte, text)
  assert len(ids) == len(text.encode())
  assert by_byte.decode(ids) == text


@settings(deadline=None, max_examples=50)
@given(text=st.text(alphabet=ALPHABET))
def test_characters_encode_their_alphabet_one_to_one(by_character, text):
  ids = tokenizers_lib.encode(by_character, text)
  assert ids == [3 + ALPHABET.index(character) for character in text]
  assert by_character.decode(ids) == text


@settings(deadline=None, max_examples=50)
@given(text=PLAIN)
def test_pieces_are_the_text_cut_at_tokens(by_byte, text):
  ids = [*by_byte.encode(text, add_special_tokens=False), by_byte.eos_token_id]
  pieces = tokenizers_lib.pieces(by_byte, ids)
  assert len(pieces) == len(ids)
  assert ''.join(pieces) == by_byte.decode(ids) == f'{text}<eos>'


def test_a_character_of_several_tokens_is_the_last_ones(by_byte):
  ids = by_byte.encode('a\u20ac\u00e4.', add_special_tokens=False)
  assert tokenizers_lib.pieces(by_byte, ids) == ['a', '', '', '\u20ac', '', '\u00e4', '.']
  assert tokenizers_lib.pieces(by_byte, ids[:3]) == ['a', '', '\ufffd']  # cut within it
  assert tokenizers_lib.pieces(by_byte, []) == []


def test_special_tokens_literal(by_byte, by_character):
  assert (by_byte.pad_token_id, by_byte.eos_token_id, len(by_byte)) == (0, 1, 258)
  assert (by_character.pad_token_id, by_character.eos_token_id, len(by_character)) == (0, 1, 22)
  assert tokenizers_lib.encode(by_character, '1a2') == [4, 2, 5]
  assert by_character.decode([4, 1, 0, 0], skip_special_tokens=True) == '1'
  padded = by_character(['1', '12'], padding=True, return_tensors='np')['input_ids']
  assert padded.tolist() == [[0, 4], [4, 5]]


def test_saved_and_loaded_they_are_the_same(tmp_path, by_byte, by_character):
  for name, tokenizer in (('byte', by_byte), ('character', by_character)):
    tokenizer.save_pretrained(tmp_path / name)
    loaded = tokenizers_lib.load_tokenizer(tmp_path / name)
    text = '(1 + 2)*3 = 9\n'
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(text)['input_ids'] == tokenizer(text)['input_ids']
    assert loaded.decode(loaded(text)['input_ids']) == text
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.padding_side) == (0, 1, 'left')


def test_a_beginning_of_sequence_token_is_there_once(by_byte, tmp_path):
  """As in Llama's tokenizer.json: a template puts <s> in front of every text."""
  from tokenizers import processors

  by_byte.save_pretrained(tmp_path)
  tokenizer = tokenizers_lib.load_tokenizer(tmp_path)
  plain = tokenizers_lib.encode(tokenizer, 'ab')
  tokenizer.add_special_tokens({'bos_token': '<s>'})
  tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
    single='<s> $A', special_tokens=[('<s>', tokenizer.bos_token_id)]
  )
  expected = [tokenizer.bos_token_id, *plain]
  assert tokenizers_lib.encode(tokenizer, 'ab') == expected
  assert tokenizers_lib.encode(tokenizer, '<s>ab') == expected


def test_a_vocabulary_larger_than_the_model_is_refused(by_byte):
  tokenizers_lib.check_vocabulary(by_byte, tiny(vocab_size=258))
  with pytest.raises(ValueError, match='ids up to 257 but the model has vocab_size 257'):
    tokenizers_lib.check_vocabulary(by_byte, tiny(vocab_size=257))


def test_alphabets_name_each_character_once():
  for alphabet in ('', 'aba'):
    with pytest.raises(ValueError, match='each character once'):
      tokenizers_lib.character_tokenizer(alphabet)


def test_folders_without_a_tokenizer_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
    tokenizers_lib.load_tokenizer(tmp_path / 'nowhere')
  with pytest.raises(ValueError, match='holds no tokenizer that can be loaded') as error:
    tokenizers_lib.load_tokenizer(tmp_path)
  assert '\n' not in str(error.value)
  (tmp_path / 'tokenizer.json').write_text('{"model": ')
  with pytest.raises(ValueError, match='holds no tokenizer that can be loaded'):
    tokenizers_lib.load_tokenizer(tmp_path)
