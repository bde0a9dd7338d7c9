"""TensorBoard's file of a run, written by whoever calls.

tensorboardX's own `SummaryWriter` has a thread write what waits in a short queue. A full disk ends
that thread, nobody is told, and the run waits for a place in the queue for ever.
"""

import pathlib
import time
from collections.abc import Mapping


class Board:
  """Scalars of steps from `start` on; TensorBoard hides those that the folder has of such steps."""

  def __init__(self, folder: pathlib.Path, *, start: int) -> None:
    from tensorboardX.event_file_writer import EventsWriter  # 0.3 s and protobuf
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # ty: ignore[missing-module-member]

    folder.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(folder / 'events'))
    begin = SessionLog(status=SessionLog.START)
    self._writer.write_event(Event(step=start, session_log=begin))

  def write(self, step: int, row: Mapping[str, float]) -> None:
    """One event with all numbers of a step. Raises OSError if it cannot be written."""
    from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]
    from tensorboardX.proto.summary_pb2 import Summary  # ty: ignore[missing-module-member]

    values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
    event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
    self._writer.write_event(event)
    self._writer.flush()

  def close(self) -> None:
    """The file is complete."""
    self._writer.close()
