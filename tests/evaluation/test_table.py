import numpy as np
import pytest
from answered import hard_and_easy, offline, row

from maxent_lm.evaluation import detection, pooled, summary


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


# --- at k, with intervals --------------------------------------------------------------------


def test_columns_of_the_table():
  table = summary(hard_and_easy())
  for k in (1, 2, 4):
    for name in ('pass', 'distinct', 'coverage', 'maj', 'best_logp'):
      low, value, high = (table[f'{name}@{k}{end}'] for end in ('_low', '', '_high'))
      assert low <= value <= high
  assert table['pass@4'] == 1 and table['pass@1'] == pytest.approx((24 + 9 + 4) / 52)
  assert table['coverage@4'] == pytest.approx(np.mean([1 / 3] * 9 + [1 / 3] * 4))
  assert (table['problems'], table['samples'], table['faults']) == (13, 4, 0)
  assert 'seeds' not in table and 'best_score@4' not in table and 'kl' not in table
  assert table['length'] == 4 and table['length_low'] == 4
  names = [name for name in table if name.endswith('_low')]
  assert all(name[:-4] in table and f'{name[:-4]}_high' in table for name in names)


def test_an_interval_is_about_problems():
  """Of 13 problems 9 majorities are right: the percentiles of resampled shares."""
  table = summary(hard_and_easy())
  rng = np.random.default_rng(0)
  drawn = rng.binomial(13, 9 / 13, size=20_000) / 13
  assert table['maj@4_low'] == pytest.approx(np.quantile(drawn, 0.025), abs=1 / 13)
  assert table['maj@4_high'] == pytest.approx(np.quantile(drawn, 0.975), abs=1 / 13)


def test_a_problem_without_a_solution_has_no_coverage():
  table = summary([row(['a', 'b'], [1, 0], modes=1), row(['a', 'b'], [0, 0], modes=0)])
  assert (table['coverage@2'], table['pass@2']) == (1, 0.5)


def test_the_table_without_a_model():
  table = summary([offline(['a', 'b'], [1, 0]), offline(['b', 'b'], [0, 0])])
  assert table['auroc_semantic'] == 0  # the one that agrees with itself is wrong
  gone = ('entropy', 'logp', 'kl', 'auroc_token', 'auroc_gain', 'vote_logp@2', 'best_logp@2')
  assert not table.keys() & set(gone)
  assert table['pass@1'] == 0.25


# --- faults ----------------------------------------------------------------------------------


def test_problems_may_have_different_numbers_of_samples():
  """pass@k over the problems that have k samples; K is what was asked for."""
  whole = [row(['a', 'b', 'a', 'c'], [1, 0, 1, 0]), row(['b'] * 4, [0] * 4)]
  short = row(['a', 'a', None, None], [1, 1, np.nan, np.nan])
  lost = row([None] * 4, [np.nan] * 4)
  table = summary([whole[0], short, whole[1], lost])
  assert (table['problems'], table['samples'], table['faults']) == (3, 4, 6)
  assert table['pass@1'] == pytest.approx((0.5 + 1 + 0) / 3)
  assert table['pass@2'] == pytest.approx((5 / 6 + 1 + 0) / 3)
  assert table['pass@4'] == 0.5  # of the two that have four
  assert table['coverage@2'] == pytest.approx((5 / 6 / 2 + 1 / 2 + 0) / 3)
  assert table['length'] == 4 and table['reward'] == pytest.approx(0.5)
  assert (
    table['sample_auroc_semantic'] == summary([whole[0], short, whole[1]])['sample_auroc_semantic']
  )
  assert 'pass@4' not in summary([short]) and summary([short])['pass@2'] == 1


def test_a_table_of_nothing_is_refused():
  with pytest.raises(ValueError, match='no sample of any problem has a reward'):
    summary([row(['a'], [np.nan])])
  for runs in ([], [[]], [[row(['a'], [1])], []]):
    with pytest.raises(ValueError, match='no problems at all'):
      pooled(runs)


# --- several runs ----------------------------------------------------------------------------


def numbered(rows):
  return [each | {'id': f'problem {at}'} for at, each in enumerate(rows)]


def test_one_run_is_its_own_pool_and_equal_runs_add_nothing():
  rows = numbered(hard_and_easy())
  one, two = summary(rows), pooled([rows, rows])
  assert pooled([rows]) == one
  assert two.pop('seeds') == 2
  assert two == pytest.approx(one)


def test_runs_are_pooled_over_seeds_and_problems():
  rows = numbered(hard_and_easy())
  wrong = numbered([row(['a'] * 4, [0, 0, 0, 0]) for _ in rows])
  table = pooled([rows, wrong])
  assert table['maj@4'] == pytest.approx(9 / 26)
  assert table['maj@4_low'] == 0  # both draws may be the second run
  assert table['maj@4_high'] > summary(rows)['maj@4']
  assert table['problems'] == 13


def test_runs_on_other_problems_are_no_pool():
  rows = numbered(hard_and_easy())
  for other in (rows[:-1], rows[::-1], numbered([row(['a'] * 3, [1] * 3)] * 13)):
    with pytest.raises(ValueError, match='other problems, or with other numbers of samples'):
      pooled([rows, other])
