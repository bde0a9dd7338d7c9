import dataclasses
import functools
import itertools
import json
import pathlib

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build, detection
from maxent_lm.evaluate import (
  Samples,
  coverage,
  pass_at_k,
  problem_row,
  semantic_entropies,
  summary,
)
from maxent_lm.soft import semantic
from maxent_lm.tasks.base import Problem

PUBLISHED = pathlib.Path(__file__).parent / 'reference' / 'pass_at_k.json'


@pytest.mark.parametrize('k', [1, 2, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(k):
  for right in range(6):
    samples = [True] * right + [False] * (5 - right)
    exact = np.mean([any(chosen) for chosen in itertools.combinations(samples, k)])
    np.testing.assert_allclose(pass_at_k(np.array([right]), samples=5, k=k), [exact], atol=1e-12)


@pytest.mark.parametrize(
  'case', json.loads(PUBLISHED.read_text())['cases'], ids=lambda c: c['case']
)
def test_pass_at_k_of_the_published_code(case):
  samples, correct = (np.array(case['inputs'][name]) for name in ('num_samples', 'num_correct'))
  ours = pass_at_k(correct, samples=samples, k=case['kwargs']['k'])
  np.testing.assert_allclose(ours, case['outputs']['per_problem'], atol=1e-12)


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match='pass@6 cannot be estimated from 5 samples'):
    pass_at_k(np.array([1]), samples=5, k=6)


def test_coverage_is_relative_to_the_best_possible():
  distinct, modes = np.array([2, 4, 0]), np.array([3, 40, 1])
  np.testing.assert_allclose(coverage(distinct, modes, samples=16), [2 / 3, 4 / 16, 0])


@pytest.fixture(scope='module')
def policy(tmp_path_factory):
  config = tiny_config()
  return config, build.make_policy(config, tmp_path_factory.mktemp('run'))


def test_the_same_evaluation_twice_gives_the_same_numbers(policy):
  config, policy = policy
  evaluation = build.make_evaluation(config, policy)
  once, twice = (evaluation(policy.params, policy.params) for _ in range(2))
  del once['seconds'], twice['seconds']
  assert once == twice
  assert once['problems'] == 8
  assert once['kl'] == 0


def test_the_last_batch_may_be_short(policy):
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=6, prompts=4, samples=4)
  row = build.make_evaluation(config, policy)(policy.params, None)
  assert row['problems'] == 6
  assert 'kl' not in row


def test_the_kl_of_another_policy_is_positive(policy):
  config, policy = policy
  other = jax.tree.map(lambda x: 1.5 * x, policy.params)
  with config.unlocked():
    config.eval.update(problems=8, prompts=8, samples=64)
  row = build.make_evaluation(config, policy)(other, policy.params)
  assert row['kl'] > 0


class Oracle:
  """Generates each problem's demonstrations instead of sampling a model."""

  def __init__(self, reader, samples):
    self.reader, self.samples, self.calls = reader, samples, 0

  def __call__(self, params, tokens, valid, key, heat):
    del params, key
    assert heat == 1
    from maxent_lm.sampling.generate import Rollout

    rng = np.random.default_rng(self.calls)
    task, tokenizer = self.reader.task, self.reader.tokenizer
    names = {task[i].prompt: task[i] for i in range(len(task))}
    rows = []
    for prompt, mask in zip(np.asarray(tokens), np.asarray(valid), strict=True):
      problem = names[tokenizer.decode(prompt[mask])]
      for _ in range(self.samples):
        text = task.demonstration(problem, rng)
        rows.append([*tokenizer.encode(text, add_special_tokens=False), self.reader.eos_id])
    self.calls += 1
    length = np.array([len(row) for row in rows])
    padded = np.array([row + [self.reader.eos_id] * (8 - len(row)) for row in rows])
    zeros = np.zeros(padded.shape, np.float32)
    return Rollout(padded, length, np.ones(len(rows), bool), zeros, zeros + np.float32(0.25))


def test_a_policy_that_knows_every_mode_scores_one(policy):
  """With 64 uniform demonstrations of at most six modes, every mode is found."""
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=8, prompts=4, samples=64)
  evaluation = build.make_evaluation(config, policy)
  perfect = dataclasses.replace(evaluation, generate=Oracle(evaluation.reader, 64))
  row = perfect(policy.params, None)
  assert row['pass@1'] == row['pass@64'] == row['coverage@64'] == row['finished'] == 1
  modes = [evaluation.reader.task.modes(evaluation.reader.task[i]) for i in range(8)]
  assert row['distinct@64'] == np.mean(modes)


# --- one problem, all problems -------------------------------------------------------------------


def samples(classes, right, *, finished=True, entropy=0.5, logp=-2.0, confidence=None):
  """Four tokens a response."""
  size = len(classes)
  return Samples(
    reward=np.array(right, np.float32),
    finished=np.broadcast_to(finished, size),
    classes=classes,
    length=np.full(size, 4),
    entropy=np.broadcast_to(np.float64(entropy), size),
    logp=np.broadcast_to(np.float64(logp), size),
    confidence=confidence,
  )


def row(classes, right, **changes):
  return problem_row(Problem('id', 'prompt', '', None), samples(classes, right, **changes), 3)


def test_the_majority_and_what_abstains():
  found = row(['b', 'a', None, 'a', 'c'], [1, 0, 0, 0, 1])
  assert (found['majority'], found['majority_share'], found['majority_right']) == ('a', 0.4, False)
  assert found['classes'] == {'a': 2, 'b': 1, 'c': 1}
  assert (found['correct'], found['distinct'], found['modes']) == (2, 2, 3)
  assert row(['b', None, 'b', None], [1, 1, 1, 1])['distinct'] == 1  # no class, no mode
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


def hard_and_easy():
  """Answers to easy problems agree and are right, to hard ones they differ and are mostly wrong."""
  easy = [row(['a'] * 4, [1, 1, 1, 1], entropy=0.3 + 0.01 * i) for i in range(6)]
  middle = [row(['a', 'b', 'a', 'a'], [1, 0, 1, 1], entropy=0.4 - 0.01 * i) for i in range(3)]
  hard = [row(['a', 'b', 'c', 'd'], [0, 0, 1, 0], entropy=0.2, logp=-9.0) for i in range(4)]
  return easy + middle + hard


def test_the_table_says_how_well_mistakes_are_found():
  table = summary(hard_and_easy())
  assert table['maj@4'] == 9 / 13
  assert (table['auroc_semantic'], table['auroc_token'], table['auroc_logp']) == (1, 0, 1)
  assert (table['auroc_gain'], table['auroc_gain_low'], table['auroc_gain_high']) == (1, 1, 1)
  assert 0 < table['auroc_semantic_low'] < table['auroc_semantic_high'] == 1
  single = np.array([r['right'] for r in hard_and_easy()])
  score = np.repeat([r['semantic_entropy'] for r in hard_and_easy()], 4)
  expected = detection.auroc(score, ~single.ravel(), problem=np.repeat(np.arange(13), 4))
  assert table['sample_auroc_semantic'] == pytest.approx(expected.value)
  assert table['sample_auroc_semantic_low'] == pytest.approx(expected.low)


def test_what_is_undefined_is_left_out():
  easy, hard = hard_and_easy()[:6], hard_and_easy()[-4:]
  for rows, has_samples in ((easy, False), (hard, True)):
    table = summary(rows)
    assert not any(name.startswith('auroc') for name in table)
    assert ('sample_auroc_token' in table) == has_samples
    assert 'kl' not in table
  assert 'coverage@4' not in summary([r | {'modes': None} for r in hard])


def test_the_share_of_the_majority_as_a_confidence():
  rows = [row(['a', 'a', 'a', 'b'], [1, 1, 1, 0])] * 3 + [row(['a', 'a', 'a', 'b'], [0, 0, 0, 1])]
  table = summary(rows)
  assert table['ece'] == pytest.approx(0)
  assert table['brier'] == pytest.approx(0.75 * 0.25)


def test_an_evaluation_measures_confidence_when_asked(policy):
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=8, prompts=4, samples=4)
    asked = config.copy_and_resolve_references()
  asked.eval.confidence_k = 5
  rows, without = (
    build.make_evaluation(c, policy).measure(policy.params, None) for c in (asked, config)
  )
  assert [r['id'] for r in rows] == [policy_id(config, policy, i) for i in range(8)]
  assert all(r['confidence'] == pytest.approx(np.average(r['sample_confidence'])) for r in rows)
  plain = [{k: v for k, v in r.items() if 'confiden' not in k} for r in rows]
  assert plain == without
  assert summary(rows)['finished'] == np.mean([r['finished'] for r in rows])


def policy_id(config, policy, index):
  return build.make_reader(config, policy, split='test').task[index].id
