"""Data frames of run folders have the values of the files, and say which run they are of."""

import builtins
import json

import pytest
import run_folders

from maxent_lm.analysis import frames, runs

pd = pytest.importorskip('pandas', reason='pandas is in the extra notebooks')


@pytest.fixture
def two(tmp_path):
  warm = {'temperature__beta': 0.3, 'transforms': ('group_normalised',)}
  return [
    run_folders.make(tmp_path / 'a', steps=12),
    run_folders.make(tmp_path / 'b', steps=5, seed=3, changes=warm),
  ]


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_the_lines_of_the_files(two):
  frame = frames.metrics(*two)
  for folder in two:
    own = frame[frame.run == folder.name]
    rows = lines(folder / 'metrics.jsonl')
    assert own[['step', *run_folders.METRICS]].to_dict('records') == rows


def test_the_columns_in_front_tell_the_runs_apart(two):
  frame = frames.metrics(*two)
  heads = frame.groupby('run').first()
  assert heads.seed.tolist() == [0, 3]
  assert heads['temperature.beta'].tolist() == [0.08, 0.3]
  assert heads['transforms'].tolist() == ['[]', '["group_normalised"]']
  assert 'algorithm' not in frame and 'name' not in frame  # the same, or no more than a name
  named = frames.metrics(*two, keys=['algorithm', 'soft_q.lam'])
  assert set(zip(named.algorithm, named['soft_q.lam'], strict=True)) == {('soft_q', 0.9)}
  assert 'temperature.beta' not in named


def test_one_run_alone_is_its_part_of_both(two):
  keys = ['temperature.beta']
  both = frames.metrics(*two, keys=keys)
  alone = frames.metrics(two[1], keys=keys)
  pd.testing.assert_frame_equal(both[both.run == 'b'].reset_index(drop=True), alone)


def test_tokens_are_the_lists_of_the_rollouts(two):
  frame = frames.tokens(*two)
  rows = lines(two[0] / 'rollouts.jsonl')
  own = frame[frame.run == 'a']
  assert len(own) == sum(len(row['tokens']) for row in rows)
  for number, part in own.groupby('response'):
    assert part.text.tolist() == rows[number]['tokens']
    assert part.value.tolist() == rows[number]['value']
    assert part.token.tolist() == list(range(len(part)))


def test_evaluations_and_problems(two):
  run_folders.evaluate(two[1], extra=7)
  frame = frames.evaluations(*two)
  assert frame.run.tolist() == ['b']
  assert frame[['pass@1', 'extra']].values.tolist() == [[0.25, 7]]
  assert frames.problems(*two).correct.tolist() == [1]
  assert list(frames.samples(*two).columns)[:2] == ['run', 'seed']  # none, and still a frame


def test_errors_are_one_sentence(two, tmp_path, monkeypatch):
  with pytest.raises(FileNotFoundError, match='is not a folder: give the --workdir of a run'):
    frames.metrics(tmp_path / 'nowhere')
  with pytest.raises(ValueError, match=r"keys=\['algorithms'\]: no run has them"):
    frames.metrics(*two, keys=['algorithms'])
  real = builtins.__import__

  def without_pandas(name, *rest):
    if name == 'pandas':
      raise ImportError(name)
    return real(name, *rest)

  monkeypatch.setattr(builtins, '__import__', without_pandas)
  with pytest.raises(ImportError, match=r"pip install -e '\.\[notebooks\]'"):
    frames.metrics(*two)


def test_a_killed_run_is_read_up_to_its_torn_line(two):
  for name in ('metrics.jsonl', 'rollouts.jsonl'):
    path = two[0] / name
    path.write_text(path.read_text()[:-20])
  run = runs.read(two[0])
  assert run.steps == 11 and len(run.rollouts) == 31
  assert runs.missing(run)[0].startswith('Not finished: 11 of 12 steps.')
