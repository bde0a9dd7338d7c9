"""No attack passes or leaves a trace, in any tier, for root and for an unprivileged user."""

import ast
import collections
import signal
import socket
import time

import arena
import pytest

from maxent_lm.tasks.sandbox.jail import TIERS

CORPUS = arena.attacks()
LIMITS = {'timeout_s': 1, 'memory_mb': 256}

# Right programs among the hostile ones: a sandbox that refuses everything would not do.
CONTROLS = {
  'plain': 'def solve(i):\n  return @ANSWER@[i]',
  'imports': 'import math, re, json, collections, heapq, bisect, datetime, random\n'
  'def solve(i):\n  return int(json.loads(str(@ANSWER@))[i])',
  'prints and recurses': 'def down(n):\n  return 0 if n == 0 else down(n - 1)\n'
  'def solve(i):\n  print("x" * 10**5)\n  return @ANSWER@[i] + down(900)',
  'a class': 'class A:\n  x = @ANSWER@\ndef solve(i):\n  return A().x[i]',
  'some memory': 'def solve(i):\n  x = bytearray(2**26)\n  return @ANSWER@[i] + x[7]',
}


@pytest.fixture(scope='module', params=arena.users(), ids=lambda user: f'uid{user}')
def user(request):
  if arena.interpreter(request.param) is None:
    pytest.skip('no interpreter that this user can read')
  return request.param


def test_the_corpus_is_of_programs():
  assert len(CORPUS) >= 60
  for name, code in CORPUS.items():
    if not name.startswith('source/'):
      ast.parse(code.replace('@TCP@', '1').replace('@UDP@', '1').replace('@VICTIM@', '1'))
  classes = collections.Counter(name.split('/')[0] for name in CORPUS)
  assert all(count >= 5 for count in classes.values()), classes


@pytest.mark.slow
@pytest.mark.parametrize('tier', TIERS)
def test_attacks(tier, user):
  probe = arena.command_line(user, ['--probe'], '')
  if f'"{tier}": "works"' not in probe.stdout:
    pytest.skip(f'{tier} is not to be had: {probe.stdout}')
  with arena.Arena(user) as around:
    programs = {name: around.fill(code) for name, code in CORPUS.items()}
    for name, code in CONTROLS.items():
      programs[f'control/{name}'] = code.replace('@ANSWER@', str(around.answers))
    rows = [{'code': code, 'tests': around.tests, **LIMITS} for code in programs.values()]
    answers = ' '.join(map(str, around.answers))
    verdicts = arena.batch(user, tier, rows, ATTACK_ANSWERS=answers)
    around.check()
  told = dict(zip(programs, verdicts, strict=True))
  assert {name for name, verdict in told.items() if verdict['passed']} == {
    name for name in programs if name.startswith('control/')
  }
  # A hostile program cannot have itself excused as a fault of the sandbox.
  assert not [item for item in told.items() if item[1]['status'] == 'infra_error']


def test_the_canaries_notice(user):
  for harm in (
    lambda around: (around.folder / 'attack').touch(),
    lambda around: (around.folder / 'secret').write_text(''),
    lambda around: (around.folder / 'secret').chmod(0),
    lambda around: around.victim.send_signal(signal.SIGSTOP) or time.sleep(0.1),
    lambda around: around.victim.kill() or time.sleep(0.1),
    lambda around: socket.create_connection(around.tcp.getsockname()).close(),
    lambda around: connect(f'\0{around.name}'),
    lambda around: connect(f'{around.folder}/socket'),
  ):
    with arena.Arena(user) as around:
      around.check()
      harm(around)
      with pytest.raises(AssertionError):
        around.check()


def connect(address):
  with socket.socket(socket.AF_UNIX) as client:
    client.connect(address)
