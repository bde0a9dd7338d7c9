import dataclasses

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from maxent_lm import build
from maxent_lm.data import Reader
from maxent_lm.evaluation import summary
from maxent_lm.evaluation.diversity import self_bleu


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
    self.texts = []

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
        self.texts.append(text)
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


def test_the_end_of_a_response_is_no_part_of_its_text(policy):
  """But of its length. Tokens are characters here."""
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=4, prompts=4, samples=8)
  evaluation = build.make_evaluation(config, policy)
  oracle = Oracle(evaluation.reader, 8)
  rows = dataclasses.replace(evaluation, generate=oracle).measure(policy.params, None)
  for at, row in enumerate(rows):
    texts = oracle.texts[8 * at : 8 * at + 8]
    assert row['self_bleu'] == self_bleu(texts)
    assert row['sample_repeat'] == [text in texts[:place] for place, text in enumerate(texts)]
    assert row['sample_length'] == [len(text) + 1 for text in texts]


def test_log_ratios_are_measured_where_samples_are_the_policys(policy):
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=4, prompts=4, samples=2)
    warm = config.copy_and_resolve_references()
  warm.eval.temperature = 0.7
  rows = build.make_evaluation(warm, policy).measure(policy.params, policy.params)
  assert 'kl' not in rows[0] and 'sample_log_ratio' not in rows[0]


def policy_id(config, policy, index):
  return build.make_reader(config, policy, split='test').task[index].id


@dataclasses.dataclass(frozen=True)
class Faulty(Reader):
  """Knows nothing of the first sample of every problem, and nothing at all of problem `lost`."""

  samples: int = 4
  lost: str = ''

  def grade(self, problems, tokens, length, finished):
    graded = super().grade(problems, tokens, length, finished)
    first = np.arange(len(problems)) % self.samples == 0
    unknown = first | np.array([problem.id == self.lost for problem in problems])
    classes = [None if u else name for u, name in zip(unknown, graded.classes, strict=True)]
    rewards = np.where(unknown, np.nan, graded.rewards).astype(np.float32)
    return graded._replace(rewards=rewards, classes=classes)


def test_what_the_grader_does_not_know_was_not_sampled(policy):
  config, policy = policy
  with config.unlocked():
    config.eval.update(problems=8, prompts=4, samples=4)
  evaluation = build.make_evaluation(config, policy)
  other = jax.tree.map(lambda x: 1.5 * x, policy.params)
  whole = evaluation.measure(other, policy.params)
  fields = {each.name: getattr(evaluation.reader, each.name) for each in dataclasses.fields(Reader)}
  reader = Faulty(**fields, lost=whole[3]['id'])
  rows = dataclasses.replace(evaluation, reader=reader).measure(other, policy.params)
  assert [(row['samples'], row['faults']) for row in rows] == [
    (0, 4) if at == 3 else (3, 1) for at in range(8)
  ]
  for row, known in zip(rows[:3], whole, strict=False):
    for name in ('right', 'sample_logp', 'sample_log_ratio', 'sample_entropy', 'sample_length'):
      assert row[name] == known[name][1:]
    assert row['kl'] == pytest.approx(np.mean(known['sample_log_ratio'][1:]))
  table = summary(rows)
  assert (table['problems'], table['samples'], table['faults']) == (7, 4, 11)
  assert {'pass@1', 'pass@2', 'kl', 'coverage@2'} <= table.keys() and 'pass@4' not in table
