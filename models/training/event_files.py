"""Event files of TensorBoard: the metrics of a run's steps, in a folder of its own.

    pip install lampworks[tensorboard]
    tensorboard --logdir lampworks-data/tensorboard

A resumed run goes on in the same folder. Its new file says from which step on the older ones do not count, so
TensorBoard shows every step once.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import text

from models.training.tracker import TrackedRun

_VERSION = "brain.Event:2"


class EventFiles:
    """A tracker that writes an event file of TensorBoard; every step is in the file once `log` returns."""

    def __init__(self, run: TrackedRun, folder: Path) -> None:
        """Open a new file for a run; `folder` holds the folders of all runs."""
        self._config = run.config
        folder = folder / f"{run.kind}-{run.run_id}"
        folder.mkdir(parents=True, exist_ok=True)
        # files are read in the order of their names: the number keeps it where two begin in one second
        number = len(list(folder.glob("events.out.tfevents.*")))
        name = f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.{socket.gethostname()}"
        self._records = _Records(str(folder / name))
        self._write(file_version=_VERSION, step=run.first_step + 1)
        # from here on, what older files say of this step and later ones does not count
        self._write(session_log=SessionLog(status=SessionLog.START), step=run.first_step + 1)
        shown = "".join(f"    {line}\n" for line in json.dumps(run.config, indent=1, default=str).splitlines())
        self._write(summary=text("settings", shown), step=run.first_step + 1)

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return self._config

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        """Write the metrics of a step."""
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in data.items()]
        self._write(summary=Summary(value=values), step=step or 0)

    def finish(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, **fields: Any) -> None:
        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._records.flush()


class _Records(RecordWriter):
    """Records that a killed process has written; tensorboardX's own waits for the disk at every flush."""

    def flush(self) -> None:
        self._writer.flush()
