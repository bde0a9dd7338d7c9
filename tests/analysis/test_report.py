"""The report as a file: what it holds, how large it is, what it says of what is missing."""

import json
import re
import subprocess
import sys

import pytest
import run_folders

from maxent_lm.analysis import embedded, report, runs


def data_of(page):
  found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
  assert len(found) == 1
  return json.loads(found[0])


def page_of(*folders, **options):
  return report.page([runs.read(each) for each in folders], defaults={}, **options)


def test_curves_are_the_rows_of_the_run(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=20)
  (run,) = data_of(page_of(folder))['runs']
  rows = runs.read(folder).metrics
  assert run['steps'] == [row['step'] for row in rows]
  assert run['metrics'].keys() == set(run_folders.METRICS)
  for name, found in run['metrics'].items():
    assert found == {'steps': None, 'values': [float(f'{row[name]:.6g}') for row in rows]}


def test_a_number_stands_in_the_page_once(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=3)
  run_folders.evaluate(folder)
  path = folder / 'metrics.jsonl'
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  rows[1]['loss'], rows[1]['kl'] = 0.135791, 0.246801
  run_folders.write(path, rows)
  evaluation = json.loads((folder / 'evaluation.json').read_text()) | {'pass@1': 0.864209}
  (folder / 'evaluation.json').write_text(json.dumps(evaluation))
  page = page_of(folder)
  assert [page.count(number) for number in ('0.135791', '0.246801', '0.864209')] == [1, 1, 1]


def test_steps_without_a_metric_and_what_is_not_finite(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=4)
  rows = [{'step': 0, 'kl': 1.0}, {'step': 1, 'kl': None, 'x': 2.0}, {'step': 2, 'kl': 1.5}]
  run_folders.write(folder / 'metrics.jsonl', rows)
  (run,) = data_of(page_of(folder))['runs']
  assert run['metrics']['kl'] == {'values': [1, None, 1.5], 'steps': None}
  assert run['metrics']['x'] == {'values': [2], 'steps': [1]}


def test_two_runs_are_two_series(tmp_path):
  folders = [run_folders.make(tmp_path / name / 'run', steps=5, seed=ord(name)) for name in 'ab']
  page = page_of(*folders)
  both = data_of(page)['runs']
  assert [run['name'] for run in both] == ['run', 'run (compared)']
  for run, folder in zip(both, folders, strict=True):
    (alone,) = data_of(page_of(folder))['runs']
    assert run['metrics'] == alone['metrics'] and run['rollouts'] == alone['rollouts']
  assert '<th scope="row"><code>seed</code></th><td><code>97</code></td>' in page
  with pytest.raises(ValueError, match='of one run or two, not of 3'):
    page_of(*folders, folders[0])


def test_responses_are_those_of_the_run_in_their_groups(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=21)
  (run,) = data_of(page_of(folder))['runs']
  assert [(group['step'], group['prompt']) for group in run['rollouts']] == [
    (step, f'{step},{group}=6:') for step in (0, 10, 20) for group in (0, 1)
  ]
  rows = runs.read(folder).rollouts
  shown = [row for group in run['rollouts'] for row in group['rows']]
  for row, found in zip(rows, shown, strict=True):
    assert found['tokens'] == row['tokens'] and found['class'] == row['class']
    assert found['value'] == pytest.approx(row['value'], rel=1e-3)


HOSTILE = (
  *('</script><script>window.hacked = 1</script>', '<img src=x onerror="window.hacked = 1">'),
  *('<!--', '-->', ']]>', '&lt;b&gt;', '{{ 7 * 7 }}', '`${1}`'),
  *('\u2028', '\0', '\ud800', '\u202egnp.js'),
)


def test_hostile_text_stays_text(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=1)
  rows = [json.loads(line) for line in (folder / 'rollouts.jsonl').read_text().splitlines()]
  rows[0] |= {'prompt': ''.join(HOSTILE), 'class': HOSTILE[0], 'tokens': list(HOSTILE)}
  rows[0] |= {name: [0.5] * len(HOSTILE) for name in run_folders.TOKEN}
  run_folders.write(folder / 'rollouts.jsonl', rows[:1])
  config = json.loads((folder / 'config.json').read_text())
  config['task'] = HOSTILE[0]
  (folder / 'config.json').write_text(json.dumps(config))
  report.write(folder / 'report.html', [runs.read(folder)], defaults={})
  page = (folder / 'report.html').read_text(encoding='utf-8')
  (group,) = data_of(page)['runs'][0]['rollouts']
  assert group['prompt'] == ''.join(HOSTILE)
  assert group['rows'][0]['tokens'] == list(HOSTILE)
  assert page.count('<script') == page.count('</script>') == 2  # the data, and the page's own
  assert '<img' not in page and 'window.hacked = 1</script>' not in page


def test_a_long_run_fits_and_says_what_it_left_out(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=1200, length=256, every=10)
  size = report.write(tmp_path / 'page.html', [runs.read(folder)] * 2, defaults={})
  assert 2e6 < size < 5e6
  page = (tmp_path / 'page.html').read_text()
  assert 'curves of 500 of 1200 steps, evenly spaced, with the first and the last' in page
  run, _ = data_of(page)['runs']
  assert (run['steps'][0], run['steps'][-1], len(run['steps'])) == (0, 1199, 500)
  steps = sorted({group['step'] for group in run['rollouts']})
  assert (steps[0], steps[-1]) == (0, 1190) and 3 < len(steps) < 120
  responses = sum(len(group['rows']) for group in run['rollouts'])
  assert f'{responses} of 1920 responses, of {len(steps)} of 120 steps' in page


@pytest.mark.parametrize('budget', [100, 3000, 20_000, 10**9])
def test_responses_keep_to_their_budget(tmp_path, budget):
  run = runs.read(run_folders.make(tmp_path / 'a', steps=40))
  groups, said = embedded.rollouts(run, budget=budget)
  assert sum(len(embedded.json_in_html(group)) for group in groups) <= budget
  responses = sum(len(group['rows']) for group in groups)
  assert said.startswith(('all' if responses == 64 else f'{responses} of') + ' ')
  assert {100: 0, 10**9: 64}.get(budget, responses) == responses


@pytest.mark.parametrize('most', [1, 2, 3, 7, 50])
def test_thinned_keeps_the_ends(most):
  places = embedded.thinned(50, most)
  assert len(places) == len(set(places)) == most and places == sorted(places)
  assert places[-1] == 49 and (most == 1 or places[0] == 0)


def test_old_and_killed_folders_have_a_report(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=8)
  (folder / 'rollouts.jsonl').unlink()
  sample = {'step': 0, 'prompt': 'p', 'response': 'r<b>', 'reward': None, 'class': None}
  run_folders.write(folder / 'samples.jsonl', [sample, {'step': 0, 'prompt': 'q', 'response': ''}])
  path = folder / 'metrics.jsonl'
  path.write_text(path.read_text()[:-9])
  page = page_of(folder)
  for line in (
    'Not finished: 7 of 8 steps. The same command goes on.',
    'No rollouts.jsonl: entropy, value and advantage of tokens were not recorded',
    'No evaluation.json: evaluate the run with experiments/evaluate.py.',
  ):
    assert line in page
  data = data_of(page)
  assert [row['tokens'] for group in data['runs'][0]['rollouts'] for row in group['rows']] == [
    ['r<b>'],
    [''],
  ]
  assert [field['name'] for field in data['fields']] == ['none']
  (folder / 'config.json').unlink()
  path.unlink()
  (folder / 'metrics.jsonl').touch()
  page = page_of(folder)
  assert 'config.json is missing' in page and 'no step has been finished' in page


def test_errors_are_one_sentence(tmp_path):
  with pytest.raises(FileNotFoundError, match='neither config.json nor metrics.jsonl'):
    runs.read(tmp_path)
  folder = run_folders.make(tmp_path / 'a', steps=2)
  (folder / 'evaluation.json').write_text('{"pass@1": ')
  with pytest.raises(ValueError, match='evaluation.json is damaged.* restore or remove it'):
    runs.read(folder)
  (folder / 'evaluation.json').unlink()
  (folder / 'metrics.jsonl').write_text('{"steps": 1}\n')
  with pytest.raises(ValueError, match="row 1 of .*metrics.jsonl has no 'step'"):
    runs.read(folder)


def test_the_script_writes_the_page(tmp_path):
  folder = run_folders.make(tmp_path / 'a', steps=3)
  command = [sys.executable, 'experiments/report.py', f'--workdir={folder}']
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert done.stdout.startswith(f'written: {folder}/report.html (0.')
  page = (folder / 'report.html').read_text()
  assert '<code>countdown.max_number</code></th><td><code>40</code></td><td><code>9</code>' in page
  done = subprocess.run([*command, '--compare=nowhere'], capture_output=True, text=True)
  assert (done.returncode, done.stderr) == (
    1,
    'error: nowhere is not a folder: give the --workdir of a run\n',
  )
