"""The ledger of downloads: attempts are appended and never changed, and a video's state is computed from them.

    pending     not attempted yet, or due again at `next_try_at`
    ok          an attempt fetched a verified file (which may have been dropped once it was cut)
    failed      the last attempt's error cannot be helped by another one, or no attempts are left
    rejected    the download showed that the video must not be used (an opt-out)
    taken_down  hidden by a takedown, whatever the attempts were

Only attempts at the file as its folder has it now count. A file that changed since it was tried (`file_version`: its
size with its time or its object store's tag) is pending again, with all its attempts, and so is a video that
`lampworks retry` made due again (a row of the state `retried`). The clips of an earlier file stay until those of the
new one replace them.

Two runs of one batch at once append attempts side by side. The earliest success counts, so that every reader finds the
same file. States are computed in columns, for all videos at once: a million videos take seconds.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline.download.attempt_arrays import STATES, Attempts, attempts_of, coded
from pipeline.download.file_versions import VERSION_COLUMNS
from pipeline.storage.arrow import batches_between, in_parts, pc
from pipeline.storage.moments import is_over
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_VIDEOS = ["video_id", "batch", "source", "channel_id", *VERSION_COLUMNS]
_ATTEMPTS = ["video_id", "attempt", "state", "error_class", "finished_at", "next_try_at", "file_version"]
_DETAILS = ["message", "bytes", "sha256", "path", "duration_s", "site", "bytes_360p", "bytes_720p"]
_PART_ROWS = 1 << 20
_PART_VIDEOS = 100_000
_LAST, _OF_FILE = ("error_class", "message", "next_try_at"), _DETAILS[1:]


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of one kept video's download."""

    video_id: str
    batch: str
    state: Literal["pending", "ok", "failed", "rejected", "taken_down"]
    attempts: int = 0
    refused: int = 0
    """Attempts that do not count against the video: refusals of the site as a whole, files that were not at rest, and
    all attempts at an earlier file or before a retry."""
    error_class: str | None = None
    """Of the last attempt, where it did not succeed."""
    message: str | None = None
    next_try_at: datetime | None = None
    """When a pending video is due; None: at once."""
    path: str | None = None
    """Blob key of the file, where ok and not dropped."""
    sha256: str | None = None
    earlier_file: bool = False
    """Whether a file was fetched that is another now, and the present one is not: its clips are of the earlier one."""
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
    rows = (
        fold(videos, attempts, hidden=taken_down(store).mask(store, videos)).select([*names, "duration_s"]).to_pylist()
    )
    rows.sort(key=lambda row: str(row["video_id"]))
    return {row["video_id"]: State(**{**row, "bytes": row["bytes"] or 0}) for row in rows}


def fold_all(store: Store, *, paths: bool = True) -> pa.Table:
    """Return the state of every kept video of the store, a row each, without the details of its file.

    Args:
        store: the store.
        paths: whether to read the column `path`, which takes 50 bytes a video.

    Columns: video_id, batch, source, state, attempts, refused, earlier_file, dropped, error_class, next_try_at, path,
    sha256.
    """
    return pa.concat_tables(fold_parts(store, paths=paths))


def fold_parts(store: Store, *, paths: bool = True) -> Iterator[pa.Table]:
    """Yield `fold_all` in parts of about a hundred thousand videos, whole batches each; at least one part.

    The attempts of all videos at once would take 650 bytes a video.
    """
    shown = ["path", "sha256"] if paths else ["sha256"]
    for videos, mine in _kept_parts(store):
        # nothing of a part stays here while the caller looks at its states
        held = [videos]
        del videos
        yield _folded(store, held.pop(), mine, shown)


def _folded(store: Store, videos: pa.Table, mine: Any, shown: list[str]) -> pa.Table:
    """Return the states of some videos; `mine` is the filter of their attempts."""
    ids = videos["video_id"].combine_chunks()
    tried = Attempts(videos, attempts_of(store, _ATTEMPTS, ids, mine))
    # paths and hashes are read only for attempts that have a file
    with_file = pc.field("state").isin(["ok", "dropped"])
    of_files = with_file if mine is None else with_file & mine
    files = Attempts(videos, attempts_of(store, [*_ATTEMPTS, *shown], ids, of_files))
    return _fold(videos, tried, files, taken_down(store).mask(store, videos))


def _kept_parts(store: Store) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the kept videos in parts of whole batches, each with a filter of the rows of its batches; None: of all."""
    kept, sizes = pc.field("verdict") == "kept", Counter[str | None]()
    held: list[pa.RecordBatch] | None = []
    for rows in store.scan("videos", _VIDEOS, kept):
        for pair in pc.value_counts(rows.column("batch")).to_pylist():
            sizes[pair["values"]] += pair["counts"]
        # a store of one part is read once
        held = [*held, rows] if held is not None and sizes.total() <= _PART_VIDEOS else None
    if sizes.total() <= _PART_VIDEOS or None in sizes:
        schema = pa.schema([SCHEMAS["videos"].field(name) for name in _VIDEOS])
        whole = [store.read("videos", _VIDEOS, kept) if held is None else pa.Table.from_batches(held, schema)]
        held = None
        yield whole.pop(), None
        return
    last: str | None = None
    for end in [*_ends(sizes), None]:
        # every name is in one of the parts, also that of a batch which comes meanwhile
        mine = batches_between(last, end)
        yield store.read("videos", _VIDEOS, kept & mine), mine
        last = end


def _ends(sizes: Mapping[str | None, int]) -> Iterator[str]:
    """Yield the last batch of each part but the last part."""
    size = 0
    for batch, following in itertools.pairwise(sorted(name for name in sizes if name is not None)):
        size += sizes[batch]
        if size + sizes[following] > _PART_VIDEOS:
            yield batch
            size = 0


def fold_attempts(store: Store) -> pa.Table:
    """Return the state of every video that has an attempt, computed from attempts alone (and from what files are now).

    The accounting compares it with the table `videos`. Columns: video_id, state, error_class, earlier_file, dropped.
    """
    ids = _tried_videos(store)
    nothing = pa.nulls(len(ids), pa.string())
    tried = pa.table({"video_id": ids, "batch": nothing, "source": nothing})
    known = store.read("videos", ["video_id", *VERSION_COLUMNS], pc.is_valid(pc.field("size_bytes")))
    if len(known):
        place = pc.index_in(ids, value_set=known["video_id"].combine_chunks())
        for name in VERSION_COLUMNS:
            tried = tried.append_column(name, known[name].combine_chunks().take(place))
    attempts = Attempts(tried, attempts_of(store, _ATTEMPTS, ids))
    return _fold(tried, attempts, attempts).select(["video_id", "state", "error_class", "earlier_file", "dropped"])


def _tried_videos(store: Store) -> Any:
    """Return the ids of the videos that have an attempt."""
    parts = in_parts(store.scan("downloads", ["video_id"]), _PART_ROWS)
    return pa.chunked_array([part["video_id"].unique() for part in parts], pa.string()).unique()


def superseded_files(store: Store, batch: str) -> list[dict[str, Any]]:
    """Return the rows of `downloads` whose file was replaced by a newer one that is fetched, and was not dropped yet.

    Columns: video_id, attempt, finished_at, sha256, path, bytes, and `current_path`: the path of the newer file.
    """
    mine = pc.field("batch") == batch
    videos = store.read("videos", _VIDEOS, mine & (pc.field("verdict") == "kept"))
    rows = store.read("downloads", [*_ATTEMPTS, *_DETAILS], mine)
    states = fold(videos, rows).select(["video_id", "state", "path"]).to_pylist()
    current = {row["video_id"]: row["path"] for row in states if row["state"] == "ok"}
    tried = Attempts(videos, coded([rows], videos["video_id"].combine_chunks()))
    ended = tried.place[~tried.after(tried.barriers(videos))]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows.take(pa.array(ended, pa.int64())).to_pylist():  # in the order of the attempts
        key = row["video_id"], row["path"]
        if row["state"] == "ok" and row["video_id"] in current:
            found[key] = row | {"current_path": current[row["video_id"]]}
    dropped = rows.filter(pc.equal(rows["state"], "dropped")).select(["video_id", "path", "finished_at"]).to_pylist()
    for row in dropped:
        known = found.get((row["video_id"], row["path"]))
        if known is not None and row["finished_at"] > known["finished_at"]:
            del found[row["video_id"], row["path"]]
    return list(found.values())


def fold(videos: pa.Table, attempts: pa.Table, files: pa.Table | None = None, *, hidden: Any = None) -> pa.Table:
    """Return the state of each video, computed from attempts in any order.

    Args:
        videos: video_id, batch, source, channel_id, and of files the columns of `file_versions`.
        attempts: rows of `downloads`: video_id, attempt, state, error_class, finished_at, next_try_at, file_version,
            and further columns of the last attempt that the result shall have.
        files: rows of `downloads` with the states `ok` and `dropped`, and the columns of the file that the result
            shall have; None: they are among the attempts.
        hidden: a mask of the videos that were taken down.
    """
    ids = videos["video_id"].combine_chunks()
    tried = Attempts(videos, coded([attempts], ids))
    return _fold(videos, tried, tried if files is None else Attempts(videos, coded([files], ids)), hidden)


def _fold(videos: pa.Table, tried: Attempts, fetched: Attempts, hidden: Any = None) -> pa.Table:
    highest, barriers = tried.highest_number(), tried.barriers(videos)
    had_file = tried.counts(tried.are("ok")) > 0
    for one in {id(each): each for each in (tried, fetched)}.values():
        one.count_from(barriers)
    good, last = fetched.first_kept_file(), tried.last(~tried.are("dropped"))
    states = np.full(len(videos), STATES.index("pending"), np.int8)
    states[last >= 0] = tried.states[last[last >= 0]]
    states[fetched.counts(fetched.are("ok")) > 0] = STATES.index("ok")
    if hidden is not None:
        states[np.asarray(hidden, bool)] = STATES.index("taken_down")
    is_ok = states == STATES.index("ok")
    columns: dict[str, Any] = {
        "state": pa.array(STATES, pa.string()).take(states),
        "attempts": pa.array(np.maximum(highest, tried.counts(~tried.are("dropped")))),
        "refused": pa.array(tried.counts(tried.refusals) + np.maximum(barriers.numbers, 0)),
        "earlier_file": pa.array(had_file & ~is_ok & (states != STATES.index("taken_down"))),
        "dropped": pa.array(is_ok & (good < 0)),
    }
    # the last error is shown only where no attempt succeeded
    open_states = [STATES.index(name) for name in ("pending", "failed", "rejected")]
    tried.add_columns(columns, _LAST, np.where(np.isin(states, open_states), last, -1))
    fetched.add_columns(columns, _OF_FILE, np.where(is_ok, good, -1))
    # of a dropped file, hash, size and length are still shown
    any_file = np.where(good < 0, fetched.last(fetched.are("ok")), good)
    fetched.add_columns(columns, ("sha256", "bytes", "duration_s"), np.where(is_ok, any_file, -1))
    result = videos.select(["video_id", "batch", "source"])
    for name, column in columns.items():
        result = result.append_column(name, column)
    return result
