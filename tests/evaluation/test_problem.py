import functools
import json

import jax
import numpy as np
import pytest
from answered import offline, row, samples

from maxent_lm.evaluation import at_k, problem_row, semantic_entropies, summary
from maxent_lm.soft import semantic
from maxent_lm.tasks.base import Problem


def test_the_majority_and_what_abstains():
  found = row(['b', 'a', None, 'a', 'c'], [1, 0, 0, 0, 1])
  assert (found['majority'], found['majority_share'], found['majority_right']) == ('a', 0.4, False)
  assert found['classes'] == {'a': 2, 'b': 1, 'c': 1}
  assert (found['correct'], found['distinct'], found['modes']) == (2, 2, 3)
  cut = row(['b', 'a', None, 'a', 'c'], [1, 0, 0, 0, 1], finished=[True, False, True, False, True])
  assert (cut['majority'], cut['majority_right'], cut['classes']) == ('b', True, {'b': 1, 'c': 1})
  nobody = row([None, None], [0, 0])
  assert (nobody['majority'], nobody['majority_share'], nobody['majority_right']) == (
    None,
    0,
    False,
  )


def test_rows_are_plain_values():
  found = row(['a', None], [1, 0], confidence=np.array([2.0, 4.0]))
  assert json.loads(json.dumps(found)) == found
  assert (found['confidence'], found['sample_confidence']) == (3, [2, 4])
  assert 'confidence' not in row(['a', None], [1, 0])


def test_the_entropy_of_a_problem_weighs_tokens_alike():
  of = samples(['a', 'a'], [1, 1], entropy=[0.0, 1.0])._replace(length=np.array([1, 3]))
  assert problem_row(Problem('', '', '', None), of, None)['entropy'] == 0.75


def test_other_votes_over_the_same_responses():
  """Five of a kind are enough for adaptive consistency; the most confident one says b."""
  answers = ['a'] * 5 + ['b'] * 15
  found = row(answers, [1] * 5 + [0] * 15, confidence=np.array([1.0] * 19 + [9.0]))
  assert (found['majority'], found['majority_right']) == ('b', False)
  assert (found['adaptive_samples'], found['adaptive_right']) == (4, True)
  assert found['confident_right'] is False
  split = row(['a', 'b'] * 4, [1, 0] * 4, confidence=np.arange(8.0)[::-1] + 1)
  assert (split['adaptive_samples'], split['confident_right']) == (8, True)
  table = summary([split])
  assert (table['adaptive@8'], table['adaptive_samples'], table['confident@8']) == (1, 8, 1)
  assert 'confident@8' not in summary([row(['a', 'b'] * 4, [1, 0] * 4)])


def test_semantic_entropies():
  even = np.full(4, -1.0)
  found = semantic_entropies(['a', 'b', 'c', 'b'], even)
  assert found['semantic_entropy'] == pytest.approx(1.0397207708399179)
  assert found['semantic_entropy_miller_madow'] == pytest.approx(1.0397207708399179 + 2 / 8)
  assert found['semantic_entropy_rao'] == pytest.approx(found['semantic_entropy'])
  assert set(semantic_entropies(['a'] * 4, even).values()) == {0}
  # No class: in agreement with nobody.
  lonely = semantic_entropies([None] * 4, even)
  assert lonely['semantic_entropy'] == pytest.approx(np.log(4))
  # The likely responses weigh more: .75 and .25.
  rao = semantic_entropies(['a', 'b'], np.log([0.3, 0.1]))['semantic_entropy_rao']
  assert rao == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_semantic_entropies_do_not_know_names_or_order():
  """To the last bit: a detector must see equal counts as equal."""
  rng = np.random.default_rng(0)
  for _ in range(50):
    number = rng.integers(0, 5, 16)
    logp = rng.normal(size=16)
    order = rng.permutation(16)
    one = semantic_entropies([str(n) for n in number], logp)
    two = semantic_entropies([f'name {n}' for n in number[order]], logp[order])
    assert one['semantic_entropy'] == two['semantic_entropy']
    assert one['semantic_entropy_rao'] == pytest.approx(two['semantic_entropy_rao'], abs=1e-12)


@pytest.mark.parametrize('seed', range(5))
def test_semantic_entropies_are_those_of_a_batch(seed):
  """What is measured at evaluation, in float64 and without a device, is what training measures."""
  rng = np.random.default_rng(seed)
  number, logp = rng.integers(-1, 4, 12), rng.normal(size=12)
  found = semantic_entropies([None if n < 0 else str(n) for n in number], logp)
  with jax.enable_x64(True):
    classes = semantic.classes(number, np.zeros(12, int), np.ones(12, bool), missing='own')
    same = (semantic.discrete, semantic.miller_madow, functools.partial(semantic.rao, logp=logp))
    for ours, theirs in zip(found.values(), same, strict=True):
      np.testing.assert_allclose(ours, theirs(classes)[0], rtol=1e-12)


def test_the_miller_madow_term_takes_bias_away():
  rng = np.random.default_rng(0)
  share = np.array([0.5, 0.3, 0.2])
  truth = -np.sum(share * np.log(share))
  drawn = [
    semantic_entropies(list('abc'[n] for n in rng.choice(3, 16, p=share)), np.zeros(16))
    for _ in range(2000)
  ]
  plain, corrected = (
    abs(np.mean([d[name] for d in drawn]) - truth)
    for name in ('semantic_entropy', 'semantic_entropy_miller_madow')
  )
  assert corrected < plain / 5


# --- what k samples would have given ---------------------------------------------------------


def test_curves_of_a_problem():
  """At K the vote itself, in the order of the samples; below it the mean over all choices."""
  found = row(['b', 'a', None, 'a', 'b'], [1, 0, 0, 0, 1], logp=np.log([0.1, 0.4, 0.2, 0.2, 0.1]))
  assert found['ks'] == [1, 2, 4, 5]
  assert found['distinct_at'] == pytest.approx([2 / 5, 7 / 10, 1, 1])
  assert found['majority_at'][-1] == 1  # b and a are tied, b came first
  expected = at_k.majority_at_k([2, 2], [1, 0], samples=5, ks=[1, 2, 4, 5])
  assert found['majority_at'][:-1] == pytest.approx(expected[:-1])
  assert expected[-1] == pytest.approx(0.5)  # what it is before the order is known
  assert found['best_logp_at'][-1] == 0 and found['best_logp_at'][0] == pytest.approx(2 / 5)
  assert 'best_score_at' not in found
  scored = row(['b', 'a'], [1, 0], score=np.array([3.0, -1.0]))
  assert (scored['best_score_at'], scored['score']) == ([0.5, 1], 1)


def test_a_class_may_be_right_in_part():
  """Right is the first of the class in the vote: in a third of the orders here."""
  found = row(['a'] * 3, [0, 1, 0])
  assert found['majority_at'] == pytest.approx([1 / 3, 1 / 3, 0])
  assert found['distinct_at'] == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_right_response_counts_as_found_even_if_it_was_cut_but_not_without_a_class():
  found = row(['a', 'b', None], [1, 1, 1], finished=[True, False, True])
  assert (found['distinct'], found['distinct_at'][-1], found['classes']) == (2, 2, {'a': 1})
  assert row(['b', None, 'b', None], [1, 1, 1, 1])['distinct'] == 1


def test_votes_by_probability():
  """Two unlikely responses say a, a likely one b; per token, so that length does not count."""
  logp = np.array([-8.0, -8.0, -1.0])
  assert row(['a', 'a', 'b'], [1, 1, 0], logp=logp)['vote_logp_right'] is False
  assert row(['a', 'a', 'b'], [1, 1, 0], logp=logp / 20)['vote_logp_right'] is True
  long = row(['a', 'a', 'b'], [1, 1, 0], logp=logp, length=np.array([160, 160, 4]))
  assert long['vote_logp_right'] is True
  sure = row(['a', 'a', 'b'], [1, 1, 0], confidence=np.array([1.0, 1.0, 3.0]))
  assert (sure['majority_right'], sure['vote_confidence_right']) == (True, False)


def test_many_samples_have_no_mean_vote():
  found = row(['a'] * 1001, [1] * 1001)
  assert found['ks'][-2:] == [512, 1001]
  assert found['majority_at'] == [None] * 10 + [1]


def test_responses_as_texts():
  found = row(list('aaab'), [1, 1, 1, 0], tokens=[('x', 'y'), ('x', 'y'), ('y', 'x'), ('x',)])
  assert found['sample_repeat'] == [False, True, False, False]
  assert (found['distinct_1'], found['distinct_2']) == (2 / 7, 2 / 3)
  assert 0 < found['self_bleu'] < 1


# --- rewards that nobody knows ---------------------------------------------------------------


def test_a_sample_of_unknown_reward_was_not_sampled():
  more = {'confidence': np.array([1.0, 2.0, 3.0, 4.0]), 'log_ratio': np.array([0.1, 0.2, 0.3, 0.4])}
  kept = {name: values[[0, 1, 3]] for name, values in more.items()}
  logp, entropy = np.array([-1.0, -2.0, -3.0, -4.0]), np.array([0.1, 0.2, 0.3, 0.4])
  faulty = row(['a', 'b', None, 'a'], [1, 0, np.nan, 1], logp=logp, entropy=entropy, **more)
  three = [0, 1, 3]
  clean = problem_row(
    Problem('id', 'prompt', '', None),
    samples(['a', 'b', 'a'], [1, 0, 1], logp=logp[three], entropy=entropy[three], **kept)._replace(
      tokens=[(f'token {i}',) * 4 for i in three]
    ),
    3,
  )
  assert (faulty['samples'], faulty['faults'], clean['faults']) == (3, 1, 0)
  assert (faulty['ks'], clean['ks']) == ([1, 2], [1, 2, 3])  # 4 were asked for, and 3
  at = [name for name in clean if name.endswith('_at')]
  for name, value in clean.items():
    if name not in ('faults', 'ks', *at):
      assert faulty[name] == value, name
  for name in at:
    assert faulty[name] == clean[name][:2], name


def test_nothing_is_known_where_no_reward_is():
  found = row(['a', 'b'], [np.nan, np.nan])
  assert found == {'id': 'id', 'prompt': 'prompt', 'samples': 0, 'faults': 2, 'modes': 3}


# --- responses without a model ---------------------------------------------------------------


def test_what_only_a_model_knows_is_left_out():
  found, known = offline(['a', 'b'], [1, 0]), row(['a', 'b'], [1, 0])
  missing = {'entropy', 'logp', 'vote_logp_right', 'best_logp_at', 'semantic_entropy_rao'}
  missing |= {'sample_entropy', 'sample_logp'}
  assert known.keys() - found.keys() == missing
  assert all(found[name] == known[name] for name in found)
