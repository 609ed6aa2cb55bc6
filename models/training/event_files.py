"""Event files of TensorBoard: the metrics of a run's steps, in a folder of its own.

    pip install lampworks[tensorboard]
    tensorboard --logdir lampworks-data/tensorboard

A resumed run goes on in the same folder. Its new file says from which step on the older ones do not count, so
TensorBoard shows every step once. At most 20,000 steps of a run are written, spread evenly, and all that carry a
measurement on held-out clips: about 9 MB.

Pictures lie in a folder of their own, `<run>/pictures`, each in a file beside a JSON file that names the clips that it
shows: a takedown finds it by them (`pipeline.takedown.home`).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import text

from models.training.tracker import MakeTracker, TrackedRun
from pipeline.job import Job
from pipeline.storage.home import PICTURES

_VERSION = "brain.Event:2"
_MOST_STEPS = 20_000


def event_files(job: Job) -> MakeTracker:
    """Return what makes the tracker that `training.tracker` asks for."""
    if job.config.training.tracker == "none":
        return lambda run: None
    return lambda run: EventFiles(run, job.home.tensorboard)


class EventFiles:
    """A tracker that writes an event file of TensorBoard; every step is in the file once `log` returns."""

    def __init__(self, run: TrackedRun, folder: Path, most_steps: int = _MOST_STEPS) -> None:
        """Open a new file for a run.

        Args:
            run: the run.
            folder: holds the folders of all runs.
            most_steps: steps that are written, those with measurements on held-out clips aside.
        """
        self._config = run.config
        self._every = max(1, -(-run.total_steps // most_steps))
        self._folder = folder / f"{run.kind}-{run.run_id}"
        self._records = _opened(self._folder, run.first_step + 1)
        shown = "".join(f"    {line}\n" for line in json.dumps(run.config, indent=1, default=str).splitlines())
        _write(self._records, summary=text("settings", shown), step=run.first_step + 1)

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return self._config

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        """Write the metrics of a step."""
        step = step or 0
        if step % self._every and not any(name.startswith("held_out/") for name in data):
            return
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in data.items()]
        _write(self._records, summary=Summary(value=values), step=step)

    def picture(self, name: str, data: bytes, size: tuple[int, int], step: int, clip_ids: Sequence[str]) -> None:
        """Write a picture, in a file of its own; arguments as of `TakesPictures`."""
        folder = self._folder / PICTURES
        for path in folder.glob("*.step-*"):
            # a run that goes on from an earlier step draws these again
            if int(path.name.partition(".step-")[2].partition(".")[0]) >= step:
                path.unlink()
        records = _opened(folder, step, f".step-{step}", json.dumps({"clips": list(clip_ids)}))
        image = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=data)
        _write(records, summary=Summary(value=[Summary.Value(tag=name, image=image)]), step=step)
        records.close()

    def finish(self) -> None:
        """Close the file."""
        self._records.close()


class _Records(RecordWriter):
    """Records that a killed process has written; tensorboardX's own waits for the disk at every flush."""

    def flush(self) -> None:
        self._writer.flush()


def _opened(folder: Path, step: int, ending: str = "", about: str = "") -> _Records:
    """Return a new file of a folder, from whose first step on older files of it do not count.

    Args:
        folder: of the run.
        step: the first that it has something of.
        ending: of its name.
        about: is written first, to a JSON file beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # files are read in the order of their names: the number keeps it where two begin in one second
    number = len(list(folder.glob("events.out.tfevents.*")))
    path = folder / f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.{socket.gethostname()}{ending}"
    if about:
        path.with_name(f"{path.name}.json").write_text(about, "utf-8")
    records = _Records(str(path))
    _write(records, file_version=_VERSION, step=step)
    _write(records, session_log=SessionLog(status=SessionLog.START), step=step)
    return records


def _write(records: _Records, **fields: Any) -> None:
    records.write(Event(wall_time=time.time(), **fields).SerializeToString())
    records.flush()
