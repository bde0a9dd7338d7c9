"""Tokenizers: one from a Hugging Face folder, and two that need no files.

All are `transformers` fast tokenizers, so they save, load, pad and decode alike.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maxent_lm import reading
from maxent_lm.lm.config import LMConfig

if TYPE_CHECKING:
  import tokenizers
  from transformers import PreTrainedTokenizerBase

PAD, EOS, UNKNOWN = '<pad>', '<eos>', '<unk>'
READ = ('.json', '.txt', '.model', '.jinja', '.vocab', '.tiktoken')  # by the libraries
SETTINGS = 'tokenizer_config.json'
BROKEN = '\ufffd'  # what a part of a character is decoded to


def load_tokenizer(folder: str | os.PathLike[str]) -> 'PreTrainedTokenizerBase':
  """The tokenizer saved in `folder`: local files only, and none of its code is run.

  Raises FileNotFoundError if there is no such folder, ValueError if it holds no usable tokenizer,
  one that asks for code of its own, a file beyond `reading.OBJECT` bytes or a link that leaves it.
  """
  from transformers import AutoTokenizer

  if not pathlib.Path(folder).is_dir():
    raise FileNotFoundError(f'{folder} is not a folder; give one that holds tokenizer.json.')
  _check_files(pathlib.Path(folder))
  try:
    tokenizer = AutoTokenizer.from_pretrained(
      folder, local_files_only=True, trust_remote_code=False
    )
  except BaseException as error:  # whatever a damaged file makes the two libraries raise
    if isinstance(error, KeyboardInterrupt | SystemExit):
      raise
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ValueError(
      f'{folder} holds no tokenizer that can be loaded ({reason[:200]}); '
      'save one there with save_pretrained.'
    ) from error
  if not tokenizer:
    raise ValueError(f'{folder} holds a model that has no tokenizer; use another folder.')
  return tokenizer


def _check_files(folder: pathlib.Path) -> None:
  """What the libraries may read of a folder, before they do."""
  for path in folder.iterdir():
    if path.suffix in READ and reading.confined(folder, path.name).is_file():
      reading.check_size(path)
    if path.name == SETTINGS:
      settings = reading.read_object(path, cure='fetch it again.')
      if settings.get('auto_map'):
        raise ValueError(
          f'{path} asks for code of its own (auto_map), which is never run; use a folder with a '
          'tokenizer that needs none.'
        )


def _wrap(tokenizer: 'tokenizers.Tokenizer', **special: str) -> 'PreTrainedTokenizerBase':
  from transformers import PreTrainedTokenizerFast

  return PreTrainedTokenizerFast(
    tokenizer_object=tokenizer,
    pad_token=PAD,
    eos_token=EOS,
    padding_side='left',
    clean_up_tokenization_spaces=False,
    **special,
  )


def character_tokenizer(alphabet: str) -> 'PreTrainedTokenizerBase':
  """One token per character: <pad> 0, <eos> 1, <unk> 2, then `alphabet` in its order.

  Characters outside the alphabet become <unk>. Raises ValueError for an alphabet that is empty or
  repeats a character.
  """
  from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

  if not alphabet or len(set(alphabet)) != len(alphabet):
    raise ValueError(
      f'character_tokenizer: the alphabet {alphabet!r} must name each character once, and at least '
      'one.'
    )
  vocabulary = {token: i for i, token in enumerate((PAD, EOS, UNKNOWN, *alphabet))}
  tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
  tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r'[\s\S]'), 'isolated')
  tokenizer.decoder = decoders.Fuse()
  return _wrap(tokenizer, unk_token=UNKNOWN)


def byte_tokenizer() -> 'PreTrainedTokenizerBase':
  """One token per UTF-8 byte: <pad> 0, <eos> 1, then the 256 bytes; encodes any text."""
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers

  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  vocabulary = {token: i for i, token in enumerate((PAD, EOS, *alphabet))}
  tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  tokenizer.decoder = decoders.ByteLevel()
  return _wrap(tokenizer)


def encode(tokenizer: 'PreTrainedTokenizerBase', text: str) -> list[int]:
  """Token ids of a prompt, with one beginning-of-sequence token if the tokenizer adds one.

  A text that already begins with it (chat templates write it out) does not get a second one.
  """
  written = tokenizer.bos_token is not None and text.startswith(str(tokenizer.bos_token))
  return list(tokenizer.encode(text, add_special_tokens=not written))


def pieces(tokenizer: 'PreTrainedTokenizerBase', ids: Sequence[int]) -> list[str]:
  """The text that each token adds, special tokens written out; joined, the text of all of them.

  A character that is spread over several tokens belongs to the last one, the others are ''.
  """
  found, start, read = [], 0, 0
  for end in range(1, len(ids) + 1):
    before = str(tokenizer.decode(list(ids[start:read]), skip_special_tokens=False))
    whole = str(tokenizer.decode(list(ids[start:end]), skip_special_tokens=False))
    if whole.endswith(BROKEN) and end < len(ids):
      found.append('')
      continue
    found.append(whole[len(before) :])
    start, read = read, end
  return found


def check_vocabulary(tokenizer: 'PreTrainedTokenizerBase', config: LMConfig) -> None:
  """Raises ValueError if the tokenizer can give an id that the model has no embedding for."""
  largest = max(tokenizer.get_vocab().values())
  if largest >= config.vocab_size:
    raise ValueError(
      f'The tokenizer gives ids up to {largest} but the model has vocab_size {config.vocab_size}; '
      'use the tokenizer of this model, or a larger vocabulary.'
    )
