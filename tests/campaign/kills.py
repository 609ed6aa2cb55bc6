"""Where an attempt is killed: at a call that changes a file under its root, at a commit, or after some time.

`Points` counts what an asset does. It listens to the interpreter (an audit hook sees each file that is opened to be
written, renamed, deleted, each folder that is made) before the call happens, and to the store, which commits to Delta
in native code. At the asked point the process sends SIGKILL to itself: no handler, no `finally`, no flush.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipeline.storage.tables import Tables

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"})
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Kill:
    """When an attempt is to die."""

    asset: str
    """While this asset is made; from the start of its step to that of the next one, or to the end of the run."""
    point: int = -1
    """At its point of this number, from 0; -1: not at a point."""
    after_s: float = -1.0
    """So many seconds after it began; -1: not by time. The parent process kills, wherever the child is then."""


class Points:
    """Counts the points of every asset in this process, and kills it at one of them."""

    def __init__(self, root: str, kill: Kill | None, on_start: Callable[[str], object]) -> None:
        self.root, self.kill, self.on_start = root, kill, on_start
        self.asset = ""
        self.seen: Counter[str] = Counter()

    def start(self) -> None:
        """Listen from now on, until this process ends."""
        sys.addaudithook(self._audit)
        record, event = Tables._record_checksums, dg.DagsterInstance.handle_new_event

        def recorded(store: Tables, name: str) -> None:
            self.note()  # the commit stands, and its checksums are not written
            record(store, name)
            self.note()

        def handled(instance: dg.DagsterInstance, entry: Any, **options: Any) -> Any:
            told = entry.dagster_event
            if told is not None and told.event_type_value == "STEP_START":
                self.asset = str(told.step_key)
                self.on_start(self.asset)
            self.note()
            return event(instance, entry, **options)

        Tables._record_checksums = recorded  # type: ignore[method-assign]
        dg.DagsterInstance.handle_new_event = handled  # type: ignore[method-assign, assignment]

    def note(self) -> None:
        """Count a point of the present asset; the process dies here if it is the one."""
        kill = self.kill
        if kill is not None and kill.asset == self.asset and self.seen[self.asset] == kill.point:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen[self.asset] += 1

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITE_FLAGS):
            path = arguments[0]
            if isinstance(path, str | os.PathLike) and str(path).startswith(self.root):
                self.note()
