"""What a training in another process tells the one that started it: a file of JSON lines, one an event.

    {"event": "started", "rank": 0, "pid": 4711}
    {"event": "run", "kind": "world_model", "run": "3f0c...", "folder": "models/.../checkpoints", "step": 2000}
    {"event": "line", "text": "...", "notice": true}        what the terminal shows too
    {"event": "step", "step": 2001, "metrics": {"train/loss": 5.1, "rate/utilisation": 0.4}}       200 in all
    {"event": "published", "kind": "world_model", "model_id": "...", "skipped": false, "steps": 9000}
    {"event": "used", "rank": 0, "cpu_s": 812.5, "bytes_read": 73400320, "requests": 112, ...}      `pipeline.usage`
    {"event": "error", "rank": 1, "type": "UserError", "text": "...", "final": true}
    {"event": "restart", "number": 1, "reason": "rank 1 was ended by SIGKILL"}       of the group, not of a process

On several machines each is told what is published; the other events are those of the machine of rank 0, and its own
errors. `final` says that the same settings fail again: nothing is gained by starting the group again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.progress import Notice

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]


class Report:
    """The end that writes; without a file it writes nothing."""

    def __init__(self, path: Path | None = None) -> None:
        """Append to a file."""
        self._path = path

    def write(self, event: str, **fields: Any) -> None:
        """Append an event; whole lines of several processes do not mix."""
        if self._path is None:
            return
        line = json.dumps({"event": event, **fields}) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def line(self, text: str) -> None:
        """Append a line of progress: a `ProgressCallback`."""
        self.write("line", text=str(text), notice=isinstance(text, Notice))

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of a step (from 1): an `OnStep`."""
        self.write("step", step=step, metrics=dict(metrics))


class ReportReader:
    """The end that reads, while lines are appended."""

    def __init__(self, path: Path) -> None:
        """Read from the first line on; the file need not be there yet."""
        self._path, self._position = path, 0

    def new(self) -> list[Event]:
        """Return the events that were appended since the last call; a line that is not whole yet comes later."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._position += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
