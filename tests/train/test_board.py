"""TensorBoard's file: what is in it, and that a full disk is told and not waited for."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from maxent_lm.train.board import Board
from maxent_lm.train.metrics import MetricsWriter


def events(folder):
  """Of the only file: records of length, checksum, bytes, checksum."""
  (path,) = folder.glob('events.out.tfevents.*')
  content, found = path.read_bytes(), []
  while content:
    (length,) = struct.unpack('<Q', content[:8])
    found.append(Event.FromString(content[12 : 12 + length]))
    content = content[16 + length :]
  return found


def test_a_step_is_an_event(tmp_path):
  board = Board(tmp_path, start=3)
  board.write(3, {'loss': 0.5, 'kl': 2.0})
  board.write(4, {'loss': float('inf')})
  version, start, *steps = events(tmp_path)  # nothing waits for `close`
  assert version.file_version == 'brain.Event:2'
  assert (start.step, start.session_log.status) == (3, SessionLog.START)
  assert [(each.step, {v.tag: v.simple_value for v in each.summary.value}) for each in steps] == [
    (3, {'loss': 0.5, 'kl': 2.0}),
    (4, {'loss': float('inf')}),
  ]
  assert all(each.wall_time > 1e9 for each in steps)
  board.close()


def test_a_full_disk_is_an_error_at_once_and_every_time(tmp_path, monkeypatch):
  writer = MetricsWriter(tmp_path, start=0)

  def full(self, data):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(RecordWriter, 'write', full)
  for step in range(50):
    with pytest.raises(OSError, match='No space left'):
      writer.write(step, {'loss': 0.5})
