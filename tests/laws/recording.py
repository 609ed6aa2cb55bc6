"""Record what a stage does with its store, and let something happen in the middle of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.storage.store import Store
from tests.engines import use_inline_engine

WORK_TABLES = frozenset(
    {"clips", "curated", "downloads", "duplicates", "embeddings", "labels", "models", "scores", "shards"}
)
"""Tables whose rows are what a stage works on; the others say which videos there are, and which are hidden."""
SHOWN_BLOBS = ("labels/", "reports/")
"""Blobs that are read by their key; every other blob counts once a row names it."""


@dataclass(frozen=True)
class Event:
    """Something that a stage did."""

    kind: str
    """`progress`, `read` (rows or bytes), `blob` (written) or `commit` (rows)."""
    name: str
    """The stage of a progress, the table or the blob's key."""
    module: str = ""
    """Of a write: the file that asked for it."""

    @property
    def is_work(self) -> bool:
        """Tell whether a stage that has done this may still have to do more with what it read."""
        return self.kind == "progress" or (self.kind == "read" and (self.name in WORK_TABLES or "/" in self.name))

    @property
    def is_publication(self) -> bool:
        """Tell whether readers see what was written."""
        return self.kind == "commit" or (self.kind == "blob" and self.name.startswith(SHOWN_BLOBS))


@dataclass
class Log:
    """The events of a run, and what happens after one of them."""

    events: list[Event] = field(default_factory=list)
    after: int = -1
    """Number of the event after which `arrival` is called; -1 for never."""
    arrival: Callable[[], object] = lambda: None
    missing: list[str] = field(default_factory=list)
    """Keys that a row named when it was committed, and that were not there."""
    folders: dict[str, list[str]] = field(default_factory=dict)
    """What lay in a folder when a row that names it was committed."""

    def add(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) - 1 == self.after:
            self.arrival()

    @property
    def last_work(self) -> int:
        """Return the number of the last piece of work before the first publication."""
        first = next((number for number, event in enumerate(self.events) if event.is_publication), len(self.events))
        return max(number for number in range(first) if self.events[number].is_work)


class RecordingStore(Store):
    """A store that adds to a log what was read and written; worker processes get a plain one."""

    def __init__(self, root: str | Path, log: Log) -> None:
        super().__init__(root)
        self.log = log

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, str]]]:
        return Store, (self.root, self.storage_options)

    def _add(self, kind: str, name: str) -> None:
        self.log.add(Event(kind, name, "" if kind == "read" else _caller()))

    def read(self, name: str, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        found = super().read(name, columns, where)
        self._add("read", name)
        return found

    def scan(self, name: str, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        yield from super().scan(name, *arguments, **options)
        self._add("read", name)

    def read_blob(self, key: str) -> bytes:
        data = super().read_blob(key)
        self._add("read", key)
        return data

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        data = super().read_range(key, offset, size)
        self._add("read", key)
        return data

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        with super().local_file(key) as path:
            yield path
        self._add("read", key)

    def copy_to(self, key: str, target: Path) -> None:
        super().copy_to(key, target)
        self._add("read", key)

    @contextmanager
    def write_file(self, key: str) -> Iterator[IO[bytes]]:
        with super().write_file(key) as file:
            yield file
        self._add("blob", key)

    def take_file(self, key: str, source: Path) -> None:
        super().take_file(key, source)
        self._add("blob", key)

    def _look_for_blobs(self, rows: Any) -> None:
        for row in rows.to_pylist() if isinstance(rows, pa.Table) else rows:
            for key in {row.get("path"), row.get("tar"), row.get("index")} - {None}:
                if Path(self.url(key)).is_dir():
                    self.log.folders[key] = self.list_blobs(key)
                elif not self.exists(key):
                    self.log.missing.append(key)

    def replace_from(self, name: str, read: Callable[[], Any], *arguments: Any, **options: Any) -> int:
        version = super().replace_from(name, read, *arguments, **options)
        self._add("commit", name)
        return version

    def append(self, name: str, rows: Any, *arguments: Any, **options: Any) -> int:
        self._look_for_blobs(rows)
        version = super().append(name, rows, *arguments, **options)
        if len(rows):
            self._add("commit", name)
        return version

    def replace(self, name: str, rows: Any, *arguments: Any, **options: Any) -> int:
        self._look_for_blobs(rows)
        version = super().replace(name, rows, *arguments, **options)
        self._add("commit", name)
        return version

    def merge(self, name: str, rows: Any, *arguments: Any, **options: Any) -> int:
        self._look_for_blobs(rows)
        version = super().merge(name, rows, *arguments, **options)
        if len(rows):
            self._add("commit", name)
        return version

    def add_to_lists(self, name: str, *arguments: Any, **options: Any) -> int:
        version = super().add_to_lists(name, *arguments, **options)
        self._add("commit", name)
        return version


def _caller() -> str:
    """Return the file, relative to the repository, of the first caller outside the store."""
    here = Path(__file__).parents[2]
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(here) and path != Path(__file__) and path.parent.name != "storage":
            return str(path.relative_to(here))
    return ""


def run_recorded(run: Callable[[Store, Config], object], root: Path, config: Config, log: Log) -> None:
    """Run a stage in this process, and add what it does to a log: its progress, and what it reads and writes."""
    advance, leave = Progress.advance, Progress.__exit__

    def advanced(self: Progress, count: int = 1, note: str = "") -> None:
        advance(self, count, note)
        log.add(Event("progress", self.stage))

    def left(self: Progress, *error: Any) -> None:
        leave(self, *error)
        log.add(Event("progress", self.stage))

    with pytest.MonkeyPatch.context() as patch:
        use_inline_engine(patch)
        patch.setattr(Progress, "advance", advanced)
        patch.setattr(Progress, "__exit__", left)
        run(RecordingStore(root, log), config)
