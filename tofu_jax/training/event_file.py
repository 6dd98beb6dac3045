"""Scalars for TensorBoard, written where the call is: a full disk raises there.

tensorboardX's own `SummaryWriter` hands events to a thread, and waits for it forever once that has died of a full disk.
"""

import pathlib
import time
from collections.abc import Mapping

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class EventFile:
    """One file of events, of one process; a folder may hold several of them."""

    def __init__(self, folder: pathlib.Path, first_step: int):
        """Begins a file.

        Args:
          folder: that TensorBoard looks into.
          first_step: TensorBoard drops what earlier files say of this step and later ones.

        Raises:
          OSError: it cannot be written; so do the other methods.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars of one step."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=scalars)))

    def close(self) -> None:
        """Writes what is still in memory, and closes the file."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
