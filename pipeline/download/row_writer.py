"""Append the rows of attempts and circuit breakers to the store, a few dozen or a few seconds at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.download.attempt import DownloadTask
from pipeline.download.circuit_breaker import Breaker
from pipeline.download.schedule import Feed
from pipeline.sources.actions import raw_actions
from pipeline.sources.faults import clean_message
from pipeline.storage.arrow import pc
from pipeline.storage.rows import fitting_rows
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.workers.outcome import Later

_CHUNK_ROWS = 64
_CHUNK_S = 5.0
_CHUNK_REMOTE_S = 30.0
"""On an object store, where a commit takes some thirty requests."""


class RowWriter:
    """Rows of `downloads` that wait for the next commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._chunk_s = _CHUNK_S if store.is_local else _CHUNK_REMOTE_S
        self.added = 0
        """Attempts that were given to `add`."""
        self._rows: list[dict[str, Any]] = []
        self._is_open = False
        """Whether an append has begun and not ended."""
        self._since = time.monotonic()

    def add(self, row: dict[str, Any], change: Breaker | None) -> None:
        """Take the row of an attempt, and the change of its site's breaker, which is appended at once."""
        self._rows.append(row)
        self.added += 1
        if change is not None:
            # other runs ask the same site
            self.store.append("breakers", [change.row()])
        if len(self._rows) >= _CHUNK_ROWS or change is not None:
            self.flush()
        self._flush_if_old()

    def flush_between(self, feed: Feed) -> Iterator[DownloadTask | Later]:
        """Yield what a feed gives, and append rows that have waited long enough in between."""
        for item in feed:
            self._flush_if_old()
            yield Later(min(item.seconds, _CHUNK_S)) if isinstance(item, Later) else item
        # the feed is empty: append what is finished while the last attempts go on
        while feed.running.total():
            self._flush_if_old()
            yield Later(_CHUNK_S)

    def _flush_if_old(self) -> None:
        if self._rows and time.monotonic() - self._since > self._chunk_s:
            self.flush()

    def flush(self) -> None:
        """Append the waiting rows; of videos that were taken down meanwhile, delete the blobs instead.

        Where the store does not take them the rows wait on, and the next flush appends those that are not there.
        """
        self._since = time.monotonic()
        if not self._rows:
            return
        rows = self._unwritten() if self._is_open else list(self._rows)
        # until it has ended, nobody knows whether the rows are there: the store may be away, or this be interrupted
        self._is_open = True
        self._write(rows)
        self._rows, self._is_open = [], False

    def _unwritten(self) -> list[dict[str, Any]]:
        """Return the waiting rows that the store does not have: an append that failed may have been made."""
        batches = pa.array(sorted({row["batch"] for row in self._rows}))
        there = set(
            self.store.read("downloads", ["attempt_id"], pc.field("batch").isin(batches))["attempt_id"].to_pylist()
        )
        return [row for row in self._rows if row["attempt_id"] not in there]

    def _write(self, rows: list[dict[str, Any]]) -> None:
        hidden = taken_down(self.store).hidden_among(self.store, {row["video_id"] for row in rows})
        for row in rows:
            if row["video_id"] in hidden and row["path"]:
                self.store.delete(row["path"])
                for key in raw_actions(row["path"]):
                    self.store.delete(key)
        shown = [row for row in rows if row["video_id"] not in hidden]
        self.store.append("downloads", fitting_rows("downloads", shown, _not_written))


def _not_written(row: dict[str, Any], reason: str) -> dict[str, Any]:
    """Return the row of an attempt that the table cannot hold as it is."""
    return row | {
        "state": "failed",
        "error_class": "internal",
        "message": clean_message(f"video {row['video_id']}: {reason}"),
        "next_try_at": None,
        "path": None,
    }
