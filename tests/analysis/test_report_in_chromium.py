"""The report in a browser: nothing is asked of the network, nothing fails, the keyboard works."""

import json

import chromium
import pytest
import run_folders
from test_report import HOSTILE

from maxent_lm.analysis import report, runs

pytestmark = pytest.mark.skipif(
  chromium.BINARY is None, reason=f'no browser: none of {", ".join(chromium.NAMES)} is installed'
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two runs, the first of which has written what a browser could run."""
  root = tmp_path_factory.mktemp('runs')
  first, second = (
    run_folders.make(root / name, steps=21, seed=seed) for seed, name in enumerate(('one', 'two'))
  )
  run_folders.evaluate(first)
  rows = [json.loads(line) for line in (first / 'rollouts.jsonl').read_text().splitlines()]
  for row in rows:
    if row['step'] == 20 and row['group'] == 0:
      numbers = {name: [0.5, -1.25] * (len(HOSTILE) // 2) for name in run_folders.TOKEN}
      row |= {'prompt': HOSTILE[0], 'class': HOSTILE[1], 'tokens': list(HOSTILE), **numbers}
  run_folders.write(first / 'rollouts.jsonl', rows)
  report.write(root / 'page.html', [runs.read(each) for each in (first, second)], defaults={})
  return root


@pytest.fixture
def page(folder, tmp_path):
  with chromium.browser(tmp_path / 'profile') as page:
    page.open(folder / 'page.html')
    yield page
    assert page.complaints() == []
    assert page.requests() == []


SHADES = (
  "[...document.querySelectorAll('#groups .token')]"
  ".map((token) => token.style.getPropertyValue('--t'))"
)
SHADING = "document.querySelector('#shading :checked').value"
FOCUSED = 'document.activeElement.textContent'


def count(page, selector):
  return page.run(f'document.querySelectorAll({json.dumps(selector)}).length')


def test_everything_is_drawn(page):
  assert count(page, '#charts svg[role=img]') == 12
  assert count(page, '#charts .s0 .curve') == count(page, '#charts .s1 .curve') == 12
  assert count(page, '#planes .whisker') == 2 and count(page, '#planes figure') == 2
  assert '0.25 [0.2, 0.3]' in page.run("document.getElementById('evaluated').innerText")
  assert count(page, '#groups article') == 2
  assert count(page, '#groups .cluster') == 1 + 3  # two meanings and none
  assert count(page, '#groups .response') == 16


def test_what_the_model_wrote_is_shown_and_not_run(page):
  title, first = (
    page.run(f'document.querySelector({json.dumps(each)}).textContent')
    for each in ('#groups h3', '#groups .token')
  )
  assert title == first == HOSTILE[0]
  assert page.run("document.querySelector('#groups h4').textContent") == HOSTILE[1]
  assert page.run('typeof window.hacked') == 'undefined'
  assert count(page, 'img') == 0 and count(page, 'script') == 2


def test_the_policy_runs_no_other_script(folder, tmp_path):
  """Even if text did become markup."""
  path = tmp_path / 'page.html'
  image = '<img src="https://example.org/x.png" onerror="window.hacked = 1">'
  evil = f'<script>window.hacked = 1</script>{image}'
  path.write_text((folder / 'page.html').read_text().replace('<main>', f'<main>{evil}'))
  with chromium.browser(tmp_path / 'profile') as page:
    page.open(path)
    assert page.run('typeof window.hacked') == 'undefined'
    assert 'Content Security Policy' in str(page.complaints())
    assert not any('error' in str(each) and 'ERR_NAME' in str(each) for each in page.complaints())


def test_the_shading_is_chosen_by_keyboard(page):
  before = page.run(SHADES)
  assert page.run(SHADING) == 'entropy'
  page.press('2')
  assert page.run(SHADING) == 'value'
  assert page.run(SHADES) != before
  assert count(page, '#groups .token.minus') > 0
  assert 'reward units' in page.run("document.getElementById('scale').textContent")
  page.run("document.querySelector('#shading :checked').focus()")
  page.press('ArrowRight')  # as radio buttons do
  assert page.run(SHADING) == 'soft_advantage'
  page.press('4')
  assert page.run(SHADING) == 'none' and set(page.run(SHADES)) == {'0.000'}
  page.press('1')
  assert page.run(SHADES) == before


def test_steps_prompts_and_tokens_by_keyboard(page):
  now = "document.getElementById('step-now').textContent"
  assert page.run(now) == '20'
  page.press('[')
  assert page.run(now) == '10'
  page.press(']')
  page.press(']')  # there is no later one
  assert page.run(now) == '20'
  page.press('/')
  for letter in '0,1=':
    page.press(letter)
  titles = "[...document.querySelectorAll('#groups h3')].map((title) => title.textContent)"
  assert page.run(titles) == ['0,1=6:', '10,1=6:', '20,1=6:']
  assert 'in 3 steps' in page.run("document.getElementById('found').textContent")
  page.press('Escape')
  assert page.run(titles) == [HOSTILE[0], '20,1=6:']
  page.press('Tab')
  assert page.run(FOCUSED) == HOSTILE[0]
  page.press('ArrowRight')
  assert page.run(FOCUSED) == HOSTILE[1]
  told = page.run("document.getElementById('readout').innerText")
  assert f'token 2 of {len(HOSTILE)}' in told and '−1.25 reward units' in told
  page.press('ArrowDown')
  assert page.run('document.activeElement.place') == 1
  outline = page.run('getComputedStyle(document.activeElement).outlineStyle')
  assert outline == 'solid'


def test_a_curve_tells_its_numbers_by_keyboard(page, folder):
  rows = [json.loads(line) for line in (folder / 'one' / 'metrics.jsonl').open()]
  page.run("document.querySelector('#charts svg').focus()")
  page.press('ArrowLeft')
  told = page.run("document.querySelector('#charts output').textContent")
  number = f'{rows[19]["success"]:.6g}'
  assert told.startswith(f'step 19: one {number}, two ')


def test_dark_light_and_print(page):
  paper = 'getComputedStyle(document.body).backgroundColor'
  assert page.run(paper) == 'rgb(251, 251, 250)'
  dark = [{'name': 'prefers-color-scheme', 'value': 'dark'}]
  page.send('Emulation.setEmulatedMedia', features=dark)
  page.wait(paper, 'rgb(20, 24, 28)')
  page.send('Emulation.setEmulatedMedia', media='print', features=dark)
  page.wait(paper, 'rgb(255, 255, 255)')
  assert page.run("getComputedStyle(document.querySelector('nav')).display") == 'none'


def test_everything_that_can_be_used_has_a_name(page):
  unnamed = page.run("""[...document.querySelectorAll('button, input, select, svg[tabindex]')]
    .filter((each) => !each.textContent.trim() && !each.labels?.length && !each.ariaLabel)
    .length""")
  assert unnamed == 0


def test_an_old_folder_opens(tmp_path):
  folder = run_folders.make(tmp_path / 'old', steps=1)
  (folder / 'rollouts.jsonl').unlink()
  report.write(tmp_path / 'page.html', [runs.read(folder)], defaults={})
  with chromium.browser(tmp_path / 'profile') as page:
    page.open(tmp_path / 'page.html')
    assert page.complaints() == []
    assert 'no responses' in page.run('document.body.innerText')
