"""The ledger of downloads: attempts are appended and never changed, and a video's state is computed from them.

    pending     not attempted yet, or due again at `next_try_at`
    ok          an attempt fetched a verified file (which may have been dropped once it was cut)
    failed      the last attempt's error cannot be helped by another one, or no attempts are left
    rejected    the download showed that the video must not be used (an opt-out)
    taken_down  hidden by a takedown, whatever the attempts were

Two runs of one batch at once append attempts side by side. The earliest success counts, so that every reader finds the
same file. States are computed in columns, for all videos at once: a million videos take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.sources.faults import BLOCKING
from pipeline.storage.arrow import pc
from pipeline.storage.moments import is_over
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_VIDEOS = ["video_id", "batch", "source", "channel_id"]
_ATTEMPTS = ["video_id", "attempt", "state", "error_class", "finished_at", "next_try_at"]
_DETAILS = ["message", "bytes", "sha256", "path", "duration_s", "site", "bytes_360p", "bytes_720p"]
_LAST, _OF_FILE = ("error_class", "message", "next_try_at"), _DETAILS[1:]
_STATES = ("pending", "ok", "failed", "rejected", "taken_down", "dropped")
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of one kept video's download."""

    video_id: str
    batch: str
    state: Literal["pending", "ok", "failed", "rejected", "taken_down"]
    attempts: int = 0
    refused: int = 0
    """Attempts that the site refused as a whole: they do not count against the video."""
    error_class: str | None = None
    """Of the last attempt, where it did not succeed."""
    message: str | None = None
    next_try_at: datetime | None = None
    """When a pending video is due; None: at once."""
    path: str | None = None
    """Blob key of the file, where ok and not dropped."""
    sha256: str | None = None
    dropped: bool = False
    """Whether the raw file was removed after it was cut."""
    bytes: int = 0
    duration_s: float | None = None
    bytes_360p: int | None = None
    bytes_720p: int | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether the video is due for download at this time."""
        return self.state == "pending" and is_over(self.next_try_at, now)


def download_states(store: Store, batch: str | None = None) -> dict[str, State]:
    """Return the state of every kept video, of one batch or of all, by id and in its order."""
    kept = pc.field("verdict") == "kept"
    mine = None if batch is None else pc.field("batch") == batch
    videos = store.read("videos", _VIDEOS, kept if mine is None else kept & mine)
    attempts = store.read("downloads", [*_ATTEMPTS, *_DETAILS], mine)
    names = [field for field in State.__dataclass_fields__ if field != "duration_s"]
    rows = fold(videos, attempts, hidden=_hidden(store, videos)).select([*names, "duration_s"]).to_pylist()
    rows.sort(key=lambda row: str(row["video_id"]))
    return {row["video_id"]: State(**{**row, "bytes": row["bytes"] or 0}) for row in rows}


def fold_all(store: Store) -> pa.Table:
    """Return the state of every kept video of the store, a row each, without the details of its file.

    Columns: video_id, batch, source, state, attempts, refused, dropped, error_class, next_try_at, path, sha256.
    """
    videos = store.read("videos", _VIDEOS, pc.field("verdict") == "kept")
    # paths and hashes are read only for attempts that have a file
    attempts = store.read("downloads", _ATTEMPTS)
    files = store.read("downloads", [*_ATTEMPTS, "path", "sha256"], pc.field("state").isin(["ok", "dropped"]))
    return fold(videos, attempts, files, hidden=_hidden(store, videos))


def fold_attempts(store: Store) -> pa.Table:
    """Return the state of every video that has an attempt, computed without the table `videos`.

    The accounting compares it with `fold_all`. Columns: video_id, state, error_class, dropped.
    """
    attempts = store.read("downloads", _ATTEMPTS)
    ids = pc.unique(attempts["video_id"])
    nothing = pa.nulls(len(ids), pa.string())
    tried = pa.table({"video_id": ids, "batch": nothing, "source": nothing})
    return fold(tried, attempts).select(["video_id", "state", "error_class", "dropped"])


def fold(videos: pa.Table, attempts: pa.Table, files: pa.Table | None = None, *, hidden: Any = None) -> pa.Table:
    """Return the state of each video, computed from attempts in any order.

    Args:
        videos: video_id, batch, source, channel_id.
        attempts: rows of `downloads`: video_id, attempt, state, error_class, finished_at, next_try_at, and further
            columns of the last attempt that the result shall have.
        files: rows of `downloads` with the states `ok` and `dropped`, and the columns of the file that the result
            shall have; None: they are among the attempts.
        hidden: a mask of the videos that were taken down.
    """
    tried = _Attempts(videos, attempts)
    fetched = tried if files is None else _Attempts(videos, files)
    good, last = fetched.first_kept_file(), tried.last(~tried.are("dropped"))
    states = np.full(len(videos), _STATES.index("pending"), np.int8)
    states[last >= 0] = tried.states[last[last >= 0]]
    states[fetched.counts(fetched.are("ok")) > 0] = _STATES.index("ok")
    if hidden is not None:
        states[np.asarray(hidden, bool)] = _STATES.index("taken_down")
    is_ok = states == _STATES.index("ok")
    columns: dict[str, Any] = {
        "state": pa.array(_STATES, pa.string()).take(states),
        "attempts": pa.array(np.maximum(tried.highest_number(), tried.counts(~tried.are("dropped")))),
        "refused": pa.array(tried.counts(tried.refusals)),
        "dropped": pa.array(is_ok & (good < 0)),
    }
    # the last error is shown only where no attempt succeeded
    open_states = [_STATES.index(name) for name in ("pending", "failed", "rejected")]
    tried.add_columns(columns, _LAST, np.where(np.isin(states, open_states), last, -1))
    fetched.add_columns(columns, _OF_FILE, np.where(is_ok, good, -1))
    # of a dropped file, hash, size and length are still shown
    any_file = np.where(good < 0, fetched.last(fetched.are("ok")), good)
    fetched.add_columns(columns, ("sha256", "bytes", "duration_s"), np.where(is_ok, any_file, -1))
    result = videos.select(["video_id", "batch", "source"])
    for name, column in columns.items():
        result = result.append_column(name, column)
    return result


class _Attempts:
    """Attempts of the given videos as arrays of numbers, sorted by video, number and time.

    Texts stay in their table: a Python object per row, or a sorted copy, would take most of the memory.
    """

    def __init__(self, videos: pa.Table, rows: pa.Table) -> None:
        found = pc.index_in(rows["video_id"], value_set=videos["video_id"].combine_chunks())
        codes = pc.fill_null(found, -1).to_numpy()
        times = pc.fill_null(rows["finished_at"].cast(pa.int64()), _NEVER).to_numpy()
        numbers = pc.fill_null(rows["attempt"], 0).to_numpy()
        # by number first: a clock that was set back does not make the last attempt an earlier one
        order = np.lexsort((times, numbers, codes))
        # attempts of other videos come first: leave them out
        order = order[np.searchsorted(codes[order], 0) :]
        states = pc.index_in(rows["state"], value_set=pa.array(_STATES, pa.string()))
        refusals = pc.is_in(rows["error_class"], value_set=pa.array(sorted(BLOCKING), pa.string()))
        self.size, self.rows, self.place = len(videos), rows, order
        self.codes, self.times, self.numbers = codes[order], times[order], numbers[order]
        self.states = pc.fill_null(states, _STATES.index("pending")).to_numpy()[order].astype(np.int8)
        self.refusals = pc.fill_null(refusals, False).to_numpy()[order]

    def are(self, state: str) -> Any:
        """Return which rows have a state."""
        return self.states == _STATES.index(state)

    def counts(self, mask: Any) -> Any:
        """Count the rows of a mask by video."""
        return np.bincount(self.codes[mask], minlength=self.size)

    def highest_number(self) -> Any:
        """Return the highest number of an attempt by video."""
        highest = np.zeros(self.size, np.int64)
        np.maximum.at(highest, self.codes, self.numbers)
        return highest

    def last(self, mask: Any) -> Any:
        """Return, by video, the latest row of a mask; -1 where there is none."""
        found = np.full(self.size, -1)
        index = np.flatnonzero(mask)
        found[self.codes[index]] = index  # in order of time: the latest is written last
        return found

    def first_kept_file(self) -> Any:
        """Return, by video, the earliest success after its file was last dropped; -1 where there is none."""
        dropped = self.last(self.are("dropped"))
        index = np.flatnonzero(self.are("ok"))
        index = index[index > dropped[self.codes[index]]]
        found = np.full(self.size, -1)
        found[self.codes[index[::-1]]] = index[::-1]
        return found

    def add_columns(self, columns: dict[str, Any], names: Iterable[str], index: Any) -> None:
        """Add the named columns, one row per video, as far as these attempts have them."""
        rows = np.full(self.size, -1)
        rows[index >= 0] = self.place[index[index >= 0]]
        for name in names:
            if name in self.rows.column_names:
                columns[name] = _taken(self.rows[name], rows)


def _taken(column: Any, rows: Any) -> Any:
    return column.take(pa.array(rows, pa.int64(), mask=rows < 0))


def _hidden(store: Store, videos: pa.Table) -> Any:
    hidden = taken_down(store)
    if not (hidden.videos or hidden.channels):
        return None
    by_name = pc.is_in(videos["video_id"], value_set=pa.array(sorted(hidden.videos), pa.string()))
    by_channel = pc.is_in(videos["channel_id"], value_set=pa.array(sorted(hidden.channels), pa.string()))
    return pc.or_(by_name, pc.fill_null(by_channel, False)).to_numpy(zero_copy_only=False)
