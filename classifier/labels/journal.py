"""The labelling page's journal: an append-only SQLite file in which an acknowledged label is never lost.

A write-ahead log with `synchronous=FULL` puts an event on disk before it is acknowledged (6 ms, measured), so that it
survives a killed process and a power cut. Triggers refuse every UPDATE and DELETE. Events carry the page's own UUID,
so that sending one again is harmless. `sync.sync_journal` appends them to the store. A journal that lacks later columns
gets them when it is opened.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from pipeline.errors import UserError
from pipeline.storage.event_checksums import COLUMN, event_crc, is_whole

Kind = Literal["rate", "skip", "undo"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REASONS = ("menu", "face", "overlay", "transition", "not_a_platformer")
"""What a person may say is wrong with a clip, beside its rating."""
MAX_EVENTS = 10_000
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLIP = re.compile(r"[A-Za-z0-9_-]{1,200}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    clip_id TEXT NOT NULL,
    annotator TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('rate', 'skip', 'undo')),
    rating INTEGER CHECK ((kind = 'rate' AND rating BETWEEN 1 AND 5) OR (kind <> 'rate' AND rating IS NULL)),
    stream TEXT NOT NULL,
    seconds REAL,
    labelled_us INTEGER NOT NULL,
    inclusion REAL,
    reasons TEXT,
    repeat INTEGER NOT NULL DEFAULT 0,
    crc INTEGER
) STRICT;
CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""
_LATER_COLUMNS = {"inclusion": "REAL", "reasons": "TEXT", "repeat": "INTEGER NOT NULL DEFAULT 0", COLUMN: "INTEGER"}
"""Columns that journals of earlier versions lack."""
_COLUMNS = (
    "event_id", "clip_id", "annotator", "kind", "rating", "stream", "seconds", "labelled_us", *_LATER_COLUMNS,
)  # fmt: skip


class PageEvent(TypedDict):
    """What a person did with one clip."""

    event_id: str
    clip_id: str
    kind: Kind
    rating: int | None
    """1 to 5 for `rate`, else None."""
    stream: str
    seconds: float | None
    """Time that the clip was shown."""
    inclusion: float | None
    """Probability with which the stream drew the clip; None where it is unknown."""
    reasons: list[str]
    """Of `REASONS`, in their order."""
    repeat: bool
    """Whether the person was shown a clip again that they had rated: no other rating of it, but for agreement."""


class Appended(NamedTuple):
    """What became of events that were written."""

    saved: list[str]
    """Ids that are on disk now, in order."""
    refused: dict[str, str]
    """Reason by id of the others."""


def check_event(event: object) -> PageEvent:
    """Return the fields of an event that a page sent; ValueError names the field that is wrong."""
    if not isinstance(event, Mapping):
        raise ValueError(f"an event is an object, not {type(event).__name__}")
    event_id, clip_id, kind = event.get("event_id"), event.get("clip_id"), event.get("kind")
    rating, seconds = event.get("rating"), event.get("seconds")
    if not isinstance(event_id, str) or not _UUID.fullmatch(event_id):
        raise ValueError(f"event_id {event_id!r} is not a lower-case UUID")
    if not isinstance(clip_id, str) or not _CLIP.fullmatch(clip_id):
        raise ValueError(f"clip_id {clip_id!r} is not a clip id")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    if kind == "rate":
        if type(rating) is not int or not 1 <= rating <= 5:
            raise ValueError(f"rating {rating!r} is not 1, 2, 3, 4 or 5")
    elif rating is not None:
        raise ValueError(f"a {kind} has no rating, here {rating!r}")
    if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds < 1e6):
        raise ValueError(f"seconds {seconds!r} is not a time spent")
    stream = event.get("stream", "")
    if not isinstance(stream, str) or len(stream) > 40:
        raise ValueError(f"stream {stream!r} is not a short text")
    inclusion, repeat = event.get("inclusion"), event.get("repeat", False)
    if inclusion is not None and (type(inclusion) not in (int, float) or not 0 < inclusion <= 1):
        raise ValueError(f"inclusion {inclusion!r} is not a probability above 0")
    if type(repeat) is not bool:
        raise ValueError(f"repeat {repeat!r} is not true or false")
    return {
        "event_id": event_id, "clip_id": clip_id, "kind": kind, "rating": rating, "stream": stream,
        "seconds": None if seconds is None else float(seconds), "reasons": _checked_reasons(event.get("reasons")),
        "inclusion": None if inclusion is None else float(inclusion), "repeat": repeat,
    }  # fmt: skip


def _checked_reasons(reasons: object) -> list[str]:
    if reasons is None:
        return []
    if not isinstance(reasons, list) or not all(isinstance(one, str) and one in REASONS for one in reasons):
        raise ValueError(f"reasons {reasons!r} is not a list of some of {', '.join(REASONS)}")
    return [one for one in REASONS if one in reasons]


class Journal:
    """An open journal; several threads may use it, and other processes may read it at the same time."""

    def __init__(self, path: Path, *, after: datetime | None = None) -> None:
        """Open or create it.

        Args:
            path: the file.
            after: new events are dated after this moment, also where the clock was set back behind it.

        Raises:
            UserError: the file is not a journal, or cannot be written.
        """
        self.path = path
        self._after_us = 0 if after is None else int(after.timestamp() * 1e6)
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as exc:
            raise UserError(
                f"the labelling journal {str(path)!r} cannot be opened: {exc}. Give this user write access to its "
                "folder, or name another with --home."
            ) from exc
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._add_later_columns()
        except sqlite3.Error as exc:
            self._db.close()
            raise UserError(
                f"the labelling journal {str(path)!r} cannot be used: {exc}. If it is damaged, run "
                "`lampworks doctor --mend`, which keeps every label that can be read. Otherwise give this user write "
                "access to its folder, or name another with --home."
            ) from exc

    def _add_later_columns(self) -> None:
        if self._missing_columns():
            self._db.execute("BEGIN IMMEDIATE")
            # asked again inside: another process may have added them
            for name in self._missing_columns():
                self._db.execute(f"ALTER TABLE events ADD COLUMN {name} {_LATER_COLUMNS[name]}")
            self._db.execute("COMMIT")

    def _missing_columns(self) -> list[str]:
        there = {row[1] for row in self._db.execute("PRAGMA table_info(events)")}
        return [name for name in _LATER_COLUMNS if name not in there]

    def append(self, events: Sequence[PageEvent], annotator: str) -> Appended:
        """Write events in one commit, in their order; return once they are on disk.

        An event that is already there counts as saved. An id that belongs to another event is refused.

        Args:
            events: results of `check_event`.
            annotator: who labels.
        """
        appended = Appended([], {})
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                last = self._db.execute("SELECT coalesce(max(labelled_us), 0) FROM events").fetchone()[0]
                for event in events:
                    # strictly increasing, even where the clock is set back: the last event of a clip counts
                    last = max(int(time.time() * 1e6), last + 1, self._after_us + 1)
                    values = {**event, "annotator": annotator, "labelled_us": last, "repeat": int(event["repeat"])}
                    values["reasons"] = json.dumps(event["reasons"]) if event["reasons"] else None
                    values[COLUMN] = event_crc(values)
                    self._db.execute(
                        f"INSERT OR IGNORE INTO events ({', '.join(_COLUMNS)}) "
                        f"VALUES ({', '.join('?' * len(_COLUMNS))})",
                        [values[column] for column in _COLUMNS],
                    )
                    # OR IGNORE hides every conflict, so read back what is acknowledged
                    if self._is_stored(values):
                        appended.saved.append(event["event_id"])
                    else:
                        appended.refused[event["event_id"]] = "this event_id already belongs to another label"
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return appended

    def _is_stored(self, values: Mapping[str, Any]) -> bool:
        names = ("clip_id", "annotator", "kind", "rating", "repeat")
        query = f"SELECT {', '.join(names)} FROM events WHERE event_id = ?"
        stored = self._db.execute(query, [values["event_id"]]).fetchone()
        return bool(stored == tuple(values[name] for name in names))

    def events(self) -> list[dict[str, Any]]:
        """Return all events in order of arrival, as rows of the `labels` table."""
        return self.events_after(0)[0]

    def events_after(self, seq: int) -> tuple[list[dict[str, Any]], int]:
        """Return the events behind a place in the journal, as rows of `labels`, and the place behind them.

        Raises:
            UserError: an event is not what was written, or the file cannot be read.
        """
        query = f"SELECT seq, {', '.join(_COLUMNS)} FROM events WHERE seq > ? ORDER BY seq"
        try:
            with self._lock:
                rows = self._db.execute(query, [seq]).fetchall()
        except sqlite3.DatabaseError as exc:
            raise self._damaged(str(exc)) from exc
        found = [dict(zip(_COLUMNS, row[1:], strict=True)) for row in rows]
        for place, event in zip(rows, found, strict=True):
            if not is_whole(event):
                raise self._damaged(f"event {place[0]} is not what was written")
        return [_row(event) for event in found], rows[-1][0] if rows else seq

    def _damaged(self, why: str) -> UserError:
        return UserError(
            f"the labelling journal {str(self.path)!r} cannot be read: {why}. Run `lampworks doctor --mend`, which "
            "keeps every label that can be read."
        )

    def close(self) -> None:
        """Close the file; SQLite merges the write-ahead log into it."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(event: dict[str, Any]) -> dict[str, Any]:
    labelled_us = event.pop("labelled_us")
    del event[COLUMN]
    event["reasons"] = json.loads(event["reasons"]) if event["reasons"] else []
    event["repeat"] = bool(event["repeat"])
    at = datetime.fromtimestamp(labelled_us // 1_000_000, UTC).replace(microsecond=labelled_us % 1_000_000)
    return {**event, "video": None, "start_s": None, "resolved": True, "origin": "page", "labelled_at": at}


def journal_rows(path: Path) -> list[dict[str, Any]]:
    """Return the events of a journal; empty where there is no file."""
    if not path.exists():
        return []
    with closing(Journal(path)) as journal:
        return journal.events()
