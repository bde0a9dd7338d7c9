"""Stories: the reward counts whole words and asks for an end."""

import re

import numpy as np
import pytest

from maxent_lm.tasks.stories import FUNCTION_WORDS, HEROES, THINGS, Stories


@pytest.fixture(scope='module')
def task():
  return Stories(split='test', size=200)


def test_openings_are_whole_and_name_the_required_words(task):
  for i in range(len(task)):
    problem = task[i]
    hero, thing = problem.data
    assert hero.capitalize() in HEROES and thing in THINGS
    assert {hero, thing} <= set(re.findall('[a-z]+', problem.prompt.lower()))
    assert problem.prompt.endswith('From that day on,') and not set('{}') & set(problem.prompt)
    assert hash(problem) == hash(task[i])


def test_a_known_opening():
  task = Stories(split='train', test_fraction=0.0)
  problem = next(p for p in (task[i] for i in range(len(task))) if p.id == 'Max-red-car-garden-mom')
  assert problem.data == ('max', 'car')
  assert problem.prompt == (
    'Once upon a time, there was a little boy named Max. He had a red car. One day, he lost his '
    'car in the garden. He was very sad. His mom helped him find it. Max was happy again. From '
    'that day on,'
  )
  assert task.reward(problem, ' Max always kept his car close.', True) == 1
  assert task.reward(problem, ' Max always kept his car close.', False) == 0.5
  assert task.cluster(problem, ' Max always kept his car close.') == 'always close kept'


def test_reward_is_the_share_of_whole_words_halved_without_an_end(task):
  problem = task[0]
  hero, thing = problem.data
  for response, share in [
    (f' {hero.upper()} and the {thing.upper()}.', 1),
    (f" it was {hero}'s {thing}!", 1),
    (f' {hero}s and {thing}s.', 0),
    (f' x{hero} {thing}x', 0),
    (f' {hero} {hero} {hero}.', 0.5),
    (f' a {thing}.', 0.5),
    ('', 0),
  ]:
    assert task.reward(problem, response, True) == share
    assert task.reward(problem, response, False) == share / 2
  assert task.reward(problem, f' {hero} and the {thing}', True) == 0.5  # no sentence ended


def test_clusters_are_content_words_of_the_first_sentence(task):
  problem = task[0]
  same = [
    ' They played and danced.',
    ' they DANCED and they played! Then rain.',
    'danced played\nx',
  ]
  assert {task.cluster(problem, text) for text in same} == {'danced played'}
  for text in ['', ' ...', '123', ' and the', f' {problem.prompt}', '. They played.']:
    assert task.cluster(problem, text) is None
  assert not FUNCTION_WORDS & set((task.cluster(problem, ' she was not very glad') or '').split())


def test_splits():
  everything = Stories(split='train', test_fraction=0.0)
  parts = [Stories(split=split, seed=seed) for split, seed in (('train', 0), ('test', 4))]
  ids = [{task[i].id for i in range(len(task))} for task in (everything, *parts)]
  assert len(ids[0]) == len(everything) == 12 * 4 * 8 * 4 * 4
  assert ids[1].isdisjoint(ids[2]) and ids[1] | ids[2] == ids[0]
  assert len({everything[i].prompt for i in range(len(everything))}) == len(everything)


def test_what_stories_do_not_have(task):
  assert task.modes(task[0]) is None and task[0].answer == ''
  with pytest.raises(ValueError, match='Stories has no demonstrations'):
    task.demonstration(task[0], np.random.default_rng(0))
