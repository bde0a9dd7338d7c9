"""Words in token ids: small lexicons of logical connectives, and a matcher for any tokenizer.

Shapes: B rows, T tokens, V vocabulary, S nodes, C symbols. `compile_lexicon` runs once on the host;
the `Matcher` it makes is made of arrays and runs inside jit.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from maxent_lm.types import Array

if TYPE_CHECKING:
  from transformers import PreTrainedTokenizerBase

CONNECTIVES: Mapping[str, tuple[str, ...]] = {
  'en': (
    *('therefore', 'thus', 'hence', 'so', 'consequently', 'accordingly', 'then', 'as a result'),
    *('because', 'since', 'if', 'unless', 'given that', 'in order to', 'due to', 'it follows that'),
    *('however', 'but', 'although', 'though', 'yet', 'nevertheless', 'instead', 'whereas'),
    *('while', 'otherwise', 'on the other hand', 'alternatively', 'wait', 'actually', 'hmm'),
    *('assume', 'suppose', 'moreover', 'furthermore', 'similarly', 'finally'),
  ),
  'de': (
    *('daher', 'deshalb', 'deswegen', 'darum', 'folglich', 'somit', 'also', 'dann', 'demnach'),
    *('weil', 'da', 'denn', 'wenn', 'falls', 'sofern', 'obwohl', 'aber', 'jedoch', 'doch'),
    *('dennoch', 'trotzdem', 'sondern', 'stattdessen', 'andernfalls', 'sonst', 'während'),
    *('angenommen', 'außerdem', 'zudem', 'ebenso', 'schließlich', 'einerseits', 'andererseits'),
    *('das heißt', 'moment', 'warte', 'eigentlich'),
  ),
  'fr': (
    *('donc', 'ainsi', 'alors', 'par conséquent', 'c’est pourquoi', "c'est pourquoi"),
    *('en effet', 'parce que', 'puisque', 'car', 'comme', 'si', 'sinon', 'à moins que'),
    *('cependant', 'mais', 'pourtant', 'toutefois', 'néanmoins', 'bien que', 'quoique', 'or'),
    *('tandis que', 'au contraire', 'en revanche', 'supposons', 'de plus', 'enfin', 'attends'),
  ),
  'es': (
    *('por lo tanto', 'por tanto', 'así que', 'entonces', 'por consiguiente', 'luego', 'pues'),
    *('porque', 'ya que', 'puesto que', 'dado que', 'si', 'a menos que', 'sin embargo', 'pero'),
    *('aunque', 'no obstante', 'sino', 'mientras que', 'en cambio', 'de lo contrario'),
    *('supongamos', 'además', 'finalmente', 'por otro lado', 'espera', 'es decir'),
  ),
  'zh': (
    *(
      '因此',
      '所以',
      '于是',
      '从而',
      '那么',
      '因为',
      '由于',
      '既然',
      '如果',
      '假如',
      '假设',
      '除非',
    ),
    *(
      '但是',
      '然而',
      '不过',
      '可是',
      '虽然',
      '尽管',
      '否则',
      '而且',
      '此外',
      '另外',
      '同样',
      '最后',
    ),
    *('也就是说', '另一方面', '等等', '其实', '只有', '只要', '反之'),
  ),
}

# What may stand around a word; a tokenizer may cut the word differently next to each.
BEFORE = ('', 'a ', '.\n', '"', '(', '。')
AFTER = ('', ' a', ',', '，')
INCOMPLETE = '\N{REPLACEMENT CHARACTER}'  # what a part of a character's bytes decodes to


@dataclasses.dataclass(frozen=True, eq=False)
class Matcher:
  """Marks every token of every occurrence: [B, T] ids -> [B, T] bool, safe inside jit.

  Ids below 0 or outside the vocabulary are nothing: no word contains them, and they are no letter.

  Attributes:
    symbol: [V] int32, the token as the tree knows it, 0 if it is in no word.
    begins, ends: [V] bool, the token begins (ends) inside a word of an alphabet with spaces.
    child: [S, C] int32, where a symbol leads from a node; 0 is nowhere, 1 the root.
    accepts: [S] bool, the path to the node is a word.
    left, right: [S] bool, the word wants a boundary before (after) it.
    depth: the longest word, in tokens.
  """

  symbol: np.ndarray
  begins: np.ndarray
  ends: np.ndarray
  child: np.ndarray
  accepts: np.ndarray
  left: np.ndarray
  right: np.ndarray
  depth: int

  def __call__(self, tokens: Array) -> Array:
    """[B, T] bool; takes `depth` steps over [B, T] and holds nothing larger."""
    inside = (tokens >= 0) & (tokens < len(self.symbol))
    ids = jnp.where(inside, tokens, 0)
    symbol = jnp.where(inside, jnp.asarray(self.symbol)[ids], 0)
    begins = inside & jnp.asarray(self.begins)[ids]
    open_left = _shifted(inside & jnp.asarray(self.ends)[ids], -1)
    child, accepts, left, right = map(
      jnp.asarray, (self.child, self.accepts, self.left, self.right)
    )
    node, length = jnp.ones_like(ids), jnp.zeros_like(ids)
    for step in range(self.depth):
      node = child[node, _shifted(symbol, step)]
      torn = (left[node] & open_left) | (right[node] & _shifted(begins, step + 1))
      length = jnp.where(accepts[node] & ~torn, step + 1, length)
    covers = [_shifted(length, -back) > back for back in range(self.depth)]
    return jnp.any(jnp.stack(covers), axis=0)


def compile_lexicon(tokenizer: 'PreTrainedTokenizerBase', words: Iterable[str]) -> Matcher:
  """The matcher of `words`, each as it stands and with a capital letter, within and around text.

  A word is the token sequences that the tokenizer gives it at the start of a text, or after a
  space, a line break or a mark; a leading space in the same token is marked with it, and a sequence
  that does not end where the word ends is left out. An occurrence inside a longer word does
  not count, except in scripts without spaces; where a token holds an incomplete character (byte
  tokenizers), it is taken for a letter.

  Args:
    tokenizer: a fast tokenizer of `transformers`.
    words: words or phrases.

  Raises:
    ValueError: the tokenizer gives no offsets, or can write none of the words.
  """
  if not tokenizer.is_fast:
    raise ValueError(
      'the lexicon needs a fast tokenizer, one that tells where its tokens stand in the text; save '
      'the tokenizer as tokenizer.json'
    )
  size = max(tokenizer.get_vocab().values()) + 1
  pieces = _texts(tokenizer, [[number] for number in range(size)])
  sequences = _sequences(tokenizer, pieces, words)
  if not sequences:
    raise ValueError(
      'the tokenizer can write none of the words of the lexicon; name others in '
      'config.lexicon.languages or config.lexicon.words'
    )
  begins = np.array([_is_letter(piece[:1]) for piece in pieces])
  ends = np.array([_is_letter(piece[-1:]) for piece in pieces])
  return _tree(sequences, begins, ends)


def connectives(languages: Sequence[str]) -> tuple[str, ...]:
  """The connectives of these languages; raises ValueError for an unknown one."""
  if set(languages) - set(CONNECTIVES):
    raise ValueError(
      f'config.lexicon.languages={tuple(languages)} may name {", ".join(CONNECTIVES)}'
    )
  return tuple(dict.fromkeys(itertools.chain(*(CONNECTIVES[name] for name in languages))))


def _texts(tokenizer: 'PreTrainedTokenizerBase', sequences: Iterable[Sequence[int]]) -> list[str]:
  """The text of each sequence in the middle of a text: decoders trim the beginning."""
  before = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
  texts = tokenizer.batch_decode(
    [before, *([*before, *sequence] for sequence in sequences)],
    skip_special_tokens=False,
    clean_up_tokenization_spaces=False,
  )
  return [text[len(texts[0]) :] for text in texts[1:]]


def _sequences(
  tokenizer: 'PreTrainedTokenizerBase', pieces: list[str], words: Iterable[str]
) -> dict[tuple[int, ...], tuple[bool, bool]]:
  """Token sequences that are exactly a word, or a word with spaces before it.

  With each, whether it wants a boundary before and after it.
  """
  forms = dict.fromkeys(form for word in words for form in (word, word[:1].upper() + word[1:]))
  places = [(b, form, a) for form in forms for b in BEFORE for a in AFTER]
  encoded = tokenizer(
    [''.join(place) for place in places], add_special_tokens=False, return_offsets_mapping=True
  )
  found: dict[tuple[int, ...], str] = {}
  for (before, form, _), ids, offsets in zip(
    places, encoded['input_ids'], encoded['offset_mapping'], strict=True
  ):
    start, end = len(before), len(before) + len(form)
    spans = zip(ids, offsets, strict=True)
    within = [token for token, (first, last) in spans if start < last and first < end]
    while within and not pieces[within[0]].strip():
      within.pop(0)
    if within:
      found[tuple(within)] = form
  # Offsets are not always right, and a token may reach beyond the word: the text decides.
  texts = dict(zip(found, _texts(tokenizer, found), strict=True))
  return {
    sequence: (_is_letter(texts[sequence][0]), _is_letter(form[-1]))
    for sequence, form in found.items()
    if texts[sequence].endswith(form) and texts[sequence].strip() == form
  }


def _is_letter(character: str) -> bool:
  """Part of a word in a script that puts spaces between words; '' is not."""
  if character == INCOMPLETE:
    return True
  spaceless = '\u3040' <= character <= '\u9fff' or '\U00020000' <= character <= '\U0003ffff'
  return (character.isalnum() or character == '_') and not spaceless


def _tree(
  sequences: Mapping[tuple[int, ...], tuple[bool, bool]], begins: np.ndarray, ends: np.ndarray
) -> Matcher:
  """The prefix tree of the sequences; node 0 is nowhere, node 1 the root."""
  known = sorted(set(itertools.chain(*sequences)))
  symbol = np.zeros(len(begins), np.int32)
  symbol[known] = np.arange(1, len(known) + 1)
  nodes: dict[tuple[int, ...], int] = {(): 1}
  for sequence in sequences:
    for end in range(1, len(sequence) + 1):
      nodes.setdefault(sequence[:end], len(nodes) + 1)
  child = np.zeros((len(nodes) + 1, len(known) + 1), np.int32)
  for path, node in nodes.items():
    if path:
      child[nodes[path[:-1]], symbol[path[-1]]] = node
  accepts, left, right = np.zeros((3, len(nodes) + 1), bool)
  for sequence, sides in sequences.items():
    accepts[nodes[sequence]] = True
    left[nodes[sequence]], right[nodes[sequence]] = sides
  return Matcher(symbol, begins, ends, child, accepts, left, right, max(map(len, sequences)))


def _shifted(values: Array, by: int) -> Array:
  """[B, T] column t is column t + `by` of `values`, 0 where there is none."""
  width = values.shape[1]
  if abs(by) >= width:
    return jnp.zeros_like(values)
  pad = ((0, 0), (max(-by, 0), max(by, 0)))
  return jnp.pad(values, pad)[:, max(by, 0) : max(by, 0) + width]
