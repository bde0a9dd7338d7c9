"""Faults on purpose: schedules, what is seen of a process, verdicts, and a short chaos."""

import collections
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

from maxent_lm.analysis.chaos import campaigns, cycles, damage, digest, growth, schedule, subjects
from maxent_lm.analysis.chaos.attempts import RESUMABLE, Child, Ended, Lab
from maxent_lm.analysis.chaos.cycles import Book
from maxent_lm.analysis.chaos.growth import Held
from maxent_lm.analysis.chaos.points import Strike, Striker, point_of, unfinished
from maxent_lm.analysis.chaos.schedule import POINTS, Fault
from maxent_lm.train import manifest, steps

ROOT = pathlib.Path(__file__).parent.parent

# --- schedules -------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [1, 11, 50])
def test_kills_are_spread_over_all_points(count):
  drawn = schedule.kills(0, count)
  assert len(drawn) == count and {fault.kind for fault in drawn} == {'kill'}
  often = collections.Counter(fault.point for fault in drawn)
  assert max(often.values()) - min(often[name] for name in POINTS) <= 1
  assert drawn == schedule.kills(0, count) != schedule.kills(1, count)


def test_a_longer_schedule_begins_with_the_shorter_one():
  assert schedule.kills(3, 50)[:20] == schedule.kills(3, 20)


def test_faults_stay_in_their_bounds():
  drawn = [*schedule.kills(0, 400), *itertools.islice(schedule.soak(0, campaigns.KINDS), 400)]
  for fault in drawn:
    point = POINTS[fault.point]
    assert 1 <= fault.nth <= point.nth and 0 <= fault.delay <= point.delay
  at_once = np.mean([fault.delay == 0 for fault in drawn if POINTS[fault.point].delay])
  assert 0.4 < at_once < 0.6
  assert max(fault.nth for fault in drawn) > 50


def test_a_soak_has_one_fault_of_each_kind_a_round():
  kinds = campaigns.KINDS
  drawn = [fault.kind for fault in itertools.islice(schedule.soak(0, kinds), 10 * len(kinds))]
  rounds = [drawn[i : i + len(kinds)] for i in range(0, len(drawn), len(kinds))]
  assert all(sorted(each) == sorted(kinds) for each in rounds)
  assert len({tuple(each) for each in rounds}) > 1


def test_what_needs_a_checkpoint_waits_for_one():
  first, second = (0, Fault('kill', 'restore', 1, 0.0)), (1, Fault('kill', 'update', 2, 0.0))
  assert schedule.choose([first, second], resumed=True) == first
  assert schedule.choose([first, second], resumed=False) == second
  assert schedule.choose([first], resumed=False) is None


# --- where a process is ----------------------------------------------------------------------


@pytest.mark.parametrize(
  ('event', 'arguments', 'point'),
  [
    ('os.mkdir', ('/run/checkpoints/4', 511, -1), 'save'),
    ('os.rename', ('/run/checkpoints/4.tmp', '/run/checkpoints/4', -1, -1), 'save'),
    ('open', ('/run/checkpoints/4/commit_success.txt', 'w', 0), 'save'),
    ('open', ('/run/checkpoints/4/commit_success.txt', 'r', 0), None),
    ('open', ('/run/checkpoints/4', None, 0), None),
    ('shutil.rmtree', ('/run/checkpoints/2', None), 'delete'),
    ('os.remove', ('manifest.ocdbt', 8), 'delete'),
    ('os.rmdir', ('params', 8), 'delete'),
    ('open', (pathlib.Path('/run/metrics.jsonl'), 'w', 0), 'metrics'),
    ('os.rename', ('/run/samples.jsonl.tmp', '/run/samples.jsonl', -1, -1), 'metrics'),
    ('os.mkdir', ('/run/model', 511, -1), 'export'),
    ('os.mkdir', ('/run/start.partial', 511, -1), 'folder'),
    ('open', ('/run/config.json.tmp', 'w', 0), 'folder'),
    ('open', ('/run/tensorboard/events', 'w', 0), None),
    ('open', ('/runs/config.json', 'w', 0), None),
    ('open', (3, 'w', 0), None),
    ('import', ('json',), None),
  ],
)
def test_what_happens_to_files_is_part_of_a_point(event, arguments, point):
  assert point_of(event, arguments, '/run') == point


def test_half_a_checkpoint_is_being_saved_or_deleted(tmp_path):
  assert unfinished(tmp_path / 'none') == set()
  for name in ('4', '2.corrupt', '6.undone'):
    (tmp_path / name).mkdir()
  assert unfinished(tmp_path) == set()
  (tmp_path / f'6{steps.CUT_OFF}').mkdir()
  assert unfinished(tmp_path) == {'save'}
  (tmp_path / f'2{steps.DELETED}').mkdir()
  assert unfinished(tmp_path) == {'save', 'delete'}


def striker(tmp_path, **changes):
  strike = Strike('update', 2, 0.0, signal.SIGUSR1, str(tmp_path), str(tmp_path / 'note.json'))
  return Striker(strike._replace(**changes))


def test_the_nth_time_at_a_point_is_struck_and_noted(tmp_path, monkeypatch):
  sent = []
  monkeypatch.setattr(os, 'kill', lambda *what: sent.append(what))
  each = striker(tmp_path)
  update = each.wrap('update', lambda x: (len(sent), x))
  save = each.wrap('save', lambda: update(1))
  assert [save(), save(), save()] == [(0, 1), (1, 1), (1, 1)]
  assert sent == [(os.getpid(), signal.SIGUSR1)]
  assert json.loads((tmp_path / 'note.json').read_text()) == ['update']


def test_what_has_moved_on_before_the_delay_is_over_is_told(tmp_path, monkeypatch):
  done = threading.Event()
  monkeypatch.setattr(os, 'kill', lambda *_: done.set())
  each = striker(tmp_path, nth=1, delay=0.05)
  each.wrap('update', lambda: None)()
  each.wrap('metrics', lambda: done.wait(10))()
  assert json.loads((tmp_path / 'note.json').read_text()) == ['metrics']


# --- what a run has left ---------------------------------------------------------------------


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
  """Eight steps of the run that the script strikes, from random weights, undisturbed."""
  workdir = tmp_path_factory.mktemp('chaos')
  subject = subjects.COUNTDOWN
  subject = subject._replace(flags=(*subject.flags, '--config.steps=8'))
  command = [each for each in subjects.command(subject, workdir) if '--config.init' not in each]
  lab = Lab(command, workdir, workdir, ROOT / '.cache' / 'jax')
  cycles.make_reference(lab)
  return lab


@pytest.fixture
def finished(lab, tmp_path):
  return shutil.copytree(lab.workdir / 'reference', tmp_path / 'run')


def test_one_bit_of_any_leaf_is_seen(finished):
  trees = digest.items(digest.newest(finished))
  remembered = {'ahead', 'counts', 'replay'}
  assert {'params', 'optimizer', 'target', 'temperature', 'progress'} | remembered == trees.keys()
  flipped = 0
  for tree in trees.values():
    leaves, structure = jax.tree.flatten(jax.tree.map(digest.on_host, tree))
    before = digest.of_tree(tree)
    assert before == digest.of_tree(structure.unflatten(leaves))
    for number, leaf in enumerate(leaves):
      content = bytearray(leaf.tobytes())
      if content:
        content[-1] ^= 1
        other = np.frombuffer(bytes(content), leaf.dtype).reshape(leaf.shape)
        changed = [*leaves[:number], other, *leaves[number + 1 :]]
        assert digest.of_tree(structure.unflatten(changed)) != before
        flipped += 1
  assert flipped > 40


def test_dtype_shape_and_name_of_a_leaf_are_part_of_it():
  x = np.arange(4, dtype=np.int32)
  same = [{'a': x}, {'b': x}, {'a': x.view(np.uint32)}, {'a': x.reshape(2, 2)}, {'a': x, 'b': x}]
  assert len({digest.of_tree(tree) for tree in same}) == len(same)


def test_every_file_that_counts_is_compared(finished):
  before = digest.of_run(finished)
  assert digest.differences(before, dict(before)) == []
  assert digest.differences(before, {**before, 'x': ''}) == ['x']
  assert before['step'] == '8'
  for name in digest.FILES:
    path = finished / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[-3] ^= 1
    path.write_bytes(changed)
    assert digest.differences(before, digest.of_run(finished)) == [name]
    path.write_bytes(content)


def test_a_run_without_a_checkpoint_has_no_digest(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    digest.of_run(tmp_path)


def files(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('way', ['flip', 'cut', 'remove'])
def test_damage_is_done_to_one_file_and_seen(way, tmp_path):
  for step in ('2', '4'):
    folder = tmp_path / 'checkpoints' / step
    folder.mkdir(parents=True)
    for name in 'ab':
      (folder / name).write_bytes(bytes(range(64)))
    manifest.write(folder)
  before = files(folder)
  harmed = damage.harm(tmp_path, way, np.random.default_rng(0))
  after, name = files(folder), harmed.split('/')[-1]
  assert [each for each in before if after.get(each) != before[each]] == [name]
  if way == 'flip':
    changed = [a ^ b for a, b in zip(before[name], after[name], strict=True) if a != b]
    assert len(changed) == 1 and changed[0].bit_count() == 1
  assert digest.newest(tmp_path).name == '2'


def test_poison_is_not_seen_in_the_files(finished):
  before = digest.items(digest.newest(finished))
  assert damage.harm(finished, 'poison', np.random.default_rng(0)) == 'checkpoints/8/params'
  after = digest.items(digest.newest(finished))
  bad = [int(np.isnan(np.asarray(leaf)).sum()) for leaf in jax.tree.leaves(after['params'])]
  assert sum(bad) == 1
  others = before.keys() - {'params'}
  assert all(digest.of_tree(before[name]) == digest.of_tree(after[name]) for name in others)


def test_there_may_be_nothing_to_damage(tmp_path):
  assert damage.harm(tmp_path, 'flip', np.random.default_rng(0)) == ''


@pytest.mark.parametrize(
  ('said', 'last'),
  [
    ('', ''),
    ('step 1\rstep 2\n\n', 'step 2'),
    ('error: the disk is full\nTraceback\nOSError: 28\n', 'error: the disk is full'),
    ('warned of an error: x\nKeyError: y\n', 'KeyError: y'),
  ],
)
def test_the_sentence_of_an_error_is_the_last_word(said, last, tmp_path):
  log = tmp_path / 'log'
  log.write_text(f'error: of the process before\n{said}')
  with subprocess.Popen(['true']) as process:
    child = Child(process, log, len('error: of the process before\n'))
  assert child.last_words() == last


# --- verdicts --------------------------------------------------------------------------------

KILL = Fault('kill', 'update', 1, 0.0)
KILLED = Ended(-9, '', ['update'], '')
FINE = Ended(0, '', None, '')


@pytest.fixture
def play(tmp_path, monkeypatch):
  """Cycles whose processes end as the script says, with the digest of the run at the end."""

  def play(endings, *, faults=(KILL,), left=None):
    script = iter(endings)
    monkeypatch.setattr(cycles, 'attempt', lambda lab, folder, fault: next(script))
    monkeypatch.setattr(cycles.digest, 'of_run', lambda folder: left or {'params': 'a'})
    book = Book(tmp_path, iter(faults), lambda done, seconds: f'{done} done')
    (tmp_path / f'cycle_{len(book.cycles())}').mkdir(exist_ok=True)
    result = cycles.cycle(Lab((), tmp_path, tmp_path, tmp_path), book, {'params': 'a'})
    book.end(result)
    assert next(script, None) is None
    return book, result

  return play


def test_a_run_that_ends_as_the_reference_is_right(play, tmp_path, capsys):
  book, result = play([KILLED, FINE])
  assert (result.verdict, result.right, result.starts) == ('equal', True, 2)
  assert not (tmp_path / 'cycle_0').exists()
  assert [row['hit'] for row in book.strikes()] == [True]
  assert capsys.readouterr().out == (
    'kill in update at step 0, saved 0; 1 done\ncycle 0, 1 faults: equal\n'
  )


@pytest.mark.parametrize(
  ('endings', 'left', 'verdict', 'right'),
  [
    ([KILLED, FINE], {'params': 'b'}, 'DIFFERENT: params', False),
    ([KILLED, Ended(1, 'error: all are damaged', None, '')], None, 'stopped: error: all', True),
    ([KILLED, Ended(1, 'ValueError: oh', None, '')], None, 'CRASHED: ValueError: oh', False),
    ([Ended(-11, 'no end in 600 s', None, '')], None, 'CRASHED: no end', False),
  ],
)
def test_other_ends_are_told(play, tmp_path, endings, left, verdict, right):
  _, result = play(endings, left=left)
  assert result.verdict.startswith(verdict) and result.right == right
  campaigns.keep(tmp_path, tmp_path / 'kept' / 'disk')
  assert [path.name for path in (tmp_path / 'kept' / 'disk').iterdir()] == ['cycle_0']
  assert not (tmp_path / 'cycle_0').exists()


def test_what_stops_because_of_the_fault_is_started_again(play):
  told = Ended(RESUMABLE, 'stopped after step 3', ['update'], '')
  full = Ended(1, 'OSError: no space', ['update'], '')
  faults = [KILL._replace(kind='term'), KILL._replace(kind='full')]
  _, result = play([told, full, FINE], faults=faults)
  assert result.right and result.starts == 3


def test_a_call_that_was_interrupted_goes_on(play):
  faults = [KILL._replace(nth=n) for n in range(1, 6)]
  play([KILLED, KILLED, FINE], faults=faults[:2])
  book, _ = play([KILLED, KILLED, KILLED, FINE], faults=faults)
  assert [row['nth'] for row in book.strikes()] == [1, 2, 3, 4, 5]
  assert [row['faults'] for row in book.cycles()] == [2, 3]


def test_a_fault_that_finds_nothing_to_strike_lets_others_go_first(play):
  faults = [KILL._replace(point='delete'), KILL]
  book, _ = play([FINE], faults=faults)
  assert book.strikes() == [] and book.next(resumed=False) == (1, KILL)


def test_tables_count_by_point_and_by_end():
  strikes = [
    {'cycle': 0, 'point': 'save', 'hit': True},
    {'cycle': 1, 'point': 'save', 'hit': False},
    {'cycle': 2, 'point': 'update', 'hit': True},
  ]
  done = [
    {'cycle': 0, 'right': True, 'verdict': 'equal'},
    {'cycle': 1, 'right': False, 'verdict': 'CRASHED: x'},
    {'cycle': 2, 'right': True, 'verdict': 'stopped: error: x'},
  ]
  counted = dict.fromkeys(campaigns.COUNTED, 0)
  assert campaigns.tally(strikes, done, 'point', 'save') == counted | {
    'faults': 2,
    'there': 1,
    'equal': 1,
    'wrong': 1,
  }
  assert campaigns.tally(strikes, done)['stopped'] == 1


# --- growth ----------------------------------------------------------------------------------


def looks(slope, **changes):
  """Of 2,000 steps whose memory jumps while it grows by `slope`, after a steep warm-up."""
  rng = np.random.default_rng(0)
  seen = []
  for step in range(0, 2001, 20):
    resident = 3e8 + 1e5 * min(step, 400) + slope * step + rng.choice([0, 4e6], p=[0.9, 0.1])
    seen.append(Held(step, int(resident), 30, 12, 1, 0))
  return [each._replace(**changes) if each.step > 1500 else each for each in seen]


@pytest.mark.parametrize('slope', [0, 500, 2000])
def test_the_slope_is_found_under_jumps(slope):
  found = growth.of(looks(slope))
  assert found.slope == pytest.approx(slope, abs=50) and found.low <= found.slope <= found.high
  assert (found.slope < campaigns.SLOPE) == (slope < 1000)
  assert set(found.more.values()) == {0}


@pytest.mark.parametrize('name', growth.COUNTED)
def test_what_stays_is_seen_and_what_comes_and_goes_is_not(name):
  assert growth.of(looks(0, **{name: 40})).more[name] > 0
  busy = [look._replace(**{name: 90}) if at % 2 else look for at, look in enumerate(looks(0))]
  assert growth.of(busy).more[name] == 0


def test_too_few_looks_are_refused():
  with pytest.raises(ValueError, match='looked at 0 times'):
    growth.of([])


def test_what_a_process_holds_is_seen_from_outside():
  code = 'import os, sys, time; a = open(os.devnull); p = os.fork()\nif not p: os._exit(0)\n'
  code += 'time.sleep(0.2); print(flush=True); sys.stdin.read()'
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
  with subprocess.Popen([sys.executable, '-c', code], **pipes) as process:
    process.stdout.readline()
    held = growth.held(process.pid, 7)
    process.communicate()
  assert held.step == 7 and held.resident > 1 << 20
  assert held[2:] == (4, 1, 1, 1)


# --- the real thing, briefly -----------------------------------------------------------------


def test_a_short_chaos_ends_as_the_undisturbed_run(lab):
  """Killed in a save and while one is deleted, told to stop, and a bit is flipped."""
  faults = [
    Fault('kill', 'save', 60, 0.0),
    Fault('term', 'grading', 2, 0.0),
    Fault('flip', 'delete', 4, 0.0),
  ]
  book = Book(lab.workdir, iter(faults), lambda done, seconds: '')
  result = cycles.cycle(lab, book, cycles.make_reference(lab))
  strikes = book.strikes()
  assert result.verdict == 'equal' and result.starts == 4
  assert [row['status'] for row in strikes] == [-signal.SIGKILL, RESUMABLE, -signal.SIGKILL]
  assert all(row['hit'] for row in strikes)
  assert strikes[1]['saved'] == strikes[1]['step'] > strikes[0]['saved']
  assert strikes[2]['harmed'].startswith('checkpoints/')
