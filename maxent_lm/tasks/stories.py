"""Stories: end a small story properly, with its hero and its thing in the last sentences.

Worked example:

  prompt    'Once upon a time, there was a little boy named Max. He had a red car. One day, he lost
             his car in the garden. He was very sad. His mom helped him find it. Max was happy
             again. From that day on,'
  required  'max' and 'car', as whole words, in any case
  response  ' Max always kept his car close.'   and then the stop token: reward 1
            the same, but cut, or without its full stop:                 reward 1/2
            ' he was careful.'                  and then the stop token: reward 0
  cluster   'always close kept', the content words of the first sentence

For models of the TinyStories kind [Eldan and Li 2023]. The 260K-parameter Llama of llama2.c,
sampled at temperature 1 from 40 openings, 64 times each, ends 41% of the stories within 128 tokens
and gets reward 1 on 10% (within 96 tokens: 38% and 9%).

That model separates stories by `<s>` and never emits `</s>`: `<s>` opens the prompt, and it is the
stop token (STOP_TOKEN) that makes a response `finished`.
"""

import itertools
import re

import numpy as np

from maxent_lm.tasks.base import Problem, take_split

STOP_TOKEN = '<s>'
SENTENCE_ENDS = ('.', '!', '?', '"')

HEROES = {
  **dict.fromkeys(('Lily', 'Mia', 'Sara', 'Lucy', 'Anna', 'Sue'), ('girl', 'she', 'her', 'her')),
  **dict.fromkeys(('Tim', 'Tom', 'Ben', 'Max', 'Jack', 'Sam'), ('boy', 'he', 'him', 'his')),
}
COLOURS = ('red', 'blue', 'big', 'new')
THINGS = ('ball', 'doll', 'car', 'book', 'hat', 'toy', 'kite', 'cake')
PLACES = ('park', 'garden', 'house', 'forest')
HELPERS = ('mom', 'dad', 'friend', 'dog')

OPENING = (
  'Once upon a time, there was a little {child} named {name}. {They} had a {colour} {thing}. '
  'One day, {they} lost {their} {thing} in the {place}. {They} was very sad. {Their} {helper} '
  'helped {them} find it. {name} was happy again. From that day on,'
)
FUNCTION_WORDS = frozenset(
  'a an the and or but so to of in on at for with from as that this it its he she they him her '
  'them his their was were is are be been had has have do did would could can will not very too '
  's t i you we my your our me us there then when'.split()
)


def _opening(name: str, colour: str, thing: str, place: str, helper: str) -> str:
  child, they, them, their = HEROES[name]
  return OPENING.format(
    name=name, colour=colour, thing=thing, place=place, helper=helper, child=child, they=they,
    them=them, their=their, They=they.capitalize(), Their=their.capitalize(),
  )  # fmt: skip


def _words(text: str) -> list[str]:
  return re.findall('[a-z]+', text.lower())


class Stories:
  """Every opening of the grammar above; the split is by `take_split`, as are `size` and `seed`."""

  def __init__(
    self, *, split: str, test_fraction: float = 0.1, size: int | None = None, seed: int = 0
  ) -> None:
    parts = itertools.product(HEROES, COLOURS, THINGS, PLACES, HELPERS)
    self._names = take_split(
      map('-'.join, parts), split=split, test_fraction=test_fraction, size=size, seed=seed
    )

  def __len__(self) -> int:
    """Number of problems."""
    return len(self._names)

  def __getitem__(self, index: int) -> Problem:
    """The problem `index`; its data is the tuple of required words."""
    name, colour, thing, place, helper = self._names[index].split('-')
    opening = _opening(name, colour, thing, place, helper)
    return Problem(self._names[index], opening, '', (name.lower(), thing))

  def reward(self, problem: Problem, response: str, finished: bool) -> float:
    """Share of the required words found, halved if the story does not end, with a sentence."""
    found = set(problem.data) & set(_words(response))
    ended = finished and response.rstrip().endswith(SENTENCE_ENDS)
    return len(found) / len(problem.data) * (1.0 if ended else 0.5)

  def cluster(self, problem: Problem, response: str) -> str | None:
    """The content words of the first sentence, sorted; words of the prompt do not count."""
    first = re.split(r'[.!?\n]', response.strip(), maxsplit=1)[0]
    content = set(_words(first)) - FUNCTION_WORDS - set(_words(problem.prompt))
    return ' '.join(sorted(content)) or None

  def modes(self, problem: Problem) -> None:
    """Not known: there are many stories."""

  def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
    """Stories has no demonstrations; always raises ValueError."""
    raise ValueError('Stories has no demonstrations: start from a pretrained model instead.')
